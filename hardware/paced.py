"""An arm whose maker's package may block: a thread of its own talks to it, the control tick never waits.

Newest wins in both directions: ``read`` returns the last measurement with the time it was taken, ``send`` leaves the
newest command for the thread. A measurement that does not come, for whatever reason, is a DeviceError within
``Sheet.silence_s``, even while the package hangs in a call.

A plug-in file is then a ``Sheet`` (what the data sheet says) and a ``Wire`` (the maker's calls).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.arm import AT_HOME_RAD, Kinematics, Limits
from hardware.chains import Chain
from workbench.core.clock import Pacer
from workbench.core.errors import DeviceError, StateError, WorkbenchError
from workbench.core.types import ArmCommand, ArmState, Pose

Vector = NDArray[np.float64]
_log = logging.getLogger(__name__)
_RETRY_S = 0.1  # how often a faulted arm is asked whether it is well again
_CLOSE_S = 2.0
_FIRST_S = 1.0
_CHORE_S = 5.0
_STILL_RAD_S = 0.05


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known about an arm before it is connected.

    Attributes:
        title: for messages ("UR5e at 192.168.1.10").
        chain: joints, ranges and tool.
        home_rad: (N,) a position that is safe to start from.
        limits: the suggestion for ``Arm.suggested_limits``.
        rate_hz: how often it is measured and commanded.
        silence_s: a measurement older than this means that the link is lost.
        open_s: how long connecting may take.
    """

    title: str
    chain: Chain
    home_rad: tuple[float, ...]
    limits: Limits
    rate_hz: float = 125.0
    silence_s: float = 0.15
    open_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One look at the arm: (N,) rad, (N,) rad/s, gripper 0..1; ``t_device_ns`` is 0 where the arm has no clock.

    ``effort`` (N,) in the arm's own unit, None where it reports none.
    """

    t_device_ns: int
    t_host_ns: int
    joints_rad: Vector
    velocities_rad_s: Vector
    gripper: float
    mode: str = "position"
    effort: Vector | None = None


class Wire(Protocol):
    """The maker's package. Only the pacing thread calls it, so calls may block for a few ms.

    Whatever a package raises counts as a fault; a DeviceError says it in our words.
    """

    def open(self) -> Pose | None:
        """Connect without moving. Returns the tool pose that the controller reports, None if it reports none."""

    def measure(self) -> Measurement:
        """Look at the arm. Raises for a lost link, a protective stop, an emergency stop, an overheated joint ..."""

    def command(self, joints_rad: Vector, gripper: float) -> None:
        """Go towards this target; called at the sheet's rate while a command is valid."""

    def halt(self) -> None:
        """Stop quickly and stay there with power."""

    def rest(self) -> None:
        """At home: leave the arm as its maker wants it left."""

    def recover(self) -> None:
        """Clear a fault of the controller, as far as a program may."""

    def close(self) -> None:
        """Let go of the link; after a failed ``open`` and twice too."""


@dataclass(slots=True)
class _Chore:
    """Something that the pacing thread does for a caller who waits."""

    work: Callable[[], None]
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self.error = error
        self.done.set()


