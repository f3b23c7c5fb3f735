"""What teleoperation devices share: the dead-man's switch, stick shaping, frames of reference. Pure, no clock, no I/O.

A device turns its own readings into one of three wishes: a speed (``SpeedHand``: sticks, SpaceMouse, touch pads), a
place in space (``PoseHand``: a tracked controller or phone) or joint angles (the leader arm's own file). All of them
stand behind the same ``Clutch``: nothing moves before the dead-man was seen released once, and what the hand did while
it was released is never caught up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hardware.rotations import (
    IDENTITY_WXYZ,
    conjugate,
    of_rotation_vector,
    product,
    rotated,
    rotation_vector,
    unit,
)
from workbench.core.errors import WorkbenchError
from workbench.core.types import ArmState

Vector = NDArray[np.float64]

# A tracked device (WebXR: x right, y up, z towards the viewer) facing the same way as the arm (x ahead, y left, z up).
_ROOM_TO_BASE = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
# The same device held as if it were the gripper: its pointing direction (-z) is the tool's z.
_HAND_TO_TOOL = np.diag([1.0, -1.0, -1.0])
_TELEPORT_M, _TELEPORT_RAD = 0.3, 1.5  # further between two readings is a loss of tracking, not a hand


class FrameOfReference(StrEnum):
    """What the operator's directions mean: those of the arm's base, or those of its tool (a view from the wrist)."""

    BASE = "base"
    TOOL = "tool"


class Grip(StrEnum):
    """The dead-man during one tick."""

    OPEN = "open"
    CLOSED = "closed"  # it closed in this tick: everything starts from here
    HELD = "held"


class Clutch:
    """A dead-man's switch that must be seen released before it counts, at the start and after every loss of input."""

    def __init__(self) -> None:
        self._seen_released = False
        self._held = False

    @property
    def waits_for_release(self) -> bool:
        """True while the switch is not trusted yet: let go of it once."""
        return not self._seen_released

    def update(self, held: bool | None) -> Grip:
        """One tick. ``held`` is None when nothing is known (unplugged, silent)."""
        if held is None:
            self._seen_released = self._held = False
            return Grip.OPEN
        was, self._held = self._held, held and self._seen_released
        self._seen_released |= not held
        if not self._held:
            return Grip.OPEN
        return Grip.HELD if was else Grip.CLOSED


def shaped(value: float, deadzone: float, expo: float) -> float:
    """A stick's deflection, -1 to 1, with its middle quiet and its inner half finer.

    Zero inside the dead zone, rising from zero at its edge to +-1 at the stop; continuous, odd, monotonic.
    ``(1 - expo) u + expo u^3`` of what lies beyond the dead zone. Not a number means no deflection.
    """
    if not np.isfinite(value):
        return 0.0
    beyond = (min(1.0, abs(value)) - deadzone) / (1.0 - deadzone)
    if beyond <= 0.0:
        return 0.0
    return float(np.copysign((1.0 - expo) * beyond + expo * beyond**3, value))


def clipped(vector: Vector, most: float) -> Vector:
    """The vector, shortened to length ``most``; zero if any number of it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(vector))
    if not np.isfinite(length):
        return np.zeros_like(vector)
    return vector * (most / length) if length > most else vector


def facing(degrees: float) -> Vector:
    """(4,) how the operator stands: degrees counter-clockwise from the arm's own x axis, seen from above."""
    return of_rotation_vector(np.array([0.0, 0.0, np.radians(degrees)]))


def check_choice(noun: str, value: str, choices: Iterable[str]) -> str:
    """The value, or WorkbenchError naming the choices."""
    known = [str(choice) for choice in choices]
    if value not in known:
        raise WorkbenchError(f"'{value}' is not a {noun}", "Choose one of: " + ", ".join(known))
    return value


def check_range(noun: str, value: float, low: float, high: float) -> float:
    """The value, or WorkbenchError naming the range."""
    if not low <= value <= high:
        raise WorkbenchError(f"{noun} is {value}", f"Give a number from {low} to {high}")
    return value


@dataclass(frozen=True, slots=True)
class Pace:
    """What full deflection means, and in whose frame.

    Attributes:
        speed_m_s, turn_rad_s, gripper_speed_s: the most that is ever asked for, per second.
        frame: a ``FrameOfReference``.
        facing_deg: where the operator looks; 180 for somebody who stands opposite the arm. Base frame only.
    """

    speed_m_s: float
    turn_rad_s: float
    gripper_speed_s: float = 1.5
    frame: str = FrameOfReference.BASE
    facing_deg: float = 0.0

    def __post_init__(self) -> None:
        check_choice("frame of reference", self.frame, FrameOfReference)
        check_range("the speed in m/s", self.speed_m_s, 0.0, 2.0)
        check_range("the turning speed in rad/s", self.turn_rad_s, 0.0, 6.0)
        check_range("the gripper's speed", self.gripper_speed_s, 0.0, 20.0)
        check_range("the direction faced in degrees", self.facing_deg, -360.0, 360.0)


