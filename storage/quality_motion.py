"""How the arm moved: when, how far, how smoothly, and how far behind its commands.

Everything is computed on an even grid of the stream's own rate, by interpolation between measured items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.quality_times import Figures

Array = NDArray[np.float64]
_LEAST_ITEMS = 8
_MOST_POINTS = 500_000
_MOST_PER_ITEM = 4  # a long silence must not become a grid of millions of points
_LEAST_STEP_S = 0.001
_LAG_STEP_S, _LAG_POINTS = 0.005, 20_000
_WINDOW_S = 0.2
_MOVING = {"joint": 0.02, "tool": 0.005, "gripper": 0.1}  # rad/s, m/s, openings per second
_JERK_WINDOW_S = 0.13
_LAGS_S = (-0.1, 1.0)
_LEAST_CORRELATION = 0.6


@dataclass(frozen=True, slots=True)
class Signal:
    """A vector stream on an even grid: (T,) host seconds, (T, D) values, names of the D numbers."""

    seconds: Array
    values: Array
    axes: tuple[str, ...]

    @property
    def step_s(self) -> float:
        """Seconds between two points."""
        return float(self.seconds[1] - self.seconds[0])


@dataclass(frozen=True, slots=True)
class Motion:
    """When the arm moved: (T,) host seconds, (T,) true while moving, (T,) metres the tool has travelled so far."""

    seconds: Array
    moving: NDArray[np.bool_]
    travel_m: Array

    def travelled_m(self, start_s: float, end_s: float) -> float:
        """Length of the tool's path between two host times."""
        start, end = np.interp([start_s, end_s], self.seconds, self.travel_m)
        return float(end - start)


def even(host_ns: NDArray[np.int64], values: NDArray[np.float64], axes: Sequence[str]) -> Signal | None:
    """The stream's finite items on an even grid; None if there are too few or they do not span time."""
    finite = np.isfinite(values).all(axis=1)
    seconds, first = np.unique(host_ns[finite].astype(np.float64) / 1e9, return_index=True)
    if len(seconds) < _LEAST_ITEMS:
        return None
    values = values[finite][first]
    span = float(seconds[-1] - seconds[0])
    step = max(
        float(np.median(np.diff(seconds))), span / min(_MOST_POINTS, _MOST_PER_ITEM * len(seconds)), _LEAST_STEP_S
    )
    grid = seconds[0] + step * np.arange(int(span / step + 1e-6) + 1)
    if len(grid) < _LEAST_ITEMS or not np.all(np.diff(grid) > 0):
        return None
    columns = [np.interp(grid, seconds, values[:, at]) for at in range(values.shape[1])]
    return Signal(grid, np.stack(columns, axis=1), tuple(axes))


def find_motion(state: Signal) -> Motion:
    """When any joint, the tool or the gripper moved."""
    speeds = [
        (np.abs(_speed(state, joints(state.axes))), _MOVING["joint"]),
        (np.abs(_speed(state, _named(state.axes, "gripper"))), _MOVING["gripper"]),
        *((np.linalg.norm(_speed(state, tool), axis=1, keepdims=True), _MOVING["tool"]) for tool in tools(state.axes)),
    ]
    moving = np.zeros(len(state.seconds), dtype=np.bool_)
    for speed, least in speeds:
        if speed.shape[1]:
            moving |= speed.max(axis=1) > least
    return Motion(state.seconds, moving, _travel(state))


def idleness(motion: Motion) -> Figures:
    """Seconds before the first and after the last motion (the whole take if there is none) and share without motion."""
    span = float(motion.seconds[-1] - motion.seconds[0])
    where = np.flatnonzero(motion.moving)
    head = motion.seconds[where[0]] - motion.seconds[0] if len(where) else span
    tail = motion.seconds[-1] - motion.seconds[where[-1]] if len(where) else span
    return {
        "idle_head_s": float(head),
        "idle_tail_s": float(tail),
        "still_share": 1.0 - float(motion.moving.mean()),
        "travel_m": float(motion.travel_m[-1]),
    }


def smoothness(state: Signal, motion: Motion) -> Figures:
    """Root mean square jerk while moving, of the tool (m/s^3) and of the joints (rad/s^3, the worst joint).

    The third derivative is that of the cubic that fits an eighth of a second best (Savitzky and Golay 1964), so that
    the noise of an encoder does not drown it.
    """
    places = tools(state.axes)
    tool = [_rms(np.linalg.norm(_third_derivative(state, place), axis=1), motion) for place in places]
    joint = [_rms(np.abs(_third_derivative(state, [at])[:, 0]), motion) for at in joints(state.axes)]
    return {"jerk_m_s3": max(tool, default=None), "joint_jerk_rad_s3": max(joint, default=None)}


