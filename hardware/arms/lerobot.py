"""Any robot that has a LeRobot driver, through its documented interface: connect, get_observation, send_action.

Units and frames: LeRobot's numbers are those of the driver, usually degrees per joint (``shoulder_pan.pos``) and 0 to
100 for the gripper; ``unit`` says which. Which joint is which, and where the tool is, comes from an MJCF or URDF file
of the arm; its base frame is the frame of everything.

LeRobot pins older versions of torch than the workbench uses, so it does not fit into the same environment: it is an
optional part for people who build their own. Written against the interface of its Robot class and tested with a small
class of that shape; no LeRobot driver has been run with it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Vector
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import Pose

_UNITS = {"degrees": np.pi / 180.0, "radians": 1.0}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a LeRobot driver.

    Attributes:
        module: module with the driver's classes ("lerobot.robots.so101_follower").
        robot: class of the driver ("SO101Follower").
        config: class of its configuration ("SO101FollowerConfig").
        options: JSON object with the configuration's fields ('{"port": "/dev/ttyACM0", "use_degrees": true}').
        joints: names of the joints, without ".pos", from the base on.
        gripper: name of the gripper, or "".
        gripper_open: the driver's number for open; closed is 0.
        unit: "degrees" or "radians".
        model: MJCF or URDF file of the arm with joints of the same names.
        tool: site or body of the file that is the tool centre point.
        home_rad: one angle per joint; empty: all zero.
    """

    module: str = ""
    robot: str = ""
    config: str = ""
    options: str = "{}"
    joints: tuple[str, ...] = ()
    gripper: str = "gripper"
    gripper_open: float = 100.0
    unit: str = "degrees"
    model: str = ""
    tool: str = "gripper"
    home_rad: tuple[float, ...] = ()


class LeRobotWire:
    """Implements ``hardware.paced.Wire`` over a LeRobot Robot."""

    def __init__(self, config: Config) -> None:
        self._config, self._scale = config, _UNITS[config.unit]
        self._robot: Any = None
        self._last: tuple[Vector, int] | None = None
        self._keys = [f"{name}.pos" for name in config.joints]

    def open(self) -> Pose | None:
        config = self._config
        try:
            module = importlib.import_module(config.module)
            options = json.loads(config.options)
            self._robot = getattr(module, config.robot)(getattr(module, config.config)(**options))
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            what = f"the LeRobot driver '{config.module}:{config.robot}' cannot be made ({error})"
            raise DeviceError(what, "Check module, robot, config and options under [arm]") from error
        self._robot.connect(calibrate=False)
        if not self._robot.is_calibrated:
            raise DeviceError("the LeRobot arm is not calibrated", "Run: lerobot-calibrate")
        missing = [key for key in self._keys if key not in self._robot.action_features]
        if missing:
            known = ", ".join(self._robot.action_features)
            raise DeviceError(f"the driver has no joint {', '.join(missing)}", f"It has: {known}")
        return None

    def measure(self) -> Measurement:
        before_ns = time.monotonic_ns()
        seen: Mapping[str, Any] = self._robot.get_observation()
        now_ns = (before_ns + time.monotonic_ns()) // 2
        joints = np.array([float(seen[key]) for key in self._keys]) * self._scale
        speeds = np.zeros(len(joints))
        if self._last is not None and now_ns > self._last[1]:
            speeds = (joints - self._last[0]) / ((now_ns - self._last[1]) / 1e9)
        self._last = (joints, now_ns)
        grip = float(seen.get(f"{self._config.gripper}.pos", 0.0)) / self._config.gripper_open
        return Measurement(0, now_ns, joints, speeds, grip)

    def command(self, joints_rad: Vector, gripper: float) -> None:
        action = dict(zip(self._keys, (joints_rad / self._scale).tolist(), strict=True))
        if self._config.gripper:
            action[f"{self._config.gripper}.pos"] = gripper * self._config.gripper_open
        self._robot.send_action(action)

    def halt(self) -> None:
        seen = self._robot.get_observation()
        self._robot.send_action({key: float(seen[key]) for key in self._robot.action_features if key in seen})

    def rest(self) -> None:
        self.halt()  # the interface has no word for letting go but disconnecting

    def recover(self) -> None:
        if not self._robot.is_connected:
            raise DeviceError("the LeRobot driver has lost its arm", "Check its cable")

    def close(self) -> None:
        robot, self._robot = self._robot, None
        if robot is not None and robot.is_connected:
            with contextlib.suppress(OSError):
                robot.disconnect()


def build(config: Config) -> Arm:
    """An unconnected arm; reads its model file when there is one to read. Raises WorkbenchError."""
    if config.unit not in _UNITS:
        raise WorkbenchError(f"'{config.unit}' is no unit of joint angles", f"Choose one of: {', '.join(_UNITS)}")
    if not (config.module and config.joints and config.model):
        raise WorkbenchError("the LeRobot arm is not described", "Write module, joints and model under [arm]")
    cost = 0.3 if len(config.joints) > 5 else 0.02
    chain = Chain.of_file(Path(config.model).expanduser(), config.joints, config.tool, cost)
    low, high = tuple(turn.low_rad for turn in chain.turns), tuple(turn.high_rad for turn in chain.turns)
    limits = cautious_limits(low, high, (2.0,) * chain.joints, 0.5)
    sheet = Sheet(f"the LeRobot arm {config.robot}", chain, (0.0,) * chain.joints, limits, rate_hz=60.0)
    return PacedArm(fitting_sheet(sheet, config.home_rad, 0.0), LeRobotWire(config))


ARMS.register(Plugin("lerobot", "LeRobot driver", Config, build, "lerobot", "lerobot"))
