"""One process of a running station dies by SIGKILL in the middle of a take. Nothing recorded is lost, nothing stays."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hardware.sim.tasks import DEMONSTRATED
from storage.doctor import examine
from storage.episode import Episode
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed
from workbench.core.types import EpisodeKind
from workbench.services.settings import Settings, simulated_settings
from workbench.services.station import Station


def small_settings() -> Settings:
    """The simulated station with pictures that two busy cores can draw."""
    settings = simulated_settings()
    size = {"width": 160, "height": 120, "rate_hz": 10.0}
    cameras = tuple(
        camera.model_copy(update={"options": {**camera.options, **size, "depth": False}}) for camera in settings.cameras
    )
    return settings.model_copy(update={"cameras": cameras})


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def words(process: psutil.Process) -> str:
    """The command line of a process, "" once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.parametrize("victim", ["capture", "arm", "simulation"])
def test_a_killed_process_costs_at_most_the_last_block(tmp_path: Path, victim: str) -> None:
    station = Station(tmp_path, small_settings())
    failures: list[Failed] = []
    station.bus.subscribe(Failed, failures.append)
    try:
        station.start()
        until(lambda: station.latest("observation.images.front"), 20, "no picture came")
        episode_id = station.start_take(DEMONSTRATED[0], EpisodeKind.TELEOP)
        time.sleep(2.5)
        pid = station._children[victim].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        if victim == "simulation":
            until(lambda: any(c.error for c in station.status().cameras), 10, "the cameras never said what is wrong")
        else:
            until(lambda: any(victim in failure.message for failure in failures), 10, "nobody was told")
            with pytest.raises(WorkbenchError, match=f"the {victim} process has ended"):
                station._child(victim).call("status")
        children = psutil.Process().children(recursive=True)
    finally:
        started = time.monotonic()
        station.close()
    assert time.monotonic() - started < 15, "closing hung on the dead process"
    children = [process for process in children if "resource_tracker" not in words(process)]
    until(lambda: not running(children), 5, "a process was left")

    home = Home.open(tmp_path)
    examine(home, fix=True)
    assert [path.name for path in home.episodes.iterdir()] == [f"{episode_id}.zarr"]
    episode = Episode.open(home, episode_id)
    assert episode.verify() == []
    assert episode.manifest.counts["observation.images.front"] >= 8  # 2.5 s at 10 Hz, less one block of a second
    assert episode.manifest.counts["observation.state"] >= 80
    _, host_ns = episode.times("observation.images.front")
    assert (host_ns[1:] > host_ns[:-1]).all()
