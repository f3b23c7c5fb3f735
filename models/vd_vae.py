"""VD-VAE as a training stage (CLAP stage 2): losses, held-out figures, saving; the network is in ``vd_net``.

Letters: B rows, C cameras, N action tokens, W windows.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from models import bundle, checkpoint, judge, labels
from models.act_vae import ActVaeModel, chunk_errors, code_use, load_act_vae, measured_on, watch_codes
from models.data import Batch, Windows
from models.encoders import Encoder
from models.official.space_time import alignment_net
from models.recipes import VdVaeRecipe, recipe_from_json
from models.registry import read_record
from models.stages import RunSpec
from models.takes import load_takes
from models.tips import PLACE
from models.train import Result
from models.vd_net import Glance, VdVae, clashes, contrast, shuffle_clusters, whole_path
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_GALLERY = 256
_PROBE = 4000
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class VdVaeModel:
    """A trained alignment with what it stands on."""

    net: VdVae
    act: ActVaeModel
    encoder: Encoder
    recipe: VdVaeRecipe
    cameras: tuple[str, ...]


@dataclass(slots=True)
class _Arm:
    """One network in training: the model itself or the control beside it."""

    net: VdVae
    recipe: VdVaeRecipe
    glance: Glance | None = field(default=None)


def load_vd_vae(home: Home, model_id: str) -> VdVaeModel:
    """A trained VD-VAE with its Act-VAE, frozen and in evaluation mode."""
    tensors, meta = bundle.load_model(home, model_id, "vd_vae")
    recipe = recipe_from_json({"tips": False, **meta["recipe"]})  # models from before paths of tips have none
    if not isinstance(recipe, VdVaeRecipe):
        raise WorkbenchError(f"the model {model_id} holds no VD-VAE", "Choose another model")
    act = load_act_vae(home, read_record(home, model_id).bases["act_vae"])
    encoder = bundle.encoder_from(tensors, meta)
    cameras = tuple(meta["cameras"])
    net = alignment_net(recipe, act.net, len(cameras), encoder)
    checkpoint.load_into(net, checkpoint.part(tensors, "net"))
    net.eval().requires_grad_(False)
    return VdVaeModel(net, act, encoder, recipe, cameras)


def seen_cameras(is_human_B: Tensor, present: Tensor) -> Tensor:
    """(B, C) cameras that may be looked at: those that deliver; of people's clips only the first, because what a
    camera on the parked arm sees says nothing about the hand."""
    seen = present.clone()
    seen[is_human_B, 1:] = False
    seen[:, 0] = True
    return seen


def present_cameras(batch: Batch) -> Tensor:
    """(B, C) cameras that have pictures: features are exactly zero where there are none."""
    return (batch.features_BCKF != 0).flatten(2).any(-1)


def tips_of(recipe: VdVaeRecipe, batch: Batch) -> Tensor | None:
    """What the recipe lets the network see of ``Batch.tips_BP5``."""
    return batch.tips_BP5 if recipe.tips else None


def bare_rows(recipe: VdVaeRecipe, is_human_B: Tensor) -> Tensor:
    """(B,) rows of which only the tip's path is looked at, where there is one: people's, and a robot's as well for a
    model that was never shown a robot's clusters beside a path."""
    return is_human_B | (recipe.cluster_dropout >= 1.0)


def look(net: VdVae, recipe: VdVaeRecipe, batch: Batch) -> Glance:
    """Read a batch with the network's own cameras as it is read wherever it is measured or labelled.

    Of people's clips only the first camera is looked at. For what else is hidden see ``bare_rows``.
    """
    human = batch.is_human_B
    seen = seen_cameras(human, present_cameras(batch))
    tips, bare = tips_of(recipe, batch), bare_rows(recipe, human)
    return net.glance(batch.features_BCKF, batch.future_BCKF, seen, ~human, tips, bare)


