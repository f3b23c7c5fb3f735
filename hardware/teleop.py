"""What a teleoperation device is to the workbench."""

from __future__ import annotations

from typing import Protocol

from workbench.core.registry import Registry
from workbench.core.types import ArmState, TeleopAction


class Teleop(Protocol):
    """Turns an operator's hand into small end-effector moves, or joint targets. Read by the control loop once per tick.

    A device may also have ``done`` (True once it has finished by itself), ``set_keys`` (keys held in the window),
    ``stays_open`` (True if it can be taken up again later without being opened anew), ``words`` (what to do now, or
    why nothing moves) and ``take_marks`` (the judgements of a take that the operator has given since the last call:
    "success", "failure"). ``words_of`` and ``marks_of`` read them of any device.
    """

    def open(self) -> None:
        """Start listening. Raises DeviceError."""

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        """The move wanted during this tick, or None when there is no input: then the arm brakes and holds.

        Never blocks and never raises: a device that has gone gives None. Nothing is given before its dead-man was seen
        released once after ``open`` and after every loss of input.
        """

    def close(self) -> None:
        """Stop; safe to call twice."""


def words_of(teleop: Teleop | None) -> str:
    """What a device says about itself, or ""."""
    return str(getattr(teleop, "words", ""))


def marks_of(teleop: Teleop | None) -> tuple[str, ...]:
    """The judgements given with a device's buttons since the last call."""
    take = getattr(teleop, "take_marks", None)
    return tuple(take()) if take is not None else ()


TELEOPS: Registry[Teleop] = Registry("teleoperation device", "hardware.teleops")
