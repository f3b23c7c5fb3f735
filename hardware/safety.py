"""The guard: every command to an arm, whoever wanted it, passes here. Pure functions, no state, no assert.

The idea: a command is only allowed if the arm could still brake to a standstill afterwards without leaving any limit.
Braking is a fixed rule (``brake``), so the rest of an allowed braking path is itself allowed on the next tick: there
is always a safe answer, and no limit has to give way to another at constant period.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Kinematics, Limits
from hardware.braking import BRAKING_SLACK, Bounds, Stopping, bounds_of, stopping_speed
from workbench.core.errors import DeviceError
from workbench.core.types import ArmCommand, ArmState

Vector = NDArray[np.float64]
_HOLD_NS = 200_000_000
_WALL_M = 1e-4  # targets beyond a wall are moved this far inside of it
_TRIES = 6


class GuardReason(StrEnum):
    """Why a command was changed or refused. The order is the bit stored on disk."""

    NO_COMMAND = "no command"
    EXPIRED = "command expired"
    NOT_FINITE = "command is not a number"
    STATE_STALE = "arm state is too old"
    STATE_INVALID = "arm state is not a number"
    JUMP = "command jumps away from the arm"
    JOINT_POSITION = "joint range"
    JOINT_SPEED = "joint speed"
    JOINT_ACCELERATION = "joint acceleration"
    WORKSPACE = "workspace"
    TOOL_SPEED = "tool speed"
    GRIPPER_SPEED = "gripper speed"
    TABLE = "the arm would touch the table"
    COLLISION = "the arm would touch a thing or itself"
    CONTACT = "something is in the way"

    @property
    def bit(self) -> int:
        """One bit of the ``guard`` stream."""
        return _BITS[self]


_BITS = {reason: 1 << number for number, reason in enumerate(GuardReason)}
REFUSALS = frozenset(list(GuardReason)[: list(GuardReason).index(GuardReason.JUMP) + 1])


@dataclass(frozen=True, slots=True)
class GuardMemory:
    """The last allowed command: (N,) joints, (N,) the speed they were allowed to change at, and the gripper."""

    joints_rad: Vector
    velocities_rad_s: Vector
    gripper: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be sent, what to remember for the next tick, and why it differs from what was wanted."""

    command: ArmCommand
    memory: GuardMemory
    reasons: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """True if the arm brakes instead of following the wanted command."""
        return any(reason in REFUSALS for reason in self.reasons)

    @property
    def bits(self) -> int:
        """All reasons as one bit mask."""
        return sum(GuardReason(reason).bit for reason in self.reasons)


def guard(
    state: ArmState,
    wanted: ArmCommand | None,
    memory: GuardMemory | None,
    limits: Limits,
    kinematics: Kinematics,
    now_ns: int,
    period_s: float,
) -> Verdict:
    """Decide what may be sent during the tick that starts at ``now_ns`` and lasts ``period_s``.

    A missing, expired or malformed command, a stale or malformed state and a jump make the arm brake and hold. Anything
    else is followed as far as positions, speeds, accelerations, the workspace box, the tool speed, the table and things
    in the scene allow.

    Args:
        memory: the previous verdict's memory, or None on the first tick (motion then starts from the measured joints).

    Raises:
        DeviceError: there is neither a memory nor a usable state, so even "hold" has no meaning.
    """
    bounds = bounds_of(limits)
    reasons: set[GuardReason] = set()
    last = _starting_point(state, memory, limits, bounds, now_ns, reasons)
    stopping = Stopping(last.joints_rad, bounds, kinematics, period_s)
    goal = _accepted(state, wanted, limits, bounds, now_ns, reasons)
    if goal is None or wanted is None:
        velocity = stopping.brake(last.velocities_rad_s)
        gripper, expires_ns = last.gripper, now_ns + _HOLD_NS
    else:
        goal = _inside(goal, bounds, kinematics, reasons)
        velocity = _towards(goal, last, limits, bounds, kinematics, period_s, reasons)
        gripper, expires_ns = _gripper(wanted.gripper, last.gripper, limits, period_s, reasons), wanted.expires_ns
    velocity = _stoppable(velocity, last, stopping, reasons)
    joints = _on_the_limit(last.joints_rad + velocity * period_s, bounds)
    ordered = tuple(reason.value for reason in GuardReason if reason in reasons)
    return Verdict(ArmCommand(joints, gripper, expires_ns), GuardMemory(joints, velocity, gripper), ordered)


def _on_the_limit(joints: Vector, bounds: Bounds) -> Vector:
    """Joints that rounding has carried past their limit put back on it; those that are truly outside stay."""
    inside = np.clip(joints, bounds.low, bounds.high)
    return np.where(np.abs(inside - joints) <= 2 * BRAKING_SLACK, inside, joints)


def _usable(state: ArmState, joints: int) -> bool:
    shaped = state.joints_rad.shape == (joints,)
    return shaped and bool(np.all(np.isfinite(state.joints_rad)) and np.isfinite(state.gripper))


