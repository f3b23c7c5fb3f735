"""The running simulated station, in threads and in processes: pictures, takes, played takes, clean ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hardware.sim.tasks import DEMONSTRATED
from storage.doctor import examine
from storage.episode import Episode
from storage.layout import Home
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import TakeSealed
from workbench.core.ring import runtime_directory, sweep_runtime_directory
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.settings import simulated_settings
from workbench.services.station import Station

ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    made = Station(tmp_path, simulated_settings(), threads=True)
    made.start()
    until(lambda: made.latest("observation.images.front") is not None)
    until(lambda: made.status().cameras)
    yield made
    made.close()


def test_pictures_and_state_arrive_with_times(station: Station) -> None:
    front = station.latest("observation.images.front")
    depth = station.latest("observation.depth.front")
    state = station.latest("observation.state")
    assert front is not None and front.data.shape == (480, 640, 3) and front.data.std() > 10
    assert depth is not None and depth.data.shape == (480, 640)
    assert state is not None and abs(time.monotonic_ns() - state.t_host_ns) < 2e9
    assert {camera.name for camera in station.status().cameras} == {"front", "wrist"}


def test_a_take_is_recorded_and_readable(station: Station) -> None:
    episode_id = station.start_take(DEMONSTRATED[0], EpisodeKind.TELEOP)
    with pytest.raises(WorkbenchError):
        station.start_take(DEMONSTRATED[0], EpisodeKind.TELEOP)
    time.sleep(1.0)
    assert station.stop_take(Outcome.FAILURE) == episode_id
    episode = Episode.open(station.home, episode_id)
    assert episode.manifest.outcome == Outcome.FAILURE
    assert episode.manifest.counts["observation.state"] > 30
    assert episode.verify() == []


def test_an_unknown_task_is_refused_with_the_nearest(station: Station) -> None:
    with pytest.raises(WorkbenchError, match=DEMONSTRATED[0]):
        station.start_take(DEMONSTRATED[0] + "s", EpisodeKind.TELEOP)


def test_driving_without_a_model_is_refused(station: Station) -> None:
    with pytest.raises(StateError, match="model"):
        station.drive(DEMONSTRATED[0])
    with pytest.raises(WorkbenchError, match="models list"):
        station.load_policy("nothing")


def test_the_scripted_operator_plays_a_take(station: Station) -> None:
    sealed: list[TakeSealed] = []
    station.bus.subscribe(TakeSealed, sealed.append)
    station.play(DEMONSTRATED[0], EpisodeKind.TELEOP)
    until(lambda: sealed, 60)
    manifest = Episode.open(station.home, sealed[0].episode_id).manifest
    assert manifest.kind == EpisodeKind.TELEOP and manifest.clock == "realtime"


def test_keys_move_the_arm(station: Station) -> None:
    start = station.latest("observation.state")
    assert start is not None
    until(lambda: station.status().driver.state == "parked")
    station.set_keys(frozenset({"w"}))
    time.sleep(1.0)
    station.set_keys(frozenset())
    now = station.latest("observation.state")
    assert now is not None
    x = station.streams["observation.state"].axes.index("ee.x")
    assert abs(now.data[x : x + 3] - start.data[x : x + 3]).max() > 0.02


def test_processes_end_with_the_station(tmp_path: Path) -> None:
    station = Station(tmp_path, simulated_settings())
    station.start()
    children = psutil.Process().children(recursive=True)
    assert len([c for c in children if c.is_running()]) >= 3
    station.start_take(DEMONSTRATED[0], EpisodeKind.TELEOP)
    time.sleep(0.5)
    station.close()
    until(
        lambda: (
            not [
                c
                for c in children
                if c.is_running() and c.status() != "zombie" and "tracker" not in " ".join(c.cmdline())
            ]
        ),
        10,
    )
    kept = list(Home.open(tmp_path).episodes.glob("*.zarr"))
    assert len(kept) == 1, "the take in progress was sealed"


def test_a_killed_window_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    """SIGKILL to the program that owns the station, in the middle of a take."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from workbench.core.types import EpisodeKind\n"
        "from workbench.services.settings import simulated_settings\n"
        "from workbench.services.station import Station\n"
        "if __name__ == '__main__':\n"
        "    station = Station(Path(sys.argv[1]), simulated_settings())\n"
        "    station.start()\n"
        f"    station.start_take('{DEMONSTRATED[0]}', EpisodeKind.TELEOP)\n"
        "    time.sleep(1.5)\n"
        "    print('recording', flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "window.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    window = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "home")], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert window.stdout is not None and window.stdout.readline().strip() == "recording"
    children = psutil.Process(window.pid).children(recursive=True)
    os.kill(window.pid, signal.SIGKILL)
    window.wait()
    window.stdout.close()
    until(lambda: not [c for c in children if c.is_running()], 15)
    home = Home.open(tmp_path / "home")
    examine(home, fix=True)
    takes = list(home.episodes.glob("*.zarr"))
    assert len(takes) == 1
    episode = Episode.open(home, takes[0].name.removesuffix(".zarr"))
    assert episode.manifest.counts["observation.images.front"] > 5 and episode.verify() == []
    sweep_runtime_directory()
    assert not list(runtime_directory().glob(f"{window.pid}-*"))
