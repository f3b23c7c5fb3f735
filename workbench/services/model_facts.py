"""What is known of one model beside its row in the shelf: how it was made, what it saw, how it measures and drove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.registry import ModelRecord, overrides, read_record
from storage.layout import Home
from storage.records import EpisodeRecord
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.services.evaluation import Rate
from workbench.services.library import Library
from workbench.services.model_figures import Figure, figures
from workbench.services.track_record import TrackRecord, record_of

RECEIPT = "receipt.json"  # beside a fine-tuning, see ``docs/training.md``
MOST_ROLLOUTS = 500
GONE = "gone"


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One task of a forgetting receipt; None where it was not driven."""

    task: str
    new: bool
    before: Rate | None
    after: Rate | None
    verdict: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Everything that the pane beside a model says.

    Attributes:
        groups: how many takes it saw by (task, kind); ``gone`` is the kind of takes nobody knows any more.
        receipt: what fine-tuning did to every task; empty without a receipt.
        rollouts: the newest takes it drove. forced: why it was used although it forgot.
    """

    record: ModelRecord
    figures: tuple[Figure, ...]
    groups: Mapping[tuple[str, str], int]
    done: TrackRecord
    rollouts: tuple[EpisodeRecord, ...] = ()
    receipt: tuple[ReceiptLine, ...] = ()
    forced: tuple[str, ...] = ()


def model_facts(library: Library, home: Path, model_id: str) -> ModelFacts:
    """Ask the registry, the catalogue and the run's folder. NotFoundError with the nearest id."""
    root = Home.open(home)
    record = read_record(root, model_id)
    takes = {take.id: take for take in library.episodes(trashed=None)}
    done = record_of(library, home, model_id)
    groups = Counter((takes[t].task, str(takes[t].kind)) if t in takes else ("", GONE) for t, _ in record.data)
    driven = (takes[take] for take in done.rollouts[:MOST_ROLLOUTS] if take in takes)
    return ModelFacts(
        record,
        figures(record),
        dict(sorted(groups.items())),
        done,
        tuple(driven),
        receipt_lines(root.runs / record.run_id) if record.run_id else (),
        overrides(root, model_id),
    )


def receipt_lines(run: Path) -> tuple[ReceiptLine, ...]:
    """The receipt in a run's folder; a line that cannot be read is left out."""
    path = run / RECEIPT
    try:
        told = read_json(path) if path.is_file() else {}
    except (WorkbenchError, RecursionError):
        return ()
    tasks = told.get("tasks") if isinstance(told, Mapping) else None
    found = []
    for task, line in tasks.items() if isinstance(tasks, Mapping) else ():
        try:
            rates = _rate(line.get("before")), _rate(line.get("after"))
            found.append(ReceiptLine(str(task), bool(line.get("new")), *rates, str(line.get("verdict", ""))))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return tuple(found)


def _rate(value: Any) -> Rate | None:
    return Rate.from_json(value) if isinstance(value, Mapping) else None
