"""Two takes side by side: on which common time they are laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.services.take_view import TakeView

START, CLOSING = "start", "closing"
_RATE_HZ = 30.0
_LEAST_STROKE = 0.2  # of the gripper's way; less is no grasp
_STREAMS = ("observation.state", "action")


@dataclass(frozen=True, slots=True)
class Pair:
    """How two takes lie over each other.

    Attributes:
        times_s: (K,) the common time, from 0.
        shifts_s: what to add to each take's own seconds to get the common time.
        aligned_by: ``start`` or ``closing``, which may differ from what was asked for where a take has no grasp.
    """

    times_s: NDArray[np.float64]
    shifts_s: tuple[float, float]
    aligned_by: str

    def row(self, which: int, view: TakeView, at_s: float) -> int | None:
        """The row of a take at a common time; None before its beginning and after its end."""
        own_s, half_s = at_s - self.shifts_s[which], 0.5 / _RATE_HZ
        if not view.rows or not -half_s <= own_s <= float(view.row_times_s[-1]) + half_s:
            return None
        return int(np.argmin(np.abs(view.row_times_s - own_s)))


def lay_over(views: Sequence[TakeView], wanted: str) -> Pair:
    """Lay two takes over each other by the beginning of what is used of them, or by the gripper's first closing."""
    closings = [gripper_closes_s(view) for view in views] if wanted == CLOSING else []
    by_closing = wanted == CLOSING and all(at is not None for at in closings)
    anchors = [float(at or 0.0) for at in closings] if by_closing else [_begin_s(view) for view in views]
    ends = [float(view.row_times_s[-1]) if view.rows else 0.0 for view in views]
    first = min(-anchor for anchor in anchors)
    shifts = tuple(-anchor - first for anchor in anchors)
    last = max(end + shift for end, shift in zip(ends, shifts, strict=True))
    times_s = np.arange(0.0, last + 0.5 / _RATE_HZ, 1.0 / _RATE_HZ)
    return Pair(times_s, (shifts[0], shifts[1]), CLOSING if by_closing else START)


def gripper_closes_s(view: TakeView) -> float | None:
    """When a gripper first closes by more than half of its way in the take, in seconds; None if it never does.

    Of two grippers the one that closes first.
    """
    for stream in _STREAMS:
        if stream in view.streams:
            times_s, values, axes = view.signal(stream)
            found = [first_closing(times_s, values[:, i]) for i, axis in enumerate(axes) if axis.endswith("gripper")]
            told = [at for at in found if at is not None]
            if told:
                return min(told)
    return None


def first_closing(times_s: NDArray[np.float64], opened_T: NDArray[np.float32]) -> float | None:
    """When a gripper (0 closed .. 1 open) first goes from the upper to the lower half of its way."""
    if not len(opened_T) or float(np.ptp(opened_T)) < _LEAST_STROKE:
        return None
    wide = opened_T > (float(opened_T.max()) + float(opened_T.min())) / 2
    falls = np.flatnonzero(wide[:-1] & ~wide[1:])
    return float(times_s[falls[0] + 1]) if len(falls) else None


def _begin_s(view: TakeView) -> float:
    used = view.used_rows
    return float(view.row_times_s[used.start]) if used.start < used.stop else 0.0