class SpeedHand:
    """Deflections to moves: what is asked for per tick is speed times period, whatever the tick's rate."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._facing = facing(pace.facing_deg)

    def move(self, axes: Vector, state: ArmState, period_s: float) -> tuple[Vector, Vector]:
        """The (3,) displacement and (3,) rotation vector of one tick, base frame.

        Args:
            axes: (6,) deflections -1 to 1: ahead, left, up, and turning about these three. A diagonal is not faster.
        """
        linear = clipped(np.asarray(axes[:3], dtype=np.float64), 1.0) * (self._pace.speed_m_s * period_s)
        angular = clipped(np.asarray(axes[3:], dtype=np.float64), 1.0) * (self._pace.turn_rad_s * period_s)
        turn = self._facing if self._pace.frame == FrameOfReference.BASE else unit(state.pose.quaternion_wxyz)
        return rotated(turn, linear), rotated(turn, angular)


class PoseHand:
    """Places of a hand to moves, counted from where the clutch closed; the arm follows no faster than its pace.

    A hand faster than that is caught up with while the clutch stays closed, and forgotten when it opens.
    """

    def __init__(self, pace: Pace, scale: float) -> None:
        self._pace = pace
        self._scale = scale
        self._base = _room_to_base(pace.facing_deg)
        self._position: Vector | None = None
        self._quaternion = IDENTITY_WXYZ
        self._linear = _ROOM_TO_BASE
        self._moved, self._turned = np.zeros(3), IDENTITY_WXYZ
        self._wanted, self._wanted_turn = np.zeros(3), IDENTITY_WXYZ

    def lost(self, position_m: Vector, quaternion: Vector) -> bool:
        """True if the hand cannot have come here since the last reading: tracking was lost in between."""
        if not (np.all(np.isfinite(position_m)) and np.all(np.isfinite(quaternion))):
            return True
        if self._position is None:
            return False
        turn = rotation_vector(product(unit(quaternion), conjugate(self._quaternion)))
        far = float(np.linalg.norm(position_m - self._position)) > _TELEPORT_M
        return far or float(np.linalg.norm(turn)) > _TELEPORT_RAD

    def release(self) -> None:
        """The clutch is open: forget where the hand is."""
        self._position = None

    def move(self, position_m: Vector, quaternion: Vector, state: ArmState, period_s: float) -> tuple[Vector, Vector]:
        """The (3,) displacement and (3,) rotation vector of one tick, base frame; zero in the tick of closing.

        Args:
            position_m, quaternion: (3,) and (4,) w x y z of the hand, room frame (x right, y up, z to the viewer).
        """
        quaternion = unit(quaternion)
        if self._position is None:
            self._anchor(quaternion, state)
            self._position, self._quaternion = position_m, quaternion
        turn = rotation_vector(product(quaternion, conjugate(self._quaternion)))
        self._wanted = self._wanted + self._scale * (self._linear @ (position_m - self._position))
        self._wanted_turn = product(of_rotation_vector(self._linear @ turn), self._wanted_turn)
        self._position, self._quaternion = position_m, quaternion
        linear = clipped(self._wanted - self._moved, self._pace.speed_m_s * period_s)
        left = rotation_vector(product(self._wanted_turn, conjugate(self._turned)))
        angular = clipped(left, self._pace.turn_rad_s * period_s)
        self._moved = self._moved + linear
        self._turned = unit(product(of_rotation_vector(angular), self._turned))
        return linear, angular

    def _anchor(self, quaternion: Vector, state: ArmState) -> None:
        self._moved, self._turned = np.zeros(3), IDENTITY_WXYZ
        self._wanted, self._wanted_turn = np.zeros(3), IDENTITY_WXYZ
        if self._pace.frame == FrameOfReference.BASE:
            self._linear = self._base
        else:
            tool, hand = _matrix(unit(state.pose.quaternion_wxyz)), _matrix(quaternion)
            self._linear = tool @ _HAND_TO_TOOL @ hand.T


class GripperGoal:
    """The gripper that is wanted, 0 closed .. 1 open: kept while the clutch is open, so that nothing is dropped."""

    def __init__(self, speed_s: float) -> None:
        self._speed_s = speed_s
        self._goal: float | None = None
        self._lever: float | None = None

    def by_rate(self, rate: float, state: ArmState, period_s: float) -> float:
        """Open (rate 1) or close (-1) at its speed; the first goal is where the gripper is."""
        step = rate * self._speed_s * period_s if np.isfinite(rate) else 0.0
        return self._set(self._now(state) + step)

    def toggle(self, state: ArmState) -> None:
        """Close an open gripper, open a closed one."""
        self._set(0.0 if self._now(state) > 0.5 else 1.0)

    def by_lever(self, opening: float | None, state: ArmState) -> float:
        """Follow a lever's opening, 0 to 1, once it has been moved; call ``release`` whenever the clutch opens."""
        goal = self._now(state)
        if opening is None or not np.isfinite(opening):
            return self._set(goal)
        if self._lever is None:
            self._lever = opening
        if np.isfinite(self._lever) and abs(opening - self._lever) < 0.05:
            return self._set(goal)
        self._lever = np.nan  # it has been moved: from now on the gripper is where the lever is
        return self._set(opening)

    def release(self) -> None:
        """The lever must be moved again before it counts."""
        self._lever = None

    def _now(self, state: ArmState) -> float:
        measured = float(state.gripper) if np.isfinite(state.gripper) else 1.0
        return measured if self._goal is None else self._goal

    def _set(self, goal: float) -> float:
        self._goal = min(1.0, max(0.0, goal))
        return self._goal


def _matrix(quaternion: Vector) -> Vector:
    return np.stack([rotated(quaternion, axis) for axis in np.eye(3)], axis=1)


def _room_to_base(facing_deg: float) -> Vector:
    return np.asarray(_matrix(facing(facing_deg)) @ _ROOM_TO_BASE, dtype=np.float64)
