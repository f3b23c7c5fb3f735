"""UFACTORY xArm 6, xArm 7 and Lite 6 over Ethernet (``xarm-python-sdk``).

Units and frames: joints in rad, base frame of the controller; the tool centre point is the one set in the controller
(its TCP offset), taken over at connecting. Modified Denavit-Hartenberg numbers of the maker's developer manual.

Motion: servo mode (mode 1, ``set_servo_angle_j``), streamed while a command is valid; hold is state 4 (stop, with
power). Gripper: none, or the maker's own ("xarm": 0 to 850 pulses), asked rarely because each question takes the arm's
single line for some ms.

Not seen on hardware: emergency stop and collision were exercised as error codes of a fake controller only.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import socket
import time
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Vector, matrix_pose, transform
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import Pose

_TILT = 1.3849179  # atan2(284.5, 53.5): the bent upper arm
_FULL = (-2 * pi, 2 * pi)
_ARMS: dict[str, tuple[tuple[tuple[float, float, float, float], ...], tuple[tuple[float, float], ...]]] = {
    "xarm6": (
        ((0, 0, 0.267, 0), (0, -pi / 2, 0, -_TILT), (0.28948866, 0, 0, _TILT), (0.0775, -pi / 2, 0.3425, 0),
         (0, pi / 2, 0, 0), (0.076, -pi / 2, 0.097, 0)),
        (_FULL, (-2.059488, 2.094395), (-3.92699, 0.191986), _FULL, (-1.692969, pi), _FULL),
    ),
    "xarm7": (
        ((0, 0, 0.267, 0), (0, -pi / 2, 0, 0), (0, pi / 2, 0.293, 0), (0.0525, pi / 2, 0, 0),
         (0.0775, pi / 2, 0.3425, 0), (0, pi / 2, 0, 0), (0.076, -pi / 2, 0.097, 0)),
        (_FULL, (-2.059488, 2.094395), _FULL, (-0.191986, 3.92699), _FULL, (-1.692969, pi), _FULL),
    ),
    "lite6": (
        ((0, 0, 0.2433, 0), (0, -pi / 2, 0, -pi / 2), (0.2, pi, 0, -pi / 2), (0.087, pi / 2, 0.2276, 0),
         (0, pi / 2, 0, 0), (0, -pi / 2, 0.0615, 0)),
        (_FULL, (-2.61799, 2.61799), (-0.061087, 5.235988), _FULL, (-2.1642, 2.1642), _FULL),
    ),
}  # fmt: skip
_HOMES = {
    "xarm6": (0.0, -0.6, -0.9, 0.0, 1.5, 0.0),
    "xarm7": (0.0, -0.4, 0.0, 0.9, 0.0, 1.3, 0.0),
    "lite6": (0.0, 0.3, 1.2, 0.0, 0.9, 0.0),
}
_GRIPPER_OPEN = 850.0
_GRIPPER_S = 0.1
_ANSWER_S = 0.3


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an xArm.

    Attributes:
        address: IP address of the control box.
        model: xarm6, xarm7 or lite6.
        gripper: "none" or "xarm".
        home_rad: one angle per joint; empty: before the base, tool down.
    """

    address: str = ""
    model: str = "xarm6"
    gripper: str = "none"
    home_rad: tuple[float, ...] = ()