class PacedArm:
    """Implements ``hardware.arm.Arm`` over a ``Wire``. Methods belong to one thread, the control tick."""

    def __init__(self, sheet: Sheet, wire: Wire) -> None:
        self._sheet, self._wire = sheet, wire
        self._chain = sheet.chain
        self._lock = threading.Lock()
        self._state: ArmState | None = None
        self._fault: DeviceError | None = None
        self._wanted: ArmCommand | None = None
        self._halt = False
        self._moving = False
        self._ended = threading.Event()
        self._opened = threading.Event()
        self._chores: list[_Chore] = []
        self._thread: threading.Thread | None = None
        self._t_device_ns = 0

    @property
    def joints(self) -> int:
        return self._sheet.chain.joints

    @property
    def home_rad(self) -> Vector:
        return np.array(self._sheet.home_rad, float)

    def connect(self) -> None:
        if self._thread is not None:
            return
        self._ended, self._opened = threading.Event(), threading.Event()
        self._state, self._fault, self._wanted, self._halt, self._moving = None, None, None, False, False
        self._thread = threading.Thread(
            target=self._run, args=(self._ended, self._opened), name="arm-wire", daemon=True
        )
        self._thread.start()
        if not self._opened.wait(self._sheet.open_s):
            self._fault = DeviceError(f"{self._sheet.title} did not answer", "Check power, network cable and address")
        if self._fault is not None:
            fault = self._fault
            self.close()
            raise fault

    def read(self) -> ArmState:
        with self._lock:
            state, fault = self._state, self._fault
        if self._thread is None:
            raise DeviceError(f"{self._sheet.title} is not connected", "Connect it first")
        if fault is not None:
            raise DeviceError(fault.what, fault.next_step)
        if state is None or (silent_s := (time.monotonic_ns() - state.t_host_ns) / 1e9) > self._sheet.silence_s:
            self.hold()  # what was wanted before the silence is not followed after it
            words = f" for {silent_s:.2f} s" if state is not None else ""
            raise DeviceError(
                f"{self._sheet.title} has not answered{words}", "Check its power and its cable, then clear the stop"
            )
        return state

    def send(self, command: ArmCommand) -> None:
        finite = np.all(np.isfinite(command.joints_rad)) and np.isfinite(command.gripper)
        if not finite or np.shape(command.joints_rad) != (self.joints,):
            raise DeviceError("a command that is no joint position was refused", "Look at the guard's reasons")
        with self._lock:
            self._wanted, self._halt = command, False

    def hold(self) -> None:
        with self._lock:
            self._wanted, self._halt = None, True

    def park(self) -> None:
        state = self.read()
        away = float(np.max(np.abs(state.joints_rad - self.home_rad)))
        if away > AT_HOME_RAD or np.max(np.abs(state.velocities_rad_s)) > _STILL_RAD_S:
            raise StateError(f"{self._sheet.title} is not at home ({away:.2f} rad away)", "Let it go home first")
        self.hold()
        self._do(self._wire.rest, "park")

    def recover(self) -> None:
        if self._thread is None:
            self.connect()
            return
        self.hold()
        try:
            self._do(self._wire.recover, "recover")
            self._await_news()
        except DeviceError:
            self.close()
            self.connect()

    def _await_news(self) -> None:
        """Return once the arm has been measured anew; raises DeviceError when it is not within a second."""
        asked_ns = time.monotonic_ns()
        while (state := self._state) is None or self._fault is not None or state.t_host_ns < asked_ns:
            if time.monotonic_ns() - asked_ns > _FIRST_S * 1e9:
                raise self._fault or DeviceError(f"{self._sheet.title} does not answer", "Check its cable")
            time.sleep(0.005)

    def suggested_limits(self) -> Limits:
        return self._sheet.limits

    def kinematics(self) -> Kinematics:
        return self._chain.kinematics()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ended.set()
        thread.join(_CLOSE_S)
        if thread.is_alive():
            _log.warning("%s hangs in its maker's package; its thread is left behind", self._sheet.title)

    # the thread -----------------------------------------------------------------------------------------------------

    def _run(self, ended: threading.Event, opened: threading.Event) -> None:
        try:
            self._open()
        except Exception as error:
            self._fault = self._as_fault(error, "could not be connected")
            self._finish()
            opened.set()
            return
        opened.set()
        pacer = Pacer(self._sheet.rate_hz)
        while pacer.wait(ended):
            self._cycle(ended)
        self._finish()

    def _open(self) -> None:
        self._solver = self._sheet.chain.kinematics()  # loads MuJoCo, which must not fall between two measurements
        reported = self._wire.open()
        first = self._first()
        self._chain = self._sheet.chain
        if reported is not None:
            self._chain = self._sheet.chain.fitted(first.joints_rad, reported)
            self._solver = self._chain.kinematics()
        self._note(self._wire.measure())

    def _first(self) -> Measurement:
        """The first answers of a controller may still be on their way."""
        end = time.monotonic() + _FIRST_S
        while True:
            try:
                return self._wire.measure()
            except DeviceError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _cycle(self, ended: threading.Event) -> None:
        try:
            for chore in self._take_chores():
                chore.run()
            self._note(self._wire.measure())
            self._follow()
        except Exception as error:
            fault = self._as_fault(error, "failed")
            with self._lock:
                self._fault, self._wanted, self._moving = fault, None, False
            ended.wait(_RETRY_S)

    def _follow(self) -> None:
        with self._lock:
            wanted, halt = self._wanted, self._halt
            self._halt = False
            expired = wanted is not None and wanted.expires_ns < time.monotonic_ns()
            if expired:
                self._wanted = None
        if wanted is not None and not expired:
            self._wire.command(np.asarray(wanted.joints_rad, float), min(1.0, max(0.0, float(wanted.gripper))))
            self._moving = True
        elif (halt or expired) and self._moving:
            self._wire.halt()
            self._moving = False

    def _note(self, seen: Measurement) -> None:
        joints = np.asarray(seen.joints_rad, float)
        if joints.shape != (self.joints,) or not np.all(np.isfinite(joints)):
            raise DeviceError(f"{self._sheet.title} reports no usable joint positions", "Check the arm's own panel")
        position, turn = self._solver.pose(joints)
        # Packages repeat their last answer; a device clock that stands still is told apart by the host time.
        self._t_device_ns = max(self._t_device_ns + 1, seen.t_device_ns or seen.t_host_ns)
        gripper = min(1.0, max(0.0, float(seen.gripper)))
        speeds = np.asarray(seen.velocities_rad_s, float)
        pose = Pose(position, turn)
        state = ArmState(self._t_device_ns, seen.t_host_ns, joints, speeds, gripper, pose, seen.mode, seen.effort)
        with self._lock:
            if self._fault is not None:
                self._wanted = None
            self._state, self._fault = state, None

    def _finish(self) -> None:
        for step in (self._wire.halt, self._wire.close) if self._moving else (self._wire.close,):
            try:
                step()
            except Exception as error:
                _log.info("%s was let go with: %s", self._sheet.title, error)

    def _do(self, work: Callable[[], None], verb: str) -> None:
        """Let the thread do something between two measurements and wait for it. Raises DeviceError."""
        chore = _Chore(work)
        with self._lock:
            self._chores.append(chore)
        if not chore.done.wait(_CHORE_S):
            raise DeviceError(f"{self._sheet.title} did not {verb}", "Look at the arm's own panel, then try again")
        if chore.error is not None:
            raise self._as_fault(chore.error, f"did not {verb}") from chore.error

    def _take_chores(self) -> list[_Chore]:
        with self._lock:
            chores, self._chores = self._chores, []
        return chores

    def _as_fault(self, error: Exception, verb: str) -> DeviceError:
        if isinstance(error, WorkbenchError):
            return error if isinstance(error, DeviceError) else DeviceError(error.what, error.next_step)
        what = f"{self._sheet.title} {verb} ({type(error).__name__}: {error})"
        return DeviceError(what, "Check its power, its cable and its own panel, then clear the stop")


