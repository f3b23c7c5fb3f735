"""Executing a policy's chunks by time: late actions are skipped, successive chunks are blended, old ones refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.core.types import ActionChunk, Pose

BLEND_S = 0.15


class ChunkPlayer:
    """Turns time-stamped chunks into the target due now. One thread; no clock of its own.

    Two chunks are kept: the newest and the one it takes over from. During ``BLEND_S`` after a take-over the target
    moves linearly from the old plan to the new one, so that the arm does not jump at a chunk's boundary.
    """

    def __init__(self) -> None:
        self._old: ActionChunk | None = None
        self._new: ActionChunk | None = None
        self._origin: NDArray[np.float64] | None = None
        self._taken_over_ns = 0
        self._refuse_before_ns = 0

    @property
    def chunk(self) -> ActionChunk | None:
        """The newest accepted chunk."""
        return self._new

    def reset(self, now_ns: int) -> None:
        """Forget all plans and refuse chunks computed from observations older than now."""
        self._old = self._new = None
        self._refuse_before_ns = now_ns

    def accept(self, chunk: ActionChunk, origin: NDArray[np.float64], now_ns: int) -> bool:
        """Take a chunk over if it is finite, newer than what is played and not from before the last reset.

        Args:
            chunk: the plan.
            origin: (8,) pose and gripper the arm holds now; the plan's starting point before its first action.
            now_ns: host time.
        """
        newest = self._new.t_observed_ns if self._new else -1
        if chunk.t_observed_ns < self._refuse_before_ns or chunk.t_observed_ns <= newest:
            return False
        if not np.all(np.isfinite(chunk.targets)) or now_ns > chunk.valid_until_ns:
            return False
        self._old, self._new = self._new, chunk
        self._origin = np.asarray(origin, dtype=np.float64)
        self._taken_over_ns = now_ns
        return True

    def target(self, now_ns: int) -> NDArray[np.float64] | None:
        """(8,) pose and gripper due now, or None when there is no valid plan."""
        if self._new is None or self._origin is None or now_ns > self._new.valid_until_ns:
            return None
        wanted = _at(self._new, self._origin, now_ns)
        share = (now_ns - self._taken_over_ns) / (BLEND_S * 1e9)
        if self._old is None or share >= 1 or now_ns > self._old.valid_until_ns:
            return wanted
        before = _at(self._old, self._origin, now_ns)
        return mix(before, wanted, share)


def mix(first: NDArray[np.float64], second: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Linear in position, normalised-linear in rotation; the gripper is the second's as soon as share > 0.5."""
    result = (1 - share) * first + share * second
    sign = 1.0 if float(first[3:7] @ second[3:7]) >= 0 else -1.0
    turned = (1 - share) * first[3:7] + share * sign * second[3:7]
    result[3:7] = turned / max(float(np.linalg.norm(turned)), 1e-9)
    result[7] = second[7] if share > 0.5 else first[7]
    return result


def _at(chunk: ActionChunk, origin: NDArray[np.float64], now_ns: int) -> NDArray[np.float64]:
    """The plan at a time: action k is due at t_observed + (k + 1) * step; before the first, from ``origin``."""
    phase = (now_ns - chunk.t_observed_ns) / (chunk.step_s * 1e9) - 1.0
    last = len(chunk.targets) - 1
    if phase >= last:
        return np.asarray(chunk.targets[last], dtype=np.float64)
    low = int(np.floor(phase))
    first = origin if low < 0 else chunk.targets[low]
    return mix(first, chunk.targets[low + 1], float(np.clip(phase - low, 0.0, 1.0)))


def pose_target(pose: Pose, gripper: float) -> NDArray[np.float64]:
    """(8,) vector of a pose and a gripper opening."""
    return np.concatenate([pose.position_m, pose.quaternion_wxyz, [gripper]]).astype(np.float64)
