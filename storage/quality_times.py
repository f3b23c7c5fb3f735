"""How punctual a stream was: rate, gaps, jitter, and how the device's clock ran against the host's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storage.rows import Rows
from workbench.core.types import StreamSpec

Figures = dict[str, float | None]
_LEAST_ITEMS = 10
_FIT_POINTS = 201
_STALE_PERIODS = 2.5


def timing(
    spec: StreamSpec, device_ns: NDArray[np.int64], host_ns: NDArray[np.int64], gaps: tuple[tuple[int, int], ...]
) -> Figures:
    """Figures of one stream, None where it is too short to tell (under ten items).

    Args:
        device_ns, host_ns: (T,) times of its items.
        gaps: (index, missing) as recorded.
    """
    found: Figures = {
        "items": float(len(host_ns)),
        "nominal_hz": spec.rate_hz,
        "rate_hz": None,
        "gaps": float(len(gaps)),
        "missing": float(sum(missing for _, missing in gaps)),
        "longest_gap_s": None,
        "interval_p50_ms": None,
        "interval_p99_ms": None,
    }
    if len(host_ns) >= _LEAST_ITEMS:
        seconds = np.sort(host_ns.astype(np.float64)) / 1e9
        intervals = np.diff(seconds)
        span = float(seconds[-1] - seconds[0])
        found["rate_hz"] = (len(seconds) - 1) / span if span > 0 else None
        found["longest_gap_s"] = float(intervals.max())
        found["interval_p50_ms"] = float(np.median(intervals)) * 1e3
        found["interval_p99_ms"] = float(np.percentile(intervals, 99)) * 1e3
    return found | clocks(device_ns, host_ns)


def clocks(device_ns: NDArray[np.int64], host_ns: NDArray[np.int64]) -> Figures:
    """Offset (host minus device, ms) and drift of the two clocks, by a line that outliers do not move.

    The slope is the median over pairs of items (Theil 1950, Sen 1968), here of a few hundred evenly chosen items paired
    across half the take, which bounds the work. ``drift_ms`` is what it adds up to over the take.
    """
    found: Figures = {"offset_ms": None, "drift_ppm": None, "drift_ms": None}
    if len(host_ns) < _LEAST_ITEMS:
        return found
    chosen = np.unique(np.linspace(0, len(host_ns) - 1, _FIT_POINTS).astype(np.int64))
    device, host = device_ns[chosen].astype(np.float64) / 1e9, host_ns[chosen].astype(np.float64) / 1e9
    behind = (host_ns[chosen] - device_ns[chosen]).astype(np.float64) / 1e9  # exact: differences of large integers
    found["offset_ms"] = float(np.median(behind)) * 1e3
    half = len(chosen) // 2
    apart = device[half:] - device[: len(device) - half]
    gained = behind[half:] - behind[: len(behind) - half]
    usable = apart > 0
    if usable.any():
        slope = float(np.median(gained[usable] / apart[usable]))
        found["drift_ppm"] = slope * 1e6
        found["drift_ms"] = slope * float(host.max() - host.min()) * 1e3
    return found


def coverage(rows: Rows, specs: dict[str, StreamSpec]) -> float | None:
    """Share of rows that have an item of every stream, not older than some periods of it; None without rows."""
    if not len(rows.times_ns):
        return None
    oldest_ns = np.array([_STALE_PERIODS * 1e9 / specs[name].rate_hz for name in rows.streams])
    fresh = (rows.index >= 0) & (rows.age_ns <= oldest_ns)
    return float(fresh.all(axis=1).mean())
