"""Action chunks on their way from the policy to the arm, and what the arm tells back about the one it executes.

A chunk travels through a ring as one flat vector of float64. The arm answers with one ``Played`` per control tick; the
policy learns from it which actions will be executed anyway while it thinks about the next chunk.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from workbench.core.types import ActionChunk, Frame, StreamSpec

_HEAD = 4  # latency_ms, step_s, epoch, follows
PLAYED = "policy.tick"
# How much of a chunk of the token head is executed before it is asked again: asked every 0.2 s it kept announcing the
# opening of the gripper for a little later, until the arm had gone past the target (docs/learning.md).
TOKENS_EXECUTE_S = 0.4
PLAYED_AXES = ("chunk", "step", "age_s", "delay_s", "blend", "epoch", "pace")


class Blend(StrEnum):
    """How successive chunks are joined.

    ``RTC``: real-time chunking, a chunk is drawn as the continuation of the one that is executed meanwhile, and what is
    left of a jump is cross-faded. ``FADE``: independent chunks, cross-faded. ``SWITCH``: independent chunks, the newest
    one counts at once. ``SYNCHRONOUS``: the arm stands while the policy thinks.
    """

    RTC = "rtc"
    FADE = "fade"
    SWITCH = "switch"
    SYNCHRONOUS = "synchronous"


class Withdrawal(IntEnum):
    """Why a policy takes back what it has sent: the arm must not wait until that has run out."""

    LOST = 1
    NONSENSE = 2


@dataclass(frozen=True, slots=True)
class Played:
    """What one control tick executes.

    Attributes:
        chunk: running number of the chunk in force, -1 = none.
        step: steps of the chunk's own time since its observation; action k is due at step k + 1.
        age_s: host time since that observation.
        delay_s: how long a chunk takes from observation to arm, decaying maximum.
        blend: share of the newest chunk in the target, 0..1; the rest is its predecessor's.
        epoch: counts corrections, holds, stops and changes of task; older observations are no longer acted on.
        pace: steps of the chunk executed per nominal step; below 1 while the policy needs longer than a chunk lasts.
    """

    chunk: int = -1
    step: float = 0.0
    age_s: float = 0.0
    delay_s: float = 0.0
    blend: float = 0.0
    epoch: int = 0
    pace: float = 1.0

    def vector(self) -> NDArray[np.float32]:
        """(7,) the item of the stream ``policy.tick``, in the order of ``PLAYED_AXES``."""
        return np.array(astuple(self), dtype=np.float32)

    @classmethod
    def from_vector(cls, item: NDArray[np.floating]) -> Played:
        """Invert ``vector``."""
        chunk, step, age_s, delay_s, blend, epoch, pace = (float(value) for value in item)
        return cls(int(chunk), step, age_s, delay_s, blend, int(epoch), pace)


def played_spec(rate_hz: float) -> StreamSpec:
    """The stream of what the arm executes, one item per control tick."""
    return StreamSpec(PLAYED, (len(PLAYED_AXES),), "float32", "", rate_hz, PLAYED_AXES)


def chunk_spec(steps: int, rate_hz: float = 10.0) -> StreamSpec:
    """The stream of chunks with ``steps`` actions each; t_host_ns is the observation's time, sequence the number."""
    return StreamSpec("policy.chunk", (_HEAD + steps * 8,), "float64", unit="SI", rate_hz=rate_hz)


def pack_chunk(chunk: ActionChunk) -> NDArray[np.float64]:
    """The ring item of a chunk."""
    head = [chunk.latency_ms, chunk.step_s, chunk.epoch, chunk.follows]
    return np.concatenate([head, chunk.targets.reshape(-1)]).astype(np.float64)


def pack_withdrawal(why: Withdrawal, steps: int) -> NDArray[np.float64]:
    """The ring item that takes back all chunks before it: no plan, its step is the reason, negative."""
    return np.concatenate([[0.0, -float(why), -1.0, -1.0], np.zeros(steps * 8)])


def unpack_chunk(frame: Frame, policy_id: str) -> ActionChunk:
    """Invert ``pack_chunk``; the policy's id does not travel with each item."""
    latency_ms, step_s, epoch, follows = (float(value) for value in frame.data[:_HEAD])
    targets = np.asarray(frame.data[_HEAD:], dtype=np.float64).reshape(-1, 8)
    return ActionChunk(
        frame.t_host_ns, step_s, targets, policy_id, latency_ms, frame.sequence, int(epoch), int(follows)
    )


def plan_at(targets: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """(8,) where a plan wants the tool ``step`` steps after its observation: action k at step k + 1, linear in between.

    Before its first action it is there already, after its last it stays there.
    """
    phase = float(np.clip(step - 1.0, 0.0, len(targets) - 1.0))
    low = min(int(phase), len(targets) - 2)
    if low < 0:
        return np.array(targets[0], dtype=np.float64)
    return mix(targets[low], targets[low + 1], phase - low)


def plan_change_m_s(chunk: ActionChunk) -> float:
    """The largest change of the tool's velocity from one step of a chunk to the next."""
    if len(chunk.targets) < 3:
        return 0.0
    return float(np.linalg.norm(np.diff(chunk.targets[:, :3], 2, axis=0), axis=1).max()) / chunk.step_s


def mix(first: NDArray[np.float64], second: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Linear in position, normalised-linear in rotation; the gripper is the second's as soon as share > 0.5."""
    result = (1 - share) * first + share * second
    sign = 1.0 if float(first[3:7] @ second[3:7]) >= 0 else -1.0
    turned = (1 - share) * first[3:7] + share * sign * second[3:7]
    result[3:7] = turned / max(float(np.linalg.norm(turned)), 1e-9)
    result[7] = second[7] if share > 0.5 else first[7]
    return result
