"""Teleoperation by the keys of a keyboard, handed in by whoever sees them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from hardware.clutch import Pace, SpeedHand
from hardware.speed_teleop import SLOW_SHARE
from hardware.teleop import TELEOPS
from workbench.core.registry import Plugin
from workbench.core.types import ArmState, TeleopAction

MOVES: dict[str, tuple[float, float, float]] = {
    "w": (1, 0, 0),
    "s": (-1, 0, 0),
    "a": (0, 1, 0),
    "d": (0, -1, 0),
    "r": (0, 0, 1),
    "f": (0, 0, -1),
}
TURNS: dict[str, tuple[float, float, float]] = {
    "q": (0, 0, 1),
    "e": (0, 0, -1),
    "i": (0, 1, 0),
    "k": (0, -1, 0),
    "j": (1, 0, 0),
    "l": (-1, 0, 0),
}
GRIPPER, SLOW = "space", "shift"
_LINGER_S = 0.5  # how long a released gripper key still counts, so that the fingers arrive


@dataclass(frozen=True, slots=True)
class Config:
    """Speeds while a key is held; ``shift`` makes them a quarter. For the rest see ``hardware.clutch.Pace``."""

    speed_m_s: float = 0.12
    turn_rad_s: float = 0.6
    frame: str = "base"
    facing_deg: float = 0.0


class KeyboardTeleop:
    """Implements ``hardware.teleop.Teleop``. Keys may be pressed and released from any thread.

    w s: away, back; a d: left, right; r f: up, down; q e, i k, j l: turn; space: open or close the gripper.
    Nothing moves unless a key is held, so letting go is the dead-man's switch.
    """

    def __init__(self, config: Config) -> None:
        self._hand = SpeedHand(
            Pace(config.speed_m_s, config.turn_rad_s, frame=config.frame, facing_deg=config.facing_deg)
        )
        self._keys: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._toggles = 0
        self._gripper: float | None = None
        self._linger_s = 0.0

    def open(self) -> None:
        self.set_keys(frozenset())

    def press(self, name: str) -> None:
        self.set_keys(self._keys | {name})

    def release(self, name: str) -> None:
        self.set_keys(self._keys - {name})

    def set_keys(self, keys: frozenset[str]) -> None:
        """Replace the keys held down now; a newly held gripper key toggles the gripper once."""
        keys = frozenset("space" if key == " " else key.lower() for key in keys)
        with self._lock:
            self._toggles += GRIPPER in keys and GRIPPER not in self._keys
            self._keys = keys

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        with self._lock:
            keys, toggles, self._toggles = self._keys, self._toggles, 0
        if self._gripper is None:
            self._gripper = 1.0 if state.gripper > 0.5 else 0.0
        for _ in range(toggles):
            self._gripper, self._linger_s = 1.0 - self._gripper, _LINGER_S
        self._linger_s = max(0.0, self._linger_s - period_s)
        held = keys & (MOVES.keys() | TURNS.keys())
        if not held and self._linger_s == 0.0:
            return None
        pace_s = period_s * (SLOW_SHARE if SLOW in keys else 1.0)
        linear = sum((np.array(MOVES[key], float) for key in sorted(held & MOVES.keys())), np.zeros(3))
        angular = sum((np.array(TURNS[key], float) for key in sorted(held & TURNS.keys())), np.zeros(3))
        return TeleopAction(*self._hand.move(np.concatenate([linear, angular]), state, pace_s), self._gripper)

    def close(self) -> None:
        self.set_keys(frozenset())


TELEOPS.register(Plugin("keyboard", "Keyboard", Config, KeyboardTeleop))
