"""The slow way home: its next step, whether it has arrived, and whether something is in the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardware.contact import ContactWatch
from workbench.core.types import ArmState

PARK_SPEED_RAD_S = 0.6
CONTACT_RAD, CONTACT_TICKS, ARM_LAG_S = 0.04, 8, 0.2  # see ContactWatch
HOME_RAD = 0.02
Joints = NDArray[np.float64]


class WayHome:
    """One thread.

    Attributes:
        going: on the way; arrived: there, and nothing has been asked for since.
    """

    def __init__(self, home_rad: Joints, period_s: float, effort_max: tuple[float, ...] | None) -> None:
        self._home, self._step = home_rad, PARK_SPEED_RAD_S * period_s
        self._contact = ContactWatch(CONTACT_RAD, CONTACT_TICKS, ARM_LAG_S, period_s, effort_max)
        self.going = self.arrived = False

    def begin(self) -> None:
        """Set out, unless it is on the way or there."""
        if not (self.going or self.arrived):
            self.going = True
            self._contact.begin()

    def end(self) -> None:
        """Something else is wanted."""
        self.going = self.arrived = False

    def touched(self, state: ArmState, commanded_rad: Joints) -> str:
        """Why the arm must stop, or ""; see ``ContactWatch``."""
        return self._contact.look(state, commanded_rad) if self.going else ""

    def next_rad(self, commanded_rad: Joints, state: ArmState) -> Joints:
        """(N,) the next tick's joints; notes when both the commands and the arm have arrived."""
        left = self._home - commanded_rad
        if max(float(np.abs(left).max()), float(np.abs(self._home - state.joints_rad).max())) < HOME_RAD:
            self.going, self.arrived = bool(np.abs(left).max() > 1e-6), True
        next_rad: Joints = commanded_rad + np.clip(left, -self._step, self._step)
        return next_rad
