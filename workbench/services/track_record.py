"""What a model has done since it was made: the takes it drove, how its trials ended, the series it took part in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.evaluation import Rate, pooled
from workbench.services.library import Library
from workbench.services.trials import FOLDER, PLAN, Series, labels


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """One trial series from the side of one model.

    Attributes:
        rates: success by task.
        others: ids of the models it was compared with.
        over: why the series ended, "" while it goes on.
        verdict: what the paired scenes say, with models named; "" for a series of one.
    """

    id: str
    rates: dict[str, Rate]
    others: tuple[str, ...] = ()
    blind: bool = False
    over: str = ""
    verdict: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "series": self.id,
            "tasks": {task: rate.to_json() for task, rate in self.rates.items()},
            "others": list(self.others),
            "blind": self.blind,
            "over": self.over,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """One model's.

    Attributes:
        rollouts: ids of the takes it drove, newest first.
        trials: success by task, over everything that was ever tried; ``all`` pools them.
        series: the trial series it took part in, newest first; blind ones only once they are over.
    """

    rollouts: tuple[str, ...]
    trials: dict[str, Rate]
    series: tuple[SeriesLine, ...] = ()

    @property
    def all(self) -> Rate:
        return pooled(list(self.trials.values()))

    def to_json(self) -> dict[str, Any]:
        by_task = {task: rate.to_json() for task, rate in self.trials.items()}
        return {
            "rollouts": list(self.rollouts),
            "trials": by_task,
            "all_trials": self.all.to_json(),
            "series": [line.to_json() for line in self.series],
        }


def track_record(home: Path, model_id: str) -> TrackRecord:
    """Read from the catalogue; models without rollouts have an empty one."""
    with Library(home) as library:
        return record_of(library, home, model_id)


def record_of(library: Library, home: Path, model_id: str) -> TrackRecord:
    """``track_record`` through a library that is open already."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for trial in library.trials(model_id):
        counts[trial.task].append(trial.success)
    trials = {task: Rate.of(sum(ends), len(ends)) for task, ends in sorted(counts.items())}
    return TrackRecord(library.rollouts_of(model_id), trials, series_of(Home.open(home), model_id))


def series_of(home: Home, model_id: str) -> tuple[SeriesLine, ...]:
    """The series a model took part in, newest first. A blind one that goes on is left out: it would not stay blind."""
    mine = (_line(series, model_id) for series in _all_series(home) if _may_tell(series, model_id))
    return tuple(sorted(mine, key=lambda line: line.id, reverse=True))


def _all_series(home: Home) -> Iterator[Series]:
    for plan in sorted((home.path / FOLDER).glob(f"*/{PLAN}")):
        try:
            yield Series.open(home, plan.parent.name)
        except WorkbenchError:
            continue  # one broken plan hides one series


def _may_tell(series: Series, model_id: str) -> bool:
    inside = any(entrant.model_id == model_id for entrant in series.plan.entrants)
    return inside and (not series.plan.blind or bool(series.stopped_by()))


def _line(series: Series, model_id: str) -> SeriesLine:
    plan = series.plan
    rates: dict[str, list[Rate]] = defaultdict(list)
    for line in series.table(reveal=True):
        if line.model_id == model_id:
            rates[line.task].append(line.rate)
    found, verdict = series.comparison(), ""
    if found is not None:
        verdict = found.verdict
        for entrant, label in labels(plan).items():
            verdict = verdict.replace(label, f"{entrant.model_id} ({entrant.head})")
    return SeriesLine(
        plan.id,
        {task: pooled(both) for task, both in rates.items()},
        tuple(dict.fromkeys(e.model_id for e in plan.entrants if e.model_id != model_id)),
        plan.blind,
        series.stopped_by(),
        verdict,
    )