@torch.no_grad()
def glance_all(model: VdVaeModel, windows: Windows) -> tuple[Tensor, Tensor]:
    """Tokens (W, N) and confidence (W,) of every window. WorkbenchError if the windows do not fit the model.

    Where a person's clip shows hands elsewhere, windows that show none have the confidence 0.
    """
    if windows.horizon != model.recipe.horizon:
        raise WorkbenchError(
            f"the alignment looks {model.recipe.horizon} steps ahead, these windows {windows.horizon}",
            "Use the same horizon_s and step_s",
        )
    missing = [name for name in model.cameras if name not in windows.cameras]
    if missing:
        raise WorkbenchError(f"the alignment needs the camera '{missing[0]}'", "Add it to the recipe's cameras")
    order = [windows.cameras.index(name) for name in model.cameras]
    found = []
    for index in torch.split(torch.arange(len(windows.take_W)), _AT_ONCE):
        batch = windows.batch(index)
        now, then = batch.features_BCKF[:, order], batch.future_BCKF[:, order]
        if now.shape[1:] != model.net.shape:
            raise WorkbenchError("these windows come from another picture encoder", "Use the alignment's own encoder")
        present = present_cameras(batch)[:, order]
        human = batch.is_human_B
        seen, tips, bare = seen_cameras(human, present), tips_of(model.recipe, batch), bare_rows(model.recipe, human)
        glance = model.net.glance(now, then, seen, ~human, tips, bare)
        path_B = whole_path(batch.tips_BP5) & model.recipe.tips
        found.append((glance.tokens_BN, model.net.confidence(glance), path_B))
    tokens_WN, confidence_W, path_W = (torch.cat(parts) for parts in zip(*found, strict=True))
    shown = torch.zeros(len(windows.takes)).index_add_(0, windows.take_W, path_W.float()) > 0
    nobody_W = windows.is_human_W & shown[windows.take_W] & ~path_W
    return tokens_WN, confidence_W.masked_fill(nobody_W, 0.0)


