"""What both policy stages learn from: windows of takes with true tokens (robot) and pseudo tokens (clips of people)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from models import align, text
from models.act_vae import ActVaeModel
from models.backbone import Backbone
from models.data import Batch, Rows, Windows
from models.encoders import Encoder
from models.recipes import PolicyRecipe
from models.stages import RunSpec
from models.takes import Takes, load_takes
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_MOST_HELD_OUT = 1024
_MOST = 6000  # rows for input statistics
_FULLY, _MOSTLY = 0.9, 0.85  # -1 closed .. +1 open; share of targets
_MOST_TRUST = 3.0  # times the mean confidence


class PolicyData:
    """Takes, windows and tokens of one run.

    Args:
        cameras: of the model the run starts from, or () to use those of the recipe that any robot take has.
        embed: how the policy takes in an instruction.

    Raises WorkbenchError if no robot window remains or the codec's time grid is another one.
    """

    def __init__(
        self,
        spec: RunSpec,
        home: Home,
        recipe: PolicyRecipe,
        codec: ActVaeModel,
        encoder: Encoder,
        cameras: tuple[str, ...],
        embed: Callable[[str], NDArray[np.float32]] = text.embed,
    ) -> None:
        if (codec.recipe.horizon, codec.recipe.step_s) != (recipe.horizon, recipe.step_s):
            raise WorkbenchError(
                f"the Act-VAE's chunks have {codec.recipe.horizon} steps of {codec.recipe.step_s} s, the recipe wants "
                f"{recipe.horizon} of {recipe.step_s} s",
                "Use the same horizon_s and step_s",
            )
        self.recipe, self.codec = recipe, codec
        labelled = bool(spec.bases.get("vd_vae")) and recipe.human_share > 0
        self.takes: Takes = load_takes(
            home, (*spec.episodes, *spec.replay), encoder, recipe.cameras, recipe.step_s, with_tips=labelled
        )
        seen = {name for take in self.takes if not take.is_human for name in take.features}
        self.cameras = cameras or tuple(name for name in recipe.cameras if name in seen)
        if not self.cameras:
            raise WorkbenchError("no robot take has pictures of the wanted cameras", "Record demonstrations first")
        self.windows = Windows(
            self.takes,
            recipe.horizon,
            scalers=codec.scalers,
            cameras=self.cameras,
            held_out=recipe.held_out,
            hold_out=spec.hold_out,
            embed=embed,
        )
        self._label(home, spec.bases.get("vd_vae", ""))

    def sample(self, generator: Generator, rows: Rows, batch: int) -> Batch:
        """A training batch; clips of people take the recipe's share where there are labelled ones."""
        return rows.sample(generator, batch, "both", self.human_share)

    def held_out_batch(self) -> Batch:
        """Robot windows of the takes that are only measured on, always the same. WorkbenchError if there are none."""
        rows = self.windows.held_out
        if not rows.count("robot"):
            raise WorkbenchError("no take is held out, so training cannot be ended by its loss", "Set patience=0")
        return rows.all("robot", _MOST_HELD_OUT)

    def fit_inputs(self, backbone: Backbone) -> None:
        """Take the input statistics of the training rows into the backbone."""
        robot = self.windows.train.all("robot", _MOST)
        features = robot.features_BCKF
        if self.human_share > 0:
            human = self.windows.train.all("human", _MOST // 2).features_BCKF.clone()
            human[:, 1:] = features[:, 1:].mean(dim=0)  # only the first camera of a person's clip counts
            features = torch.cat([features, human])
        known = robot.keyframe_BG[torch.isfinite(robot.keyframe_BG).all(dim=1)]
        backbone.fit(features, robot.state_BS, known if len(known) else torch.zeros(1, robot.keyframe_BG.shape[1]))

    def binary_gripper(self) -> bool:
        """Whether nearly all gripper targets are fully open or fully closed."""
        gripper = self.windows.actions_WHA[self.windows.has_action_W][..., 6]
        return float((gripper.abs() > _FULLY).double().mean()) > _MOSTLY

    def _label(self, home: Home, vd_vae: str) -> None:
        """True tokens for robot windows; pseudo tokens, weighted by confidence, for people's where there are any."""
        windows = self.windows
        robot = windows.has_action_W
        if not bool(robot.any()):
            raise WorkbenchError("there is no robot window to learn from", "Record demonstrations first")
        tokens_WN, weight_W = self._pseudo_tokens(home, vd_vae)
        self.human_share = self.recipe.human_share if bool((weight_W > 0).any()) else 0.0
        tokens_WN[robot] = self.codec.net.encode(windows.actions_WHA[robot])[1]
        windows.set_tokens(tokens_WN, torch.where(robot, 1.0, weight_W))

    def _pseudo_tokens(self, home: Home, vd_vae: str) -> tuple[Tensor, Tensor]:
        """Tokens and weights of all windows: confidence over its mean, times ``human_weight``; 0 for robot rows."""
        windows, recipe, tokens = self.windows, self.recipe, self.codec.recipe.tokens
        nothing = torch.zeros(len(windows.take_W))
        if not vd_vae or recipe.human_share <= 0 or not windows.train.count("human"):
            return torch.full((len(nothing), tokens), -1), nothing
        tokens_WN, confidence_W = align.label(home, vd_vae, windows)
        readable_W = windows.is_human_W & (tokens_WN >= 0).all(dim=1) & (confidence_W > 0)
        trusted = readable_W & (confidence_W >= recipe.confidence_min)
        if not bool(trusted.any()):
            return tokens_WN, nothing
        share_W = confidence_W / confidence_W[trusted].mean().clamp_min(1e-6)
        return tokens_WN.clone(), torch.where(trusted, recipe.human_weight * share_W.clamp_max(_MOST_TRUST), nothing)


def physical(windows: Windows, batch: Batch, actions_BHA: Tensor) -> Tensor:
    """Normalised chunks of robot rows in metres and radians, each by the scale of its own source; (B, H, 7) float64."""
    found = torch.zeros(actions_BHA.shape, dtype=torch.float64)
    sources = [windows.takes[int(take)].source for take in batch.take_B]
    for source in dict.fromkeys(sources):
        mine = torch.tensor([name == source for name in sources], dtype=torch.bool)
        if source in windows.scalers:
            found[mine] = torch.from_numpy(windows.scalers[source].invert(actions_BHA[mine].numpy()))
    return found


def join(first: Batch, second: Batch) -> Batch:
    """Both batches' rows, one after the other."""
    return Batch(*(torch.cat([getattr(first, name), getattr(second, name)]) for name in Batch.__slots__))
