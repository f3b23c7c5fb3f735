"""The simulated UR5e with its gripper."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.arm import ARMS, AT_HOME_RAD, Kinematics, Limits
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.station import SimStation, find
from workbench.core.errors import DeviceError, StateError
from workbench.core.registry import Plugin
from workbench.core.types import ArmCommand, ArmState

_JOINTS = 6


def _stance() -> Any:
    """The part that needs the simulator; listing the kinds of arms must not."""
    return importlib.import_module("hardware.sim.stance")


@dataclass(frozen=True, slots=True)
class Config:
    """``address``: which simulated station the arm belongs to."""

    address: str = ""


class SimulatedArm:
    """Implements ``hardware.arm.Arm`` over a simulated station, in lockstep or in real time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._station: SimStation | None = None

    @property
    def joints(self) -> int:
        return _JOINTS

    @property
    def home_rad(self) -> NDArray[np.float64]:
        home: NDArray[np.float64] = _stance().home_stance()
        return home

    def connect(self) -> None:
        if self._station is None:
            self._station = find(self._config.address)
            self._station.arm_state()

    def read(self) -> ArmState:
        return self._reach().arm_state()

    def send(self, command: ArmCommand) -> None:
        if not (np.all(np.isfinite(command.joints_rad)) and np.isfinite(command.gripper)):
            raise DeviceError("a command with numbers that are not finite was refused", "Look at the guard's reasons")
        self._reach().arm_command(command)

    def hold(self) -> None:
        self._reach().arm_hold()

    def park(self) -> None:
        if np.max(np.abs(self.read().joints_rad - self.home_rad)) > AT_HOME_RAD:
            raise StateError("the simulated arm is not at home", "Park it first")
        self.hold()

    def recover(self) -> None:
        self.close()
        self.connect()

    def suggested_limits(self) -> Limits:
        return DEFAULT_LIMITS

    def kinematics(self) -> Kinematics:
        solver: Kinematics = _stance().arm_kinematics()
        return solver

    def close(self) -> None:
        station, self._station = self._station, None
        if station is None:
            return
        try:
            station.arm_hold()
        except DeviceError:
            return  # the station is gone, and its arm with it
        if not self._config.address.startswith("local:"):
            station.close()

    def _reach(self) -> SimStation:
        if self._station is None:
            raise DeviceError("the simulated arm is not connected", "Connect it first")
        return self._station


ARMS.register(Plugin("simulated", "Simulated UR5e", Config, SimulatedArm, "mujoco", "mujoco"))
