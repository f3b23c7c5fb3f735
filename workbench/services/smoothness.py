"""How smoothly a policy's chunks were executed, from what a take recorded per control tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from workbench.core.chunks import PLAYED
from workbench.core.types import Authority
from workbench.services.take_view import TakeView

_AXES = ("ee.x", "ee.y", "ee.z")
_FADE_S = 0.3  # a take-over is over by then


@dataclass(frozen=True, slots=True)
class Trace:
    """The ticks of one take while the policy had authority.

    Attributes:
        ticks_s: (T,) times.
        wanted_T3: (T, 3) tool position the plan wanted, m, base frame; NaN where no action was in force.
        sent_T3: (T, 3) tool position that was sent.
        chunk_T: (T,) number of the chunk in force, -1 = none.
        age_T: (T,) seconds since that chunk's observation.
    """

    ticks_s: NDArray[np.float64]
    wanted_T3: NDArray[np.float64]  # noqa: N815
    sent_T3: NDArray[np.float64]  # noqa: N815
    chunk_T: NDArray[np.int64]  # noqa: N815
    age_T: NDArray[np.float64]  # noqa: N815

    @classmethod
    def of(cls, view: TakeView) -> Trace:
        """From a recorded rollout: the ticks that are in all of the driver's streams."""
        names = (PLAYED, "authority", "action.wanted", "action")
        signals = {name: view.signal(name) for name in names}
        ticks_s = reduce(np.intersect1d, [times for times, _, _ in signals.values()])
        found = [values[np.searchsorted(times, ticks_s)] for times, values, _ in signals.values()]
        played, authority, wanted, sent = found
        drove = np.flatnonzero(authority[:, 0] == Authority.POLICY.code)
        axes = signals[PLAYED][2]
        columns = [signals["action"][2].index(name) for name in _AXES]
        return cls(
            ticks_s[drove],
            wanted[drove][:, columns].astype(np.float64),
            sent[drove][:, columns].astype(np.float64),
            played[drove, axes.index("chunk")].astype(np.int64),
            played[drove, axes.index("age_s")].astype(np.float64),
        )

    def stalls(self) -> int:
        """Ticks without an action in force since the first chunk came."""
        begun = np.flatnonzero(self.chunk_T >= 0)
        return int((self.chunk_T[begun[0] :] < 0).sum()) if len(begun) else 0

    def first_ages_s(self) -> NDArray[np.float64]:
        """Per chunk the time from its observation to the first tick that executes it."""
        new = np.flatnonzero((np.diff(self.chunk_T, prepend=-1) != 0) & (self.chunk_T >= 0))
        return self.age_T[new]

    def boundary_changes_m_s(self, step_s: float) -> NDArray[np.float64]:
        """Per take-over the largest change of the wanted velocity over one step of the policy, while it goes on.

        Velocities are taken over one step, as between the actions of a chunk; see ``chunks.plan_change_m_s``.
        Setting off from rest is not a take-over.
        """
        if len(self.ticks_s) < 3:
            return np.zeros(0)
        period_s = float(np.median(np.diff(self.ticks_s)))
        lag, fade = max(1, round(step_s / period_s)), round(_FADE_S / period_s)
        at = self.wanted_T3
        changes = np.full(len(at), np.nan)
        changes[lag:-lag] = np.linalg.norm(at[2 * lag :] - 2 * at[lag:-lag] + at[: -2 * lag], axis=1) / step_s
        for begin in np.flatnonzero((self.chunk_T >= 0) & (np.concatenate([[-1], self.chunk_T[:-1]]) < 0)):
            changes[begin : begin + 2 * lag] = np.nan
        starts = np.flatnonzero((np.diff(self.chunk_T) != 0) & (self.chunk_T[1:] >= 0) & (self.chunk_T[:-1] >= 0)) + 1
        windows = [changes[max(0, start - lag) : start + fade] for start in starts]
        return np.array([np.nanmax(window) for window in windows if np.isfinite(window).any()])

    def jerk_m_s3(self) -> float:
        """Root mean square of the third derivative of the tool position that was sent; 0 for a take too short."""
        if len(self.ticks_s) < 5:
            return 0.0
        period_s = float(np.median(np.diff(self.ticks_s)))
        third = np.diff(self.sent_T3, 3, axis=0) / period_s**3
        return float(np.sqrt(np.mean(np.sum(third**2, axis=1))))


def jump_ratio(traces: Sequence[Trace], plans_m_s: Sequence[float], step_s: float) -> float | None:
    """The largest velocity change at a take-over over the largest one inside a plan; None without a take-over."""
    changes = np.concatenate([np.zeros(0), *(trace.boundary_changes_m_s(step_s) for trace in traces)])
    inside = max(plans_m_s, default=0.0)
    return round(float(changes.max()) / inside, 3) if len(changes) and inside > 0 else None
