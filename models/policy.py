"""The live policy: pictures, arm state and instruction in, a chunk of absolute targets out.

Inputs go through the same code as in training: ``Encoder.encode`` for every picture, ``normalize.state_vector`` for the
pose, ``TokenNet.embed`` for the instruction; outputs through ``ActionScaler.invert`` and ``normalize.apply_actions``,
the inverses of what made the training targets. All statistics come from the model's folder.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import familiarity, normalize, text
from models.backbone import Seen
from models.flow_head import fixed_noise
from models.policy_model import PolicyModel, load_policy_model
from models.rtc import Committed, draw_following, soft_mask
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import POSE_AXES, ActionChunk

HEADS = ("rf", "ntp")


class NoActionError(WorkbenchError):
    """The token head said something else than an action; there is no chunk, and whoever drives holds."""


class Policy:
    """One loaded model. Not thread-safe: make and use it in one thread.

    The flow head starts every chunk from the same noise, drawn once from ``seed``: successive chunks then stay with one
    of several equally good ways instead of jumping between them.
    """

    def __init__(self, model: PolicyModel, policy_id: str, *, seed: int = 0) -> None:
        self.model = model
        self.policy_id = policy_id
        self.step_s = model.recipe.step_s
        size = model.ntp.backbone.size
        self._noise = fixed_noise(size.horizon, size.action, seed)
        self.familiar: familiarity.Familiarity | None = None
        self._last: tuple[Tensor, Seen] | None = None
        self._said: tuple[str, Tensor] = ("", torch.zeros(1, text.TEXT_SIZE))
        self._chance = torch.Generator().manual_seed(seed)

    @classmethod
    def load(cls, folder: Path, *, seed: int = 0) -> Policy:
        """A policy from a model folder (its name is the policy's id). WorkbenchError if the folder is broken."""
        policy = cls(load_policy_model(folder), folder.name, seed=seed)
        policy.familiar = familiarity.Familiarity.load(folder)
        return policy

    def unusual(self) -> dict[str, float]:
        """How far the last observation is from what was trained on, and how unsure the tokens are; see ``familiarity``.

        ``distance`` and ``distance_limit`` are missing for models that were trained without these statistics.
        """
        if self._last is None:
            return {}
        features, seen = self._last
        with torch.inference_mode():
            found = {"token_entropy": float(self.model.ntp.unsureness(seen)[0])}
            if self.familiar is not None and features.flatten(1).shape[1] == len(self.familiar.mean):
                found["distance"] = float(self.familiar.distance(features)[0])
                found["distance_limit"] = self.familiar.limit
        return found

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras whose pictures ``act`` needs."""
        return self.model.cameras

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads this model has, the default first."""
        return HEADS if self.model.rf is not None else ("ntp",)

    def act(
        self,
        pictures: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.floating],
        axes: Sequence[str],
        instruction: str,
        t_observed_ns: int,
        *,
        head: str = "rf",
        euler_steps: int | None = None,
    ) -> ActionChunk:
        """The next chunk: (H, 8) absolute targets in the base frame, action k due ``(k + 1) * step_s`` later.

        Args:
            pictures: (H, W, 3) uint8 by camera name, any resolution.
            state: ``observation.state`` item with the names of its numbers in ``axes``.
            head: ``rf`` or ``ntp``.
            euler_steps: integration steps of the flow head, 1 to 10; None = the recipe's.

        Raises WorkbenchError if a camera, a pose axis or the head is missing or a number is not finite, NoActionError
        if the token head says no action.
        """
        pose0 = pose_of(state, axes)
        return self.plan(pictures, pose0, instruction, t_observed_ns, head=head, euler_steps=euler_steps)

    def plan(
        self,
        pictures: Mapping[str, NDArray[np.uint8]],
        pose0: NDArray[np.float64],
        instruction: str,
        t_observed_ns: int,
        *,
        head: str = "rf",
        euler_steps: int | None = None,
        committed: Committed | None = None,
    ) -> ActionChunk:
        """``act`` from a pose (8,), and if ``committed`` is given as the continuation of that plan (flow head only)."""
        begun = time.perf_counter()
        if head not in self.heads:
            raise NotFoundError.of("head of this model", head, self.heads)
        committed = committed if head == "rf" and committed is not None and len(committed.targets) else None
        with torch.inference_mode():
            seen = self.see(pictures, pose0, instruction)
            if committed is None:
                normalised = self.chunk(seen, head, euler_steps)
            else:
                normalised = self._continued(seen, pose0, committed, euler_steps)
        actions = self.model.scaler.invert(normalised[0].numpy())
        if self.model.binary_gripper:
            # Half-open commands were never shown; following one would lead to states that were never seen either.
            actions[:, 6] = np.sign(actions[:, 6])
        targets = normalize.apply_actions(pose0, actions)
        if not np.all(np.isfinite(targets)):
            raise WorkbenchError(
                f"the policy {self.policy_id} gave numbers that are not finite", "Choose another model"
            )
        latency_ms = 1000.0 * (time.perf_counter() - begun)
        follows = committed.chunk if committed is not None else -1
        return ActionChunk(t_observed_ns, self.step_s, targets, self.policy_id, latency_ms, follows=follows)

    @torch.inference_mode()
    def see(self, pictures: Mapping[str, NDArray[np.uint8]], pose0: NDArray[np.float64], instruction: str) -> Seen:
        """What the backbone makes of one observation (B = 1)."""
        features, state = self.observe(pictures, pose0)
        said = self._understand(instruction)
        seen = self.model.ntp.see(features, state, said, torch.ones(1, dtype=torch.bool))
        self._last = features, seen
        return seen

    def observe(self, pictures: Mapping[str, NDArray[np.uint8]], pose0: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Features (1, C, K, F) and state (1, S), equal to a training row of the same instant."""
        missing = [name for name in self.cameras if name not in pictures]
        if missing:
            raise WorkbenchError(f"the policy sees no picture of the camera '{missing[0]}'", "Check the camera")
        features = np.stack([self.model.encoder.encode(pictures[name]) for name in self.cameras])
        return torch.from_numpy(features)[None], torch.from_numpy(normalize.state_vector(pose0))[None]

    @property
    def noise(self) -> Tensor:
        """What the flow head starts every chunk from, (1, H, A)."""
        return self._noise

    def chunk(self, seen: Seen, head: str, euler_steps: int | None = None) -> Tensor:
        """Normalised actions (1, H, A) of one head. NoActionError as ``act``."""
        model = self.model
        if head == "ntp" or model.rf is None:
            return model.codec.net.decode(self._said_tokens(seen))
        return model.rf.flow.draw(seen, self._noise, euler_steps or model.euler_steps)

    def _said_tokens(self, seen: Seen) -> Tensor:
        """Tokens (1, N) of the token head. NoActionError if it breaks off: part of a chunk is no motion."""
        tokens_BN = self.model.ntp.say(seen, self.model.recipe.temperature, self._chance)
        if bool((tokens_BN < 0).any()):
            valid, needed = int((tokens_BN >= 0).sum()), tokens_BN.shape[1]
            raise NoActionError(
                f"the policy {self.policy_id} broke off after {valid} of {needed} action tokens",
                "The arm holds. If it goes on, choose another model, the flow head, or train this one longer",
            )
        return tokens_BN

    def _continued(
        self, seen: Seen, pose0: NDArray[np.float64], committed: Committed, euler_steps: int | None
    ) -> Tensor:
        """Normalised actions (1, H, A) of the flow head that go on from the running plan."""
        model = self.model
        if model.rf is None:
            raise NotFoundError.of("head of this model", "rf", self.heads)
        horizon = self._noise.shape[1]
        overlap = min(len(committed.targets), horizon)
        # Past the running plan's end the weights are 0; its last target only fills the rows.
        filled = committed.targets[np.minimum(np.arange(horizon), overlap - 1)]
        running = self.model.scaler.normalise(normalize.chunk_actions(pose0, filled))
        weights = torch.from_numpy(soft_mask(horizon, overlap, committed.frozen))
        plan = torch.from_numpy(running)[None]
        return draw_following(model.rf.flow, seen, self._noise, plan, weights, euler_steps or model.euler_steps)

    def _understand(self, instruction: str) -> Tensor:
        if instruction != self._said[0]:
            numbers = self.model.ntp.understand(instruction, self.model.instructions)
            self._said = instruction, torch.from_numpy(numbers)[None]
        return self._said[1]


def pose_of(state: NDArray[np.floating], axes: Sequence[str]) -> NDArray[np.float64]:
    """(8,) position, quaternion and gripper out of a state item. WorkbenchError if one is missing or not finite."""
    try:
        columns = [axes.index(name) for name in (*POSE_AXES, "gripper")]
    except ValueError as error:
        raise WorkbenchError(f"the arm's state lacks an axis the policy needs ({error})", "Check the arm") from None
    pose = np.asarray(state, dtype=np.float64)[columns]
    if not np.all(np.isfinite(pose)):
        raise WorkbenchError("the arm's state is not finite", "Check the arm")
    return pose
