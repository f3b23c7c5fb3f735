"""Two models side by side: what they were told, what they saw, how they measure, how they drove.

A word about which is better is said only where intervals do not touch, and of held-out figures only where both were
measured on the same takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.registry import ModelRecord, read_record
from storage.layout import Home
from workbench.services.evaluation import Rate
from workbench.services.library import Library
from workbench.services.model_figures import Figure, figures
from workbench.services.track_record import SeriesLine, TrackRecord, record_of

A_BETTER, B_BETTER, ALIKE = "A is better", "B is better", "no clear difference"
OTHER_TAKES, NOT_BOTH, NO_INTERVAL = "measured on other takes", "not tried by both", ""


@dataclass(frozen=True, slots=True)
class DataDiff:
    """Takes by id.

    Attributes:
        changed: seen by both, with other contents.
        groups: (task, kind): how many takes only A saw, only B saw, and both did.
    """

    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    both: tuple[str, ...]
    changed: tuple[str, ...]
    groups: dict[tuple[str, str], tuple[int, int, int]]

    @property
    def same(self) -> bool:
        return not (self.only_a or self.only_b or self.changed)

    def to_json(self) -> dict[str, Any]:
        rows = [
            {"task": task, "kind": kind, "only_a": a, "only_b": b, "both": both}
            for (task, kind), (a, b, both) in self.groups.items()
        ]
        names = ("only_a", "only_b", "both", "changed")
        return {**{name: list(getattr(self, name)) for name in names}, "groups": rows}


@dataclass(frozen=True, slots=True)
class MetricLine:
    """One held-out figure of both; None where a model has none."""

    name: str
    a: Figure | None
    b: Figure | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        sides = {side: got.to_json() if got else None for side, got in (("a", self.a), ("b", self.b))}
        return {"name": self.name, **sides, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class TrialLine:
    """Success at one task."""

    task: str
    a: Rate
    b: Rate
    verdict: str

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "a": self.a.to_json(), "b": self.b.to_json(), "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """All differences. ``recipe``: fields that differ, (A's value, B's value); ``series``: those both took part in."""

    a: ModelRecord
    b: ModelRecord
    recipe: dict[str, tuple[Any, Any]]
    data: DataDiff
    metrics: tuple[MetricLine, ...]
    trials: tuple[TrialLine, ...]
    series: tuple[SeriesLine, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "a": _identity(self.a),
            "b": _identity(self.b),
            "recipe": {name: list(pair) for name, pair in self.recipe.items()},
            "data": self.data.to_json(),
            "metrics": [line.to_json() for line in self.metrics],
            "trials": [line.to_json() for line in self.trials],
            "series": [line.to_json() for line in self.series],
        }


def compare(home: Path, first: str, second: str) -> ModelComparison:
    """Compare two models by id. NotFoundError with the nearest id. Takes some tenths of a second with many takes."""
    with Library(home) as library:
        return compare_with(library, home, first, second)


def compare_with(library: Library, home: Path, first: str, second: str) -> ModelComparison:
    """``compare`` through a library that is open already."""
    a, b = (read_record(Home.open(home), model_id) for model_id in (first, second))
    done_a, done_b = (record_of(library, home, record.id) for record in (a, b))
    known = {take.id: (take.task, str(take.kind)) for take in library.episodes(trashed=None)}
    data = data_diff(dict(a.data), dict(b.data), known)
    return ModelComparison(
        a,
        b,
        recipe_diff(a.recipe, b.recipe),
        data,
        metric_lines(figures(a), figures(b), same_takes=data.same),
        trial_lines(done_a, done_b),
        tuple(line for line in done_a.series if b.id in line.others),
    )


def recipe_diff(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields that differ; None for one that a recipe does not have."""
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def data_diff(a: Mapping[str, str], b: Mapping[str, str], known: Mapping[str, tuple[str, str]]) -> DataDiff:
    """Of takes as content hash by id; ``known``: (task, kind) by id. Takes nobody knows any more count as gone."""
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    both = sorted(a.keys() & b.keys())
    counts = [Counter(known.get(take, ("", "gone")) for take in takes) for takes in (only_a, only_b, both)]
    groups = {group: tuple(count[group] for count in counts) for group in sorted(set().union(*counts))}
    changed = tuple(take for take in both if a[take] != b[take])
    return DataDiff(tuple(only_a), tuple(only_b), tuple(both), changed, groups)  # type: ignore[arg-type]


def metric_lines(a: tuple[Figure, ...], b: tuple[Figure, ...], *, same_takes: bool) -> tuple[MetricLine, ...]:
    """Figures of both by name, A's order first."""
    mine, other = ({figure.name: figure for figure in some} for some in (a, b))
    return tuple(
        MetricLine(name, mine.get(name), other.get(name), _metric_verdict(mine.get(name), other.get(name), same_takes))
        for name in {**mine, **other}
    )


def trial_lines(a: TrackRecord, b: TrackRecord) -> tuple[TrialLine, ...]:
    """Success of both by task."""
    none = Rate.of(0, 0)
    lines = []
    for task in sorted({*a.trials, *b.trials}):
        rate_a, rate_b = a.trials.get(task, none), b.trials.get(task, none)
        said = verdict(rate_a.interval, rate_b.interval) if rate_a.n and rate_b.n else NOT_BOTH
        lines.append(TrialLine(task, rate_a, rate_b, said))
    return tuple(lines)


def verdict(a: tuple[float, float], b: tuple[float, float]) -> str:
    """Which of two rates is higher, if their intervals do not touch."""
    if a[0] > b[1]:
        return A_BETTER
    return B_BETTER if b[0] > a[1] else ALIKE


def _metric_verdict(a: Figure | None, b: Figure | None, same_takes: bool) -> str:
    if a is None or b is None or a.interval is None or b.interval is None:
        return NO_INTERVAL
    return verdict(a.interval, b.interval) if same_takes else OTHER_TAKES


def _identity(record: ModelRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "stage": record.stage,
        "parent": record.parent,
        "preset": record.preset,
        "created_at": record.created_at,
        "promoted": record.promoted,
        "tasks": list(record.tasks),
    }
