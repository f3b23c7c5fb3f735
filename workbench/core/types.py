"""The nouns that travel between rooms. Plain frozen values; arrays are never copied behind your back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32] | NDArray[np.float64]
Image = NDArray[np.uint8]


class EpisodeKind(StrEnum):
    """Where a take came from."""

    HUMAN = "human"
    TELEOP = "teleop"
    ROLLOUT = "rollout"
    IMPORTED = "imported"


class Outcome(StrEnum):
    """How a take ended, as labelled by a person or a success predicate."""

    UNLABELLED = "unlabelled"
    SUCCESS = "success"
    FAILURE = "failure"


class Authority(StrEnum):
    """Who commands the arm during one control tick. The order is the code stored on disk."""

    NOBODY = "nobody"
    OPERATOR = "operator"
    POLICY = "policy"

    @property
    def code(self) -> int:
        """Small integer stored per tick in the ``authority`` stream."""
        return list(Authority).index(self)


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One recorded stream.

    Attributes:
        name: LeRobot-style name, for example ``observation.images.front``.
        shape: shape of one item, ``(H, W, 3)``, ``(H, W)`` or ``(D,)``.
        dtype: NumPy dtype name.
        unit: unit of the numbers (``mm`` for depth, ``SI`` for mixed vectors, "" for colour).
        rate_hz: nominal rate.
        axes: for vectors, the name of each of the D numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str = ""
    rate_hz: float = 30.0
    axes: tuple[str, ...] = ()

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def to_json(self) -> dict[str, Any]:
        """Plain values for manifests and pipes; ``from_json`` inverts it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "unit": self.unit,
            "rate_hz": self.rate_hz,
            "axes": list(self.axes),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StreamSpec:
        """Invert ``to_json``."""
        return cls(
            name=value["name"],
            shape=tuple(value["shape"]),
            dtype=value["dtype"],
            unit=value.get("unit", ""),
            rate_hz=float(value.get("rate_hz", 30.0)),
            axes=tuple(value.get("axes", ())),
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One item of one stream: a picture or a vector, with its times.

    Attributes:
        sequence: the device's own running number, from 0; a jump is a drop.
        t_device_ns: the device's clock.
        t_host_ns: the host's monotonic clock (the simulated clock in lockstep).
        gap_before: items known to be missing directly before this one.
        data: the item, shape and dtype of its ``StreamSpec``.
    """

    sequence: int
    t_device_ns: int
    t_host_ns: int
    gap_before: int
    data: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pose:
    """Position (m) and orientation (unit quaternion, w x y z) in the arm's base frame."""

    position_m: NDArray[np.float64]
    quaternion_wxyz: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ArmState:
    """What an arm measures about itself at one instant.

    Attributes:
        t_device_ns, t_host_ns: when it was measured.
        joints_rad: (N,) positions.
        velocities_rad_s: (N,) velocities.
        gripper: 0 closed .. 1 open.
        pose: the tool centre point in the base frame.
        mode: the controller's own word ("position", "idle", "fault: ...").
        effort: (N,) how hard each motor works in the arm's own unit (Nm, A, share of the most), None if not reported.
    """

    t_device_ns: int
    t_host_ns: int
    joints_rad: NDArray[np.float64]
    velocities_rad_s: NDArray[np.float64]
    gripper: float
    pose: Pose
    mode: str = "position"
    effort: NDArray[np.float64] | None = None

    def vector(self) -> NDArray[np.float32]:
        """The ``observation.state`` item; see ``arm_axes``."""
        return arm_vector(self.joints_rad, self.gripper, self.pose)


@dataclass(frozen=True, slots=True)
class ArmCommand:
    """A wanted joint target. After ``expires_ns`` (host clock) the arm must hold instead of following it."""

    joints_rad: NDArray[np.float64]
    gripper: float
    expires_ns: int


@dataclass(frozen=True, slots=True)
class TeleopAction:
    """What an operator's hand asks for during one tick.

    Attributes:
        linear_m: (3,) end-effector displacement wanted during this tick, base frame.
        angular_rad: (3,) rotation vector wanted during this tick, base frame.
        gripper: 0 closed .. 1 open.
        engaged: True while the dead-man is held; False means "do not move".
        joints_rad: (N,) joint positions wanted instead of the two moves, from a device built like the arm; None for a
            device that asks for moves.
    """

    linear_m: NDArray[np.float64]
    angular_rad: NDArray[np.float64]
    gripper: float
    engaged: bool = True
    joints_rad: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """N future actions of a policy.

    Attributes:
        t_observed_ns: host time of the observation the chunk was computed from.
        step_s: seconds between actions; action k is due at ``t_observed_ns + (k + 1) * step_s``.
        targets: (N, 8) absolute targets: x y z (m), quaternion w x y z, gripper; base frame.
        policy_id: the model that made it.
        latency_ms: how long inference took.
        number: running number of the policy's chunks, -1 = not numbered.
        epoch: the arm's epoch (see ``chunks.Played``) when the observation was taken, -1 = unknown.
        follows: number of the chunk whose committed actions this one continues, -1 = drawn freely.
    """

    t_observed_ns: int
    step_s: float
    targets: NDArray[np.float64]
    policy_id: str
    latency_ms: float = 0.0
    number: int = -1
    epoch: int = -1
    follows: int = -1

    @property
    def valid_until_ns(self) -> int:
        """Host time after which the chunk may no longer be begun and, at full pace, none of it executed."""
        return self.t_observed_ns + int((len(self.targets) + 1) * self.step_s * 1e9)


POSE_AXES = ("ee.x", "ee.y", "ee.z", "ee.qw", "ee.qx", "ee.qy", "ee.qz")


def arm_axes(joints: int, prefix: str = "") -> tuple[str, ...]:
    """Names of the numbers in an arm vector: joints (rad), gripper, tool position (m), tool quaternion."""
    names = (*(f"joint_{i + 1}" for i in range(joints)), "gripper", *POSE_AXES)
    return tuple(prefix + name for name in names)


def arm_vector(joints_rad: FloatArray, gripper: float, pose: Pose) -> NDArray[np.float32]:
    """Pack one arm state or command, shape (N + 8,), in the order of ``arm_axes``."""
    parts = (joints_rad, [gripper], pose.position_m, pose.quaternion_wxyz)
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])


@dataclass(frozen=True, slots=True)
class TakeInfo:
    """What is known about a take before its first frame.

    Attributes:
        task: the task's short name, for example ``red_cube_to_white_plate``.
        instruction: the sentence a person would say.
        clock: ``realtime`` or ``lockstep``.
        devices: per device its identity (kind, serial, intrinsics, ...).
        settings: the frozen settings that were in force.
        extra: anything else worth keeping (policy id, trial number, seed, source file ...).
    """

    kind: EpisodeKind
    task: str
    instruction: str
    operator: str = ""
    scene: str = ""
    station: str = ""
    clock: str = "realtime"
    devices: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
