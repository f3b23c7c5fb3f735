"""The models on disk: one folder each, a record beside the weights, and which of them is promoted. Free of torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import read_json, write_json

RECORD = "model.json"
_PROMOTED = "promoted.json"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is known about one trained model.

    Attributes:
        parent: the model it started from, or "".
        bases: the other models it was built on, by role.
        recipe: plain values of its recipe.
        tasks: names of the tasks it was trained on.
        metrics: held-out figures.
        data: (episode id, content hash) of every take it saw.
        promoted: True for the model in use for its stage; kept outside the record, filled in on reading.
    """

    id: str
    stage: str
    recipe: Mapping[str, Any]
    recipe_hash: str
    parent: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[tuple[str, str], ...] = ()
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    run_id: str = ""
    preset: str = ""
    promoted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, without ``promoted``."""
        value = asdict(self)
        del value["promoted"]
        value["tasks"] = list(self.tasks)
        value["data"] = [list(pair) for pair in self.data]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelRecord:
        """Invert ``to_json``; WorkbenchError names what is missing."""
        try:
            fields = dict(value)
            fields["tasks"] = tuple(fields.get("tasks", ()))
            fields["data"] = tuple((str(a), str(b)) for a, b in fields.get("data", ()))
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise WorkbenchError(f"a model record is not readable ({error})", "Train the model anew") from None


def model_folder(home: Home, model_id: str) -> Path:
    """Where a model's files are; not checked to exist."""
    return home.models / model_id


def write_record(home: Home, record: ModelRecord) -> None:
    """Commit a model: its folder counts as a model once this file is there."""
    write_json(model_folder(home, record.id) / RECORD, record.to_json())


def read_record(home: Home, model_id: str) -> ModelRecord:
    """The record of a model; NotFoundError with the nearest id."""
    path = model_folder(home, model_id) / RECORD
    if not path.is_file():
        raise NotFoundError.of("model", model_id, _ids(home))
    record = ModelRecord.from_json(read_json(path))
    return replace(record, promoted=promoted(home, record.stage) == model_id)


def list_models(home: Home, stage: str = "") -> tuple[ModelRecord, ...]:
    """All readable models, oldest first, of one stage or of all."""
    records = []
    for model_id in _ids(home):
        try:
            record = read_record(home, model_id)
        except WorkbenchError:
            continue  # a broken record hides one model, not all; the doctor reports it
        if not stage or record.stage == stage:
            records.append(record)
    return tuple(sorted(records, key=lambda record: (record.created_at, record.id)))


def newest(home: Home, stage: str) -> ModelRecord:
    """The promoted model of a stage, else the newest one; NotFoundError if there is none."""
    records = list_models(home, stage)
    if not records:
        raise NotFoundError(f"there is no trained {stage} model yet", f"Train the stage '{stage}' first")
    chosen = [record for record in records if record.promoted]
    return chosen[0] if chosen else records[-1]


def promote(home: Home, model_id: str) -> ModelRecord:
    """Put a model into use for its stage; the one before can be brought back with ``rollback``."""
    record = read_record(home, model_id)
    history = _history(home)
    line = history.setdefault(record.stage, [])
    if not line or line[-1] != model_id:
        line.append(model_id)
        write_json(home.models / _PROMOTED, history)
    return replace(record, promoted=True)


def rollback(home: Home, stage: str = "rf") -> ModelRecord:
    """Bring back the model that was promoted before. WorkbenchError if there is none before."""
    history = _history(home)
    line = [model_id for model_id in history.get(stage, []) if (home.models / model_id / RECORD).is_file()]
    if len(line) < 2:
        raise WorkbenchError(f"no {stage} model was promoted before the present one", "Promote one by its id")
    history[stage] = line[:-1]
    write_json(home.models / _PROMOTED, history)
    return read_record(home, line[-2])


def promoted(home: Home, stage: str) -> str:
    """Id of the promoted model of a stage, or ""."""
    for model_id in reversed(_history(home).get(stage, [])):
        if (home.models / model_id / RECORD).is_file():
            return model_id
    return ""


def delete_model(home: Home, model_id: str) -> None:
    """Move a model's folder to the trash. A promoted model is refused."""
    record = read_record(home, model_id)
    if record.promoted:
        raise WorkbenchError(f"the model {model_id} is in use", "Promote another one first")
    home.trash.mkdir(parents=True, exist_ok=True)
    shutil.move(str(model_folder(home, model_id)), str(home.trash / f"model-{model_id}"))


def _ids(home: Home) -> list[str]:
    if not home.models.is_dir():
        return []
    return sorted(path.parent.name for path in home.models.glob(f"*/{RECORD}"))


def _history(home: Home) -> dict[str, list[str]]:
    path = home.models / _PROMOTED
    if not path.is_file():
        return {}
    return {stage: [str(m) for m in line] for stage, line in read_json(path).items()}