class VdVaeStage:
    """Trains the alignment on robot and human windows with pictures."""

    recipe: VdVaeRecipe

    def __init__(self, spec: RunSpec, home: Home) -> None:
        if not isinstance(spec.recipe, VdVaeRecipe):
            raise WorkbenchError("the VD-VAE needs a vd_vae recipe")
        self.spec, self.home, self.recipe = spec, home, spec.recipe
        recipe = self.recipe
        if recipe.arms != 1:
            raise WorkbenchError("an alignment is trained for one arm", "Set arms=1; more come with imported models")
        self.act = load_act_vae(home, spec.bases["act_vae"])
        if (self.act.recipe.horizon, self.act.recipe.step_s) != (recipe.horizon, recipe.step_s):
            raise WorkbenchError(
                "the Act-VAE has another time grid than the recipe", "Use the same horizon_s and step_s"
            )
        self.encoder = bundle.encoder_for(spec, home)
        self.takes = load_takes(home, spec.episodes, self.encoder, recipe.cameras, recipe.step_s, with_tips=recipe.tips)
        self.windows = Windows(
            self.takes, recipe.horizon, scalers=self.act.scalers, cameras=recipe.cameras, held_out=recipe.held_out
        )
        torch.manual_seed(recipe.seed)
        self.main = self._arm(recipe)
        self.control = self._arm(recipe.variant(recipe.control)) if recipe.control else None
        parts = {"main": self.main.net} | ({"control": self.control.net} if self.control else {})
        self.shadow = self._frozen_copy() if recipe.human_ema > 0 else None
        self.module: nn.Module = nn.ModuleDict(parts | ({"shadow": self.shadow} if self.shadow else {}))

    def parameters(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = []
        for family, arm in (("main", self.main), ("control", self.control)):
            if arm is None:
                continue
            scalars = [arm.net.logit_scale, arm.net.logit_bias]
            plain = [p for p in arm.net.parameters() if all(p is not scalar for scalar in scalars)]
            groups.append({"params": plain, "family": family})
            factor = arm.recipe.scalar_lr_factor
            groups.append({"params": scalars, "family": family, "lr_factor": factor, "weight_decay": 0.0})
        return groups

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        recipe = self.recipe
        batch = self.windows.train.sample(generator, recipe.batch, "both", recipe.human_share)
        seen_BC = self._seen(batch, generator)
        total, figures = self._arm_loss(self.main, batch, seen_BC, generator, step)
        if self.control is not None:
            beside, _ = self._arm_loss(self.control, batch, seen_BC, generator, step)
            total = total + beside
        return total, figures | self._watched(batch)

    def _watched(self, batch: Batch) -> dict[str, float]:
        """How many codes the pictures of this batch are read as: where it falls, the alignment collapses."""
        glance, codes = self.main.glance, len(self.main.net.book.codes_KD)
        if glance is None:
            return {}
        human = watch_codes(glance.tokens_BN[batch.is_human_B], codes, "_human")
        return watch_codes(glance.tokens_BN, codes) | human

    def after_step(self, generator: Generator, step: int) -> None:
        late = step > 0.8 * self.recipe.steps
        for arm in (self.main, self.control):
            if arm is None or arm.glance is None:
                continue
            book, glance = arm.net.irrelevant_book, arm.glance
            book.follow(glance.irrelevant_BMD.detach(), glance.irrelevant_tokens_BM, 0.98)
            if not late and (step + 1) % 50 == 0:
                book.restart(glance.irrelevant_BMD.detach(), 0.1, generator)
        if self.shadow is not None:
            for mine, its in zip(self.main.net.parameters(), self.shadow.parameters(), strict=True):
                its.lerp_(mine, 1.0 - self.recipe.human_ema)

    def evaluate(self) -> Result:
        metrics, arrays = self._measure(self.main)
        metrics |= {
            "windows": {kind: self.windows.train.count(kind) for kind in ("robot", "human")},
            "skipped": dict(self.takes.skipped),
            "clusters": self.encoder.shape[0],
        }
        if self.control is not None:
            beside, more = self._measure(self.control)
            metrics["control"] = {"name": self.recipe.control, **beside}
            arrays |= {f"control.{name}": value for name, value in more.items()}
        return Result(metrics, arrays)

    def save(self, folder: Path, result: Result) -> None:
        net = self.main.net
        tensors = checkpoint.with_prefix("net", net.state_dict())
        meta = {"cameras": list(self.windows.cameras)}
        bundle.save_model(self.spec, self.home, tensors, meta, result, self.takes, encoder=self.encoder)
        model = VdVaeModel(net, self.act, self.encoder, self.recipe, self.windows.cameras)
        labels.write_labels(self.home, self.spec.model_id, self.windows, *glance_all(model, self.windows))

    def _arm(self, recipe: VdVaeRecipe) -> _Arm:
        net = alignment_net(recipe, self.act.net, len(self.windows.cameras), self.encoder)
        sample = self.windows.train.all("both" if recipe.human_share > 0 else "robot", _PROBE)
        net.fit(sample.features_BCKF, sample.future_BCKF)
        if net.path is not None:
            net.path.fit(sample.tips_BP5)
        return _Arm(net, recipe)

    def _frozen_copy(self) -> VdVae:
        return copy.deepcopy(self.main.net).requires_grad_(False)

    def _seen(self, batch: Batch, generator: Generator) -> Tensor:
        hide = torch.rand(len(batch), generator=generator) < self.recipe.camera_dropout
        return seen_cameras(batch.is_human_B | hide, present_cameras(batch))

    def _arm_loss(
        self, arm: _Arm, batch: Batch, seen_BC: Tensor, generator: Generator, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        net, recipe = arm.net, arm.recipe
        robot = batch.has_action_B
        used = robot if recipe.human_share <= 0 else torch.ones_like(robot)
        now, then = self._augment(batch, net, recipe, generator)
        hide = torch.rand(len(batch), generator=generator) < recipe.shape_dropout
        bare = batch.is_human_B | (torch.rand(len(batch), generator=generator) < recipe.cluster_dropout)
        tips = self._shaken(batch, recipe, generator)
        glance = net.glance(now, then, seen_BC, ~(batch.is_human_B | hide), tips, bare)
        net.irrelevant_book.start(glance.irrelevant_BMD.detach(), generator)
        arm.glance = glance
        change = net.change(now, then)
        per_row = functional.smooth_l1_loss(net.predict(now, glance, seen_BC), change, reduction="none", beta=0.5)
        visible = (seen_BC & used[:, None]).to(per_row.dtype)[:, :, None, None]
        forward = (per_row * visible).sum() / (visible.sum() * per_row[0, 0].numel()).clamp_min(1.0)
        commit = (
            _commit(glance.latent_BND[used], net.book.codes_KD[glance.tokens_BN[used]]) / net.scale_D.square().mean()
        )
        commit = commit + _commit(glance.irrelevant_BMD, net.irrelevant_book.codes_KD[glance.irrelevant_tokens_BM])
        sparse = glance.irrelevant_code_BMD.abs().mean()
        total = recipe.reconstruct_weight * forward + recipe.commit * commit + recipe.irrelevant_l1 * sparse
        figures = {"forward": float(forward.detach()), "commit": float(commit.detach())}
        if bool(robot.any()):
            tied, more = self._tie(net, recipe, batch, glance, robot)
            total, figures = total + tied, figures | more
        if recipe.human_ema > 0 and self.shadow is not None and arm is self.main:
            total = total + self._self_target(net, batch, glance, seen_BC, step)
        return total, figures

    def _tie(
        self, net: VdVae, recipe: VdVaeRecipe, batch: Batch, glance: Glance, robot: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Contrast, decoding and token losses of the robot rows."""
        actions = batch.actions_BHA[robot]
        codes, tokens = self.act.net.encode(actions)
        visual = (glance.code_BND if recipe.contrast_on == "quantised" else glance.latent_BND)[robot]
        clash = clashes(tokens, actions, recipe.mask_distance)
        tie = contrast(net, net.item(visual), net.item(codes), clash)
        decoded = self.act.net.decode_codes(glance.code_BND[robot])
        decode = functional.smooth_l1_loss(decoded, actions, beta=0.2)
        chance = net.log_chance(glance.latent_BND[robot]).flatten(0, 1)
        token = functional.nll_loss(chance, tokens.flatten())
        total = recipe.contrast_weight * tie + recipe.decode_weight * decode + recipe.token_weight * token
        right = (glance.tokens_BN[robot] == tokens).double().mean()
        figures = {"contrast": tie, "decode": decode, "token": token, "token_accuracy": right}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    def _self_target(self, net: VdVae, batch: Batch, glance: Glance, seen_BC: Tensor, step: int) -> Tensor:
        """Human rows against the slow encoder's codes of the same rows (paper, v2)."""
        human = batch.is_human_B
        if self.shadow is None or step < self.recipe.human_ema_from * self.recipe.steps or not bool(human.any()):
            return torch.zeros(())
        with torch.no_grad():
            shaped = torch.zeros(int(human.sum()), dtype=torch.bool)
            pair = batch.features_BCKF[human], batch.future_BCKF[human]
            tips = tips_of(self.recipe, batch.where(human))
            slow = self.shadow.glance(*pair, seen_BC[human], shaped, tips, ~shaped)
        equal = (slow.tokens_BN[:, None] == slow.tokens_BN[None]).all(-1)
        tied = contrast(net, net.item(glance.code_BND[human]), net.item(slow.code_BND), equal)
        return self.recipe.contrast_weight * tied

    def _augment(self, batch: Batch, net: VdVae, recipe: VdVaeRecipe, generator: Generator) -> tuple[Tensor, Tensor]:
        """Pictures at t and t + H with their clusters permuted alike, and noise."""
        now, then = batch.features_BCKF, batch.future_BCKF
        if recipe.cluster_shuffle > 0:
            rows = torch.rand(len(batch), generator=generator) < recipe.cluster_shuffle
            now, then = shuffle_clusters(now, then, rows, generator)
        if recipe.feature_noise > 0:
            scale = recipe.feature_noise * net.spread_F
            now = now + scale * torch.randn(now.shape, generator=generator)
            then = then + scale * torch.randn(then.shape, generator=generator)
        return now, then

    def _shaken(self, batch: Batch, recipe: VdVaeRecipe, generator: Generator) -> Tensor | None:
        """Paths of tips with noise on every place: for a hand the far end is less sharp than for a gripper."""
        tips = tips_of(recipe, batch)
        if tips is None or recipe.tip_noise_m <= 0:
            return tips
        shaken = tips.clone()
        shaken[..., PLACE] += recipe.tip_noise_m * torch.randn(shaken[..., PLACE].shape, generator=generator)
        return shaken

    def _measure(self, arm: _Arm) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Figures of one network on held-out robot windows (and how it labels human ones)."""
        rows, held_out = measured_on(self.windows, "robot")
        gallery = rows.all("robot", _GALLERY)
        glance, seen = look(arm.net, arm.recipe, gallery), seen_cameras(gallery.is_human_B, present_cameras(gallery))
        codes, tokens = self.act.net.encode(gallery.actions_BHA)
        visual = glance.code_BND if arm.recipe.contrast_on == "quantised" else glance.latent_BND
        metrics, matrix = judge.retrieval(arm.net.item(visual), arm.net.item(codes), tokens)
        metrics |= {"held_out": held_out, "token_accuracy": float((glance.tokens_BN == tokens).double().mean())}
        majority = torch.mode(tokens, dim=0).values
        metrics["token_majority"] = float((tokens == majority).double().mean())
        metrics |= self._decoded(glance, gallery)
        metrics |= self._probes(arm, gallery, glance)
        metrics["forward_error"] = self._forward_error(arm.net, gallery, glance, seen)
        human, _ = measured_on(self.windows, "human")
        if human.count("human"):
            clips = look(arm.net, arm.recipe, human.all("human", 1024))
            metrics["human_labels"] = {
                **code_use(clips.tokens_BN, len(arm.net.book.codes_KD)),
                "confidence": float(arm.net.confidence(clips).mean()),
            }
        return metrics, {"retrieval": matrix, "tokens_true": tokens.numpy(), "tokens_seen": glance.tokens_BN.numpy()}

    def _decoded(self, glance: Glance, batch: Batch) -> dict[str, Any]:
        """The chunk that the visual tokens decode to, against the true one and the mean one."""
        true, told = self._metres(batch.actions_BHA), self._metres(self.act.net.decode(glance.tokens_BN))
        errors = chunk_errors(told, true)
        mean = chunk_errors(np.broadcast_to(true.mean(axis=0), true.shape), true)
        return {
            "decode_r2": judge.r2(told[:, -1, :3], true[:, -1, :3]),
            "decode_rmse_mm": errors["rmse_mm"],
            "decode_final_mm": errors["final_mm"],
            "decode_gripper_accuracy": errors["gripper_accuracy"],
            "mean_chunk_rmse_mm": mean["rmse_mm"],
        }

    def _probes(self, arm: _Arm, held: Batch, seen: Glance) -> dict[str, float]:
        """Linear probes of the final displacement from action and irrelevant latents (fitted on training rows)."""
        train = self.windows.train.all("robot", _PROBE)
        fitted = look(arm.net, arm.recipe, train)
        target = train.actions_BHA[:, -1, :3], held.actions_BHA[:, -1, :3]
        return {
            name: judge.probe_r2((mine.flatten(1), target[0]), (its.flatten(1), target[1]))
            for name, mine, its in (
                ("probe_r2", fitted.latent_BND, seen.latent_BND),
                ("probe_r2_irrelevant", fitted.irrelevant_BMD, seen.irrelevant_BMD),
            )
        }

    def _forward_error(self, net: VdVae, batch: Batch, glance: Glance, seen_BC: Tensor) -> float:
        """Squared error of the predicted change against predicting no change (1 = no better)."""
        change = net.change(batch.features_BCKF, batch.future_BCKF)
        shown = seen_BC[:, :, None, None]
        error = ((net.predict(batch.features_BCKF, glance, seen_BC) - change).square() * shown).sum()
        return float(error / (change.square() * shown).sum().clamp_min(1e-9))

    def _metres(self, actions_BHA: Tensor) -> NDArray[np.float64]:
        return self.act.scaler.invert(actions_BHA.numpy())


def _commit(latent: Tensor, codes: Tensor) -> Tensor:
    return (latent - codes).square().mean() if len(latent) else torch.zeros(())
