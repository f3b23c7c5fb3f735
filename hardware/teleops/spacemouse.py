"""Teleoperation with a 3Dconnexion SpaceMouse, over pyspacemouse and the system's hidapi library."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.clutch import Pace, check_range, shaped
from hardware.speed_teleop import Reading, SpeedTeleop
from hardware.teleop import TELEOPS, Teleop
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Found, Plugin

_LIBRARY = "hidapi-hidraw"
_NO_LIBRARY = f"needs the system library lib{_LIBRARY}"
_INSTALL_LIBRARY = f"sudo apt install lib{_LIBRARY}0"
_SILENCE_S = 0.15  # a cap that is pushed reports all the time; silence then means that the wire or radio is gone
_MOST_REPORTS = 32
_CENTRED = 0.02


@dataclass(frozen=True, slots=True)
class Config:
    """How fast, in whose frame, and which buttons.

    Attributes:
        model: the model's name as pyspacemouse spells it; "" takes the first that is found.
        scales: a factor for each of ahead, left, up, roll, pitch, yaw; negative turns an axis round, 0 locks it.
        deadzone, expo: see ``hardware.clutch.shaped``.
        dead_man: number of the button to hold, from 0. -1: the cap itself, which must have been at rest once.
        gripper: number of the button that closes and opens in turn; keep it down until the fingers have arrived.
    """

    model: str = ""
    speed_m_s: float = 0.2
    turn_rad_s: float = 0.8
    frame: str = "base"
    facing_deg: float = 0.0
    scales: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    deadzone: float = 0.08
    expo: float = 0.3
    dead_man: int = 0
    gripper: int = 1


class SpaceMouseSource:
    """Implements ``hardware.device_thread.Source``. Axes as in REP 103: x ahead, y left, z up."""

    def __init__(self, config: Config) -> None:
        if len(config.scales) != 6:
            raise WorkbenchError("a SpaceMouse needs six scales", "Correct scales of [teleop]")
        check_range("the dead zone", config.deadzone, 0.0, 0.9)
        check_range("expo", config.expo, 0.0, 1.0)
        self._config = config
        self._mouse: Any = None
        self._stamp, self._reported_s = 0.0, 0.0
        self._presses, self._was_pressed, self._let_go = 0, False, False

    def open(self) -> None:
        """Take the chosen mouse. Raises DeviceError."""
        if library_reason():
            raise DeviceError(f"a SpaceMouse {_NO_LIBRARY}", f"Run: {_INSTALL_LIBRARY}")
        package = importlib.import_module("pyspacemouse")
        try:
            convention = package.AxisConvention.ROS
            with contextlib.redirect_stdout(io.StringIO()):  # it prints, which is not for it to do
                self._mouse = package.open(device=self._config.model or None, axis_convention=convention)
        except (RuntimeError, ValueError, OSError) as error:
            hint = "Plug it in; /dev/hidraw* must be readable for you (a udev rule)"
            raise DeviceError(f"no SpaceMouse can be opened ({error})", hint) from error
        self._reported_s = time.monotonic()

    def poll(self) -> Reading | None:
        """Where the cap is after all reports that have come; None when a pushed cap has fallen silent."""
        if self._mouse is None:
            raise DeviceError("the SpaceMouse is not open")
        self._let_go = False
        state = self._drained()
        raw = _axes(state)
        silent = time.monotonic() - self._reported_s > _SILENCE_S
        if silent and bool(np.any(np.abs(raw) > _CENTRED)):
            return None
        config = self._config
        axes = np.array([shaped(value, config.deadzone, config.expo) for value in raw]) * config.scales
        held = self._held(state)
        return Reading(np.clip(axes, -1.0, 1.0), held, let_go=self._let_go, gripper_presses=self._presses)

    def close(self) -> None:
        """Let go of the mouse."""
        mouse, self._mouse = self._mouse, None
        if mouse is not None:
            mouse.close()

    def _drained(self) -> Any:
        """The state after every waiting report: one read takes one report, and old ones would be lag."""
        try:
            for _ in range(_MOST_REPORTS):
                state = self._mouse.read()
                if state.t == self._stamp:
                    return state
                self._stamp, self._reported_s = state.t, time.monotonic()
                self._note(state)
        except Exception as error:  # the package raises the class of its hidapi wrapper, which is not part of its API
            raise DeviceError(
                f"the SpaceMouse has gone ({error})", "Plug it in again; it is found by itself"
            ) from error
        return state

    def _note(self, state: Any) -> None:
        """Presses and releases so short that the next poll would not see them."""
        pressed = self._button(state, self._config.gripper)
        self._presses += pressed and not self._was_pressed
        self._was_pressed = pressed
        self._let_go |= not self._held(state)

    def _held(self, state: Any) -> bool:
        if self._config.dead_man >= 0:
            return self._button(state, self._config.dead_man)
        moved = bool(np.any(np.abs(_axes(state)) > max(_CENTRED, self._config.deadzone)))
        return moved or self._button(state, self._config.gripper)

    @staticmethod
    def _button(state: Any, number: int) -> bool:
        return 0 <= number < len(state.buttons) and bool(state.buttons[number])


def _axes(state: Any) -> NDArray[np.float64]:
    return np.array([state.x, state.y, state.z, state.roll, state.pitch, state.yaw], dtype=np.float64)


def library_reason() -> str:
    """Why the package cannot reach a device, or ""."""
    return "" if ctypes.util.find_library(_LIBRARY) else f"{_NO_LIBRARY} ({_INSTALL_LIBRARY})"


def discover() -> Sequence[Found]:
    """Every SpaceMouse that hidapi sees now."""
    names = importlib.import_module("pyspacemouse").get_connected_devices()
    return [Found(name, name, {"model": name}) for name in names]


def build(config: Config) -> SpeedTeleop:
    """The device for a Config."""
    pace = Pace(config.speed_m_s, config.turn_rad_s, frame=config.frame, facing_deg=config.facing_deg)
    dead_man = f"button {config.dead_man + 1} of the SpaceMouse" if config.dead_man >= 0 else "the cap"
    return SpeedTeleop(SpaceMouseSource(config), pace, dead_man)


class _SpaceMousePlugin(Plugin[Teleop]):
    """Also needs a system library, which no Python package brings."""

    __slots__ = ()

    def missing_reason(self) -> str:
        return super().missing_reason() or library_reason()


TELEOPS.register(_SpaceMousePlugin("spacemouse", "SpaceMouse", Config, build, "pyspacemouse", "pyspacemouse", discover))
