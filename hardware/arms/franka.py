"""Franka Research 3 (and the Panda's successor controllers) over ``pylibfranka``, the maker's own binding.

Chosen over panda-python because it is the maker's, follows the robot's system versions, and needs no build of its own.

Units and frames: seven joints in rad, base frame O of the robot; the tool centre point is the robot's end-effector
frame EE as configured in Desk, taken over at connecting. Modified Denavit-Hartenberg numbers of the FCI documentation.
Gripper: the Franka Hand, by its width. Effort: measured joint torques in Nm.

Motion: the joint position interface wants a new target every millisecond without steps in speed or acceleration. A
thread of its own runs that cycle and follows the newest command through a critically damped filter with bounded
acceleration and jerk; hold lets it come to rest, then ends the motion. Python is only just fast enough: use a real-time
kernel, or the maker's reflex "communication_constraints_violation" will end motions when the machine is busy.

Seen with the real package against a simulated robot only: reflexes and the user stop were not seen on hardware.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.chains import Chain, Vector, matrix_pose
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits, fitting_sheet
from workbench.core.errors import DeviceError
from workbench.core.registry import Plugin
from workbench.core.types import Pose

_TICK_S = 0.001
_SWITCH_S = 0.0005  # Python's default of 5 ms between threads is five cycles of the robot
_LOW = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
_HIGH = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
_SPEEDS = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
_ROWS = (
    (0.0, 0.0, 0.333, 0.0),
    (0.0, -pi / 2, 0.0, 0.0),
    (0.0, pi / 2, 0.316, 0.0),
    (0.0825, pi / 2, 0.0, 0.0),
    (-0.0825, -pi / 2, 0.384, 0.0),
    (0.0, pi / 2, 0.0, 0.0),
    (0.088, pi / 2, 0.0, 0.0),
)
CHAIN = replace(Chain.modified_dh(_ROWS, tuple(zip(_LOW, _HIGH, strict=True)), tool_m=0.107), radius_m=0.065)
_STOPPED = {
    "UserStopped": ("was stopped by its user stop", "Release the user stop, then clear the stop"),
    "Reflex": ("made a reflex stop", "Free the arm, then clear the stop"),
    "Guiding": ("is being guided by hand", "Let go of the guiding button, then clear the stop"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a Franka robot.

    Attributes:
        address: IP address of the controller (the robot's shop floor port or the control box).
        gripper: "hand" or "none".
        home_rad: seven angles; empty: the maker's ready position.
        realtime: insist on a real-time kernel, as the maker advises.
    """

    address: str = ""
    gripper: str = "hand"
    home_rad: tuple[float, ...] = ()
    realtime: bool = False


class Smooth:
    """Follows a target with bounded acceleration and jerk: q'' = w^2 (target - q) - 2 w q', both clipped.

    Args:
        acceleration, jerk: rad/s^2 and rad/s^3 for every joint, a third of what the FCI documentation allows.
    """

    def __init__(self, start: Vector, omega: float = 25.0, acceleration: float = 5.0, jerk: float = 2500.0) -> None:
        self.position, self.velocity, self.acceleration = start.copy(), np.zeros_like(start), np.zeros_like(start)
        self._omega, self._most, self._jerk = omega, acceleration, jerk

    def step(self, target: Vector, period_s: float) -> Vector:
        """The next position, ``period_s`` later."""
        wanted = self._omega**2 * (target - self.position) - 2 * self._omega * self.velocity
        wanted = np.clip(wanted, -self._most, self._most)
        change = np.clip(wanted - self.acceleration, -self._jerk * period_s, self._jerk * period_s)
        self.acceleration = self.acceleration + change
        self.velocity = self.velocity + self.acceleration * period_s
        self.position = self.position + self.velocity * period_s
        return self.position

    @property
    def still(self) -> bool:
        """True once nothing worth mentioning moves."""
        return bool(np.max(np.abs(self.velocity)) < 1e-3 and np.max(np.abs(self.acceleration)) < 0.05)


