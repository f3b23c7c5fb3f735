"""Trossen WidowX AI over its maker's driver (``trossen_arm``).

Units and frames: six joints in rad, base frame of the driver, x forward, z up. The driver's tool frame has x out of the
gripper; here z points out, as for every arm of the workbench. Lengths are those that the controller itself holds
(links and joints of wxai_v0). Gripper: finger travel 0 to 44 mm, both fingers together. Effort: Nm.

Motion: position mode, newest goal without interpolation; the driver's own thread talks to the controller at 1 kHz. In
idle mode the joints are braked. The driver's major.minor version must be the controller's.

Exercised with the real driver against the maker's simulated controller; a real overheated joint or lost supply was not.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Turn, Vector, transform
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from workbench.core.errors import DeviceError
from workbench.core.registry import Plugin
from workbench.core.types import Pose

_OPEN_M = 0.044
_TURNS = (
    ((0.0, 0.0, 0.05725), (0.0, 0.0, 1.0), (-3.05433, 3.05433)),
    ((0.02, 0.0, 0.04625), (0.0, 1.0, 0.0), (0.0, pi)),
    ((-0.264, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 2.35619)),
    ((0.245, 0.0, 0.06), (0.0, -1.0, 0.0), (-pi / 2, pi / 2)),
    ((0.06775, -0.00005, 0.0455), (0.0, 0.0, -1.0), (-pi / 2, pi / 2)),
    ((0.02895, 0.0, -0.0455), (1.0, 0.0, 0.0), (-pi, pi)),
)
CHAIN = Chain(
    tuple(Turn(transform(place), axis, *span) for place, axis, span in _TURNS),
    transform((0.156062, 0.0, 0.0), (0.0, pi / 2, 0.0)),
    radius_m=0.04,
)


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a WidowX AI.

    Attributes:
        address: IP address of the arm's controller.
        variant: fingers: "follower", "base" or "leader".
        home_rad: six angles; empty: raised before the base.
        brake_when_parked: idle mode (joints braked) after parking.
        tool_length_m: how much further out the tool centre point is than the driver's.
    """

    address: str = "192.168.1.2"
    variant: str = "follower"
    home_rad: tuple[float, ...] = ()
    brake_when_parked: bool = True
    tool_length_m: float = 0.0


class TrossenWire:
    """Implements ``hardware.paced.Wire`` over trossen_arm."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sdk: Any = None
        self._driver: Any = None
        self._awake = False
        self._stamp_us, self._stamped_ns = -1, 0

    def open(self) -> Pose | None:
        self._sdk = importlib.import_module("trossen_arm")
        effector = getattr(self._sdk.StandardEndEffector, f"wxai_v0_{self._config.variant}", None)
        if effector is None:
            raise DeviceError(f"there is no WidowX variant '{self._config.variant}'", "Use follower, base or leader")
        self._driver = self._sdk.TrossenArmDriver()
        self._driver.configure(self._sdk.Model.wxai_v0, effector, self._config.address, False, timeout=5.0)
        self._awake = False
        return None

    def measure(self) -> Measurement:
        output = self._driver.get_robot_output()
        stamp_us, now_ns = int(output.header.timestamp), time.monotonic_ns()
        if stamp_us != self._stamp_us:
            self._stamp_us, self._stamped_ns = stamp_us, now_ns
        values, speeds = np.array(output.joint.all.positions), np.array(output.joint.all.velocities)
        mode = "position" if self._awake else "idle"
        opening, torques = float(values[-1]) / _OPEN_M, np.array(output.joint.all.efforts)[:-1]
        return Measurement(stamp_us * 1000, self._stamped_ns, values[:-1], speeds[:-1], opening, mode, torques)

    def command(self, joints_rad: Vector, gripper: float) -> None:
        self._wake()
        self._driver.set_all_positions([*joints_rad.tolist(), gripper * _OPEN_M], 0.0, False)

    def halt(self) -> None:
        if self._awake:
            self._driver.set_all_positions(list(self._driver.get_all_positions()), 0.0, False)

    def rest(self) -> None:
        if self._config.brake_when_parked:
            self._driver.set_all_modes(self._sdk.Mode.idle)
            self._awake = False

    def recover(self) -> None:
        self._awake = False
        if self._driver is None:
            raise DeviceError("the WidowX is not connected", "Connect it")
        self._driver.clear_error()

    def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.cleanup(False)

    def _wake(self) -> None:
        """Position mode, with the present positions as the first goal."""
        if not self._awake:
            here = list(self._driver.get_all_positions())
            self._driver.set_all_modes(self._sdk.Mode.position)
            self._driver.set_all_positions(here, 0.0, False)
            self._awake = True


def build(config: Config) -> Arm:
    """An unconnected WidowX AI."""
    low, high = tuple(turn.low_rad for turn in CHAIN.turns), tuple(turn.high_rad for turn in CHAIN.turns)
    limits = cautious_limits(low, high, (pi,) * len(CHAIN.turns), 0.7)
    home = (0.0, pi / 3, pi / 6, pi / 5, 0.0, 0.0)
    sheet = Sheet(f"the WidowX AI at {config.address}", CHAIN, home, limits, rate_hz=200.0)
    return PacedArm(fitting_sheet(sheet, config.home_rad, config.tool_length_m), TrossenWire(config))


ARMS.register(Plugin("trossen", "Trossen WidowX AI", Config, build, "trossen_arm", "trossen_arm"))