def lag(state: Signal, sent: Signal) -> Figures:
    """Seconds that the measured joints (or tools) follow behind the sent ones, and the correlation there.

    The peak of the cross-correlation of both speeds over lags from -0.1 to 1 s, refined to a part of a step by a
    parabola through its neighbours. Of a very long take the middle is used.
    None where they do not resemble one another.
    """
    found: Figures = {"lag_s": None, "lag_correlation": None}
    start, end = max(state.seconds[0], sent.seconds[0]), min(state.seconds[-1], sent.seconds[-1])
    step = max(state.step_s, _LAG_STEP_S)
    pairs = _pairs(state.axes, sent.axes)
    grid = start + step * np.arange(max(0, int((end - start) / step)))
    grid = grid[max(0, len(grid) - _LAG_POINTS) // 2 :][:_LAG_POINTS]
    if len(grid) < 4 * _LEAST_ITEMS or not pairs:
        return found
    measured, wanted = (
        np.stack([_speed_on(grid, signal, at) for at in columns], axis=1)
        for signal, columns in ((state, [a for a, _ in pairs]), (sent, [b for _, b in pairs]))
    )
    first, last = (round(bound / step) for bound in _LAGS_S)
    shifts = np.arange(max(first, -len(grid) // 4), min(last, len(grid) // 4) + 1)
    scores = np.array([_likeness(measured, wanted, int(shift)) for shift in shifts])
    best = int(np.argmax(scores))
    found["lag_correlation"] = float(scores[best])
    if scores[best] >= _LEAST_CORRELATION and 0 < best < len(scores) - 1:
        found["lag_s"] = float((shifts[best] + _vertex(scores[best - 1 : best + 2])) * step)
    return found


def joints(axes: Sequence[str]) -> list[int]:
    """Places of the joints; of all numbers where no axis is named like one, a tool or a gripper."""
    named = _named(axes, "joint")
    return named or ([] if tools(axes) or _named(axes, "gripper") else list(range(len(axes))))


def tools(axes: Sequence[str]) -> list[list[int]]:
    """Per tool the places of its x, y and z (m)."""
    places = {name: at for at, name in enumerate(axes)}
    starts = [name[:-1] for name in axes if name.endswith("ee.x")]
    return [[places[start + end] for end in "xyz"] for start in starts if all(start + end in places for end in "yz")]


def _named(axes: Sequence[str], word: str) -> list[int]:
    return [at for at, name in enumerate(axes) if word in name.lower()]


def _speed(signal: Signal, columns: list[int]) -> Array:
    """(T, len(columns)) mean speed over a fifth of a second around each point."""
    values = signal.values[:, columns]
    half = min(max(1, round(0.5 * _WINDOW_S / signal.step_s)), (len(values) - 1) // 2)
    inner = (values[2 * half :] - values[: -2 * half]) / (2 * half * signal.step_s)
    return np.pad(inner, ((half, half), (0, 0)), mode="edge")


def _travel(state: Signal) -> Array:
    """(T,) path of the tool that travels furthest; without a tool the largest joint's path in rad stands in."""
    groups = tools(state.axes) or [[at] for at in joints(state.axes)]
    steps = [np.linalg.norm(np.diff(_smooth(state.values[:, group]), axis=0), axis=1) for group in groups]
    longest = max(steps, key=lambda path: float(path.sum()), default=np.zeros(len(state.seconds) - 1))
    return np.concatenate([[0.0], np.cumsum(longest)])


def _smooth(values: Array, width: int = 5) -> Array:
    """Running mean, so that noise at rest does not add up to a path."""
    padded = np.pad(values, ((width // 2, width // 2), (0, 0)), mode="edge")
    summed = np.cumsum(np.vstack([np.zeros((1, values.shape[1])), padded]), axis=0)
    return np.asarray((summed[width:] - summed[:-width]) / width)


def _third_derivative(signal: Signal, columns: list[int]) -> Array:
    count = max(7, round(_JERK_WINDOW_S / signal.step_s)) | 1
    count = min(count, (len(signal.seconds) - 1) | 1)
    offsets = np.arange(count) - count // 2
    weights = 6.0 * np.linalg.pinv(np.vander(offsets / count, 4))[0] / (count * signal.step_s) ** 3
    values = signal.values[:, columns] - signal.values[0, columns]
    found = [np.convolve(values[:, at], weights[::-1], mode="valid") for at in range(values.shape[1])]
    missing = len(values) - len(found[0])
    return np.pad(np.stack(found, axis=1), ((missing // 2, missing - missing // 2), (0, 0)), mode="edge")


def _rms(values: Array, motion: Motion) -> float:
    chosen = values[motion.moving]
    return float(np.sqrt(np.mean(np.square(chosen)))) if len(chosen) else 0.0


def _pairs(state_axes: Sequence[str], sent_axes: Sequence[str]) -> list[tuple[int, int]]:
    """Places of the same joint (or the tool's place, where there are no joints) in both vectors."""
    columns = joints(state_axes) or [at for tool in tools(state_axes) for at in tool]
    sent = {name: at for at, name in enumerate(sent_axes)}
    same = [(at, sent[state_axes[at]]) for at in columns if state_axes[at] in sent]
    return same if same or len(sent_axes) != len(state_axes) else [(at, at) for at in columns]


def _speed_on(grid: Array, signal: Signal, column: int) -> Array:
    return np.gradient(_smooth(np.interp(grid, signal.seconds, signal.values[:, column])[:, None])[:, 0])


def _likeness(measured: Array, wanted: Array, shift: int) -> float:
    """Correlation of ``measured(t + shift)`` with ``wanted(t)`` over their common time, all columns together."""
    late, early = measured[max(shift, 0) :], wanted[max(-shift, 0) :]
    count = min(len(late), len(early))
    late, early = late[:count], early[:count]
    late, early = late - late.mean(axis=0), early - early.mean(axis=0)
    size = float(np.sqrt(np.sum(late**2) * np.sum(early**2)))
    return float(np.sum(late * early)) / size if size > 0 else 0.0


def _vertex(scores: Array) -> float:
    """Where between -1 and 1 the parabola through three points has its top."""
    before, here, after = (float(score) for score in scores)
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
