"""The scripted operator of the simulated station, behind the same protocol as a person's device."""

from __future__ import annotations

from dataclasses import dataclass

from hardware.sim.operator import ScriptedOperator
from hardware.sim.station import SimStation, find
from hardware.teleop import TELEOPS
from workbench.core.registry import Plugin
from workbench.core.types import ArmState, TeleopAction


@dataclass(frozen=True, slots=True)
class Config:
    """``task`` names what to do, ``seed`` how exactly."""

    address: str = ""
    task: str = "red_cube_to_white_plate"
    seed: int = 0


class ScriptedTeleop:
    """Implements ``hardware.teleop.Teleop``; does its task once, then gives no more input."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._station: SimStation | None = None
        self._operator = ScriptedOperator(config.task, config.seed)

    @property
    def done(self) -> bool:
        """True once the object is released and the gripper has moved away."""
        return self._operator.done

    def open(self) -> None:
        self._station = find(self._config.address)

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        if self._station is None or self.done:
            return None
        scene = self._station.scene()
        return self._operator.read(scene, state, period_s) if scene else None

    def close(self) -> None:
        station, self._station = self._station, None
        if station is not None and not self._config.address.startswith("local:"):
            station.close()


TELEOPS.register(Plugin("scripted", "Scripted operator", Config, ScriptedTeleop, "mujoco", "mujoco"))
