"""A trained policy as one thing: encoder, codec, networks and scales; its folder holds all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models import bundle, checkpoint
from models.act_vae import ActVaeModel, act_vae_from
from models.backbone import Backbone, BackboneSize, InputNoise
from models.encoders import Encoder
from models.flow_head import RfNet
from models.language import making
from models.language.net import LanguageNet
from models.language.pictures import Pictures
from models.normalize import ActionScaler
from models.recipes import PolicyRecipe, RfRecipe, recipe_from_json
from models.token_head import NtpNet, TokenNet
from workbench.core.errors import WorkbenchError

_NET, _CODEC = "net", "act_vae.net"
_WIDEST, _DEEPEST = 65536, 64


@dataclass(frozen=True, slots=True)
class PolicyModel:
    """Everything needed to act, or to train on.

    Attributes:
        encoder: pictures to keypoints. codec: tokens to chunks, with the scale of every source of actions.
        ntp: backbone and token head. rf: the same ``ntp`` with a flow head, or None for a CLAP-NTP model.
        recipe: of the run that made it.
        cameras: order of the pictures.
        instructions: what it was trained on, oldest first; old ones stay when it is fine-tuned.
        binary_gripper: whether it was only ever shown an open or a closed gripper.
    """

    encoder: Encoder
    codec: ActVaeModel
    ntp: TokenNet
    rf: RfNet | None
    recipe: PolicyRecipe
    cameras: tuple[str, ...]
    instructions: tuple[str, ...]
    binary_gripper: bool

    @property
    def module(self) -> TokenNet | RfNet:
        """The network with all heads."""
        return self.rf if self.rf is not None else self.ntp

    @property
    def scaler(self) -> ActionScaler:
        """The scale of the station's own actions."""
        return self.codec.scaler

    @property
    def euler_steps(self) -> int:
        """Integration steps of the flow head, 1 to 10."""
        return self.recipe.integration_steps if isinstance(self.recipe, RfRecipe) else 0

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the networks and the codec; the encoder is saved by ``bundle.save_model``."""
        tensors = checkpoint.with_prefix(_NET, self.module.state_dict())
        return tensors | checkpoint.with_prefix(_CODEC, self.codec.net.state_dict())

    def meta(self) -> dict[str, Any]:
        """Shapes, scales and names; with ``tensors`` and the encoder all that ``policy_model_from`` needs."""
        flow = self.rf.flow if self.rf is not None else None
        return {
            "size": asdict(self.ntp.backbone.size),
            "flow": {"width": flow.width, "depth": flow.depth, "heads": flow.heads} if flow is not None else None,
            "act_vae_recipe": self.codec.recipe.to_json(),
            "scalers": {name: scaler.to_json() for name, scaler in self.codec.scalers.items()},
            "cameras": list(self.cameras),
            "instructions": list(self.instructions),
            "binary_gripper": self.binary_gripper,
            "language": making.described(self.ntp) if isinstance(self.ntp, LanguageNet) else None,
        }


def load_policy_model(folder: Path) -> PolicyModel:
    """A finished CLAP-NTP or CLAP-RF model, in evaluation mode. WorkbenchError if it is broken or another stage's."""
    return policy_model_from(*checkpoint.load(folder), near=folder.parent.parent)


def policy_model_from(tensors: Mapping[str, Tensor], meta: Mapping[str, Any], near: Path | None = None) -> PolicyModel:
    """Invert ``PolicyModel.tensors`` and ``meta``; ``near`` is a data folder that may hold the base it stands on."""
    if meta.get("stage") not in ("ntp", "rf"):
        raise WorkbenchError(
            f"a model of the stage '{meta.get('stage')}' cannot drive", "Choose a CLAP-NTP or CLAP-RF model"
        )
    with checkpoint.described():
        codec = act_vae_from(checkpoint.with_prefix("net", checkpoint.part(tensors, _CODEC)), dict(meta))
        recipe = recipe_from_json(meta["recipe"])
        if not isinstance(recipe, PolicyRecipe):
            raise WorkbenchError("the model's recipe is not a policy's", "Train the model anew")
        size, flow = _sizes(meta)
        names = tuple(map(str, meta["cameras"])), tuple(map(str, meta["instructions"]))
        noise, book = input_noise(recipe), (codec.recipe.tokens, codec.recipe.codes)
        brain = making.brain_again(meta["language"], names[0], near) if meta.get("language") else None

        def make() -> TokenNet | RfNet:
            ntp = making.new_net(brain, size, noise, *book) if brain else NtpNet(Backbone(size, noise), *book)
            return RfNet(ntp, **flow) if flow else ntp

        module = checkpoint.build(make, checkpoint.part(tensors, _NET)).eval()
        encoder = Pictures(brain.px) if brain else bundle.encoder_from(tensors, meta)
        if encoder.shape != (size.clusters, size.numbers):
            raise WorkbenchError("the model's encoder does not fit its network", "Train the model anew")
    rf, ntp = (module, module.ntp) if isinstance(module, RfNet) else (None, module)
    return PolicyModel(encoder, codec, ntp, rf, recipe, *names, bool(meta.get("binary_gripper")))


def _sizes(meta: Mapping[str, Any]) -> tuple[BackboneSize, dict[str, int]]:
    """Sizes of backbone and flow head, each within reason: they come out of a file."""
    most = {"depth": _DEEPEST}
    numbers = {name: value for name, value in meta["size"].items() if name != "by_role"}
    size = {name: checkpoint.whole(value, most.get(name, _WIDEST)) for name, value in numbers.items()}
    flow = {name: checkpoint.whole(value, most.get(name, _WIDEST)) for name, value in (meta["flow"] or {}).items()}
    return BackboneSize(**size, by_role=bool(meta["size"].get("by_role"))), flow


def input_noise(recipe: PolicyRecipe) -> InputNoise:
    """What a recipe adds to the inputs while training."""
    return InputNoise(
        features=recipe.feature_noise,
        shift=recipe.shift_noise,
        state=recipe.proprio_noise,
        text=recipe.text_noise,
        outside=recipe.outside_share,
    )


def backbone_size(recipe: PolicyRecipe, cameras: int, encoder: Encoder, text_size: int) -> BackboneSize:
    """The shape of a new backbone for a recipe and an encoder."""
    clusters, numbers = encoder.shape
    return BackboneSize(
        cameras=cameras,
        clusters=clusters,
        numbers=numbers,
        state=10,
        text=text_size,
        keyframe=3,
        horizon=recipe.horizon,
        action=7,
        width=recipe.width,
        depth=recipe.layers,
        selectors=recipe.selectors,
        by_role=recipe.by_role,
    )
