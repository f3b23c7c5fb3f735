"""The regular grid of a take: which item of each stream belongs to row k.

Row times start where every picture stream has begun and end where the first one ends, spaced by 1 / ``rows_hz``. A row
takes the newest item that is not newer than the row's time plus a tolerance of half a period of the stream or of the
grid, whichever is shorter; without it, a camera whose pictures come a hair after the grid would always lag one row.
A stream without such an item has index -1. Ages tell a fresh item from a stale one: nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.codecs import is_picture
from workbench.core.types import StreamSpec

Times = NDArray[np.int64]
_MOST_ROWS = 10_000_000


@dataclass(frozen=True, slots=True)
class Rows:
    """The grid: (K,) host times in ns; per stream (column) the (K, S) index, -1 = none, and age in ns."""

    times_ns: Times
    streams: tuple[str, ...]
    index: NDArray[np.int64]
    age_ns: NDArray[np.int64]


def make_rows(specs: Mapping[str, StreamSpec], times: Mapping[str, Times], rows_hz: float) -> Rows:
    """The grid over ``times`` (host ns per stream, any order)."""
    streams = tuple(sorted(specs))
    grid = _grid(specs, times, rows_hz)
    index = np.full((len(grid), len(streams)), -1, dtype=np.int64)
    age = np.zeros_like(index)
    for at, name in enumerate(streams):
        tolerance_ns = round(0.5e9 / max(rows_hz, specs[name].rate_hz))
        chosen = newest_not_after(times[name], grid + tolerance_ns)
        index[:, at] = chosen
        found = chosen >= 0
        age[found, at] = grid[found] - times[name][chosen[found]]
    return Rows(grid, streams, index, age)


def newest_not_after(times_ns: Times, limits_ns: Times) -> NDArray[np.int64]:
    """Per limit the index of the newest time <= limit (of equals the last recorded), or -1."""
    order = np.argsort(times_ns, kind="stable")
    place = np.searchsorted(times_ns[order], limits_ns, side="right") - 1
    if not len(order):
        return np.full(len(limits_ns), -1, dtype=np.int64)
    return np.where(place >= 0, order[place], -1).astype(np.int64)


def _grid(specs: Mapping[str, StreamSpec], times: Mapping[str, Times], rows_hz: float) -> Times:
    pictures = [name for name, spec in specs.items() if is_picture(spec)]
    spans = [times[name] for name in pictures or list(specs)]
    if not spans or any(len(span) == 0 for span in spans):
        return np.zeros(0, dtype=np.int64)
    start, end = max(int(span.min()) for span in spans), min(int(span.max()) for span in spans)
    if end < start:
        return np.zeros(0, dtype=np.int64)
    count = min(int((end - start) * rows_hz / 1e9 + 1e-6) + 1, _MOST_ROWS)
    return start + np.round(np.arange(count) * (1e9 / rows_hz)).astype(np.int64)
