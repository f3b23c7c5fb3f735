"""Could the arm still stop in time? The braking rule, and every limit along the path that it leads through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hardware.arm import BodyKinematics, Kinematics, Limits
from hardware.body import Scene, below_table, intrusion

Vector = NDArray[np.float64]
_ROUNDING = 1e-12  # of a path that ends on a joint's limit; the guard puts what it sends exactly on it
BRAKING_SLACK = 1e-9  # a path that was safe a tick ago must be found safe again, whatever is rounded


@dataclass(frozen=True, slots=True)
class Bounds:
    """``Limits`` as arrays."""

    low: Vector
    high: Vector
    speed: Vector
    acceleration: Vector
    box_low: Vector
    box_high: Vector
    tool_speed_m_s: float
    scene: Scene


@lru_cache(maxsize=8)
def bounds_of(limits: Limits) -> Bounds:
    """The arrays of one station's limits, made once."""
    return Bounds(
        low=np.array(limits.joint_min_rad, float),
        high=np.array(limits.joint_max_rad, float),
        speed=np.array(limits.joint_speed_rad_s, float),
        acceleration=np.array(limits.joint_acceleration_rad_s2, float),
        box_low=np.array(limits.workspace_min_m, float),
        box_high=np.array(limits.workspace_max_m, float),
        tool_speed_m_s=limits.tool_speed_m_s,
        scene=Scene.of(limits),
    )


def brake(velocity: Vector, acceleration: Vector, period_s: float) -> Vector:
    """The next tick's speed when stopping as fast as allowed, all joints in proportion. (N,) rad/s.

    With n = ceil(max |v| / (a T)) ticks to go, every tick takes off 1/n; applied to its own result, n falls by one.
    """
    ticks = _braking_ticks(velocity, acceleration, period_s)
    return velocity * (1.0 - 1.0 / ticks) if ticks > 1 else np.zeros_like(velocity)


def _braking_ticks(velocity: Vector, acceleration: Vector, period_s: float) -> int:
    return int(np.ceil(float((np.abs(velocity) / acceleration).max()) / period_s - 1e-9))


def stopping_path(joints: Vector, velocity: Vector, acceleration: Vector, period_s: float) -> Vector:
    """(K, N) joint positions: now, after a tick at ``velocity``, and after every tick of ``brake`` until standstill."""
    ticks = max(1, _braking_ticks(velocity, acceleration, period_s))
    shares = np.cumsum(1.0 - np.arange(ticks) / ticks)
    return np.concatenate([joints[None], joints + (period_s * shares)[:, None] * velocity])


def stopping_speed(distance: Vector, acceleration: Vector, period_s: float) -> Vector:
    """The largest speed from which braking by a T every tick, this tick included, ends within ``distance``.

    Stopping from v takes T ((n + 1) v - a T n (n + 1) / 2) with n = floor(v / (a T)); solved for v.
    """
    unit = acceleration * period_s**2
    ticks = np.floor((np.sqrt(1.0 + 8.0 * distance / unit) - 1.0) / 2.0)
    speed: Vector = (distance / period_s + acceleration * period_s * ticks * (ticks + 1.0) / 2.0) / (ticks + 1.0)
    return speed


@lru_cache(maxsize=16)
def knows_body(kind: type) -> bool:
    """Whether this kind of kinematics implements ``BodyKinematics``."""
    return hasattr(kind, "path")


class Stopping:
    """Checks whether a speed can still be braked within every limit. One per tick of the guard."""

    def __init__(self, joints: Vector, bounds: Bounds, kinematics: Kinematics, period_s: float) -> None:
        self._joints, self._bounds, self._kinematics, self._period_s = joints, bounds, kinematics, period_s
        self._body = cast(BodyKinematics, kinematics) if knows_body(type(kinematics)) else None

    def brake(self, velocity: Vector) -> Vector:
        """``brake`` with this tick's numbers."""
        return brake(velocity, self._bounds.acceleration, self._period_s)

    def broken_limit(self, velocity: Vector, slack: float = 0.0) -> str:
        """The first limit broken by a tick at ``velocity`` and braking afterwards; "" when there is none.

        Names are those of ``GuardReason``. An arm that starts outside of a limit may move, but not further out (by more
        than ``slack``, in m or rad).
        """
        if not np.any(velocity):
            return ""
        bounds = self._bounds
        joints = stopping_path(self._joints, velocity, bounds.acceleration, self._period_s)
        if _further(_outside(joints, bounds.low, bounds.high), max(slack, _ROUNDING)):
            return "JOINT_POSITION"
        tool, centres = self._places(joints)
        if _further(_outside(tool, bounds.box_low, bounds.box_high), slack):
            return "WORKSPACE"
        steps = np.diff(tool, axis=0)
        if float(np.einsum("ki,ki->k", steps, steps).max()) > (bounds.tool_speed_m_s * self._period_s + slack) ** 2:
            return "TOOL_SPEED"
        return self._hit(tool, centres, slack)

    def _hit(self, tool: Vector, centres: Vector, slack: float) -> str:
        scene = self._bounds.scene
        if scene.empty:
            return ""
        radii = self._body.radii_m if self._body else np.zeros(0)
        if scene.table_z_m is not None and _further(below_table(scene, tool, centres, radii), slack):
            return "TABLE"
        if self._body is not None and _further(intrusion(scene, centres, radii, self._body.pairs), slack):
            return "COLLISION"
        return ""

    def _places(self, joints: Vector) -> tuple[Vector, Vector]:
        if self._body is not None:
            return self._body.path(joints, not self._bounds.scene.empty)
        tool = np.array([self._kinematics.pose(row)[0] for row in joints])
        return tool, np.zeros((len(joints), 0, 3))


def _outside(value: Vector, low: Vector, high: Vector) -> Vector:
    return np.maximum(0.0, np.maximum(low - value, value - high))


def _further(out_KC: Vector, slack: float) -> bool:
    """Whether any of C distances outside grows along the path."""
    return bool(out_KC.any()) and bool((out_KC[1:] > out_KC[:-1] + slack).any())
