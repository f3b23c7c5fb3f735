"""Teleoperation with a leader arm: a small arm of the same joints, moved by hand. SO-101 leaders and GELLO builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.clutch import GripperGoal, check_choice, check_range
from hardware.device_thread import DeviceThread
from hardware.following import Follower, Squeeze, Start
from hardware.mailbox import Mailbox
from hardware.servo_bus import TICKS_PER_TURN, ServoBus, Ticks, serial_ports
from hardware.servo_calibration import ServoCalibration
from hardware.teleop import TELEOPS
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Found, Plugin
from workbench.core.types import ArmState, TeleopAction

_POLL_S = 0.005
_MISSES = 5  # broken answers in a row before the bus counts as gone; silence is noticed earlier


@dataclass(frozen=True, slots=True)
class Config:
    """Where the leader is, what its ticks mean, and how the arm follows it.

    Attributes:
        port: serial port, best by "/dev/serial/by-id/...".
        calibration: JSON file of zero, sign and range of every joint (docs/arms.md); LeRobot's files are read too.
        start: "ramp" goes slowly to the leader's pose, "refuse" waits until the leader was brought to the arm's.
        aligned_rad: no joint further apart than this counts as aligned.
        ramp_rad_s, speed_rad_s: fastest joint before and after that.
    """

    port: str = ""
    calibration: str = ""
    baud: int = 1_000_000
    start: str = "ramp"
    aligned_rad: float = 0.08
    ramp_rad_s: float = 0.3
    speed_rad_s: float = 2.0


@dataclass(frozen=True, slots=True)
class LeaderReading:
    """(N,) joint angles in rad as the arm counts them, and the trigger, 0 squeezed .. 1 open."""

    joints_rad: NDArray[np.float64]
    opening: float


class LeaderSource:
    """Implements ``hardware.device_thread.Source``; the leader's motors are free as long as it is open."""

    def __init__(self, family: str, config: Config) -> None:
        self._family, self._config = family, config
        self._bus: ServoBus | None = None
        self._calibration: ServoCalibration | None = None
        self._missed = 0

    def open(self) -> None:
        """Find every servo and free the motors. Raises DeviceError."""
        if not self._config.calibration:
            raise DeviceError("the leader arm has no calibration", "Name its file as calibration in [teleop.options]")
        try:
            self._calibration = ServoCalibration.load(Path(self._config.calibration).expanduser())
        except WorkbenchError as error:
            raise DeviceError(error.what, error.next_step) from error
        self._bus = ServoBus(self._family, self._config.port, self._calibration.ids, self._config.baud)
        self._bus.open()
        self._bus.set_torque(False)
        self._missed = 0

    def poll(self) -> LeaderReading | None:
        """All joints now, in about a millisecond; None for a broken answer."""
        if self._bus is None or self._calibration is None:
            raise DeviceError("the leader arm is not open")
        try:
            ticks = self._bus.read().position_ticks
        except DeviceError:
            self._missed += 1
            if self._missed >= _MISSES:
                raise
            return None
        self._missed = 0
        ticks = nearest_turn(ticks, self._calibration)
        return LeaderReading(self._calibration.angles(ticks), self._calibration.opening(ticks))

    def close(self) -> None:
        """Let go of the port. The motors stay free: a leader that stiffens in somebody's hand helps nobody."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()


class LeaderTeleop:
    """Implements ``hardware.teleop.Teleop`` with joint targets.

    A leader has no button to hold. It begins with a squeeze of its trigger, which shows that a hand is there, and ends
    when it falls, falls silent, or the arm is told to hold.
    """

    stays_open = True

    def __init__(self, family: str, config: Config) -> None:
        start = Start(check_choice("way to start", config.start, Start))
        check_range("aligned_rad", config.aligned_rad, 0.005, 0.5)
        check_range("ramp_rad_s", config.ramp_rad_s, 0.01, 1.0)
        check_range("speed_rad_s", config.speed_rad_s, 0.01, 6.0)
        self._follower = Follower(start, config.aligned_rad, config.ramp_rad_s, config.speed_rad_s)
        self._squeeze, self._gripper = Squeeze(), GripperGoal(1.0)
        self._mailbox: Mailbox[LeaderReading] = Mailbox()
        source = LeaderSource(family, config)
        self._device = DeviceThread(source, _POLL_S, lambda seen: self._mailbox.put(seen, True), self._mailbox.lose)
        self._fell = False
        self._mismatch = ""

    @property
    def words(self) -> str:
        """What to do now, or how far the arm is from the leader. Any thread."""
        problem = self._device.problem or self._mismatch
        if problem or not self._squeeze.words:
            return problem or self._follower.words
        return ("the leader moved faster than a hand: " if self._fell else "") + self._squeeze.words

    def open(self) -> None:
        """Find the leader and free its motors. Raises DeviceError."""
        self._let_go()
        self._device.start()

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        reading, _ = self._mailbox.take()
        if reading is None:
            self._let_go()
            return None
        leads, follows = len(reading.joints_rad), len(state.joints_rad)
        self._mismatch = "" if leads == follows else f"the leader has {leads} joints, the arm {follows}"
        if self._mismatch:
            return None
        if self._follower.falls(reading.joints_rad, period_s):
            self._let_go()
            self._fell = True
        if not self._squeeze.update(reading.opening):
            return None
        self._fell = False
        joints = self._follower.step(reading.joints_rad, np.asarray(state.joints_rad, dtype=np.float64), period_s)
        if joints is None:
            return None
        gripper = self._gripper.by_lever(reading.opening, state)
        return TeleopAction(np.zeros(3), np.zeros(3), gripper, joints_rad=joints)

    def close(self) -> None:
        self._device.stop()
        self._let_go()

    def _let_go(self) -> None:
        self._squeeze.reset()
        self._follower.release()
        self._gripper.release()


def nearest_turn(ticks: Ticks, calibration: ServoCalibration) -> Ticks:
    """(N + 1,) ticks moved by whole turns into the calibrated range: some servos count turns, until power is cut."""
    middles = [(joint.low_ticks + joint.high_ticks) / 2 for joint in calibration.joints]
    middles.append((calibration.gripper.closed_ticks + calibration.gripper.open_ticks) / 2)
    turns = np.rint((np.asarray(ticks) - np.array(middles)) / TICKS_PER_TURN).astype(np.int64)
    near: Ticks = np.asarray(ticks, dtype=np.int64) - turns * TICKS_PER_TURN
    return near


def discover() -> Sequence[Found]:
    """Serial adapters that a leader could be on; which arm hangs on one is not asked, it might be moving."""
    return [Found(port, "Serial adapter", {"port": port}, "a serial adapter is there") for port in serial_ports()]


TELEOPS.register(
    Plugin(
        "so101_leader",
        "SO-101 leader arm",
        Config,
        lambda config: LeaderTeleop("feetech", config),
        "scservo_sdk",
        "feetech-servo-sdk",
        discover,
    )
)
TELEOPS.register(
    Plugin(
        "gello",
        "GELLO leader arm",
        Config,
        lambda config: LeaderTeleop("dynamixel", config),
        "dynamixel_sdk",
        "dynamixel-sdk",
        discover,
    )
)
