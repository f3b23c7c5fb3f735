"""CLAP-NTP: trains the backbone with its token, keyframe and regression heads (CLAP stage 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from models import bundle, familiarity, text
from models.act_vae import ActVaeModel, load_act_vae
from models.backbone import Backbone, BackboneSize, Seen
from models.data import Batch
from models.language import making
from models.language.net import LanguageNet
from models.language.pictures import Pictures
from models.policy_data import PolicyData
from models.policy_metrics import measure
from models.policy_model import PolicyModel, backbone_size, input_noise
from models.recipes import NtpRecipe, PolicyRecipe
from models.registry import model_folder
from models.stages import RunSpec
from models.token_head import NtpNet, TokenNet, chunk_loss, token_loss
from models.train import Result
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_SOME = 2048  # rows for the statistics of the state, where every row brings pictures along


class NtpStage:
    """Learns true tokens of robot rows and pseudo tokens of people's clips; a ``Stage``.

    Its bases are ``act_vae`` and, for pseudo tokens and encoder, ``vd_vae``; without it clips of people are not used.
    """

    recipe: NtpRecipe

    def __init__(self, spec: RunSpec, home: Home) -> None:
        if not isinstance(spec.recipe, NtpRecipe):
            raise WorkbenchError("CLAP-NTP needs an ntp recipe")
        self.spec, self.home, self.recipe = spec, home, spec.recipe
        torch.manual_seed(self.recipe.seed)
        codec = load_act_vae(home, spec.bases["act_vae"])
        in_language = self.recipe.in_language
        encoder = Pictures(self.recipe.picture_px) if in_language else bundle.encoder_for(spec, home)
        self.data = PolicyData(spec, home, self.recipe, codec, encoder, (), making.embedding(self.recipe))
        size = backbone_size(self.recipe, len(self.data.cameras), encoder, text.TEXT_SIZE)
        self.net = net = self._network(size, codec)
        self.module: nn.Module = net
        names = self.data.cameras, self.data.windows.instructions
        self.model = PolicyModel(encoder, codec, net, None, self.recipe, *names, self.data.binary_gripper())

    def _network(self, size: BackboneSize, codec: ActVaeModel) -> TokenNet:
        """A new one, with the input statistics of the training rows."""
        recipe, noise = self.recipe, input_noise(self.recipe)
        if recipe.in_language:
            brain = making.new_brain(recipe, self.home.path, self.data.cameras)
            found = making.new_net(brain, size, noise, codec.recipe.tokens, codec.recipe.codes)
            some = self.data.windows.train.all("robot", _SOME)
            found.backbone.fit_body(some.state_BS, some.keyframe_BG)
            return found
        net = NtpNet(Backbone(size, noise), codec.recipe.tokens, codec.recipe.codes)
        self.data.fit_inputs(net.backbone)
        return net

    def parameters(self) -> list[dict[str, Any]]:
        return policy_groups(self.net, self.recipe)

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        batch = self.data.sample(generator, self.data.windows.train, self.recipe.batch)
        seen = self.net.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
        return ntp_loss(self.net, self.recipe, seen, batch, self.recipe.token_weight, self.recipe.label_smoothing)

    def held_out_loss(self) -> float:
        """The loss without noise on takes that are only measured on."""
        batch = self.data.held_out_batch()
        seen = self.net.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
        return float(ntp_loss(self.net, self.recipe, seen, batch, self.recipe.token_weight)[0])

    def after_step(self, generator: Generator, step: int) -> None:
        """Nothing moves without gradient here."""

    def evaluate(self) -> Result:
        return measure(self.model, self.data)

    def save(self, folder: Path, result: Result) -> None:
        familiarity.fit_and_save(self.data.windows.train, model_folder(self.home, self.spec.model_id))
        model = self.model
        parent = self.spec.bases.get("vd_vae", "")
        bundle.save_model(
            self.spec,
            self.home,
            model.tensors(),
            model.meta(),
            result,
            self.data.takes,
            encoder=model.encoder,
            parent=parent,
        )


def ntp_loss(
    net: TokenNet, recipe: PolicyRecipe, seen: Seen, batch: Batch, token_weight: float, smoothing: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """Token, regression and keyframe losses of one batch; the last two on robot rows only."""
    robot = batch.has_action_B.to(seen.feature_BD.dtype)
    logits = net.logits(seen, batch.tokens_BN.clamp_min(0))
    token = token_loss(logits, batch.tokens_BN.clamp_min(0), batch.token_weight_B, smoothing)
    regression = chunk_loss(seen.regression_BHA, batch.actions_BHA, robot)
    keyframe = net.backbone.keyframe_loss(seen, batch.keyframe_BG, robot)
    total = token_weight * token + recipe.regression_weight * regression + recipe.keyframe_weight * keyframe
    figures = {"token": token, "regression": regression, "keyframe": keyframe}
    return total, {name: float(value.detach()) for name, value in figures.items()}


def policy_groups(
    net: TokenNet, recipe: PolicyRecipe, rest: float = 1.0, select: float = 1.0, *, said: bool = False
) -> list[dict[str, Any]]:
    """Optimiser groups of backbone and token head: learning-rate factors of the selectors and of all else.

    AdamW decays by learning rate times weight decay, so the selectors' weight decay is divided by how much faster they
    learn: what is compared is the learning rate alone. With ``said`` it is every weight that reads the instruction that
    learns at the selectors' rate, without decay, and no bias does: those are common to all instructions.
    """
    if isinstance(net, LanguageNet):
        learned = nn.ModuleList([net.backbone.tuned, net.head])
        slow = rest * making.SLOWER[net.backbone.brain.tuning]
        return decayed(learned, slow) + decayed(net, rest, but=tuple(learned.parameters()))
    fast = select * recipe.selector_lr_factor
    if said:
        reading = [weight for weight, _ in net.backbone.said_weights() if weight.requires_grad]
        group = {"params": reading, "lr_factor": fast, "weight_decay": 0.0}
        return [group] * bool(reading) + decayed(net, rest, but=reading)
    if fast == rest:
        return decayed(net, rest)
    chosen = decayed(net.backbone.select, fast)
    for group in chosen:
        group.setdefault("weight_decay", recipe.weight_decay * rest / fast)
    return chosen + decayed(net, rest, but=tuple(net.backbone.select.parameters()))


def decayed(module: nn.Module, lr_factor: float = 1.0, but: Sequence[nn.Parameter] = ()) -> list[dict[str, Any]]:
    """Optimiser groups: matrices decay by the recipe's weight decay, biases and norms do not."""
    left_out = {id(p) for p in but}
    trained = [p for p in module.parameters() if p.requires_grad and id(p) not in left_out]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "lr_factor": lr_factor},
        {"params": [p for p in trained if p.ndim < 2], "lr_factor": lr_factor, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
