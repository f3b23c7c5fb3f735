"""Trial series: fair order, blind names, stop rules that may be looked at any time, going on after a crash."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.trials import (
    COMPLETE,
    DECIDED,
    EVIDENCE,
    Entrant,
    Result,
    Rules,
    Series,
    Trial,
    evidence,
    labels,
    order,
    run,
)

A, B = Entrant("model-a"), Entrant("model-b")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path)


def play(series: Series, won) -> None:
    run(series, lambda trial: Result(trial.number, won(trial), "e" * 32, 2.0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_every_scene_is_tried_once_by_both_and_the_order_follows_from_the_seed(tmp_path_factory, seed, n, tasks, blind):
    home = Home.open(tmp_path_factory.mktemp("h"))
    names = [f"task{k}" for k in range(tasks)]
    plan = Series.create(home, (A, B), names, n, blind=blind, seed=seed).plan
    trials = list(order(plan))
    assert [t.number for t in trials] == list(range(2 * n * tasks)) and trials == list(order(plan))
    for entrant in (A, B):
        scenes = [(t.task, t.seed) for t in trials if t.entrant == entrant]
        assert len(set(scenes)) == len(scenes) == n * tasks
    for one, other in zip(trials[::2], trials[1::2], strict=True):
        assert (one.task, one.seed) == (other.task, other.seed) and one.entrant != other.entrant


def test_who_begins_and_what_they_are_called_is_drawn_by_lot(home: Home) -> None:
    plans = [Series.create(home, (A, B), ["t"], 6, blind=True, seed=seed).plan for seed in range(60)]
    first = sum(next(iter(order(plan))).entrant == A for plan in plans)
    called = sum(labels(plan)[A] == "policy 1" for plan in plans)
    assert 15 < first < 45 and 15 < called < 45
    begins = [t.entrant == A for plan in plans for t in list(order(plan))[::2]]
    assert 0.4 < sum(begins) / len(begins) < 0.6


def test_a_blind_series_names_models_only_when_it_is_over(home: Home) -> None:
    series = Series.create(home, (A, B), ["t"], 2, blind=True, seed=1)
    trial = series.next()
    assert trial is not None
    series.add(Result(trial.number, True))
    said = json.dumps(series.to_json())
    assert "model-a" not in said and "model-b" not in said and "policy 1" in said
    play(series, lambda t: t.entrant == A)
    assert {line.model_id for line in series.table()} == {"model-a", "model-b"}
    won = {line.model_id: line.rate.success for line in series.table()}
    assert won["model-a"] >= 0.5 and won["model-b"] <= 0.5


def test_it_goes_on_after_a_crash_in_the_middle_of_a_line(home: Home) -> None:
    series = Series.create(home, (A, B), ["t", "u"], 3, seed=5)
    for _ in range(5):
        trial = series.next()
        assert trial is not None
        series.add(Result(trial.number, trial.number % 2 == 0))
    due = series.next()
    path = home.path / "series" / series.plan.id / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = Series.open(home, series.plan.id[:30])
    assert len(again.results) == 4 and again.plan == series.plan
    redone = again.next()
    assert redone is not None and redone.number == 4
    again.add(Result(4, True))
    assert Series.open(home, series.plan.id).next() == due
    play(again, lambda t: True)
    assert again.stopped_by() == COMPLETE
    with pytest.raises(NotFoundError):
        Series.open(home, "nothing")


def test_failures_in_a_row_end_it_and_a_success_between_them_counts(home: Home) -> None:
    series = Series.create(home, (A,), ["t"], 20, rules=Rules(failures=3), seed=2)
    play(series, lambda t: len(series.results) == 2)
    assert len(series.results) == 6 and "3 times in a row" in series.stopped_by()


def test_a_narrow_interval_ends_a_series_of_one(home: Home) -> None:
    series = Series.create(home, (A,), ["t"], 100, rules=Rules(width=0.3), seed=2)
    play(series, lambda t: True)
    low, high = series.table()[0].rate.interval
    assert series.stopped_by() == DECIDED and high - low <= 0.3 and len(series.results) < 15


def test_a_better_policy_is_found_early(home: Home) -> None:
    series = Series.create(home, (A, B), ["t"], 50, blind=True, rules=Rules(decide=True), seed=3)
    play(series, lambda t: t.entrant == A)
    found = series.comparison()
    assert found is not None and series.stopped_by() == DECIDED
    assert len(series.results) < 25 and found.verdict == f"{labels(series.plan)[A]} is better"


def test_looking_after_every_pair_does_not_find_differences_that_are_not_there() -> None:
    wrong = 0
    for seed in range(400):
        lot, a, b = random.Random(seed), 0, 0
        for _ in range(60):
            a, b = (a + 1, b) if lot.random() < 0.5 else (a, b + 1)
            if evidence(a, b) >= EVIDENCE:
                wrong += 1
                break
    assert wrong <= 0.05 * 400 + 8


def test_a_trial_that_says_nothing_is_tried_again_and_does_not_count(home: Home) -> None:
    series = Series.create(home, (A,), ["t"], 2, seed=1)
    faults = [1, 1]

    def attempt(trial: Trial) -> Result:
        return Result(trial.number, None, message="camera") if faults and faults.pop() else Result(trial.number, True)

    run(series, attempt)
    assert series.table()[0].rate.n == 2 and len(series.results) == 4
    other = Series.create(home, (A,), ["t"], 2, seed=1)
    with pytest.raises(WorkbenchError, match="camera"):
        run(other, lambda trial: Result(trial.number, None, message="camera"))


def test_nonsense_is_refused(home: Home) -> None:
    for entrants, tasks, n in (((), ["t"], 1), ((A, A), ["t"], 1), ((A,), [], 1), ((A,), ["t"], 0)):
        with pytest.raises(WorkbenchError):
            Series.create(home, entrants, tasks, n)
