"""The shelf of trained models: find, use, roll back, throw away, bring back. The window's door to the registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models import registry
from models.registry import ModelRecord
from storage.layout import Home
from workbench.core.errors import NotFoundError
from workbench.services.evaluation import Rate
from workbench.services.library import Library

DRIVERS = ("ntp", "rf")


@dataclass(frozen=True, slots=True)
class ShelvedModel:
    """One model among the others.

    Attributes:
        parent: the model it came from ("" for the first of a line): what it started from, else its newest base.
        bases: every model it was built on, by role.
        takes, tasks: how many it was trained on.
        rollouts: how many takes it drove. trials: how its trials ended, all together.
        refused: the check for forgetting spoke against it.
    """

    id: str
    stage: str
    parent: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)
    promoted: bool = False
    refused: bool = False
    created_at: str = ""
    preset: str = ""
    takes: int = 0
    tasks: int = 0
    rollouts: int = 0
    trials: Rate = Rate.of(0, 0)  # noqa: RUF009  (frozen)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every model, oldest first; why some cannot be read, by id; ids of those in the trash."""

    models: tuple[ShelvedModel, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    trashed: tuple[str, ...] = ()


def look(library: Library, home: Path) -> Shelf:
    """The whole shelf. Reads every record: some milliseconds per model with many takes."""
    root = Home.open(home)
    records = registry.list_models(root)
    places = {record.id: place for place, record in enumerate(records)}
    found = []
    for record in records:
        drives = record.stage in DRIVERS
        ends = [trial.success for trial in library.trials(record.id)] if drives else []
        found.append(
            ShelvedModel(
                record.id,
                record.stage,
                parent_of(record, places),
                dict(record.bases),
                record.promoted,
                record.refused,
                record.created_at,
                record.preset,
                len(record.data),
                len(record.tasks),
                len(library.rollouts_of(record.id)) if drives else 0,
                Rate.of(sum(ends), len(ends)),
            )
        )
    return Shelf(tuple(found), registry.broken_models(root), registry.trashed_models(root))


def parent_of(record: ModelRecord, places: Mapping[str, int]) -> str:
    """What a model started from, else the newest model that it was built on and that is still there."""
    if record.parent in places:
        return record.parent
    known = [base for base in record.bases.values() if base in places and base != record.id]
    return max(known, key=lambda base: places[base], default="")


def find(home: Path, text: str, stage: str = "") -> ModelRecord:
    """The model whose id is, or alone begins with, ``text``; NotFoundError with the nearest id."""
    records = registry.list_models(Home.open(home), stage)
    matches = [record for record in records if record.id.startswith(text)] if text else []
    if len(matches) != 1:
        raise NotFoundError.of(f"{stage} model".strip(), text, (record.id for record in records))
    return matches[0]


def find_trashed(home: Path, text: str) -> str:
    """The id of the model in the trash that is, or alone begins with, ``text``."""
    known = registry.trashed_models(Home.open(home))
    matches = [model_id for model_id in known if model_id.startswith(text)] if text else []
    if len(matches) != 1:
        raise NotFoundError.of("model in the trash", text, known)
    return matches[0]


def promote(home: Path, model_id: str, force: str = "") -> ModelRecord:
    """Put a model into use for its stage; NotFoundError with the nearest id.

    WorkbenchError if it did not pass the check for forgetting, unless ``force`` says why all the same.
    """
    return registry.promote(Home.open(home), model_id, force=force)


def rollback(home: Path, stage: str = "rf") -> ModelRecord:
    """Bring back the model that was in use before; WorkbenchError if there is none."""
    return registry.rollback(Home.open(home), stage)


def delete(home: Path, model_id: str, *, force: bool = False) -> None:
    """Move a model to the trash. WorkbenchError if it is in use or others were built on it, unless ``force``."""
    registry.delete_model(Home.open(home), model_id, force=force)


def restore(home: Path, model_id: str) -> ModelRecord:
    """Bring a model back from the trash."""
    return registry.restore_model(Home.open(home), model_id)


def against_deleting(home: Path, model_id: str) -> str:
    """What speaks against throwing a model away, as a clause; "" if nothing does."""
    root = Home.open(home)
    record, needed = registry.read_record(root, model_id), registry.dependants(root, model_id)
    stages = Counter(registry.read_record(root, other).stage for other in needed)
    reasons = ["it is in use"] if record.promoted else []
    if needed:
        reasons.append(f"{sum(stages.values())} other models were built on it")
    return " and ".join(reasons)
