"""A policy on the running station, attempt after attempt: what ``rollout --live`` does."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.episode import Episode
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, TakeSealed
from workbench.services.evaluation import TRIAL_SEED, Rate
from workbench.services.settings import Settings
from workbench.services.station import Station
from workbench.services.unattended import SEAL_S, running_station

Progress = Callable[[int, int], None]
OUT_OF_TIME, INTERRUPTED = "the time for the attempt is over", "interrupted from the keyboard"
_POLL_S, _REST_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One drive. ``success`` is None where it says nothing about the policy: a fault, an interruption, no judge."""

    episode_id: str
    success: bool | None
    ended_by: str
    seconds: float
    seed: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "episode": self.episode_id,
            "success": self.success,
            "message": self.ended_by,
            "seconds": self.seconds,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class LiveRun:
    """All attempts of one ``rollout --live``, and how punctual the control tick was during the last."""

    attempts: tuple[Attempt, ...]
    timing: dict[str, Any]
    latency_ms: float | None

    @property
    def rate(self) -> Rate:
        judged = [attempt.success for attempt in self.attempts if attempt.success is not None]
        return Rate.of(sum(judged), len(judged))

    @property
    def interrupted(self) -> bool:
        return any(attempt.ended_by == INTERRUPTED for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What to drive: at most ``most_s`` seconds per attempt."""

    model_id: str
    head: str
    task: str
    trials: int = 1
    most_s: float = 40.0


def drive_live(
    home: Path, settings: Settings, request: LiveRequest, progress: Progress, *, threads: bool = False
) -> LiveRun:
    """Start the station, let the model drive, seal every attempt. Blocks.

    Ctrl-C holds the arm, seals the attempt as interrupted and ends the run without an error. On a real station one run
    is one attempt, because nobody has laid the table anew.
    """
    if request.trials > 1 and not settings.simulated:
        raise WorkbenchError("the table of a real station is laid by hand", "Use --trials 1 and start again for each")
    settings.instruction(request.task)
    with running_station(home, settings, threads=threads) as station:
        station.load_policy(request.model_id, request.head)
        station.policy_stats()  # answers once the model is warm
        attempts: list[Attempt] = []
        latency: float | None = None
        for number in range(request.trials):
            progress(number, request.trials)
            attempts.append(live_attempt(station, request, number))
            latency = _latency_ms(station)
            if attempts[-1].ended_by == INTERRUPTED:
                break
        progress(len(attempts), request.trials)
        return LiveRun(tuple(attempts), station.status().driver.timing, latency)


def live_attempt(station: Station, request: LiveRequest, number: int) -> Attempt:
    """One attempt: lay the table (in simulation, by the number's seed), drive, seal. Ctrl-C ends it unlabelled."""
    seed = TRIAL_SEED + number if station.settings.simulated else None
    if seed is not None:
        station.reset_scene(request.task, seed=seed)
        time.sleep(_REST_S)  # pictures of the old scene are no observations of the new one
    started_s = time.monotonic()
    sealed: queue.SimpleQueue[TakeSealed] = queue.SimpleQueue()
    failed: list[Failed] = []
    with (
        station.bus.subscribe(TakeSealed, sealed.put),
        station.bus.subscribe(Failed, failed.append),
    ):
        try:
            station.drive(request.task)
            _wait(sealed, started_s + request.most_s)
            if sealed.empty():
                station.end_drive(OUT_OF_TIME)
        except KeyboardInterrupt:
            station.end_drive(INTERRUPTED, counts=False)
        spent_s = round(time.monotonic() - started_s, 2)
        try:
            event = sealed.get(timeout=SEAL_S)
        except queue.Empty:
            why = f" ({failed[-1].message})" if failed else ""
            raise WorkbenchError(f"the attempt was not sealed{why}", "Run `python main.py doctor --fix`") from None
    return _judged(station, event.episode_id, spent_s, seed)


def _wait(sealed: queue.SimpleQueue[TakeSealed], until_s: float) -> None:
    while sealed.empty() and time.monotonic() < until_s:
        time.sleep(_POLL_S)


def _judged(station: Station, episode_id: str, spent_s: float, seed: int | None) -> Attempt:
    with Episode.open(station.home, episode_id) as take:
        outcome, extra = take.manifest.outcome, take.manifest.extra
    success = {"success": True, "failure": False}.get(str(outcome)) if station.settings.simulated else None
    return Attempt(episode_id, success, str(extra.get("ended_by", "")), spent_s, seed)


def _latency_ms(station: Station) -> float | None:
    with contextlib.suppress(WorkbenchError):  # a policy that has died says nothing more
        value = station.policy_stats().get("latency_ms_p50")
        return round(float(value), 3) if value is not None else None
    return None
