"""What a model has done since it was made: the takes it drove and how its trials ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.services.evaluation import Rate, pooled
from workbench.services.library import Library


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """One model's.

    Attributes:
        rollouts: ids of the takes it drove, newest first.
        trials: success by task, over everything that was ever tried; ``all`` pools them.
    """

    rollouts: tuple[str, ...]
    trials: dict[str, Rate]

    @property
    def all(self) -> Rate:
        return pooled(list(self.trials.values()))

    def to_json(self) -> dict[str, Any]:
        by_task = {task: rate.to_json() for task, rate in self.trials.items()}
        return {"rollouts": list(self.rollouts), "trials": by_task, "all_trials": self.all.to_json()}


def track_record(home: Path, model_id: str) -> TrackRecord:
    """Read from the catalogue; models without rollouts have an empty one."""
    with Library(home) as library:
        counts: dict[str, list[bool]] = defaultdict(list)
        for trial in library.trials(model_id):
            counts[trial.task].append(trial.success)
        rollouts = library.rollouts_of(model_id)
    return TrackRecord(rollouts, {task: Rate.of(sum(ends), len(ends)) for task, ends in sorted(counts.items())})
