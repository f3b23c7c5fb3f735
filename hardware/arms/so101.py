"""The SO-101 (also SO-100) follower: five STS3215 servos and a gripper servo on one serial adapter.

Units and frames: joints shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, wrist_roll in rad, zero in the middle of
each calibrated range; base frame on the mounting face under the pan axis, x forward, z up. Tool: between the
fingertips, z outward. Lengths are those of the maker's URDF "so101_new_calib" (TheRobotStudio, SO-ARM100).

The servos run their own position loop; torque is switched on by the first command or hold, with the present position as
goal, so that nothing jumps. There is no emergency stop input on this arm: pulling the supply lets it fall.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import pi
from pathlib import Path

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Turn, Vector, transform
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from hardware.servo_bus import ServoBus, ServoReading, serial_ports
from hardware.servo_calibration import ServoCalibration
from workbench.core.errors import DeviceError
from workbench.core.registry import Found, Plugin
from workbench.core.types import Pose

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
IDS = (1, 2, 3, 4, 5, 6)
_HOT_C = 65.0  # the servo itself lets go at 70
_RANGES = ((-1.92, 1.92), (-1.745, 1.745), (-1.69, 1.69), (-1.658, 1.658), (-2.79, 2.79))
_FRAMES = (
    ((0.0388353, 0.0, 0.0624), (pi, 0.0, -pi)),
    ((-0.0303992, -0.0182778, -0.0542), (-pi / 2, -pi / 2, 0.0)),
    ((-0.11257, -0.028, 0.0), (0.0, 0.0, pi / 2)),
    ((-0.1349, 0.0052, 0.0), (0.0, 0.0, -pi / 2)),
    ((0.0, -0.0611, 0.0181), (pi / 2, 0.0, pi)),
)
CHAIN = Chain(
    tuple(Turn(transform(*frame), (0.0, 0.0, 1.0), *span) for frame, span in zip(_FRAMES, _RANGES, strict=True)),
    transform((-0.0079, -0.000218121, -0.0981274), (0.0, pi, 0.0)),
    orientation_cost=0.02,
    radius_m=0.03,
)


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an SO-101.

    Attributes:
        port: serial port; names under /dev/serial/by-id survive replugging.
        calibration: JSON file with zero and range of every servo (ours or LeRobot's).
        home_rad: five angles; empty: folded over the base.
        release_when_parked: switch torque off after parking. Only where the arm rests on something at home.
        baud: bit rate of the servos.
    """

    port: str = ""
    calibration: str = ""
    home_rad: tuple[float, ...] = ()
    release_when_parked: bool = False
    baud: int = 1_000_000


class So101Wire:
    """Implements ``hardware.paced.Wire`` over a servo bus."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._bus: ServoBus | None = None
        self._torque = False

    def open(self) -> Pose | None:
        if not self._config.calibration:
            raise DeviceError("this SO-101 has no calibration", "Calibrate it and write calibration = 'FILE.json'")
        self._calibration = ServoCalibration.load(Path(self._config.calibration).expanduser())
        if len(self._calibration.joints) != len(NAMES):
            raise DeviceError(f"{self._config.calibration} is not of an SO-101", "Calibrate five joints and a gripper")
        self._bus = ServoBus("feetech", self._config.port, self._calibration.ids, self._config.baud)
        self._bus.open()
        self._torque = False
        return None

    def measure(self) -> Measurement:
        reading = self._reading()
        ticks, speeds = reading.position_ticks, self._calibration.speeds(reading.speed_ticks_s)
        angles, opening = self._calibration.angles(ticks), self._calibration.opening(ticks)
        return Measurement(0, reading.t_host_ns, angles, speeds, opening, "position" if self._torque else "released")

    def command(self, joints_rad: Vector, gripper: float) -> None:
        self._stiffen()
        self._require().write_goals(self._calibration.ticks(joints_rad, gripper))

    def halt(self) -> None:
        self._stiffen()
        self._require().write_goals(self._require().read().position_ticks)

    def rest(self) -> None:
        if self._config.release_when_parked:
            self._require().set_torque(False)
            self._torque = False

    def recover(self) -> None:
        self._require().require()
        self._torque = False  # an overloaded servo has let go: start from where the arm has sunk to

    def close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()

    def _reading(self) -> ServoReading:
        bus = self._require()
        reading = bus.read()
        for name, bits, heat in zip((*NAMES, "gripper"), reading.fault_bits, reading.temperature_c, strict=True):
            words = bus.fault_words(int(bits)) or (f"{heat:.0f} degrees hot" if heat > _HOT_C else "")
            if words:
                step = "Let it cool down, free what blocks it, switch its supply off and on"
                raise DeviceError(f"the servo '{name}' of the SO-101 reports: {words}", step)
        return reading

    def _stiffen(self) -> None:
        """Torque on, from where the arm is."""
        if not self._torque:
            bus = self._require()
            bus.write_goals(bus.read().position_ticks)
            time.sleep(0.002)  # the goal must have arrived before the motors look at it
            bus.set_torque(True)
            self._torque = True

    def _require(self) -> ServoBus:
        if self._bus is None:
            raise DeviceError("the SO-101 is not connected", "Connect it first")
        return self._bus


def build(config: Config) -> Arm:
    """An unconnected SO-101."""
    low, high = (tuple(float(v) for v in ends) for ends in np.array(_RANGES).T)
    limits = cautious_limits(low, high, (4.0,) * len(NAMES), 0.42)
    title = f"the SO-101 on {config.port or 'no port'}"
    sheet = Sheet(title, CHAIN, (0.0, -1.4, 1.4, 0.6, 0.0), limits, rate_hz=100.0)
    return PacedArm(fitting_sheet(sheet, config.home_rad, 0.0), So101Wire(config))


def discover() -> list[Found]:
    """Serial ports that could hold an SO-101; opens none of them."""
    return [Found(port, f"serial port {Path(port).name}", {"port": port}) for port in serial_ports()]


ARMS.register(Plugin("so101", "SO-101", Config, build, "scservo_sdk", "feetech-servo-sdk", discover))
