"""A person beside a policy that drives in lockstep: says when it is time to take over."""

from __future__ import annotations

import numpy as np

from hardware.sim.tasks import sim_task
from hardware.sim.world import World
from workbench.core.clock import Clock

PATIENCE_S = 4.0
_NEARER_M = 0.005


class Onlooker:
    """Loses patience when neither gripper and object nor object and target get nearer. One thread.

    Args:
        patience_s: seconds of simulated time without anything getting nearer than it ever was.
    """

    def __init__(self, world: World, task: str, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._world, self._task, self._clock = world, sim_task(task), clock
        self._patience_ns = round(patience_s * 1e9)
        self._best_m, self._since_ns = self._left_m(), clock.now_ns()

    def worried(self) -> bool:
        """Look once; True once nothing has got nearer for so long."""
        left_m, now_ns = self._left_m(), self._clock.now_ns()
        if left_m < self._best_m - _NEARER_M:
            self._best_m, self._since_ns = left_m, now_ns
        return now_ns - self._since_ns >= self._patience_ns

    def _left_m(self) -> float:
        """Way of the gripper to the object and of the object to its target, m."""
        tool = self._world.arm()[3]
        thing = self._world.object_position(self._task.object)
        return float(
            np.linalg.norm(tool - thing) + np.linalg.norm(thing - self._world.target_position(self._task.target))
        )
