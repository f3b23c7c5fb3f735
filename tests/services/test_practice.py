"""Practice takes vanish without a trace, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo
from workbench.services.library import Library
from workbench.services.practice import EXTRA, forget, sweep
from workbench.services.task_counts import TaskCount, count_tasks


def take(home: Path, *, practice: bool, task: str = "a", outcome: Outcome = Outcome.SUCCESS, end: str = "seal") -> str:
    spec = StreamSpec("observation.images.front", (12, 16, 3), "uint8", "", 10.0)
    info = TakeInfo(EpisodeKind.TELEOP, task, "do it", extra=dict(EXTRA) if practice else {})
    writer = EpisodeWriter.create(Home.open(home), info, [spec], settings=StoreSettings(sync=False))
    for k in range(5):
        writer.append(spec.name, Frame(k, k * 10**8, k * 10**8, 0, np.zeros(spec.shape, np.uint8)))
    if end == "discard":
        writer.discard()
    else:
        writer.seal(outcome)
    return writer.episode_id


def left(home: Path) -> set[str]:
    return {path.name.partition(".")[0] for folder in ("episodes", "trash") for path in (home / folder).glob("*.zarr*")}


def test_practice_vanishes_from_shelf_and_trash_and_real_takes_stay(tmp_path: Path) -> None:
    real, trashed = take(tmp_path, practice=False), take(tmp_path, practice=False, end="discard")
    practised = [take(tmp_path, practice=True), take(tmp_path, practice=True, end="discard")]
    with Library(tmp_path) as library:
        assert set(forget(library, [*practised, real, trashed, "no such take"])) == set(practised)
        assert left(tmp_path) == {real, trashed}
        assert {r.id for r in library.episodes(trashed=None)} == {real, trashed}


def test_what_an_interrupted_practice_left_is_found_by_itself(tmp_path: Path) -> None:
    real, left_over = take(tmp_path, practice=False), take(tmp_path, practice=True)
    with Library(tmp_path) as library:
        assert sweep(library) == (left_over,)
        assert sweep(library) == () and left(tmp_path) == {real}


def test_counts_are_by_task_kind_and_label(tmp_path: Path) -> None:
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNLABELLED):
        take(tmp_path, practice=False, outcome=outcome)
    take(tmp_path, practice=False, task="b")
    with Library(tmp_path) as library:
        counts = count_tasks(library, ["a", "b", "c"], EpisodeKind.TELEOP)
        assert counts == {"a": TaskCount(4, 2, 1), "b": TaskCount(1, 1, 0), "c": TaskCount()}
        assert count_tasks(library, ["a"], EpisodeKind.HUMAN) == {"a": TaskCount()}