def _starting_point(
    state: ArmState,
    memory: GuardMemory | None,
    limits: Limits,
    bounds: Bounds,
    now_ns: int,
    reasons: set[GuardReason],
) -> GuardMemory:
    """Where the command path goes on from; an arm that no longer follows it is held where it is."""
    usable = _usable(state, len(bounds.low))
    fresh = abs(now_ns - state.t_host_ns) <= limits.state_age_s * 1e9
    if not usable:
        reasons.add(GuardReason.STATE_INVALID)
    elif not fresh:
        reasons.add(GuardReason.STATE_STALE)
    if memory is not None:
        away = usable and fresh and float(np.max(np.abs(memory.joints_rad - state.joints_rad))) > limits.jump_rad
        if not away:
            return memory
        reasons.add(GuardReason.JUMP)
    elif not usable:
        raise DeviceError("the arm reports positions that are not numbers", "Check the arm and connect it again")
    at_rest = np.zeros(len(bounds.low))
    return GuardMemory(np.array(state.joints_rad, float), at_rest, min(1.0, max(0.0, float(state.gripper))))


def _accepted(
    state: ArmState,
    wanted: ArmCommand | None,
    limits: Limits,
    bounds: Bounds,
    now_ns: int,
    reasons: set[GuardReason],
) -> Vector | None:
    """The wanted joints clipped to their range, or None (with the reason) when the command must not be followed."""
    if wanted is None:
        reasons.add(GuardReason.NO_COMMAND)
        return None
    joints = np.asarray(wanted.joints_rad, float)
    if joints.shape != bounds.low.shape or not (np.all(np.isfinite(joints)) and np.isfinite(wanted.gripper)):
        reasons.add(GuardReason.NOT_FINITE)
        return None
    if wanted.expires_ns < now_ns:
        reasons.add(GuardReason.EXPIRED)
    elif not reasons and float(np.max(np.abs(joints - state.joints_rad))) > limits.jump_rad:
        reasons.add(GuardReason.JUMP)
    if reasons:
        return None
    clipped: Vector = np.clip(joints, bounds.low, bounds.high)
    if np.any(clipped != joints):
        reasons.add(GuardReason.JOINT_POSITION)
    return clipped


def needs_body(limits: Limits) -> bool:
    """True if these limits can only be kept by an arm whose shape is known (``BodyKinematics``)."""
    return bounds_of(limits).scene.needs_body


def _inside(goal: Vector, bounds: Bounds, kinematics: Kinematics, reasons: set[GuardReason]) -> Vector:
    """Move a goal whose tool would leave the workspace onto its wall, so that the arm can slide along it."""
    position, quaternion = kinematics.pose(goal)
    nearest = np.clip(position, bounds.box_low + _WALL_M, bounds.box_high - _WALL_M)
    if np.all((position >= bounds.box_low) & (position <= bounds.box_high)):
        return goal
    reasons.add(GuardReason.WORKSPACE)
    return np.clip(kinematics.solve(goal, nearest, quaternion), bounds.low, bounds.high)


def _towards(
    goal: Vector,
    last: GuardMemory,
    limits: Limits,
    bounds: Bounds,
    kinematics: Kinematics,
    period_s: float,
    reasons: set[GuardReason],
) -> Vector:
    """The speed that leads straight to the goal, slow enough to stop there, within speed and acceleration."""
    way = goal - last.joints_rad
    length = np.abs(way)
    stopping = stopping_speed(length, bounds.acceleration, period_s)
    share = np.where(length > 1e-12, stopping / np.maximum(length, 1e-12), np.inf)
    wanted = way * min(1.0 / period_s, float(np.min(share)))
    excess = float(np.max(np.abs(wanted) / bounds.speed))
    if excess > 1.0:
        reasons.add(GuardReason.JOINT_SPEED)
        wanted = wanted / excess
    wanted = _slower_tool(wanted, last, limits, kinematics, period_s, reasons)
    change = wanted - last.velocities_rad_s
    excess = float(np.max(np.abs(change) / (bounds.acceleration * period_s)))
    if excess > 1.0 + 1e-9:
        reasons.add(GuardReason.JOINT_ACCELERATION)
    return last.velocities_rad_s + change / max(1.0, excess)


def _slower_tool(
    velocity: Vector,
    last: GuardMemory,
    limits: Limits,
    kinematics: Kinematics,
    period_s: float,
    reasons: set[GuardReason],
) -> Vector:
    here, _ = kinematics.pose(last.joints_rad)
    there, _ = kinematics.pose(last.joints_rad + velocity * period_s)
    excess = float(np.linalg.norm(there - here)) / (0.97 * limits.tool_speed_m_s * period_s)
    if excess <= 1.0:
        return velocity
    reasons.add(GuardReason.TOOL_SPEED)
    return velocity / excess


def _gripper(wanted: float, last: float, limits: Limits, period_s: float, reasons: set[GuardReason]) -> float:
    step = limits.gripper_speed_s * period_s
    goal = min(1.0, max(0.0, float(wanted)))
    if abs(goal - last) > step + 1e-9:
        reasons.add(GuardReason.GRIPPER_SPEED)
    return last + min(step, max(-step, goal - last))


def _stoppable(velocity: Vector, last: GuardMemory, stopping: Stopping, reasons: set[GuardReason]) -> Vector:
    """The wanted speed if braking after it stays within every limit, else the largest safe share of it.

    The other end of the mixture is braking now, which the previous tick has shown to be safe.
    """
    broken = stopping.broken_limit(velocity)
    if not broken:
        return velocity
    reasons.add(GuardReason[broken])
    braking = stopping.brake(last.velocities_rad_s)
    if stopping.broken_limit(braking, BRAKING_SLACK):
        return np.zeros_like(velocity)  # the period has changed or the limits have: stopping dead is what is left
    low, high, best = 0.0, 1.0, braking
    for _ in range(_TRIES):
        share = (low + high) / 2
        mixture = braking + share * (velocity - braking)
        if stopping.broken_limit(mixture):
            high = share
        else:
            low, best = share, mixture
    return best
