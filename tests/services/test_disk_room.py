"""A take is refused while there is time to free space, and ended and sealed before the disk refuses to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.doctor import examine
from storage.episode import Episode, StoreSettings
from storage.layout import Home
from tests.storage.signals import FRONT, STATE, Scene, record
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Failed, TakeSealed
from workbench.core.ring import Ring
from workbench.core.types import EpisodeKind, StreamSpec, TakeInfo
from workbench.services import recorder as recorder_module
from workbench.services.disk_room import LEAST_RESERVE_BYTES, Room, estimate_bytes_per_s, measured_bytes_per_s
from workbench.services.recorder import Recorder

PICTURES = StreamSpec("observation.images.front", (480, 640, 3), "uint8", "", 30.0)
INFO = TakeInfo(EpisodeKind.TELEOP, "task", "do the task")


class TightHome(Home):
    """A data root that says how much is free as the test wants it."""

    def free_bytes(self) -> int:
        return FREE["bytes"]


FREE = {"bytes": 10**10}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    FREE["bytes"] = 10**10
    return TightHome(Home.open(tmp_path / "home").path)


@pytest.fixture
def rings(tmp_path: Path) -> Iterator[dict[str, Ring]]:
    ring = Ring.create(tmp_path / "ring", PICTURES, 16)
    yield {PICTURES.name: ring}
    ring.close()


def feed(ring: Ring, number: int) -> None:
    ring.write(np.full(PICTURES.shape, number, np.uint8), sequence=number, t_device_ns=number, t_host_ns=number)


def test_a_take_is_refused_when_less_than_a_minute_is_left(home: Home, rings: dict[str, Ring]) -> None:
    recorder = Recorder(home, StoreSettings(sync=False), lambda event: None)
    a_second = estimate_bytes_per_s([PICTURES])
    FREE["bytes"] = round(70 * a_second)  # 20 s are the reserve
    with pytest.raises(WorkbenchError, match=r"less than a minute.*2\.0\d MB for each second.*Free space"):
        recorder.start(INFO, rings)
    assert recorder.state == "idle" and not list(home.episodes.iterdir())
    FREE["bytes"] = round(85 * a_second)
    recorder.start(INFO, rings)
    feed(rings[PICTURES.name], 1)
    assert recorder.stop().counts == {PICTURES.name: 1}


def test_a_running_take_is_sealed_before_the_disk_is_full(
    home: Home, rings: dict[str, Ring], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_LOOK_AT_DISK_S", 0.01)
    events: list[object] = []
    recorder = Recorder(home, StoreSettings(sync=False), events.append)
    episode_id = recorder.start(INFO, rings)
    for number in range(10):
        feed(rings[PICTURES.name], number)
    while not recorder.caught_up():
        time.sleep(0.001)
    FREE["bytes"] = LEAST_RESERVE_BYTES
    end = time.monotonic() + 10
    while recorder.state != "idle" and time.monotonic() < end:
        time.sleep(0.005)
    with pytest.raises(StateError, match="nearly full"):
        recorder.stop()
    with Episode.open(home, episode_id) as episode:
        assert episode.verify() == [] and episode.manifest.counts == {PICTURES.name: 10}
        assert "nearly full" in episode.manifest.extra["ended_by"]
    assert [event.episode_id for event in events if isinstance(event, TakeSealed)] == [episode_id]
    assert ["nearly full" in event.message for event in events if isinstance(event, Failed)] == [True]
    assert examine(home).clean
    FREE["bytes"] = 10**10
    recorder.start(INFO, rings)
    feed(rings[PICTURES.name], 11)
    assert recorder.stop().sealed and recorder.status().error == ""


def test_the_rate_is_that_of_the_stations_own_takes(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "data")
    names = (FRONT.name, STATE.name)
    assert measured_bytes_per_s(home, "", names) is None
    with record(home, Scene(seconds=3), (FRONT, STATE)) as episode:
        size = sum(path.stat().st_blocks * 512 for path in episode.folder.rglob("*") if path.is_file())
        assert measured_bytes_per_s(home, "", names) == pytest.approx(size / episode.manifest.duration_s)
    assert measured_bytes_per_s(home, "another", names) is None
    assert measured_bytes_per_s(home, "", (FRONT.name,)) is None


def test_what_streams_will_take() -> None:
    depth = StreamSpec("observation.depth.front", (480, 640), "uint16", "mm", 30.0)
    assert estimate_bytes_per_s([PICTURES]) == pytest.approx(30 * 66_000, rel=0.1)
    assert estimate_bytes_per_s([PICTURES], "lossless") == pytest.approx(30 * 697_000, rel=0.1)
    assert estimate_bytes_per_s([depth]) == pytest.approx(30 * 69_600, rel=0.1)
    assert estimate_bytes_per_s([STATE]) == 100 * (14 * 4 + 16)
    room = Room(10**9, 10**6)
    assert room.minutes == pytest.approx((1000 - 20) / 60) and not room.is_nearly_full
    assert Room(10**9, 0).minutes == float("inf") and Room(1, 1.0).is_nearly_full and Room(1, 1.0).minutes == 0
