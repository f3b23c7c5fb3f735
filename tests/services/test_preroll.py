"""What happened before anybody pressed record: the same bytes, times and gaps as a recording of the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode, StoreSettings
from storage.layout import Home
from workbench.core.errors import StateError
from workbench.core.ring import Ring
from workbench.core.types import EpisodeKind, StreamSpec, TakeInfo
from workbench.services.capture import Capture
from workbench.services.preroll import Preroll
from workbench.services.recorder import Recorder
from workbench.services.settings import CameraSettings, RecordSettings, Settings

STORE = StoreSettings(sync=False)
INFO = TakeInfo(EpisodeKind.TELEOP, "t", "do it")
SPECS = (
    StreamSpec("observation.images.front", (48, 64, 3), "uint8", "", 50.0),
    StreamSpec("observation.depth.front", (48, 64), "uint16", "mm", 50.0),
    StreamSpec("observation.state", (3,), "float32", "SI", 100.0, ("a", "b", "c")),
)


class Source:
    """Writes all streams at their rates from a thread, with a hole in the pictures' numbering."""

    def __init__(self, folder: Path) -> None:
        self.rings = {spec.name: Ring.create(folder / spec.name, spec, 32) for spec in SPECS}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        rng = np.random.default_rng(0)
        for k in range(10**6):
            now = time.monotonic_ns()
            for name, ring in self.rings.items():
                if name == "observation.state" or k % 2 == 0:
                    high = 255 if ring.spec.dtype == "uint8" else 3000
                    data = rng.integers(0, high, ring.spec.shape).astype(ring.spec.dtype)
                    gap = 3 if k == 40 and name.endswith("images.front") else 0
                    ring.write(data, sequence=k + gap, t_device_ns=now - 1000, t_host_ns=now, gap_before=gap)
            if self._ended.wait(0.01):
                return

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for ring in self.rings.values():
            ring.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    made = Source(tmp_path)
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def test_a_take_saved_afterwards_equals_a_recording_of_the_same_time(source: Source, home: Home) -> None:
    preroll = Preroll(STORE, 20.0, 10**8, lambda: False)
    preroll.start(source.rings)
    recorder = Recorder(home, STORE, lambda _event: None)
    time.sleep(0.2)
    recorder.start(INFO, source.rings)
    time.sleep(1.2)
    recorded = recorder.stop()
    time.sleep(0.1)
    saved = preroll.save(home, INFO, 10.0)
    preroll.close()
    with Episode.open(home, recorded.id) as one, Episode.open(home, saved.id) as other:
        assert other.verify() == [] and other.manifest.started_at < one.manifest.started_at
        for name in SPECS:
            ours, theirs = one.times(name.name), other.times(name.name)
            at = np.searchsorted(theirs[1], ours[1])
            assert np.array_equal(theirs[1][at], ours[1]) and np.array_equal(theirs[0][at], ours[0])
            if name.name == "observation.state":
                assert np.array_equal(other.vectors(name.name)[at], one.vectors(name.name))
            else:
                for k in range(0, len(at), 7):
                    assert np.array_equal(other.read(name.name, int(at[k])), one.read(name.name, k))
        gaps = dict(other.manifest.gap_positions)["observation.images.front"]
        mine = dict(one.manifest.gap_positions)["observation.images.front"]
        first = int(
            np.searchsorted(other.times("observation.images.front")[1], one.times("observation.images.front")[1][0])
        )
        assert [tuple(g) for g in gaps if g[0] >= first] == [(g[0] + first, g[1]) for g in mine]
        assert sum(g[1] for g in gaps) == 3


def test_it_keeps_no_more_than_asked_for_in_time_and_memory(source: Source, home: Home) -> None:
    short, small = Preroll(STORE, 0.4, 10**8, lambda: False), Preroll(STORE, 60.0, 150_000, lambda: False)
    short.start(source.rings)
    small.start(source.rings)
    time.sleep(1.5)
    assert 0.3 < short.status().seconds < 0.5
    assert 0 < small.status().bytes <= 150_000 and small.status().seconds < 1.2
    saved = short.save(home, INFO, 0.2)
    assert 0.1 < saved.duration_s < 0.25, "the part that was asked for"
    short.close()
    small.close()
    assert short.status().bytes == 0


def test_nothing_is_kept_while_a_take_is_recorded(source: Source, home: Home) -> None:
    busy = [False]
    preroll = Preroll(STORE, 20.0, 10**8, lambda: busy[0])
    preroll.start(source.rings)
    time.sleep(0.4)
    busy[0] = True
    time.sleep(0.2)
    assert preroll.status().bytes == 0
    with pytest.raises(StateError, match="being recorded"):
        preroll.save(home, INFO, 1.0)
    busy[0] = False
    time.sleep(0.3)
    assert 0.1 < preroll.status().seconds < 0.5, "only what came after the take"
    preroll.close()


def test_without_it_in_the_settings_nothing_is_remembered(tmp_path: Path, home: Home) -> None:
    camera = CameraSettings(name="front", kind="simulated", options={"camera": "front"})
    settings = Settings(cameras=(camera,), record=RecordSettings(remember_s=0))
    capture = Capture(home, settings, tmp_path / "rings", lambda _event: None)
    try:
        capture.remember([])
        with pytest.raises(StateError, match="remember_s"):
            capture.save_last(5.0, "t", "teleop", "do it")
    finally:
        capture.close()
