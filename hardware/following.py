"""An arm that follows a leader of the same build: how it starts, how fast it goes, when it lets go. Pure, no clock."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
_LEASH_RAD = 0.2  # the target is never further than this from the measured joints
_FALL_RAD_S = 5.0  # no hand turns a joint faster; a leader that was let go of does
_SQUEEZED, _OPENED = 0.3, 0.7
_STEPS = ("open the leader's trigger", "squeeze the leader's trigger and let go, to begin", "let go of the trigger")


class Start(StrEnum):
    """What happens when leader and arm stand differently: go there slowly, or not at all until a person aligns them."""

    RAMP = "ramp"
    REFUSE = "refuse"


class Squeeze:
    """The gesture that begins: the trigger was open, is squeezed and let go again. A hand is at the leader then."""

    def __init__(self) -> None:
        self._stage = 0

    @property
    def words(self) -> str:
        """What to do next, "" when it is done."""
        steps = (
            "open the leader's trigger",
            "squeeze the leader's trigger and let go to begin",
            "let go of the trigger",
        )
        return steps[self._stage] if self._stage < len(steps) else ""

    def update(self, opening: float) -> bool:
        """One reading of the trigger, 0 squeezed .. 1 open; True once the gesture has been made."""
        if self._stage < 3 and (opening < _SQUEEZED if self._stage == 1 else opening > _OPENED):
            self._stage += 1
        return self._stage == 3

    def reset(self) -> None:
        """Forget it: it has to be made again."""
        self._stage = 0


class Follower:
    """Joint targets that lead from where the arm is to where the leader is, and on with it.

    Args:
        aligned_rad: leader and arm count as aligned when no joint differs by more.
        ramp_rad_s: speed of every joint until then; speed_rad_s: from then on.
    """

    def __init__(self, start: Start, aligned_rad: float, ramp_rad_s: float, speed_rad_s: float) -> None:
        self._start, self._aligned_rad = start, aligned_rad
        self._ramp_rad_s, self._speed_rad_s = ramp_rad_s, speed_rad_s
        self._goal: Vector | None = None
        self._leader: Vector | None = None
        self._aligned = False
        self.words = ""

    def release(self) -> None:
        """Forget everything: the next step starts from where the arm is."""
        self._goal = self._leader = None
        self._aligned = False

    def falls(self, leader_rad: Vector, period_s: float) -> bool:
        """True if the leader cannot have come here by hand since the last step: it fell, or an encoder wrapped."""
        if self._leader is None:
            return False
        return bool(np.max(np.abs(leader_rad - self._leader)) > _FALL_RAD_S * max(period_s, 0.01) + 0.02)

    def step(self, leader_rad: Vector, joints_rad: Vector, period_s: float) -> Vector | None:
        """The (N,) joint target of one tick, rad; None while leader and arm are too far apart to begin.

        Args:
            leader_rad, joints_rad: (N,) what leader and arm measure.
        """
        self._leader = leader_rad.copy()
        if self._goal is None:
            self._goal = joints_rad.copy()
        away = np.abs(leader_rad - self._goal)
        worst = int(np.argmax(away))
        said = f"joint {worst + 1} is {np.degrees(away[worst]):.0f} degrees away from the leader's"
        self._aligned = self._aligned or bool(away[worst] <= self._aligned_rad)
        if not self._aligned and self._start is Start.REFUSE:
            self._goal = None
            self.words = f"{said}: bring the leader to the arm's pose"
            return None
        self.words = "following the leader" if self._aligned else f"aligning slowly: {said}"
        most = (self._speed_rad_s if self._aligned else self._ramp_rad_s) * period_s
        goal = self._goal + np.clip(leader_rad - self._goal, -most, most)
        self._goal = np.clip(goal, joints_rad - _LEASH_RAD, joints_rad + _LEASH_RAD)
        return self._goal.copy()