class XArmWire:
    """Implements ``hardware.paced.Wire`` over xarm-python-sdk."""

    def __init__(self, config: Config, joints: int) -> None:
        self._config, self._joints = config, joints
        self._api: Any = None
        self._awake = False
        self._opening, self._wanted, self._sent = 0.0, -1.0, -1.0
        self._gripper_s = 0.0

    def open(self) -> Pose | None:
        address = self._config.address
        if not address:
            raise DeviceError("no address of the xArm is set", "Write address = '192.168.1.x' under [arm]")
        wrapper = importlib.import_module("xarm.wrapper")
        api = wrapper.XArmAPI(
            address, is_radian=True, do_not_open=True, enable_report=False, max_callback_thread_count=0
        )
        self._api, self._awake = api, False
        log = importlib.import_module("xarm.core.utils.log")
        log.logger.setLevel(logging.ERROR)  # without reports the package warns about the mode at every command
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the package prints
                api.connect()
        except Exception as error:
            step = "Check the address, the network cable and that the control box is on"
            raise DeviceError(f"the xArm at {address} does not answer ({error})", step) from error
        else:
            api._arm.set_timeout(_ANSWER_S)  # ten seconds by default, longer than any hold may take
        finally:
            socket.setdefaulttimeout(None)  # the package changes it for the whole process
        if int(api.axis) != self._joints:
            what = f"the arm at {address} has {api.axis} joints, a {self._config.model} has {self._joints}"
            raise DeviceError(what, "Correct model under [arm]")
        self._start_gripper()
        code, place = api.get_position(is_radian=True)
        self._checked(code)
        return matrix_pose(transform([value / 1000 for value in place[:3]], place[3:6]))

    def measure(self) -> Measurement:
        before_ns = time.monotonic_ns()
        code, states = self._api.get_joint_states(is_radian=True, num=2)
        now_ns = (before_ns + time.monotonic_ns()) // 2
        self._checked(code)
        code, faults = self._api.get_err_warn_code()
        self._checked(code)
        if faults[0]:
            raise DeviceError(f"the xArm reports: {_error_words(int(faults[0]))}", "Free the arm, then clear the stop")
        self._serve_gripper()
        mode = "position" if self._awake else "idle"
        joints, speeds = (np.array(values[: self._joints], float) for values in states[:2])
        return Measurement(0, now_ns, joints, speeds, self._opening, mode)

    def command(self, joints_rad: Vector, gripper: float) -> None:
        if not self._awake:
            for code in (self._api.motion_enable(True), self._api.set_mode(1), self._api.set_state(0)):
                self._checked(code)
            self._awake = True
        self._checked(self._api.set_servo_angle_j(joints_rad.tolist(), is_radian=True))
        self._wanted = gripper

    def halt(self) -> None:
        self._awake = False
        self._checked(self._api.set_state(4))

    def rest(self) -> None:
        self.halt()

    def recover(self) -> None:
        self._awake = False
        self._checked(self._api.clean_error())
        self._checked(self._api.clean_warn())

    def close(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            api.disconnect()

    def _start_gripper(self) -> None:
        if self._config.gripper == "xarm":
            for code in (self._api.set_gripper_enable(True), self._api.set_gripper_mode(0)):
                self._checked(code)
            self._checked(self._api.set_gripper_speed(5000))

    def _serve_gripper(self) -> None:
        """Ask or tell the gripper a few times a second: every exchange blocks the line."""
        now_s = time.monotonic()
        if self._config.gripper != "xarm" or now_s - self._gripper_s < _GRIPPER_S:
            return
        self._gripper_s = now_s
        if self._wanted >= 0 and abs(self._wanted - self._sent) > 0.01:
            self._checked(self._api.set_gripper_position(round(_GRIPPER_OPEN * self._wanted), wait=False))
            self._sent = self._wanted
            return
        code, pulses = self._api.get_gripper_position()
        self._checked(code)
        self._opening = float(pulses) / _GRIPPER_OPEN

    def _checked(self, code: int) -> None:
        """Codes 1 and 2 only point at the error and warning words, which ``measure`` reads."""
        if code in (0, 1, 2):
            return
        if code in (-1, 3, -8) or not self._api.connected:
            raise DeviceError(f"the link to the xArm at {self._config.address} is lost", "Check cable and control box")
        raise DeviceError(f"the xArm refused a request (code {code})", "Look at its own panel, then clear the stop")


def _error_words(code: int) -> str:
    """The maker's sentence for a controller error."""
    try:
        codes = importlib.import_module("xarm.core.config.x_code")
        return f"{codes.ControllerError(code, status=0).title['en']} (error {code})"
    except (ImportError, AttributeError, KeyError, TypeError):
        return f"error {code}"


def chain_of(model: str) -> Chain:
    """The nominal arm up to its flange. Raises WorkbenchError for an unknown model."""
    if model not in _ARMS:
        raise WorkbenchError(f"there is no xArm model '{model}'", f"Choose one of: {', '.join(_ARMS)}")
    return replace(Chain.modified_dh(*_ARMS[model]), radius_m=0.05)


def build(config: Config) -> Arm:
    """An unconnected xArm."""
    chain = chain_of(config.model)
    low, high = tuple(turn.low_rad for turn in chain.turns), tuple(turn.high_rad for turn in chain.turns)
    limits = cautious_limits(low, high, (pi,) * chain.joints, 0.44 if config.model == "lite6" else 0.7)
    title = f"the {config.model} at {config.address or 'no address'}"
    sheet = Sheet(title, chain, _HOMES[config.model], limits, rate_hz=125.0)
    return PacedArm(fitting_sheet(sheet, config.home_rad, 0.0), XArmWire(config, chain.joints))


ARMS.register(Plugin("xarm", "UFACTORY xArm", Config, build, "xarm", "xarm-python-sdk"))
