"""The wall clock is set back or forward, during takes and between them: their order and their times do not care."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.episode import Episode, EpisodeWriter
from storage.layout import Home, newest_id
from tests.storage.takes import EXACT, STATE, frame, info
from workbench.core import files
from workbench.core.files import new_id

DAY_NS = 86_400_000_000_000
stamps = st.integers(1_600_000_000_000, 4_000_000_000_000).map(lambda ms: ms * 1_000_000)


@given(st.lists(stamps, min_size=2, max_size=8))
def test_ids_rise_whatever_the_clock_says(clock_ns: list[int]) -> None:
    ids: list[str] = [""]
    for now_ns in clock_ns:
        ids.append(new_id(after=ids[-1], now_ns=now_ns))
    assert all(before < after for before, after in itertools.pairwise(ids))
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" for one in ids[1:])


@given(st.text(max_size=40))
def test_what_is_no_id_does_not_disturb(after: str) -> None:
    now_ns = time.time_ns()
    assert abs(int(new_id(after=after, now_ns=now_ns)[:12], 16) - now_ns // 1_000_000) < 5000


def test_ids_of_one_millisecond_rise() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))


def take(home: Home) -> str:
    writer = EpisodeWriter.create(home, info(), [STATE], settings=EXACT)
    for index in range(20):
        writer.append(STATE.name, frame(STATE, index, t_ns=time.monotonic_ns()))
    manifest = writer.seal()
    return manifest.id


def test_takes_sort_by_order_and_last_as_long_as_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.open(tmp_path)
    monkeypatch.setattr(files, "_last_issued", files._last_issued)  # this process goes back to true time afterwards
    real, shift_ns = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + shift_ns[0])
    ids = []
    for shift in (0, -DAY_NS, 3 * DAY_NS, -400 * DAY_NS, 0):
        shift_ns[0] = shift
        ids.append(take(home))
    home.sealed(ids[-1]).rename(home.trashed(ids[-1]))
    ids.append(take(home))
    assert ids == sorted(ids) and newest_id(home) == ids[-1]
    writer = EpisodeWriter.create(home, info(), [STATE], settings=EXACT)
    began_ns = time.monotonic_ns()
    for index in range(10):
        shift_ns[0] = (-1) ** index * 7 * DAY_NS
        writer.append(STATE.name, frame(STATE, index, t_ns=time.monotonic_ns()))
        time.sleep(0.005)
    manifest = writer.seal()
    with Episode.open(home, manifest.id) as episode:
        host_ns = episode.times(STATE.name)[1]
        assert np.all(np.diff(host_ns) > 0) and episode.verify() == []
        assert 45_000_000 <= host_ns[-1] - host_ns[0] <= time.monotonic_ns() - began_ns


def test_an_id_from_the_far_future_moves_the_next_ones_behind_it(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    far = new_id(now_ns=4_000_000_000_000 * 1_000_000)
    home.sealed(far).mkdir()
    first = take(home)
    assert far < first < take(home)
