"""Teleoperation with a gamepad, over SDL's game controller layer: one layout for every make. Needs no screen."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.clutch import Pace, check_range, shaped
from hardware.speed_teleop import Reading, SpeedTeleop
from hardware.teleop import TELEOPS
from workbench.core.errors import DeviceError, NotFoundError, WorkbenchError
from workbench.core.registry import Found, Plugin

# SDL's numbers of axes and buttons, the same for every controller that it knows
AXES = {name: i for i, name in enumerate(("leftx", "lefty", "rightx", "righty", "triggerleft", "triggerright"))}
_BUTTON_ORDER = (
    *("a", "b", "x", "y", "back", "guide", "start", "leftstick", "rightstick"),
    *("leftshoulder", "rightshoulder", "dpup", "dpdown", "dpleft", "dpright"),
)
BUTTONS = {name: i for i, name in enumerate(_BUTTON_ORDER)}
_FULL = 32767.0
_EXPRESSION = re.compile(r"(-?)([a-z]+)(?:-([a-z]+))?")
_PRESSED = 0.5
_NO_EVENTS_FROM_WINDOWS = {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "1",
    "SDL_NO_SIGNAL_HANDLERS": "1",
}
_sdl_lock = threading.Lock()
_sdl_users = 0


@dataclass(frozen=True, slots=True)
class Config:
    """Which gamepad, what its sticks and buttons do, and how fast.

    Attributes:
        name: part of the controller's name; "" takes the first that is found.
        axes: what moves ahead, left, up, and what turns about these three: an axis ("lefty"), its opposite
            ("-lefty") or two buttons ("dpup-dpdown").
        scales: a factor for each of the six.
        deadzone, expo: see ``hardware.clutch.shaped``.
        dead_man, slow, close, open, success, failure: a button or a trigger; "" for none (not for ``dead_man``).
        mapping: SDL's own mapping text, for a controller that it does not know.
    """

    name: str = ""
    speed_m_s: float = 0.2
    turn_rad_s: float = 0.9
    gripper_speed_s: float = 1.5
    frame: str = "base"
    facing_deg: float = 0.0
    axes: tuple[str, ...] = ("-lefty", "-leftx", "-righty", "dpright-dpleft", "dpup-dpdown", "-rightx")
    scales: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    deadzone: float = 0.12
    expo: float = 0.4
    dead_man: str = "leftshoulder"
    slow: str = "rightshoulder"
    close: str = "triggerright"
    open: str = "triggerleft"
    success: str = "start"
    failure: str = "back"
    mapping: str = ""


class GamepadSource:
    """Implements ``hardware.device_thread.Source``."""

    def __init__(self, config: Config) -> None:
        if len(config.axes) != 6 or len(config.scales) != 6:
            raise WorkbenchError("a gamepad needs six axes and six scales", "Correct axes and scales of [teleop]")
        check_range("the dead zone", config.deadzone, 0.0, 0.9)
        check_range("expo", config.expo, 0.0, 1.0)
        self._config = config
        self._axes = tuple(_parsed(text) for text in config.axes)
        if not config.dead_man:
            raise WorkbenchError("a gamepad cannot do without a dead-man's button", "Name one as dead_man")
        for name in (config.dead_man, config.slow, config.close, config.open, config.success, config.failure):
            if name:
                _known(name)
        self._sdl: Any = None
        self._controller: Any = None

    def open(self) -> None:
        """Take the chosen controller. Raises DeviceError."""
        self._sdl = _start_sdl(self._config.mapping)
        for index, name in _controllers(self._sdl):
            if self._config.name.lower() in name.lower():
                self._controller = self._sdl.Controller(index)
                return
        wanted = f"no gamepad named like '{self._config.name}'" if self._config.name else "no gamepad"
        others = ", ".join(name for _, name in _controllers(self._sdl))
        raise DeviceError(f"{wanted} is plugged in" + (f", only {others}" if others else ""), "Plug it in; press a key")

    def poll(self) -> Reading:
        """All sticks and buttons now, in microseconds."""
        if self._controller is None:
            raise DeviceError("the gamepad is not open")
        self._sdl.update()
        if not self._controller.attached():
            raise DeviceError("the gamepad has been unplugged", "Plug it in again; it is found by itself")
        config = self._config
        raw = (self._combined(*terms) for terms in self._axes)
        axes = [shaped(value, config.deadzone, config.expo) * scale for value, scale in zip(raw, config.scales)]
        return Reading(
            np.clip(np.array(axes), -1.0, 1.0),
            self._pressed(config.dead_man),
            gripper_rate=self._value(config.open) - self._value(config.close),
            slow=self._pressed(config.slow),
            mark="success" if self._pressed(config.success) else "failure" if self._pressed(config.failure) else "",
        )

    def close(self) -> None:
        """Let go of the controller; SDL ends with its last user."""
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.quit()
        sdl, self._sdl = self._sdl, None
        if sdl is not None:
            _stop_sdl(sdl)

    def _combined(self, sign: float, plus: str, minus: str) -> float:
        return sign * self._value(plus) - (self._value(minus) if minus else 0.0)

    def _pressed(self, name: str) -> bool:
        return self._value(name) > _PRESSED

    def _value(self, name: str) -> float:
        if not name:
            return 0.0
        if name in AXES:
            return float(np.clip(self._controller.get_axis(AXES[name]) / _FULL, -1.0, 1.0))
        return float(self._controller.get_button(BUTTONS[name]))


def _parsed(text: str) -> tuple[float, str, str]:
    """The sign, the name, and the name that counts against it."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise WorkbenchError(f"'{text}' is not an axis of a gamepad", "Write for example -lefty or dpup-dpdown")
    sign, plus, minus = match.groups()
    return (-1.0 if sign else 1.0), _known(plus), _known(minus) if minus else ""


def _known(name: str) -> str:
    if name not in AXES and name not in BUTTONS:
        raise NotFoundError.of("axis or button of a gamepad", name, (*AXES, *BUTTONS))
    return name


def _start_sdl(mapping: str = "") -> Any:
    """SDL's controller layer, without its video part: a screen is neither needed nor touched."""
    global _sdl_users
    for name, value in _NO_EVENTS_FROM_WINDOWS.items():
        os.environ.setdefault(name, value)
    if mapping:
        os.environ["SDL_GAMECONTROLLERCONFIG"] = mapping
    controller = importlib.import_module("pygame._sdl2.controller")
    with _sdl_lock:
        if _sdl_users == 0:
            controller.init()
        _sdl_users += 1
    return controller


def _stop_sdl(controller: Any) -> None:
    global _sdl_users
    with _sdl_lock:
        _sdl_users -= 1
        if _sdl_users == 0:
            controller.quit()


def _controllers(sdl: Any) -> list[tuple[int, str]]:
    sdl.update()
    return [(i, str(sdl.name_forindex(i))) for i in range(sdl.get_count()) if sdl.is_controller(i)]


def discover() -> Sequence[Found]:
    """Every controller that SDL sees now."""
    sdl = _start_sdl()
    with contextlib.ExitStack() as stack:
        stack.callback(_stop_sdl, sdl)
        return [Found(name, name, {"name": name}) for _, name in _controllers(sdl)]


def build(config: Config) -> SpeedTeleop:
    """The device for a Config."""
    pace = Pace(config.speed_m_s, config.turn_rad_s, config.gripper_speed_s, config.frame, config.facing_deg)
    return SpeedTeleop(GamepadSource(config), pace, f"the button {config.dead_man}")


TELEOPS.register(Plugin("gamepad", "Gamepad", Config, build, "pygame", "pygame", discover))
