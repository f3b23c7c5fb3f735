"""What a model has driven and how it went, from real takes and trials in the catalogue."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from storage.episode import EpisodeWriter
from storage.layout import Home
from tests.storage.takes import SPECS, frame, info
from workbench.core.types import EpisodeKind
from workbench.services.evaluation import Rate
from workbench.services.track_record import track_record


def drive(home: Home, model: str) -> str:
    writer = EpisodeWriter.create(home, info(kind=EpisodeKind.ROLLOUT, extra={"model": model}), SPECS)
    for spec in SPECS:
        writer.append(spec.name, frame(spec, 0))
    return writer.seal().id


def test_trials_are_pooled_by_task_and_rollouts_are_its_own(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    first, second, other = drive(home, "m1"), drive(home, "m1"), drive(home, "m2")
    with Catalog(home) as catalog:
        catalog.rebuild()
        for episode_id, task, success in ((first, "a", True), (second, "a", False), (second, "b", True)):
            catalog.add_trial("m1", task, success, episode_id=episode_id)
        catalog.add_trial("m2", "a", False, episode_id=other)
    found = track_record(home.path, "m1")
    assert found.rollouts == (second, first)
    assert found.trials == {"a": Rate.of(1, 2), "b": Rate.of(1, 1)} and found.all == Rate.of(2, 3)
    assert found.to_json()["all_trials"]["n"] == 3
    assert track_record(home.path, "m3").to_json() == {
        "rollouts": [],
        "trials": {},
        "all_trials": {"success": 0.0, "n": 0, "interval": [0.0, 1.0]},
        "series": [],
    }
