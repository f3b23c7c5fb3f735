"""Teleoperation by deflection: what gamepad and SpaceMouse share. One thread per device looks; the tick never waits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.clutch import Clutch, Grip, GripperGoal, Pace, SpeedHand
from hardware.device_thread import DeviceThread, Source
from hardware.mailbox import Mailbox
from workbench.core.types import ArmState, TeleopAction

POLL_S = 0.005
SLOW_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a device.

    Attributes:
        axes: (6,) deflections -1 to 1: ahead, left, up, and turning about these three, already shaped.
        held: the dead-man is held; let_go: it was open for a moment since the reading before.
        gripper_rate: 1 opens, -1 closes.
        gripper_presses: how often the button was pressed that closes and opens in turn, since the device was opened.
        slow: move at a quarter of the speed.
        mark: "success" or "failure" while the operator presses such a button.
    """

    axes: NDArray[np.float64]
    held: bool
    let_go: bool = False
    gripper_rate: float = 0.0
    gripper_presses: int = 0
    slow: bool = False
    mark: str = ""


class SpeedTeleop:
    """Implements ``hardware.teleop.Teleop`` over a ``Source``.

    A device that is unplugged gives no input from then on; plugged in again it is found by itself, and its dead-man
    must be let go once before it counts.

    Args:
        dead_man: what a person calls the dead-man ("the left shoulder button").
    """

    stays_open = True

    def __init__(self, source: Source[Reading], pace: Pace, dead_man: str) -> None:
        self._dead_man = dead_man
        self._hand = SpeedHand(pace)
        self._mailbox: Mailbox[Reading] = Mailbox()
        self._clutch = Clutch()
        self._gripper = GripperGoal(pace.gripper_speed_s)
        self._device = DeviceThread(source, POLL_S, self._seen, self._mailbox.lose)
        self._mark = ""
        self._presses = 0

    @property
    def words(self) -> str:
        """What to do now, or why nothing moves. Any thread."""
        if self._device.problem:
            return self._device.problem
        return f"let go of {self._dead_man} once" if self._clutch.waits_for_release else f"hold {self._dead_man}"

    def open(self) -> None:
        """Start looking, in a thread. Raises DeviceError if the device is not there."""
        self._clutch = Clutch()
        self._device.start()

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        reading, released = self._mailbox.take()
        if released:
            self._clutch.update(False)
        grip = self._clutch.update(reading.held if reading is not None else None)
        if reading is None:
            return None
        presses, self._presses = self._presses, reading.gripper_presses
        if grip is Grip.OPEN:
            return None
        if reading.gripper_presses > presses:
            self._gripper.toggle(state)
        pace_s = period_s * (SLOW_SHARE if reading.slow else 1.0)
        linear, angular = self._hand.move(reading.axes, state, pace_s)
        return TeleopAction(linear, angular, self._gripper.by_rate(reading.gripper_rate, state, period_s))

    def take_marks(self) -> tuple[str, ...]:
        """The operator's judgements since the last call."""
        return self._mailbox.marks()

    def close(self) -> None:
        self._device.stop()

    def _seen(self, reading: Reading) -> None:
        """In the device's thread: a judgement counts when its button goes down."""
        if reading.mark and not self._mark:
            self._mailbox.mark(reading.mark)
        self._mark = reading.mark
        self._mailbox.put(reading, reading.held and not reading.let_go)
