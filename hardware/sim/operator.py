"""A scripted operator: sees where things are and steers the gripper by small smooth moves, as a person would."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from hardware.sim.tasks import OBJECTS, sim_task
from workbench.core.types import ArmState, TeleopAction

Vector = NDArray[np.float64]
HOVER_M = 0.125
_OPEN, _CLOSED = 1.0, 0.0
_NOISE_M = 0.001
_NEAR_M, _FUNNEL_M = 0.004, 0.012
_STUCK_S = 6.0


class Phase(Enum):
    """Every phase ends on something that the pictures and the gripper's reading show."""

    APPROACH = auto()
    DESCEND = auto()
    CLOSE = auto()
    LIFT = auto()
    CARRY = auto()
    LOWER = auto()
    OPEN = auto()
    RETREAT = auto()
    DONE = auto()


class ScriptedOperator:
    """Picks the task's object up and puts it on its target, once; starts over when the object slips.

    Not thread-safe. The same task, seed, scene and timing give the same moves.
    """

    def __init__(self, task: str, seed: int) -> None:
        self._task = sim_task(task)
        rng = np.random.default_rng([seed, 21])
        self._rng = rng
        self._speed = rng.uniform(0.28, 0.35)
        self._bias = np.append(rng.normal(0.0, _NOISE_M, 2), 0.0)
        self._phase = Phase.APPROACH
        self._velocity = np.zeros(3)
        self._tremor = np.zeros(3)
        self._in_phase_s = 0.0
        self._gripper = 1.0
        self._grip_still_s = 0.0

    @property
    def done(self) -> bool:
        """True once the object is released and the gripper has moved away."""
        return self._phase is Phase.DONE

    @property
    def phase(self) -> str:
        return self._phase.name.lower()

    def read(self, scene: Mapping[str, Vector], state: ArmState, period_s: float) -> TeleopAction:
        """The move wanted during the next ``period_s``, from what is seen and felt now.

        Args:
            scene: positions in m, base frame, by name; holds at least the task's object and target.
        """
        tool = np.asarray(state.pose.position_m, dtype=np.float64)
        thing, target = scene[self._task.object], scene[self._task.target]
        self._feel(state.gripper, period_s)
        self._advance(tool, thing, target, period_s)
        goal = self._goal(tool, thing, target)
        fast = 0.0 if self._phase in (Phase.CLOSE, Phase.OPEN, Phase.DONE) else self._speed
        self._steer(goal - tool, fast, period_s)
        closed = self._phase in (Phase.CLOSE, Phase.LIFT, Phase.CARRY, Phase.LOWER)
        step = (self._velocity + self._shake(period_s)) * period_s if fast else np.zeros(3)
        return TeleopAction(step, np.zeros(3), _CLOSED if closed else _OPEN)

    def _feel(self, gripper: float, period_s: float) -> None:
        moved = abs(gripper - self._gripper) > 0.15 * period_s
        self._grip_still_s = 0.0 if moved else self._grip_still_s + period_s
        self._gripper = gripper

    def _advance(self, tool: Vector, thing: Vector, target: Vector, period_s: float) -> None:
        self._in_phase_s += period_s
        following = self._next(tool, thing, target)
        if self._in_phase_s > _STUCK_S and following is self._phase:
            following = Phase.APPROACH
        if following is not self._phase:
            self._phase, self._in_phase_s, self._grip_still_s = following, 0.0, 0.0

    def _next(self, tool: Vector, thing: Vector, target: Vector) -> Phase:
        """The phase that what is seen now calls for."""
        goal = self._goal(tool, thing, target)
        there = bool(np.linalg.norm(goal - tool) < _NEAR_M)
        held = float(np.linalg.norm(thing - tool)) < 0.05
        phase = self._phase
        if phase in (Phase.LIFT, Phase.CARRY, Phase.LOWER) and not held:
            return Phase.APPROACH
        if phase is Phase.APPROACH:
            return Phase.DESCEND if _aside(goal, tool) < _FUNNEL_M else phase
        if phase is Phase.DESCEND:
            return Phase.CLOSE if there else phase
        if phase is Phase.CLOSE:
            return Phase.LIFT if self._grip_still_s > 0.08 and self._in_phase_s > 0.15 else phase
        if phase is Phase.LIFT:
            return Phase.CARRY if goal[2] - tool[2] < 0.02 else phase
        if phase is Phase.CARRY:
            return Phase.LOWER if _aside(goal, tool) < _FUNNEL_M else phase
        if phase is Phase.LOWER:
            return Phase.OPEN if there else phase
        if phase is Phase.OPEN:
            return Phase.RETREAT if self._gripper > 0.9 else phase
        if phase is Phase.RETREAT:
            return Phase.DONE if there else phase
        return phase

    def _goal(self, tool: Vector, thing: Vector, target: Vector) -> Vector:
        """Where the tool should go in this phase, (3,) m."""
        height = OBJECTS[self._task.object].size_m[2]
        grasp = thing + self._bias
        place = target + self._bias + np.array([0.0, 0.0, height + 0.003])
        if self._phase is Phase.APPROACH:
            return np.array([grasp[0], grasp[1], HOVER_M])
        if self._phase in (Phase.DESCEND, Phase.CLOSE):
            return np.array([grasp[0], grasp[1], max(0.014, grasp[2] - 0.002)])
        if self._phase is Phase.LIFT:
            return np.array([tool[0], tool[1], HOVER_M])
        held = np.array([tool[0] - thing[0], tool[1] - thing[1], tool[2] - thing[2]])
        if self._phase is Phase.CARRY:
            return np.array([place[0] + held[0], place[1] + held[1], HOVER_M])
        if self._phase in (Phase.LOWER, Phase.OPEN):
            return np.asarray(place + held)
        return np.array([tool[0], tool[1], HOVER_M])

    def _steer(self, way: Vector, fast: float, period_s: float) -> None:
        """Turn the velocity towards the goal: full speed far away, slowing down near it, never jerking."""
        distance = float(np.linalg.norm(way))
        speed = min(fast, 5.0 * distance + 0.01) if fast else 0.0
        if self._phase in (Phase.DESCEND, Phase.LOWER):
            speed = min(speed, 0.8 * fast)
        wanted = way / max(distance, 1e-9) * speed
        change = wanted - self._velocity
        largest = 2.2 * period_s
        size = float(np.linalg.norm(change))
        self._velocity = self._velocity + change * min(1.0, largest / max(size, 1e-12))

    def _shake(self, period_s: float) -> Vector:
        """A hand's tremor: the wanted position wanders by about a millimetre. Returned as a velocity."""
        tau_s = 0.3
        before = self._tremor
        noise = self._rng.normal(0.0, _NOISE_M * 0.6, 3) * np.sqrt(2.0 * period_s / tau_s)
        self._tremor = before * (1.0 - period_s / tau_s) + noise
        shake: Vector = (self._tremor - before) / period_s
        return shake


def _aside(first: Vector, second: Vector) -> float:
    return float(np.hypot(first[0] - second[0], first[1] - second[1]))
