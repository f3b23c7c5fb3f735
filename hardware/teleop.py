"""What a teleoperation device is to the workbench."""

from __future__ import annotations

from typing import Protocol

from workbench.core.registry import Registry
from workbench.core.types import ArmState, TeleopAction


class Teleop(Protocol):
    """Turns an operator's hand into small end-effector moves. Read by the control loop once per tick."""

    def open(self) -> None:
        """Start listening. Raises DeviceError."""

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        """The move wanted during this tick, or None when there is no input. Never blocks."""

    def close(self) -> None:
        """Stop; safe to call twice."""


TELEOPS: Registry[Teleop] = Registry("teleoperation device", "hardware.teleops")
