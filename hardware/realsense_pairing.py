"""Which depth picture belongs to which colour picture. Pure: no library, no clock of its own.

The two sensors of a camera number and time their pictures independently. librealsense's own synchroniser hands out
whole sets and keeps only the newest; here every colour picture is kept, with its depth picture if there is one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

_MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class Half:
    """One picture of one sensor.

    Attributes:
        number: the sensor's own running number.
        t_ms: the device's time, in ``domain``.
        domain: ``hardware``, ``global`` or ``system``.
        arrival_ns: CLOCK_MONOTONIC of the host.
    """

    number: int
    t_ms: float
    domain: str
    arrival_ns: int
    frame: Any


@dataclass(frozen=True, slots=True)
class Pair:
    color: Half
    depth: Half | None


class Pairing:
    """Pairs two streams by time. Colour comes out in order, each picture once; a depth picture is used at most once.

    Two halves belong together when they are at most half of the shorter period apart: by device time when both
    sensors stamp in the same domain, by arrival otherwise. A colour picture waits for its depth until a later depth
    picture has come, or for three of the longer period, and then goes alone.
    """

    def __init__(self, color_hz: float, depth_hz: float) -> None:
        """``depth_hz`` 0: there is no depth stream, nothing waits."""
        self._depth_wanted = depth_hz > 0
        self._tolerance_ms = 500.0 / max(color_hz, depth_hz)
        self._patience_ns = round(3e9 / min(color_hz, depth_hz or color_hz))
        self._colors: deque[Half] = deque()
        self._depths: deque[Half] = deque(maxlen=_MOST_WAITING)

    def add_color(self, half: Half) -> None:
        self._colors.append(half)

    def add_depth(self, half: Half) -> None:
        self._depths.append(half)

    def next(self, now_ns: int) -> Pair | None:
        """The next pair that is decided, or None. ``now_ns``: CLOCK_MONOTONIC."""
        if not self._colors:
            return None
        color = self._colors[0]
        while self._depths and self._lead_ms(color, self._depths[0]) < -self._tolerance_ms:
            self._depths.popleft()  # older than any colour still to come: its number is missing from the depth stream
        depth = self._depths[0] if self._depths else None
        if depth is not None and self._lead_ms(color, depth) <= self._tolerance_ms:
            self._depths.popleft()
            self._colors.popleft()
            return Pair(color, depth)
        if depth is not None or not self._depth_wanted or now_ns - color.arrival_ns > self._patience_ns:
            self._colors.popleft()
            return Pair(color, None)
        return None

    def waiting(self) -> bool:
        """True while a colour picture waits for its depth."""
        return bool(self._colors)

    @staticmethod
    def _lead_ms(color: Half, depth: Half) -> float:
        """How much later the depth picture is."""
        if color.domain == depth.domain:
            return depth.t_ms - color.t_ms
        return (depth.arrival_ns - color.arrival_ns) / 1e6
