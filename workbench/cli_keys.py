"""Teleoperation with the keys of a terminal. Imported only when asked for: it needs a POSIX terminal."""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

from workbench.services.station import Station

HELD_S = 0.3  # a terminal tells presses, not releases; key repeat refreshes a held key faster than this
ENDING = frozenset({"x", "\x03", "\x04", ""})


def follow_keys(station: Station) -> float:
    """Hand the terminal's keys to the station until x or the end of input. Returns the seconds it took."""
    started = time.monotonic()
    pressed: dict[str, float] = {}
    with _key_by_key():
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], 0.02)
            now_s = time.monotonic()
            if ready:
                key = sys.stdin.read(1)
                if key in ENDING:
                    station.set_keys(frozenset())
                    return round(now_s - started, 2)
                pressed["space" if key == " " else key.lower()] = now_s
            station.set_keys(frozenset(key for key, at_s in pressed.items() if now_s - at_s < HELD_S))


@contextlib.contextmanager
def presses() -> Iterator[Callable[[], bool]]:
    """Whether any key has been pressed since it was last asked."""
    with _key_by_key():

        def pressed() -> bool:
            ready, _, _ = select.select([sys.stdin], [], [], 0.0)
            return bool(ready) and sys.stdin.read(1) != ""

        yield pressed


@contextlib.contextmanager
def _key_by_key() -> Iterator[None]:
    """Keys one by one, without Enter, while inside."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
