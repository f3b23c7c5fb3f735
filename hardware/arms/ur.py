"""Universal Robots arms (UR3/5/10, e-Series, UR20) over RTDE.

Units and frames: joints in rad as the controller counts them, base frame of the controller, tool centre point as set
on the pendant (Installation, TCP): it is taken over at connecting. Nominal Denavit-Hartenberg numbers of the maker's
page "DH parameters for calculations of kinematics and dynamics"; a calibrated arm differs by about a millimetre.

Motion: ``servoJ`` with look-ahead, streamed while a command is valid; hold is the controller's present target. Its own
safety configuration stays in force. Gripper: none, or a Robotiq one through its URCap's socket (port 63352).

Not seen on hardware: emergency stop, protective stop and the Robotiq line were exercised against fakes only. Effort is
the motor current in A. The robot must be in remote control, powered on, with its brakes released.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Vector, matrix_pose, rotation_vector
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import Pose

# d1, a2, a3, d4, d5, d6 in m; reach in m
_MODELS = {
    "ur3": ((0.1519, -0.24365, -0.21325, 0.11235, 0.08535, 0.0819), 0.5),
    "ur5": ((0.089159, -0.425, -0.39225, 0.10915, 0.09465, 0.0823), 0.85),
    "ur10": ((0.1273, -0.612, -0.5723, 0.163941, 0.1157, 0.0922), 1.3),
    "ur3e": ((0.15185, -0.24355, -0.2132, 0.13105, 0.08535, 0.0921), 0.5),
    "ur5e": ((0.1625, -0.425, -0.3922, 0.1333, 0.0997, 0.0996), 0.85),
    "ur10e": ((0.1807, -0.6127, -0.57155, 0.17415, 0.11985, 0.11655), 1.3),
    "ur16e": ((0.1807, -0.4784, -0.36, 0.17415, 0.11985, 0.11655), 0.9),
    "ur20": ((0.2363, -0.862, -0.7287, 0.201, 0.1593, 0.1543), 1.75),
}
_JOINTS = 6
_RTDE_HZ = 125.0
_DECELERATION = 10.0
_UNLOCK_S = 0.5
_SAFETY = {
    2: "is in reduced mode",
    3: "made a protective stop",
    4: "is in recovery mode",
    5: "made a safeguard stop",
    6: "was stopped by the emergency button of the system",
    7: "was stopped by its emergency button",
    8: "has a safety violation",
    9: "has a fault",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a Universal Robots arm.

    Attributes:
        address: IP address of the controller.
        model: ur3, ur5, ur10, ur3e, ur5e, ur10e, ur16e or ur20.
        gripper: "none" or "robotiq" (URCap socket).
        home_rad: six angles; empty: elbow up, tool down.
        lookahead_s: smoothing of servoJ, 0.03 to 0.2 s.
        gain: stiffness of servoJ, 100 to 2000.
    """

    address: str = ""
    model: str = "ur5e"
    gripper: str = "none"
    home_rad: tuple[float, ...] = ()
    lookahead_s: float = 0.1
    gain: float = 300.0


