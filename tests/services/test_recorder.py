"""The recorder follows rings: everything is kept in order, what was missed is a gap, failures keep what was written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode, StoreSettings
from storage.layout import Home
from workbench.core.errors import StateError
from workbench.core.events import TakeDiscarded, TakeSealed
from workbench.core.ring import Ring
from workbench.core.types import EpisodeKind, Outcome, StreamSpec, TakeInfo
from workbench.services import recorder as recorder_module
from workbench.services.recorder import Recorder

PICTURES = StreamSpec("observation.images.front", (24, 32, 3), "uint8", "", 30.0)
VECTORS = StreamSpec("observation.state", (3,), "float32", "SI", 100.0, ("a", "b", "c"))
INFO = TakeInfo(EpisodeKind.TELEOP, "task", "do the task")


@pytest.fixture
def rings(tmp_path: Path) -> Iterator[dict[str, Ring]]:
    made = {spec.name: Ring.create(tmp_path / "rings" / spec.name, spec, 16) for spec in (PICTURES, VECTORS)}
    yield made
    for ring in made.values():
        ring.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def put(ring: Ring, number: int) -> None:
    """Write item ``number``; its content tells which one it is."""
    data = np.full(ring.spec.shape, number % 250, ring.spec.dtype)
    ring.write(data, sequence=number, t_device_ns=number * 10_000_000, t_host_ns=number * 10_000_000 + 5)


def caught_up(recorder: Recorder) -> None:
    end = time.monotonic() + 10
    while not recorder.caught_up():
        assert time.monotonic() < end, "the recorder does not follow"
        time.sleep(0.001)


def test_every_item_is_kept_in_order(home: Home, rings: dict[str, Ring]) -> None:
    events: list[object] = []
    recorder = Recorder(home, StoreSettings(color_codec="lossless", sync=False), events.append)
    for number in range(5):
        put(rings[VECTORS.name], number)
    episode_id = recorder.start(INFO, rings)
    for number in range(5, 105):
        put(rings[VECTORS.name], number)
        if number % 3 == 0:
            put(rings[PICTURES.name], number)
        if number % 10 == 0:
            caught_up(recorder)
    manifest = recorder.stop(Outcome.SUCCESS)
    assert manifest.id == episode_id and manifest.outcome == Outcome.SUCCESS
    episode = Episode.open(home, episode_id)
    assert np.array_equal(episode.vectors(VECTORS.name)[:, 0], np.arange(5, 105, dtype=np.float32))
    device, host = episode.times(VECTORS.name)
    assert np.array_equal(device, np.arange(5, 105) * 10_000_000) and np.array_equal(host - device, np.full(100, 5))
    numbers = [n for n in range(5, 105) if n % 3 == 0]
    assert [int(episode.read(PICTURES.name, i)[0, 0, 0]) for i in range(len(numbers))] == numbers
    assert manifest.gaps.get(VECTORS.name, 0) == 0
    assert [type(e) for e in events if isinstance(e, TakeSealed)] == [TakeSealed]


def test_what_was_overwritten_becomes_a_gap(
    home: Home, rings: dict[str, Ring], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that was held up for longer than a ring lasts says how many items are missing and where."""
    monkeypatch.setattr(recorder_module, "_POLL_S", 1.0)
    recorder = Recorder(home, StoreSettings(sync=False), lambda _e: None)
    episode_id = recorder.start(INFO, rings)
    time.sleep(0.1)
    put(rings[PICTURES.name], 0)
    for number in range(101):
        put(rings[VECTORS.name], number)
    manifest = recorder.stop()
    kept = Episode.open(home, episode_id).vectors(VECTORS.name)[:, 0]
    assert 10 <= len(kept) <= 16 and kept[-1] == 100
    assert np.all(np.diff(kept) == 1), "after the gap nothing is missing"
    assert manifest.gaps[VECTORS.name] == 101 - len(kept)


def test_requests_out_of_turn_are_refused(home: Home, rings: dict[str, Ring]) -> None:
    recorder = Recorder(home, StoreSettings(sync=False), lambda _e: None)
    with pytest.raises(StateError):
        recorder.stop()
    recorder.start(INFO, rings)
    with pytest.raises(StateError):
        recorder.start(INFO, rings)
    recorder.discard()


def test_discard_moves_to_trash_and_frees_the_recorder(home: Home, rings: dict[str, Ring]) -> None:
    events: list[object] = []
    recorder = Recorder(home, StoreSettings(sync=False), events.append)
    first = recorder.start(INFO, rings)
    put(rings[PICTURES.name], 1)
    recorder.discard()
    assert any(isinstance(e, TakeDiscarded) and e.episode_id == first for e in events)
    assert not list(home.episodes.glob("*.zarr")) and any(home.trash.iterdir())
    recorder.start(INFO, rings)
    put(rings[PICTURES.name], 2)
    put(rings[VECTORS.name], 2)
    caught_up(recorder)
    assert recorder.stop().sealed


def test_a_disk_error_is_said_and_keeps_what_was_written(home: Home, rings: dict[str, Ring]) -> None:
    """The folder of the take disappears under the recorder: it faults with words and can start again."""
    events: list[object] = []
    recorder = Recorder(home, StoreSettings(block_s=0.05, sync=False), events.append)
    episode_id = recorder.start(INFO, rings)
    partial = next(home.episodes.glob(f"{episode_id}*"))
    partial.rename(home.path / "gone")
    for number in range(200):
        put(rings[PICTURES.name], number)
        time.sleep(0.0005)
    end = time.monotonic() + 5
    while recorder.state != "faulted" and time.monotonic() < end:
        time.sleep(0.01)
        put(rings[PICTURES.name], 201)
    assert recorder.state == "faulted"
    assert recorder.status().error
    with pytest.raises(StateError):
        recorder.stop()
    recorder.start(INFO, rings)
    put(rings[PICTURES.name], 1)
    put(rings[VECTORS.name], 1)
    caught_up(recorder)
    assert recorder.stop().sealed
