"""Is something in the way? Seen from an arm that stops following its commands, or from motors that work too hard."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from workbench.core.types import ArmState

Vector = NDArray[np.float64]


class ContactWatch:
    """Watches one motion, tick by tick. One thread.

    An arm lags behind its commands, the more the faster it moves; so each joint is compared with all commands of the
    last ``lag_s`` and counts as following while it lies within ``error_rad`` of the range they span.

    Args:
        error_rad: a joint further away than this does not follow.
        ticks: for so many ticks in a row before it counts.
        lag_s: longest delay of a healthy arm.
        effort_max: (N,) largest motor effort in the arm's own unit, or None where it is not known.
    """

    def __init__(
        self, error_rad: float, ticks: int, lag_s: float, period_s: float, effort_max: tuple[float, ...] | None
    ) -> None:
        self._error_rad, self._ticks = error_rad, ticks
        self._recent: deque[Vector] = deque(maxlen=max(2, round(lag_s / period_s)))
        self._effort_max = np.array(effort_max, float) if effort_max is not None else None
        self._stuck = 0
        self._strained = 0

    def begin(self) -> None:
        """A new motion: forget the last one."""
        self._recent.clear()
        self._stuck = self._strained = 0

    def look(self, state: ArmState, commanded_rad: Vector) -> str:
        """Why the motion must stop, or "". ``commanded_rad`` is the last command that was sent."""
        self._recent.append(commanded_rad)
        sent = np.array(self._recent)
        away = np.maximum(sent.min(axis=0) - state.joints_rad, state.joints_rad - sent.max(axis=0))
        self._stuck = self._stuck + 1 if float(away.max()) > self._error_rad else 0
        if self._stuck >= self._ticks:
            worst = int(np.argmax(away))
            return f"something is in the way: joint {worst + 1} is {float(away[worst]):.2f} rad from where it should be"
        over = self._overload(state)
        self._strained = self._strained + 1 if over >= 0 else 0
        if self._strained >= self._ticks:
            return f"something is in the way: the motor of joint {over + 1} works harder than its limit"
        return ""

    def _overload(self, state: ArmState) -> int:
        """The joint furthest over its effort limit, -1 if none is or nothing is known."""
        if self._effort_max is None or state.effort is None:
            return -1
        share = np.abs(state.effort) / self._effort_max
        return int(np.argmax(share)) if float(np.max(share)) > 1.0 else -1