class UrWire:
    """Implements ``hardware.paced.Wire`` over ur_rtde."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._receive: Any = None
        self._control: Any = None
        self._gripper: RobotiqSocket | None = None
        self._stamp, self._stamped_ns = -1.0, 0

    def open(self) -> Pose | None:
        address = self._config.address
        if not address:
            raise DeviceError("no address of the UR controller is set", "Write address = '192.168.x.y' under [arm]")
        receive = importlib.import_module("rtde_receive").RTDEReceiveInterface
        self._receive = _asked(lambda: receive(address, _RTDE_HZ), f"the UR controller at {address}")
        if self._config.gripper == "robotiq":
            self._gripper = RobotiqSocket(address)
            self._gripper.open()
        self._controlled()  # now: the package's constructor stops the whole process for some tenths of a second
        return matrix_pose(_matrix_of(self._receive.getActualTCPPose()))

    def measure(self) -> Measurement:
        receive = self._receive
        stamp = float(receive.getTimestamp())
        now_ns = time.monotonic_ns()
        if stamp != self._stamp:
            self._stamp, self._stamped_ns = stamp, now_ns
        if not receive.isConnected():
            raise DeviceError(f"the link to the UR at {self._config.address} is lost", "Check cable and controller")
        safety = int(receive.getSafetyMode())
        if safety not in (1, 2):
            raise DeviceError(f"the UR {_SAFETY.get(safety, f'is in safety mode {safety}')}", _what_to_do(safety))
        if int(receive.getRobotMode()) != 7:
            step = "Switch it on and release its brakes on the pendant"
            raise DeviceError("the UR is not running", step)
        opening = self._gripper.opening() if self._gripper else 0.0
        joints, speeds = np.array(receive.getActualQ()), np.array(receive.getActualQd())
        mode = "reduced" if safety == 2 else "position"
        amperes = np.array(receive.getActualCurrent())
        return Measurement(round(stamp * 1e9), self._stamped_ns, joints, speeds, opening, mode, amperes)

    def command(self, joints_rad: Vector, gripper: float) -> None:
        self._servo(joints_rad.tolist())
        if self._gripper:
            self._gripper.want(gripper)

    def halt(self) -> None:
        """Hold the controller's own present target. ``servoStop`` would wait until the arm stands."""
        self._servo(list(self._receive.getTargetQ()))

    def _servo(self, joints_rad: list[float]) -> None:
        time_s = 1.0 / _RTDE_HZ
        smooth, gain = self._config.lookahead_s, self._config.gain
        if not self._controlled().servoJ(joints_rad, 0.0, 0.0, time_s, smooth, gain):
            self._let_go_of_control()
            raise DeviceError("the UR does not take motion commands", "Put it into remote control, then clear the stop")

    def rest(self) -> None:
        self.halt()  # the motion program stays loaded: loading it again would stop the whole process for a moment

    def recover(self) -> None:
        """Unlock a protective stop (the controller allows it 5 s after it) and load the motion program anew."""
        self._let_go_of_control()
        if not self._receive.isConnected():
            raise DeviceError("the link to the UR is lost", "Check cable and controller")
        if int(self._receive.getSafetyMode()) == 3:
            words = _dashboard(self._config.address, "unlock protective stop")
            if "releasing" not in words.lower():
                raise DeviceError(f"the UR refuses to unlock its protective stop ({words})", "Wait 5 s and try again")
            time.sleep(_UNLOCK_S)
        self._controlled()

    def close(self) -> None:
        self._let_go_of_control()
        receive, self._receive = self._receive, None
        if receive is not None:
            receive.disconnect()
        gripper, self._gripper = self._gripper, None
        if gripper is not None:
            gripper.close()

    def _controlled(self) -> Any:
        """The motion program; it runs from connecting on and moves nothing by itself."""
        if self._control is None:
            control = importlib.import_module("rtde_control").RTDEControlInterface
            address = self._config.address
            self._control = _asked(lambda: control(address, _RTDE_HZ), f"the UR's program at {address}")
        return self._control

    def _let_go_of_control(self) -> None:
        control, self._control = self._control, None
        if control is None:
            return
        if self._receive is not None and self._receive.isConnected():  # else each call waits for an answer
            with contextlib.suppress(RuntimeError):
                control.servoStop(_DECELERATION)
                control.stopScript()
        control.disconnect()


