"""A policy server drives the running station, alone and in a series whose scenes a person lays and judges."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.sim.tasks import DEMONSTRATED
from storage.episode import Episode
from storage.layout import Home
from tests.faults.drive_rig import PATIENT_S
from tests.faults.test_processes import small_settings
from tests.services.serving_kit import serving
from workbench import cli_trials
from workbench.core.chunks import PLAYED
from workbench.core.errors import WorkbenchError
from workbench.core.events import SeriesChanged
from workbench.core.types import Outcome
from workbench.services.live import OUT_OF_TIME, LiveRequest, drive_live
from workbench.services.settings import Settings
from workbench.services.station import Station
from workbench.services.trial_runs import STOPPED, SeriesRun, StationTrials
from workbench.services.trials import Entrant, Result, Series, Trial, run

TASK = DEMONSTRATED[0]
TRIES = 4  # a machine that is busy for a second holds the arm, as it should; then the attempt says nothing


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as server:
        yield server.url


def patient(settings: Settings) -> Settings:
    limits = settings.limits.model_copy(update={"state_age_s": PATIENT_S})
    return settings.model_copy(update={"limits": limits})


def test_a_served_policy_drives_the_running_station_until_the_time_is_over(tmp_path: Path, url: str) -> None:
    request = LiveRequest(url, "rf", TASK, trials=1, most_s=4.0)
    for _ in range(TRIES):
        found = drive_live(tmp_path, patient(small_settings()), request, lambda _done, _all: None, threads=True)
        (attempt,) = found.attempts
        if attempt.ended_by == OUT_OF_TIME:
            break
    assert (attempt.ended_by, attempt.success) == (OUT_OF_TIME, False) and found.latency_ms is not None
    with Episode.open(Home.open(tmp_path), attempt.episode_id) as take:
        axes = list(take.manifest.streams["observation.state"].axes)
        x = take.vectors("observation.state")[:, axes.index("ee.x")]
        played = take.vectors(PLAYED)
        assert take.verify() == [] and take.manifest.extra["model"].startswith("mover@")
    assert x[-1] - x[0] > 0.02, "3 cm/s, as the server wants"
    assert len(np.unique(played[:, 0])) > 3, "one chunk after the other"


class Person:
    """Lays tables and judges; notes what was asked and where the arm was meanwhile."""

    def __init__(self, station: Station, series: Series) -> None:
        self.station, self.series = station, series
        self.asked: list[str] = []
        self.states: list[str] = []
        self.patience = 100

    def lay(self, trial: Trial) -> bool:
        self.asked.append(self.series.laying(trial, self.station.settings.instruction(trial.task)))
        self.states.append(self.station.status().driver.state)
        return len(self.asked) <= self.patience

    def judge(self, trial: Trial) -> Outcome | None:
        return Outcome.SUCCESS if trial.entrant.head == "rf" else Outcome.FAILURE


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """Devices that nobody may set back but a person: the simulated ones, whose station does not know that they are."""
    made = Station(tmp_path, patient(small_settings()), threads=True)
    made.start()
    end = time.monotonic() + 60
    while made.latest("observation.images.wrist") is None or made.latest("observation.state") is None:
        assert time.monotonic() < end, "nothing came from the devices"
        time.sleep(0.02)
    made.settings = made.settings.model_copy(update={"simulated": False})
    yield made
    made.close()


def test_on_a_real_station_the_person_is_asked_before_every_trial_and_judges_it(station: Station, url: str) -> None:
    series = Series.create(station.home, (Entrant(url), Entrant(url, "ntp")), [TASK], 1, blind=True, seed=3)
    person = Person(station, series)
    run(series, StationTrials(station, person.judge, person.lay, most_s=1.0).attempt, again=TRIES)
    assert "lay the table anew" in person.asked[0] and "red cube" in person.asked[0]
    assert set(person.asked[1:]) == {"put everything back where it was before the last trial"}
    assert "driving" not in person.states, "nothing moves while hands are on the table"
    judged = [result for result in series.results if result.success is not None]
    assert sorted(bool(result.success) for result in judged) == [False, True] and len(person.asked) == len(
        series.results
    )
    for result in judged:
        with Episode.open(station.home, result.episode_id) as take:
            assert take.manifest.outcome == ("success" if result.success else "failure")
    again = Series.create(station.home, (Entrant(url),), [TASK], 2, seed=3)
    person = Person(station, again)
    person.patience = 0
    with pytest.raises(InterruptedError, match="taken up again"):
        run(again, StationTrials(station, person.judge, person.lay, most_s=1.0).attempt)
    assert again.results == [] and Series.open(station.home, again.plan.id).next() is not None

    heard: queue.SimpleQueue[SeriesChanged] = queue.SimpleQueue()
    with station.bus.subscribe(SeriesChanged, heard.put):
        shown = SeriesRun(station, again)
        assert not shown.laid(), "nothing waits yet"
        shown.start()
        while "lay the table anew" not in (said := heard.get(timeout=60)).words:
            continue
        assert "Start" in said.words and station.status().driver.state != "driving"
        assert shown.laid()
        while "lay" in heard.get(timeout=60).words:
            continue
        shown.stop()
        while not (said := heard.get(timeout=60)).over:
            continue
    assert said.words == STOPPED and all(result.success is None for result in again.results)


def test_at_the_terminal_enter_begins_q_ends_and_nobody_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = Series.create(Home.open(tmp_path), (Entrant("m"),), [TASK], 3, seed=1)
    words, asked = iter(["", "y", "q"]), []

    def answer(question: str) -> str:
        asked.append(question)
        return next(words)

    class Trials:
        def __init__(self, station, judge, ready, most_s) -> None:
            self.judge, self.ready = judge, ready

        def attempt(self, trial: Trial) -> Result:
            if not self.ready(trial):
                raise InterruptedError(STOPPED)
            return Result(trial.number, self.judge(trial) is Outcome.SUCCESS)

    class Desk:
        settings = small_settings()

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(cli_trials, "StationTrials", Trials)
    with pytest.raises(WorkbenchError, match=f"--series {series.plan.id[:8]}"):
        cli_trials.run_on_station(series, Desk(), 1.0)
    assert [result.success for result in series.results] == [True] and len(asked) == 3
    assert "lay the table" in asked[0] and "did it succeed" in asked[1]
    monkeypatch.setattr("builtins.input", lambda _question: (_ for _ in ()).throw(EOFError))
    with pytest.raises(WorkbenchError, match="nobody is there to lay it"):
        cli_trials.run_on_station(series, Desk(), 1.0)