class FrankaWire:
    """Implements ``hardware.paced.Wire`` over pylibfranka."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sdk: Any = None
        self._robot: Any = None
        self._hand: HandThread | None = None
        self._ended = threading.Event()
        self._target: Vector | None = None
        self._stopping = False
        self._seen: Measurement | None = None
        self._trouble = ""
        self._thread: threading.Thread | None = None

    def open(self) -> Pose | None:
        address = self._config.address
        if not address:
            raise DeviceError("no address of the Franka robot is set", "Write address = '172.16.0.2' under [arm]")
        self._sdk = importlib.import_module("pylibfranka")
        kinds = self._sdk.RealtimeConfig
        self._robot = self._sdk.Robot(address, kinds.kEnforce if self._config.realtime else kinds.kIgnore)
        state = self._robot.read_once()
        if self._config.gripper == "hand":
            self._hand = HandThread(self._sdk.Gripper(address))
        sys.setswitchinterval(_SWITCH_S)
        self._ended, self._target, self._stopping, self._trouble = threading.Event(), None, False, ""
        self._keep(state)
        self._thread = threading.Thread(target=self._run, name="franka", daemon=True)
        self._thread.start()
        return matrix_pose(np.array(state.O_T_EE).reshape(4, 4).T)

    def measure(self) -> Measurement:
        if self._trouble:
            raise DeviceError(f"the Franka robot {self._trouble}", "Look at Desk, free the arm, then clear the stop")
        if self._seen is None:
            raise DeviceError("the Franka robot is not connected", "Connect it first")
        return self._seen

    def command(self, joints_rad: Vector, gripper: float) -> None:
        self._target, self._stopping = joints_rad, False
        if self._hand:
            self._hand.want(gripper)

    def halt(self) -> None:
        self._stopping = True

    def rest(self) -> None:
        self._stopping = True

    def recover(self) -> None:
        self._target, self._stopping = None, False
        self._robot.automatic_error_recovery()
        self._trouble = ""

    def close(self) -> None:
        self._stopping = True
        end = time.monotonic() + 0.5
        while self._target is not None and not self._trouble and time.monotonic() < end:
            time.sleep(0.01)
        self._ended.set()
        if self._thread is not None:
            self._thread.join(0.5)
        if self._hand is not None:
            self._hand.close()
        self._thread, self._robot, self._seen, self._hand = None, None, None, None

    # the robot's own cycle ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                if self._target is None or self._trouble:
                    self._keep(self._robot.read_once())
                    if self._trouble:
                        time.sleep(0.02)
                else:
                    self._move()
            except Exception as error:
                self._target = None
                self._trouble = self._trouble or f"ended the motion ({error})"
                time.sleep(0.02)

    def _move(self) -> None:
        """One motion: from the first command until it has come to rest after a halt."""
        active = self._robot.start_joint_position_control(self._sdk.ControllerMode.JointImpedance)
        state, _ = active.readOnce()
        smooth = Smooth(np.array(state.q_d))
        while True:
            target = self._target
            if self._stopping or self._ended.is_set() or target is None:
                target = smooth.position + smooth.velocity / 10.0  # roll out along the way it was going
            wanted = self._sdk.JointPositions(smooth.step(target, _TICK_S).tolist())
            done = (self._stopping or self._ended.is_set()) and smooth.still
            wanted.motion_finished = done
            active.writeOnce(wanted)
            if done:
                self._target = None
                return
            state, _ = active.readOnce()
            self._keep(state)

    def _keep(self, state: Any) -> None:
        mode = str(state.robot_mode.name)
        if mode in _STOPPED:
            words, step = _STOPPED[mode]
            self._trouble = f"{words} ({step})"
        elif self._target is None and mode in ("Idle", "Move"):
            self._trouble = ""
        opening = self._hand.opening if self._hand else 0.0
        stamp_ns = round(state.time.to_sec() * 1e9)
        joints, speeds = np.array(state.q), np.array(state.dq)
        torques = np.array(state.tau_J)
        self._seen = Measurement(stamp_ns, time.monotonic_ns(), joints, speeds, opening, mode.lower(), torques)


class HandThread:
    """The Franka Hand in its own thread: a move blocks until it is done; newest wins."""

    def __init__(self, hand: Any) -> None:
        self._hand = hand
        self._wanted: float | None = None
        self._ended = threading.Event()
        self._most_m = max(float(hand.read_once().max_width), 1e-3)
        self.opening = float(hand.read_once().width) / self._most_m
        threading.Thread(target=self._run, name="franka-hand", daemon=True).start()

    def want(self, opening: float) -> None:
        """Go to this opening, 0..1."""
        self._wanted = opening

    def close(self) -> None:
        """End after the move under way."""
        self._ended.set()

    def _run(self) -> None:
        sent = self.opening
        while not self._ended.wait(0.02):
            with contextlib.suppress(RuntimeError):  # a hand that blocks reports through its width
                wanted = self._wanted
                if wanted is not None and abs(wanted - sent) > 0.02:
                    sent = wanted
                    self._hand.move(self._most_m * wanted, 0.1)
                self.opening = float(self._hand.read_once().width) / self._most_m


def build(config: Config) -> Arm:
    """An unconnected Franka robot."""
    limits = cautious_limits(_LOW, _HIGH, _SPEEDS, 0.8)
    home = (0.0, -pi / 4, 0.0, -3 * pi / 4, 0.0, pi / 2, pi / 4)
    sheet = Sheet(f"the Franka robot at {config.address or 'no address'}", CHAIN, home, limits, rate_hz=200.0)
    return PacedArm(fitting_sheet(sheet, config.home_rad, 0.0), FrankaWire(config))


ARMS.register(Plugin("franka", "Franka Research 3", Config, build, "pylibfranka", "pylibfranka"))
