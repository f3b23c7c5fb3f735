"""AgileX Piper over CAN (``piper_sdk`` on python-can).

Units and frames: six joints in rad (the wire counts 0.001 degrees), base frame of the controller; the tool centre point
is that of the controller's own end pose (the flange), plus ``tool_length_m``. Modified Denavit-Hartenberg numbers as in
the package's own forward kinematics. Gripper: stroke in 0.001 mm, 0 closed.

Motion: MOVE J in CAN mode (frame 0x151), joint targets (0x155-0x157) and gripper (0x159) streamed while a command is
valid. The first command switches the motors on (0x471) and follows only once all report so. Hold sends the measured
position as the target. The controller's quick stop and reset let the arm sink, so no program of ours sends them.

Exercised with the real package over python-can's virtual bus; motors, brakes and the emergency stop were not.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import time
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Vector
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from workbench.core.errors import DeviceError
from workbench.core.registry import Plugin
from workbench.core.types import Pose

_UNIT = pi / 180_000  # rad per 0.001 degree
_RANGES = ((-2.6179, 2.6179), (0.0, 3.14), (-2.967, 0.0), (-1.745, 1.745), (-1.22, 1.22), (-2.09439, 2.09439))
_ENABLE_S = 3.0
_CONNECTIONS = itertools.count()
_BAD = {
    1: ("the emergency stop is active", "Support the arm, release the stop and switch the arm off and on"),
    5: ("a joint does not answer its controller", "Check the arm's inner cables; switch it off and on"),
    6: ("a brake is not released", "Switch the arm off and on"),
    7: ("it has hit something", "Free the arm, then clear the stop"),
    9: ("a joint reports a fault", "Look at the maker's tool; switch the arm off and on"),
    10: ("the controller reports a fault", "Look at the maker's tool; switch the arm off and on"),
    14: ("the controller is too hot", "Let it cool down"),
    15: ("the braking resistor is too hot", "Let it cool down"),
}
_MOTOR_FAULTS = {
    "voltage_too_low": "too little voltage",
    "motor_overheating": "motor too hot",
    "driver_overcurrent": "too much current",
    "driver_overheating": "motor driver too hot",
    "collision_status": "collision",
    "driver_error_status": "driver fault",
    "stall_status": "stalled",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a Piper.

    Attributes:
        channel: CAN interface ("can0"); switch it on at 1 Mbit/s first.
        bus: python-can's name of the kind of adapter ("socketcan", "slcan", ...).
        old_firmware: True for firmware before S-V1.6-3, whose joints 2 and 3 count 2 degrees differently.
        speed_percent: the controller's own speed limit, 1 to 100.
        gripper_mm: stroke of the gripper.
        gripper_force_nm: grip torque, up to 5.
        home_rad: six angles; empty: raised before the base.
        release_when_parked: switch the motors off after parking. Only where the arm rests on something at home.
        tool_length_m: from the flange to the fingertips; 0: the maker's own end pose.
    """

    channel: str = "can0"
    bus: str = "socketcan"
    old_firmware: bool = False
    speed_percent: int = 100
    gripper_mm: float = 70.0
    gripper_force_nm: float = 1.0
    home_rad: tuple[float, ...] = ()
    release_when_parked: bool = False
    tool_length_m: float = 0.0