class RobotiqSocket:
    """A Robotiq 2F gripper through its URCap's text protocol (``SET POS 255``), in a thread: it answers at 20 to 60 Hz.

    Positions of the gripper count 0 open .. 255 closed.
    """

    def __init__(self, address: str, port: int = 63352) -> None:
        self._address, self._port = address, port
        self._socket: socket.socket | None = None
        self._ended = threading.Event()
        self._wanted: int | None = None
        self._position = 0
        self._failed = ""

    def open(self) -> None:
        """Connect and activate. Raises DeviceError."""
        try:
            self._socket = socket.create_connection((self._address, self._port), 2.0)
            if self._ask("GET STA") != "STA 3":
                self._ask("SET ACT 1")
                end = time.monotonic() + 8.0
                while self._ask("GET STA") != "STA 3":
                    if time.monotonic() > end:
                        raise DeviceError("the Robotiq gripper does not activate", "Activate it on the pendant")
                    time.sleep(0.05)
            self._ask("SET GTO 1")
            self._position = int(self._ask("GET POS").split()[-1])
        except (OSError, ValueError, IndexError) as error:
            self.close()
            step = "Install the Robotiq URCap, or set gripper = 'none'"
            raise DeviceError(f"the Robotiq gripper does not answer ({error})", step) from error
        threading.Thread(target=self._run, name="robotiq", daemon=True).start()

    def opening(self) -> float:
        """0 closed .. 1 open, last measured. Raises DeviceError when the gripper has gone."""
        if self._failed:
            raise DeviceError(f"the Robotiq gripper has gone ({self._failed})", "Check its cable, then clear the stop")
        return 1.0 - self._position / 255.0

    def want(self, opening: float) -> None:
        """Go there at full speed and default force; newest wins."""
        self._wanted = round(255 * (1.0 - opening))

    def close(self) -> None:
        """Let go; safe to call twice."""
        self._ended.set()
        line, self._socket = self._socket, None
        if line is not None:
            line.close()

    def _run(self) -> None:
        sent = None
        while not self._ended.wait(0.02):
            try:
                wanted = self._wanted
                if wanted is not None and wanted != sent:
                    self._ask(f"SET POS {wanted}")
                    sent = wanted
                self._position = int(self._ask("GET POS").split()[-1])
            except (OSError, ValueError, IndexError, AttributeError) as error:
                self._failed = "" if self._ended.is_set() else str(error)
                return

    def _ask(self, words: str) -> str:
        line = self._socket
        if line is None:
            raise OSError("closed")
        line.sendall(words.encode() + b"\n")
        return line.recv(1024).decode().strip()


def _asked(make: Callable[[], Any], whom: str) -> Any:
    """Run a constructor of the package; its exceptions in our words."""
    try:
        return make()
    except (RuntimeError, ValueError) as error:
        step = "Check the address, the network cable and that the robot is in remote control"
        raise DeviceError(f"{whom} does not answer ({error})", step) from error


def _dashboard(address: str, words: str) -> str:
    try:
        with socket.create_connection((address, 29999), 2.0) as line:
            line.settimeout(2.0)
            line.recv(1024)
            line.sendall(words.encode() + b"\n")
            return line.recv(1024).decode().strip()
    except OSError as error:
        raise DeviceError(f"the UR's dashboard does not answer ({error})", "Check cable and controller") from error


def _what_to_do(safety: int) -> str:
    if safety == 3:
        return "Free the arm, wait 5 s, then clear the stop"
    if safety in (6, 7):
        return "Release the emergency button, switch the arm on at its pendant, then clear the stop"
    return "Look at the pendant, put it right there, then clear the stop"


def _matrix_of(vector: list[float]) -> Vector:
    made = np.eye(4)
    made[:3, 3] = vector[:3]
    made[:3, :3] = rotation_vector(vector[3:])
    return made


def chain_of(model: str) -> Chain:
    """The nominal arm without a tool. Raises WorkbenchError for an unknown model."""
    if model not in _MODELS:
        raise WorkbenchError(f"there is no UR model '{model}'", f"Choose one of: {', '.join(_MODELS)}")
    d1, a2, a3, d4, d5, d6 = _MODELS[model][0]
    rows = ((d1, 0, pi / 2), (0, a2, 0), (0, a3, 0), (d4, 0, pi / 2), (d5, 0, -pi / 2), (d6, 0, 0))
    elbow = (-pi, pi)
    full = (-2 * pi, 2 * pi)
    chain = Chain.standard_dh(rows, (full, full, elbow, full, full, full))
    return replace(chain, radius_m=0.06)


def build(config: Config) -> Arm:
    """An unconnected UR arm."""
    chain = chain_of(config.model)
    low, high = tuple(turn.low_rad for turn in chain.turns), tuple(turn.high_rad for turn in chain.turns)
    limits = cautious_limits(low, high, (pi,) * _JOINTS, _MODELS[config.model][1])
    title = f"the {config.model.upper()} at {config.address or 'no address'}"
    sheet = Sheet(title, chain, (pi, -1.57, 1.57, -1.57, -1.57, 0.0), limits, rate_hz=_RTDE_HZ)
    return PacedArm(fitting_sheet(sheet, config.home_rad, 0.0), UrWire(config))


ARMS.register(Plugin("ur", "Universal Robots", Config, build, "rtde_control", "ur-rtde"))
