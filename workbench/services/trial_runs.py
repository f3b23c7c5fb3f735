"""Carrying out the trials of a series: simulated in lockstep, or on the running station under a person's eyes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from storage.episode import Episode
from workbench.core.errors import WorkbenchError
from workbench.core.events import SeriesChanged, TakeSealed, TrialScored
from workbench.core.types import Outcome
from workbench.services.evaluation import remember
from workbench.services.lockstep import LockstepJob, LockstepSession, LockstepSettings
from workbench.services.station import Station
from workbench.services.trials import Result, Series, Trial, check_tasks, run

SETTLE_S = 1.0
Progress = Callable[[int, int], None]
Judge = Callable[[Trial], Outcome | None]
Ready = Callable[[Trial], bool]
STOPPED = "stopped; it can be taken up again"


def run_in_lockstep(
    home: Path,
    series: Series,
    *,
    settings: LockstepSettings = LockstepSettings(),  # noqa: B008  (frozen)
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Every trial on the simulated station in lockstep: scenes by the trials' seeds, judged by the world. Blocks."""
    check_tasks(series.plan.tasks)
    total = len(series.plan.entrants) * len(series.plan.tasks) * series.plan.trials
    session = LockstepSession(home, settings)
    try:

        def attempt(trial: Trial) -> Result:
            progress(trial.number, total)
            job = LockstepJob("rollout", trial.task, trial.seed, trial.entrant.model_id, trial.entrant.head)
            made = session.run(job)
            if not made.episode_id:
                return Result(trial.number, None, message=made.message)
            remember(home, [made])
            with Episode.open(session.home, made.episode_id) as take:
                seconds = take.manifest.duration_s
            return Result(trial.number, made.success, made.episode_id, seconds, made.message, made.latency_ms)

        run(series, attempt)
        progress(total, total)
    finally:
        session.close()


class StationTrials:
    """Trials on a running station. ``attempt`` blocks until the take is sealed: never call it in the window's thread.

    Args:
        judge: asked for the outcome where the station cannot tell by itself; None from it: the trial does not count.
        ready: asked before each trial where a person lays the table; returns once it is laid, False to end the series.
        most_s: an attempt is ended after so long.
        stopped: looked at all the time; True ends the attempt, which then does not count.
    """

    def __init__(
        self,
        station: Station,
        judge: Judge,
        ready: Ready,
        most_s: float = 40.0,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._station, self._judge, self._most_s, self._stopped = station, judge, most_s, stopped
        self._ready = ready

    def attempt(self, trial: Trial) -> Result:
        """Have the table laid, let the policy drive until somebody or something ends it, keep the take.

        InterruptedError if the person who lays the table ends the series instead.
        """
        station, began_s = self._station, time.monotonic()
        if station.settings.simulated:
            station.reset_scene(trial.task, seed=trial.seed)
            time.sleep(SETTLE_S)  # pictures of the old scene are no observations of the new one
        station.load_policy(trial.entrant.model_id, trial.entrant.head)
        station.policy_stats()  # answers once it is warm
        if not station.settings.simulated:
            station.wait_at_rest()  # nothing moves while hands are on the table
            if not self._ready(trial):
                raise InterruptedError(STOPPED)
        sealed: queue.SimpleQueue[TakeSealed] = queue.SimpleQueue()
        scored: list[TrialScored] = []
        with station.bus.subscribe(TakeSealed, sealed.put), station.bus.subscribe(TrialScored, scored.append):
            began_s = time.monotonic()
            station.drive(trial.task, blind=True)
            self._wait(sealed, began_s + self._most_s, trial)
            take = sealed.get(timeout=60)
            spent_s = time.monotonic() - began_s
            end_s = time.monotonic() + 2.0  # the score follows the seal
            while not scored and time.monotonic() < end_s and not self._stopped():
                time.sleep(0.02)
        success = scored[0].success if scored else None
        with Episode.open(station.home, take.episode_id) as episode:
            words = str(episode.manifest.extra.get("ended_by", ""))
        return Result(trial.number, success, take.episode_id, round(spent_s, 2), words)

    def _wait(self, sealed: queue.SimpleQueue[TakeSealed], until_s: float, trial: Trial) -> None:
        while sealed.empty() and time.monotonic() < until_s:
            if self._stopped():
                self._station.end_drive("the series was stopped", counts=False)
                return
            time.sleep(0.05)
        if sealed.empty():
            outcome = Outcome.FAILURE if self._station.settings.simulated else self._judge(trial)
            if outcome is None:
                self._station.end_drive("nobody judged it", counts=False)
            else:
                self._station.judge(outcome)


class SeriesRun:
    """A series that goes on in a thread of its own while the window stays free; every trial is told on the bus."""

    def __init__(self, station: Station, series: Series, most_s: float = 40.0) -> None:
        self.series = series
        self._station, self._ended = station, threading.Event()
        patience_s = most_s if station.settings.simulated else 24 * 3600.0  # a real station waits for a person's word
        self._waits, self._laid = threading.Event(), threading.Event()
        self._trials = StationTrials(station, lambda _trial: None, self._have_laid, patience_s, self._ended.is_set)
        self._thread = threading.Thread(target=self._run, name="trial-series", daemon=True)

    def start(self) -> None:
        """Begin, or go on."""
        self._thread.start()

    def laid(self) -> bool:
        """The table is laid: begin the trial that waits for it. False if none does."""
        waits = self._waits.is_set()
        if waits:
            self._laid.set()
        return waits

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the trial in progress, which then does not count; the series can be taken up again."""
        self._ended.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        said = ""
        try:
            run(self.series, self._attempt)
            said = self.series.stopped_by()
        except (WorkbenchError, InterruptedError) as error:
            said = str(error)
        self._station.bus.publish(SeriesChanged(self.series.plan.id, "", said or "stopped", over=True))

    def _attempt(self, trial: Trial) -> Result:
        if self._ended.is_set():
            raise InterruptedError(STOPPED)
        self._say(trial)
        return self._trials.attempt(trial)

    def _have_laid(self, trial: Trial) -> bool:
        """Ask the person to lay the table, and wait for the word."""
        asked = self.series.laying(trial, self._station.settings.instruction(trial.task))
        self._laid.clear()
        self._waits.set()
        self._say(trial, f"{asked}, then press Start")
        while not self._laid.wait(0.1) and not self._ended.is_set():
            continue
        self._waits.clear()
        self._say(trial)
        return not self._ended.is_set()

    def _say(self, trial: Trial, more: str = "") -> None:
        words = f"trial {len(self.series.results) + 1}: {trial.label}" + (f"; {more}" if more else "")
        self._station.bus.publish(SeriesChanged(self.series.plan.id, trial.label, words))
