"""Using the station without a window: wait until it is live, record for a while, let the simulation play."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, TakeSealed
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.settings import Settings
from workbench.services.station import Station

LIVE_S, SEAL_S, PLAY_S = 60.0, 60.0, 120.0
Events = queue.SimpleQueue[TakeSealed | Failed]


@contextlib.contextmanager
def running_station(home: Path, settings: Settings, *, threads: bool = False) -> Iterator[Station]:
    """The station with every camera live; closed on leaving, whatever happens."""
    station = Station(home, settings, threads=threads)
    try:
        station.start()
        wait_live(station)
        yield station
    finally:
        station.close()


def wait_live(station: Station, timeout_s: float = LIVE_S) -> None:
    """Return when every camera delivers; WorkbenchError names those that do not."""
    deadline = time.monotonic() + timeout_s
    while True:
        cameras = station.status().cameras
        if cameras and all(camera.state == "live" for camera in cameras):
            return
        if time.monotonic() > deadline:
            silent = [f"{camera.name} ({camera.error or camera.state})" for camera in cameras if camera.state != "live"]
            raise WorkbenchError("no picture from " + (", ".join(silent) or "any camera"), "See `main.py devices`")
        time.sleep(0.05)


def play_take(station: Station, task: str, kind: EpisodeKind) -> TakeSealed:
    """Simulated station: the scripted operator or hand does the task once. Blocks until the take is sealed."""
    with _listening(station) as events:
        station.play(task, kind)
        return _next(events, PLAY_S)


def record_take(station: Station, task: str, kind: EpisodeKind, seconds: float, outcome: Outcome) -> TakeSealed:
    """Record what happens for a while. Blocks until the take is sealed."""
    with _listening(station) as events:
        station.start_take(task, kind)
        time.sleep(seconds)
        station.stop_take(outcome)
        return _next(events, SEAL_S)


@contextlib.contextmanager
def _listening(station: Station) -> Iterator[Events]:
    """Sealed takes and failures from now on, in order."""
    events: Events = queue.SimpleQueue()
    with station.bus.subscribe(TakeSealed, events.put), station.bus.subscribe(Failed, events.put):
        yield events


def _next(events: Events, timeout_s: float) -> TakeSealed:
    try:
        event = events.get(timeout=timeout_s)
    except queue.Empty:
        raise WorkbenchError(f"no take was sealed in {timeout_s:.0f} s", "Run `python main.py doctor --fix`") from None
    if isinstance(event, Failed):
        raise WorkbenchError(f"{event.where} failed: {event.message}")
    return event