def cautious_limits(
    low: tuple[float, ...],
    high: tuple[float, ...],
    speed_rad_s: tuple[float, ...],
    reach_m: float,
    *,
    share: float = 0.4,
) -> Limits:
    """Suggested limits: a margin inside the joint ranges, a share of the speeds, the half-space before the base."""
    margin = 0.05
    speeds = tuple(round(share * value, 3) for value in speed_rad_s)
    return Limits(
        joint_min_rad=tuple(round(value + margin, 4) for value in low),
        joint_max_rad=tuple(round(value - margin, 4) for value in high),
        joint_speed_rad_s=speeds,
        joint_acceleration_rad_s2=tuple(round(5 * value, 3) for value in speeds),
        workspace_min_m=(0.1 * reach_m, -0.7 * reach_m, 0.01),
        workspace_max_m=(0.9 * reach_m, 0.7 * reach_m, 0.9 * reach_m),
        tool_speed_m_s=0.4,
        gripper_speed_s=2.0,
        jump_rad=0.3,
        state_age_s=0.1,
    )


def fitting_sheet(sheet: Sheet, home_rad: tuple[float, ...], tool_length_m: float) -> Sheet:
    """The sheet with what the station's settings say: another home, a longer tool. Raises WorkbenchError."""
    if home_rad and len(home_rad) != sheet.chain.joints:
        what = f"home_rad has {len(home_rad)} numbers, {sheet.title} has {sheet.chain.joints} joints"
        raise WorkbenchError(what, "Give one angle per joint, in rad")
    chain = sheet.chain.longer(tool_length_m) if tool_length_m else sheet.chain
    return replace(sheet, chain=chain, home_rad=tuple(home_rad) or sheet.home_rad)
