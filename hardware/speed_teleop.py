"""Teleoperation by deflection: what gamepad and SpaceMouse share. One thread per device looks; the tick never waits."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.clutch import Clutch, Grip, GripperGoal, Pace, SpeedHand
from hardware.mailbox import Mailbox
from workbench.core.errors import DeviceError
from workbench.core.types import ArmState, TeleopAction

_log = logging.getLogger(__name__)
POLL_S = 0.005
_RETRY_S = 0.5
_OPEN_S = 5.0
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


class Source(Protocol):
    """One device and its vendor package. All calls come from one thread, the device's own."""

    def open(self) -> None:
        """Find and open the device. Raises DeviceError."""

    def poll(self) -> Reading | None:
        """What it says now, at once; None if it does not say anything usable. Raises DeviceError when it has gone."""

    def close(self) -> None:
        """Let go of it; also after a failed ``open``."""


class SpeedTeleop:
    """Implements ``hardware.teleop.Teleop`` over a ``Source``.

    A device that is unplugged gives no input from then on; plugged in again it is found by itself, and its dead-man
    must be let go once before it counts.

    Args:
        dead_man: what a person calls the dead-man ("the left shoulder button").
    """

    def __init__(self, source: Source, pace: Pace, dead_man: str) -> None:
        self._source = source
        self._dead_man = dead_man
        self._gripper_speed_s = pace.gripper_speed_s
        self._hand = SpeedHand(pace)
        self._mailbox: Mailbox[Reading] = Mailbox()
        self._clutch = Clutch()
        self._gripper = GripperGoal(pace.gripper_speed_s)
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._presses = 0
        self._problem = ""

    @property
    def words(self) -> str:
        """What to do now, or why nothing moves. Any thread."""
        if self._problem:
            return self._problem
        return f"let go of {self._dead_man} once" if self._clutch.waits_for_release else f"hold {self._dead_man}"

    def open(self) -> None:
        """Start looking, in a thread. Raises DeviceError if the device is not there."""
        self.close()
        self._ended, self._clutch, self._problem = threading.Event(), Clutch(), ""
        opened: list[DeviceError | None] = []
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(opened, ready), name="teleop device", daemon=True)
        self._thread.start()
        answered = ready.wait(_OPEN_S)
        error = opened[0] if opened else None
        if not answered:
            error = DeviceError("the teleoperation device does not answer", "Unplug it, plug it in and try again")
        if error is not None:
            self.close()
            raise error

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        reading, released = self._mailbox.take()
        if released:
            self._clutch.update(False)
        grip = self._clutch.update(reading.held if reading is not None else None)
        presses, self._presses = self._presses, reading.gripper_presses if reading is not None else self._presses
        if reading is None or grip is Grip.OPEN:
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
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(2)
        self._mailbox.lose()

    def _run(self, opened: list[DeviceError | None], ready: threading.Event) -> None:
        ended = self._ended
        try:
            self._source.open()
        except DeviceError as error:
            opened.append(error)
            self._source.close()
            ready.set()
            return
        ready.set()
        mark = ""
        while not ended.wait(POLL_S):
            try:
                mark = self._look(mark)
            except DeviceError as error:
                self._mailbox.lose()
                self._problem = str(error)
                _log.warning("teleoperation: %s", error)
                self._find_again(ended)
        self._source.close()

    def _look(self, mark: str) -> str:
        reading = self._source.poll()
        if reading is None:
            return mark
        if reading.mark and not mark:
            self._mailbox.mark(reading.mark)
        self._mailbox.put(reading, reading.held and not reading.let_go)
        return reading.mark

    def _find_again(self, ended: threading.Event) -> None:
        self._source.close()
        while not ended.wait(_RETRY_S):
            with contextlib.suppress(DeviceError):
                self._source.open()
                self._problem = ""
                return
            self._source.close()
