"""CLAP-RF: trains the flow head on the NTP's features, and fine-tunes with Knowledge Matching against a frozen copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from models import bundle, familiarity, km
from models.backbone import Seen
from models.data import Batch, Rows, Windows
from models.flow_head import RfNet, draw_times, flow_loss
from models.keeping import OldDirections
from models.language.net import LanguageNet
from models.ntp import decayed, ntp_loss, policy_groups
from models.policy_data import PolicyData, join
from models.policy_metrics import measure
from models.policy_model import PolicyModel, input_noise, load_policy_model
from models.recipes import RfRecipe
from models.registry import model_folder
from models.stages import RunSpec
from models.train import Result
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_LEAST_FREE = 0.2  # share of a new instruction's vector that must point where no old one does


class RfStage:
    """Trains backbone, token head and flow head together; a ``Stage``.

    From base ``ntp`` the flow head is new. From base ``rf`` the run is a fine-tuning: ``episodes`` are the new takes,
    ``replay`` some that the base knew, and the base itself is the frozen reference.
    """

    recipe: RfRecipe

    def __init__(self, spec: RunSpec, home: Home) -> None:
        if not isinstance(spec.recipe, RfRecipe):
            raise WorkbenchError("CLAP-RF needs an rf recipe")
        self.spec, self.home, self.recipe = spec, home, spec.recipe
        torch.manual_seed(self.recipe.seed)
        self.parent = spec.bases.get("rf") or spec.bases["ntp"]
        base = load_policy_model(model_folder(home, self.parent))
        self._tuning = base.rf is not None
        self.data = PolicyData(spec, home, self.recipe, base.codec, base.encoder, base.cameras, base.ntp.embed)
        self.net = self._network(base)
        self.module: nn.Module = self.net
        names = (*base.instructions, *self.data.windows.instructions)
        self.model = PolicyModel(
            base.encoder,
            base.codec,
            self.net.ntp,
            self.net,
            self.recipe,
            base.cameras,
            tuple(dict.fromkeys(names)),
            base.binary_gripper and self.data.binary_gripper(),
        )
        self.reference = km.freeze(base.rf) if base.rf is not None and self._matches() else None
        old = held_instructions(base.instructions, self.data.windows, spec)
        self._old_IE = torch.from_numpy(np.stack([base.ntp.embed(name) for name in old])) if old else None
        self._kept = self._keep([name for name in self.data.windows.instructions if name not in old])
        train = self.data.windows.train
        self._new: Rows = train.of(spec.episodes)
        self._old: Rows = train.of(spec.replay)
        if not self._new.count("robot"):
            raise WorkbenchError("none of the new takes has a robot window to learn from", "Record demonstrations")

    def parameters(self) -> list[dict[str, Any]]:
        backbone = self.recipe.backbone_lr_factor
        share = self.recipe.tune_lr_factor if self._tuning else 1.0
        groups = decayed(self.net.flow, share)
        if backbone > 0:
            said = self._kept is not None
            groups += policy_groups(self.net.ntp, self.recipe, backbone * share, backbone, said=said)
        return groups

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        batch, new = self._draw(generator)
        seen = self.net.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
        total, figures = ntp_loss(self.net.ntp, self.recipe, seen, batch, self.recipe.token_weight)
        flow = self._flow(seen, batch)
        total = total + self.recipe.flow_weight * flow
        figures["flow"] = float(flow.detach())
        if self.reference is not None:
            matching, more = self._match(self.reference, batch if self.recipe.km_replayed else new, len(new))
            return total + matching, figures | more
        return total, figures

    def held_out_loss(self) -> float:
        """The loss without input noise and without matching on takes, new and old, that are only measured on."""
        batch = self.data.held_out_batch()
        seen = self.net.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
        total, _ = ntp_loss(self.net.ntp, self.recipe, seen, batch, self.recipe.token_weight)
        return float(total + self.recipe.flow_weight * self._flow(seen, batch))

    def after_step(self, generator: Generator, step: int) -> None:
        """Take back what the weights that read the instruction moved in old directions, if that is asked for."""
        if self._kept is not None:
            self._kept.restore()

    def evaluate(self) -> Result:
        return measure(self.model, self.data)

    def save(self, folder: Path, result: Result) -> None:
        familiarity.fit_and_save(self.data.windows.train, model_folder(self.home, self.spec.model_id))
        model = self.model
        bundle.save_model(
            self.spec,
            self.home,
            model.tensors(),
            model.meta(),
            result,
            self.data.takes,
            encoder=model.encoder,
            parent=self.parent,
        )

    def _network(self, base: PolicyModel) -> RfNet:
        """The base's networks, with a new flow head if it has none, and this run's noise."""
        recipe = self.recipe
        net = base.rf or RfNet(base.ntp, width=recipe.flow_width, depth=recipe.flow_layers, heads=recipe.heads)
        net.ntp.backbone.noise = input_noise(recipe)
        net.ntp.requires_grad_(recipe.backbone_lr_factor > 0)
        return net

    def _keep(self, new: Sequence[str]) -> OldDirections | None:
        """What holds old instructions, None where none are to be held or the new ones would have no room to learn."""
        backbone = self.net.ntp.backbone
        wanted = self._tuning and self.recipe.protect_old and self._old_IE is not None
        if not wanted or self._old_IE is None or isinstance(self.net.ntp, LanguageNet):
            return None  # a language model reads sentences, not vectors
        kept = OldDirections(backbone.said_weights(), self._old_IE)
        said = [torch.from_numpy(self.net.ntp.embed(name)) for name in new]
        if said and float(kept.free_share(torch.stack(said)).min()) < _LEAST_FREE:
            return None  # matching and rehearsal alone hold on then
        return kept

    def _matches(self) -> bool:
        recipe = self.recipe
        return max(recipe.km_token_weight, recipe.km_velocity_weight, recipe.km_regression_weight) > 0

    def _draw(self, generator: Generator) -> tuple[Batch, Batch]:
        """A training batch of new and, by the replay share, old rows; and the new rows alone."""
        size = self.recipe.batch
        old = round(size * self.recipe.replay_share) if self._old.count("robot") else 0
        new = self.data.sample(generator, self._new, size - old)
        if not old:
            return new, new
        return join(new, self._old.sample(generator, old, "robot")), new

    def _said(self, batch: Batch, new: int) -> tuple[Tensor, Tensor]:
        """What every row is asked under, (B, E), and which rows there is something to ask about, (B,)."""
        if not self.recipe.km_old_instructions:
            return batch.text_BE, torch.ones(len(batch), dtype=torch.bool)
        if self._old_IE is None:
            return batch.text_BE, torch.zeros(len(batch), dtype=torch.bool)
        barred_BI = km.same_instruction(batch.text_BE, self._old_IE)
        barred_BI[new:] = False
        return km.old_instructions(self._old_IE, barred_BI)

    def _flow(self, seen: Seen, batch: Batch) -> Tensor:
        """Flow loss of robot rows, each with ``time_draws`` times and noises."""
        draws, robot = self.recipe.time_draws, batch.has_action_B
        index = torch.nonzero(robot)[:, 0].repeat(draws)
        rows = Seen(seen.feature_BD[index], seen.state_BS[index], seen.keyframe_BG[index], seen.regression_BHA[index])
        actions = batch.actions_BHA[index]
        times = draw_times(len(index), self.recipe.beta_a, self.recipe.beta_b)
        return flow_loss(self.net.flow, rows, actions, torch.ones(len(index)), times, torch.randn_like(actions))

    def _match(self, reference: RfNet, batch: Batch, new: int) -> tuple[Tensor, dict[str, float]]:
        """Weighted distance to the reference on pictures, the first ``new`` of them new, under old instructions unless
        told otherwise; a new picture is never asked about under its own, which its own action answers.
        """
        recipe = self.recipe
        said, asks_B = self._said(batch, new)
        keep_B = batch.has_action_B & asks_B
        if not bool(keep_B.any()):
            return torch.zeros(()), {}
        rows, said = batch.where(keep_B), said[keep_B]
        asked = km.Asked(rows.features_BCKF, rows.state_BS, said, rows.has_action_B)
        found = km.mismatch(reference, self.net, asked, draw_times(len(rows), recipe.beta_a, recipe.beta_b))
        of_loss = (recipe.token_weight, recipe.flow_weight, recipe.regression_weight)
        token, velocity, regression = of_loss if recipe.km_relative else (1.0, 1.0, 1.0)
        total = (
            recipe.km_token_weight * token * found.token_kl
            + recipe.km_velocity_weight * velocity * found.velocity
            + recipe.km_regression_weight * regression * found.regression
        )
        parts = {"km_token": found.token_kl, "km_velocity": found.velocity, "km_regression": found.regression}
        return total, {name: float(value.detach()) for name, value in parts.items()}


def held_instructions(known: Sequence[str], windows: Windows, spec: RunSpec) -> tuple[str, ...]:
    """The instructions a model keeps its answers to: all it knows but those that the new takes now answer.

    One that new takes carry stays if a rehearsed take carries it too: then it is an old task that gets more takes. What
    the model knows from clips of people alone is new to the arm.
    """
    new, old = set(spec.episodes), set(spec.replay)
    shown = {take.instruction for take in windows.takes if take.episode_id in old and not take.is_human}
    taught = {take.instruction for take in windows.takes if take.episode_id in new and not take.is_human}
    return tuple(name for name in known if name in shown or name not in taught)
