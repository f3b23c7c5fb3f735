"""How well the arm has repeated a take: against the recorded states, and what the guard changed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.motion import Motion
from hardware.safety import GuardReason
from storage.episode import Episode
from storage.layout import Home
from workbench.services.replay_plan import ReplayPlan

_LAG_STEP_S, _MOST_LAG_S = 0.01, 0.5


def report(home: Home, plan: ReplayPlan, episode_id: str, started_ns: int, replayed_s: float) -> dict[str, Any]:
    """Compare the new take with the old one.

    Args:
        started_ns: host time at which the take's own time began, 0 if it never did.
        replayed_s: how much of it was replayed, at the replay's speed.

    Returns:
        ``tracking``: joint error against the recorded states at the same moment of the take, ``rmse_rad``, ``max_rad``;
        ``lag_ms``, the delay that explains most of it, and ``rmse_rad_without_lag``; None if nothing was replayed or
        the old take has no states. ``guard``: ticks per reason. ``ticks``, ``seconds``, ``of_seconds``.
    """
    with Episode.open(home, episode_id) as take:
        _, times_ns = take.times("observation.state")
        states = np.asarray(take.vectors("observation.state"), dtype=np.float64)
        _, guard_ns = take.times("guard")
        bits = np.asarray(take.vectors("guard"), dtype=np.float64)[:, 0]
    end_ns = started_ns + round(replayed_s * 1e9)
    during = (times_ns >= started_ns) & (times_ns <= end_ns) if started_ns else np.zeros(len(times_ns), dtype=bool)
    ruled = (guard_ns >= started_ns) & (guard_ns <= end_ns) if started_ns else np.zeros(len(guard_ns), dtype=bool)
    tracking = None
    if plan.measured is not None and np.count_nonzero(during) > 1:
        tracking = _tracking(plan.measured, (times_ns[during] - started_ns) / 1e9, states[during])
    return {
        "tracking": tracking,
        "guard": _guarded(bits[ruled]),
        "ticks": int(np.count_nonzero(ruled)),
        "seconds": round(replayed_s, 3),
        "of_seconds": round(plan.motion.duration_s, 3),
    }


def _tracking(before: Motion, t_s: NDArray[np.float64], states: NDArray[np.float64]) -> dict[str, float]:
    joints = states[:, : before.joints_rad.shape[1]]

    def error(lag_s: float) -> NDArray[np.float64]:
        columns = [np.interp(t_s - lag_s, before.t_s, column) for column in before.joints_rad.T]
        away: NDArray[np.float64] = joints - np.stack(columns, axis=1)
        return away

    now = error(0.0)
    lags = np.arange(0.0, _MOST_LAG_S, _LAG_STEP_S)
    rmse = [float(np.sqrt(np.mean(error(lag) ** 2))) for lag in lags]
    best = int(np.argmin(rmse))
    return {
        "rmse_rad": round(float(np.sqrt(np.mean(now**2))), 5),
        "max_rad": round(float(np.abs(now).max()), 5),
        "lag_ms": round(1000 * float(lags[best]), 1),
        "rmse_rad_without_lag": round(rmse[best], 5),
    }


def _guarded(bits: NDArray[np.float64]) -> dict[str, int]:
    """How many ticks each reason of the guard was given in, the most frequent first."""
    masks = bits.astype(np.int64)
    counts = {reason.value: int(np.count_nonzero(masks & reason.bit)) for reason in GuardReason}
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda item: -item[1]))
