from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.rows import make_rows
from workbench.core.types import StreamSpec

FRONT = StreamSpec("observation.images.front", (4, 4, 3), "uint8", rate_hz=30.0)
WRIST = StreamSpec("observation.images.wrist", (4, 4, 3), "uint8", rate_hz=15.0)
STATE = StreamSpec("observation.state", (3,), "float32", rate_hz=100.0)
SPECS = {spec.name: spec for spec in (FRONT, WRIST, STATE)}


def brute_force(times: dict[str, list[int]], rows_hz: float) -> list[tuple[int, dict[str, int]]]:
    """The definition, word for word and slowly."""
    pictures = [times[FRONT.name], times[WRIST.name]]
    if not all(pictures):
        return []
    start, end = max(min(t) for t in pictures), min(max(t) for t in pictures)
    grid, k = [], 0
    while start + round(k * (1e9 / rows_hz)) <= end:
        row_ns = start + round(k * (1e9 / rows_hz))
        chosen = {}
        for name, spec in SPECS.items():
            tolerance = round(min(0.5e9 / rows_hz, 0.5e9 / spec.rate_hz))
            found, newest = -1, None
            for index, t_ns in enumerate(times[name]):
                if t_ns <= row_ns + tolerance and (newest is None or t_ns >= newest):
                    found, newest = index, t_ns
            chosen[name] = found
        grid.append((row_ns, chosen))
        k += 1
    return grid


steps = st.lists(st.integers(0, 90_000_000), max_size=25)


@settings(max_examples=150, deadline=None)
@given(steps, steps, steps, st.sampled_from([10.0, 15.0, 30.0]), st.integers(0, 10**9), st.booleans())
def test_rows_agree_with_brute_force(
    front: list[int], wrist: list[int], state: list[int], rows_hz: float, shift: int, shuffle: bool
) -> None:
    times = {
        FRONT.name: np.cumsum([shift, *front], dtype=np.int64),
        WRIST.name: np.cumsum([shift // 2, *wrist], dtype=np.int64) if wrist else np.zeros(0, np.int64),
        STATE.name: np.cumsum(state, dtype=np.int64),
    }
    if shuffle:
        times[STATE.name] = times[STATE.name][::-1].copy()
    rows = make_rows(SPECS, times, rows_hz)
    expected = brute_force({name: [int(t) for t in values] for name, values in times.items()}, rows_hz)
    assert [int(t) for t in rows.times_ns] == [row_ns for row_ns, _ in expected]
    for k, (row_ns, chosen) in enumerate(expected):
        for at, name in enumerate(rows.streams):
            assert rows.index[k, at] == chosen[name]
            age = row_ns - int(times[name][chosen[name]]) if chosen[name] >= 0 else 0
            assert rows.age_ns[k, at] == age


def test_lockstep_rows_are_the_pictures_themselves() -> None:
    t_ns = np.arange(60, dtype=np.int64) * 100_000_000
    rows = make_rows({FRONT.name: FRONT}, {FRONT.name: t_ns}, 10.0)
    np.testing.assert_array_equal(rows.index[:, 0], np.arange(60))
    assert not rows.age_ns.any()


def test_a_stream_of_vectors_alone_still_has_rows() -> None:
    t_ns = np.arange(11, dtype=np.int64) * 100_000_000
    rows = make_rows({STATE.name: STATE}, {STATE.name: t_ns}, 5.0)
    np.testing.assert_array_equal(rows.index[:, 0], [0, 2, 4, 6, 8, 10])
