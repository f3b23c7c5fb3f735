"""A gamepad that is plugged into SDL itself: SDL's virtual joysticks, on the same library that pygame uses."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

from hardware.teleops.gamepad import AXES, BUTTONS

_JOYSTICK_SUBSYSTEM = 0x00000200
_TYPE_GAMECONTROLLER = 1


class VirtualGamepad:
    """Six axes and fifteen buttons in SDL's own order. Calls come from one thread."""

    def __init__(self) -> None:
        folder = Path(pygame.__file__).parent.with_name("pygame.libs")
        self._sdl = ctypes.CDLL(str(next(folder.glob("libSDL2-2*"))))
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self._sdl.SDL_InitSubSystem(_JOYSTICK_SUBSYSTEM)
        self._joystick = ctypes.c_void_p(None)
        self._index = -1
        self.plug_in()

    def plug_in(self) -> None:
        self._index = self._sdl.SDL_JoystickAttachVirtual(_TYPE_GAMECONTROLLER, len(AXES), len(BUTTONS), 0)
        assert self._index >= 0
        self._joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self._index))

    def unplug(self) -> None:
        if self._index >= 0:
            self._sdl.SDL_JoystickClose(self._joystick)
            self._sdl.SDL_JoystickDetachVirtual(self._index)
            self._index = -1

    def axis(self, name: str, value: float) -> None:
        self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, AXES[name], ctypes.c_int16(round(value * 32767)))

    def button(self, name: str, down: bool) -> None:
        self._sdl.SDL_JoystickSetVirtualButton(self._joystick, BUTTONS[name], int(down))

    def close(self) -> None:
        self.unplug()
        self._sdl.SDL_QuitSubSystem(_JOYSTICK_SUBSYSTEM)