class PiperWire:
    """Implements ``hardware.paced.Wire`` over piper_sdk."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._arm: Any = None
        self._asked_ns = 0

    def open(self) -> Pose | None:
        sdk, config = importlib.import_module("piper_sdk"), self._config
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):  # the package prints
                # The package keeps one instance per name, whose reading thread never ends: a new name every time.
                name = f"{config.channel}-{next(_CONNECTIONS)}"
                arm = sdk.C_PiperInterface_V2(name, False, False, int(not config.old_firmware))
                arm.CreateCanBus(config.channel, config.bus, 1_000_000, config.bus == "socketcan")
                arm.ConnectPort(piper_init=False)
        except (ConnectionError, ValueError, OSError) as error:
            step = f"Run: ip link set {config.channel} up type can bitrate 1000000"
            raise DeviceError(f"the CAN interface '{config.channel}' cannot be opened ({error})", step) from error
        if "Failed" in said.getvalue():
            raise DeviceError(said.getvalue().strip(), "Check the CAN adapter")
        self._arm, self._asked_ns = arm, 0
        return None

    def measure(self) -> Measurement:
        joints, grip = self._arm.GetArmJointMsgs(), self._arm.GetArmGripperMsgs().gripper_state
        if not joints.time_stamp:
            raise DeviceError(f"the Piper on '{self._config.channel}' is silent", "Check its supply and the CAN cable")
        age_s = max(0.0, time.time() - joints.time_stamp)  # frames are stamped with the system's clock
        taken_ns = time.monotonic_ns() - round(age_s * 1e9)
        if age_s < 0.15:
            self._look_for_faults()
        high = self._arm.GetArmHighSpdInfoMsgs()
        angles = np.array([getattr(joints.joint_state, f"joint_{i}") for i in range(1, 7)]) * _UNIT
        speeds = np.array([getattr(high, f"motor_{i}").motor_speed for i in range(1, 7)]) / 1000.0
        opening = grip.grippers_angle / (1000.0 * self._config.gripper_mm)
        mode = "position" if self._enabled() else "released"
        return Measurement(round(joints.time_stamp * 1e9), taken_ns, angles, speeds, opening, mode)

    def command(self, joints_rad: Vector, gripper: float) -> None:
        if not self._enabled():
            self._enable()
            return
        self._asked_ns = 0
        self._go(np.rint(joints_rad / _UNIT).astype(int).tolist())
        travel = round(1000 * self._config.gripper_mm * gripper)
        self._arm.GripperCtrl(travel, round(1000 * self._config.gripper_force_nm), 0x01, 0)

    def halt(self) -> None:
        if self._enabled():
            here = self._arm.GetArmJointMsgs().joint_state
            self._go([getattr(here, f"joint_{i}") for i in range(1, 7)])

    def rest(self) -> None:
        if self._config.release_when_parked:
            self._arm.DisableArm(7)

    def recover(self) -> None:
        self._asked_ns = 0
        self._look_for_faults()

    def close(self) -> None:
        arm, self._arm = self._arm, None
        if arm is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                arm.DisconnectPort()

    def _go(self, thousandths: list[int]) -> None:
        self._arm.MotionCtrl_2(0x01, 0x01, self._config.speed_percent, 0x00)
        self._arm.JointCtrl(*thousandths)

    def _enabled(self) -> bool:
        return all(self._arm.GetArmEnableStatus())

    def _enable(self) -> None:
        """Ask for power until every motor reports it, holding the present position meanwhile."""
        now_ns = time.monotonic_ns()
        if not self._asked_ns:
            self._asked_ns = now_ns
        elif now_ns - self._asked_ns > _ENABLE_S * 1e9:
            raise DeviceError("the Piper's motors do not switch on", "Check its supply and its emergency stop")
        here = self._arm.GetArmJointMsgs().joint_state
        self._go([getattr(here, f"joint_{i}") for i in range(1, 7)])
        self._arm.EnableArm(7)

    def _look_for_faults(self) -> None:
        status = self._arm.GetArmStatus().arm_status
        words, step = _BAD.get(int(status.arm_status), ("", ""))
        if words:
            raise DeviceError(f"the Piper reports: {words}", step)
        motors = self._arm.GetArmLowSpdInfoMsgs()
        for i in range(1, 7):
            found = getattr(motors, f"motor_{i}").foc_status
            faults = [text for name, text in _MOTOR_FAULTS.items() if getattr(found, name, False)]
            if faults:
                step = "Let it cool down and free it, switch it off and on if that does not help"
                raise DeviceError(f"joint {i} of the Piper reports: {', '.join(faults)}", step)


def chain_of(old_firmware: bool) -> Chain:
    """The arm up to its flange."""
    second, third = (174.22, 100.78) if old_firmware else (172.22, 102.78)
    rows = (
        (0.0, 0.0, 0.123, 0.0),
        (0.0, -pi / 2, 0.0, -second * pi / 180),
        (0.28503, 0.0, 0.0, -third * pi / 180),
        (-0.02198, pi / 2, 0.25075, 0.0),
        (0.0, -pi / 2, 0.0, 0.0),
        (0.0, pi / 2, 0.091, 0.0),
    )
    return replace(Chain.modified_dh(rows, _RANGES), radius_m=0.04)


def build(config: Config) -> Arm:
    """An unconnected Piper."""
    low, high = tuple(span[0] for span in _RANGES), tuple(span[1] for span in _RANGES)
    limits = cautious_limits(low, high, (3.0,) * 6, 0.62)
    home = (0.0, 1.2, -1.2, 0.0, 0.9, 0.0)
    sheet = Sheet(f"the Piper on '{config.channel}'", chain_of(config.old_firmware), home, limits, rate_hz=100.0)
    return PacedArm(fitting_sheet(sheet, config.home_rad, config.tool_length_m), PiperWire(config))


ARMS.register(Plugin("piper", "AgileX Piper", Config, build, "piper_sdk", "piper-sdk"))
