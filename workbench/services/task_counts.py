"""How many takes of each task there are: what an operator wants to know before the next one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library, TakeFilter


@dataclass(frozen=True, slots=True)
class TaskCount:
    """Takes in use of one task and kind."""

    takes: int = 0
    successes: int = 0
    failures: int = 0


def count_tasks(library: Library, tasks: Iterable[str], kind: EpisodeKind) -> dict[str, TaskCount]:
    """Counts by task. Asks the catalogue three times per task; reads no take."""

    def total(task: str, outcome: Outcome | None = None) -> int:
        return library.page(TakeFilter(kind=kind, task=task, outcome=outcome), 0, 0).total

    counts = {}
    for task in tasks:
        takes = total(task)
        both = (total(task, Outcome.SUCCESS), total(task, Outcome.FAILURE)) if takes else (0, 0)
        counts[task] = TaskCount(takes, *both)
    return counts
