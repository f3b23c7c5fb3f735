"""The models on disk: one folder each, a record beside the weights, and which of them is promoted. Free of torch."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.model_record import RECORD, ModelRecord, is_model_id, record_in
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import read_json, sync_directory, write_json

__all__ = ["PENDING", "RECORD", "ModelRecord", "is_model_id"]

PENDING = {"passed": False, "pending": True, "reasons": ["its check for forgetting has not ended yet"]}

_PROMOTED = "promoted.json"
_OVERRIDES = "overrides.jsonl"
_TRASHED = "model-"


def model_folder(home: Home, model_id: str) -> Path:
    """Where a model's files are; not checked to exist. WorkbenchError for what cannot be an id."""
    if not is_model_id(model_id):
        raise WorkbenchError(f"{model_id[:80]!r} is not a model's id", "List the models: main.py models list")
    return home.models / model_id


def write_record(home: Home, record: ModelRecord) -> None:
    """Commit a model: its folder counts as a model once this file is there."""
    write_json(model_folder(home, record.id) / RECORD, record.to_json())


def read_record(home: Home, model_id: str) -> ModelRecord:
    """The record of a model; NotFoundError with the nearest id, WorkbenchError if it cannot be believed."""
    if not is_model_id(model_id) or not (home.models / model_id / RECORD).is_file():
        raise NotFoundError.of("model", model_id, _ids(home))
    record = record_in(home.models / model_id)
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


def newest(home: Home, stage: str, fits: Callable[[ModelRecord], bool] = lambda _: True) -> ModelRecord:
    """The promoted model of a stage, else the newest one that was not refused; NotFoundError if there is none.

    Only of those that ``fits`` says yes to, if there are any.
    """
    records = list_models(home, stage)
    if not records:
        raise NotFoundError(f"there is no trained {stage} model yet", f"Train the stage '{stage}' first")
    records = tuple(filter(fits, records)) or records
    records = tuple(record for record in records if record.promoted or not record.refused) or records
    chosen = [record for record in records if record.promoted]
    return chosen[0] if chosen else records[-1]


def broken_models(home: Home) -> dict[str, str]:
    """Why models that lie in the folder are not listed, by id."""
    found = {}
    for model_id in _ids(home):
        try:
            read_record(home, model_id)
        except WorkbenchError as error:
            found[model_id] = str(error)
    return found


def set_gate(home: Home, model_id: str, gate: Mapping[str, Any]) -> ModelRecord:
    """Write down what the check for forgetting said of a model: ``passed`` and ``reasons``."""
    record = replace(read_record(home, model_id), gate=dict(gate))
    write_record(home, record)
    return record


def promote(home: Home, model_id: str, *, force: str = "") -> ModelRecord:
    """Put a model into use for its stage; the one before can be brought back with ``rollback``.

    WorkbenchError if the check for forgetting speaks against it, unless ``force`` says why all the same; that reason
    is kept, see ``overrides``.
    """
    record = read_record(home, model_id)
    if record.refused:
        if not force.strip():
            why = "; ".join(str(reason) for reason in record.gate.get("reasons", ())) or "it forgot an earlier task"
            raise WorkbenchError(
                f"the model {model_id[:12]} did not pass the check for forgetting: {why}",
                "Fine-tune again with more rehearsal, or promote it with --force and a reason",
            )
        _note_override(home, model_id, force.strip())
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


def dependants(home: Home, model_id: str) -> tuple[str, ...]:
    """Ids of the models that were built on this one, oldest first."""
    return tuple(r.id for r in list_models(home) if model_id in (r.parent, *r.bases.values()) and r.id != model_id)


def delete_model(home: Home, model_id: str, *, force: bool = False) -> None:
    """Move a model's folder to the trash; ``restore_model`` brings it back.

    WorkbenchError if it is in use or others were built on it, unless ``force``. If a model in use goes, the one that
    was in use before is in use again.
    """
    record = read_record(home, model_id)
    if record.promoted and not force:
        raise WorkbenchError(f"the model {model_id} is in use", "Promote another one first")
    needed_by = dependants(home, model_id)
    if needed_by and not force:
        shown = ", ".join(name[:12] for name in needed_by[:3]) + (" and more" if len(needed_by) > 3 else "")
        raise WorkbenchError(f"other models were built on {model_id}: {shown}", "Delete those first, or say --force")
    home.trash.mkdir(parents=True, exist_ok=True)
    _move(model_folder(home, model_id), home.trash / f"{_TRASHED}{model_id}")


def restore_model(home: Home, model_id: str) -> ModelRecord:
    """Bring a model back from the trash. NotFoundError with the nearest id of those that are there."""
    if model_id not in trashed_models(home):
        raise NotFoundError.of("model in the trash", model_id, trashed_models(home))
    _move(home.trash / f"{_TRASHED}{model_id}", model_folder(home, model_id))
    return read_record(home, model_id)


def trashed_models(home: Home) -> tuple[str, ...]:
    """Ids of the models in the trash, in order."""
    names = sorted(path.parent.name.removeprefix(_TRASHED) for path in home.trash.glob(f"{_TRASHED}*/{RECORD}"))
    return tuple(name for name in names if is_model_id(name))


def overrides(home: Home, model_id: str) -> tuple[str, ...]:
    """Why this model was promoted although the check for forgetting spoke against it, oldest first."""
    path = home.models / _OVERRIDES
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            value = json.loads(line)
            if value["model"] == model_id:
                found.append(str(value["reason"]))
        except (ValueError, KeyError, TypeError):
            continue  # a line that a crash cut off
    return tuple(found)


def _note_override(home: Home, model_id: str, reason: str) -> None:
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "model": model_id, "reason": reason}
    with open(home.models / _OVERRIDES, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _move(source: Path, dest: Path) -> None:
    if dest.exists():
        raise WorkbenchError(f"there is something at {dest} already", "Look at both and remove the one you do not want")
    shutil.move(str(source), str(dest))
    sync_directory(dest.parent)


def _ids(home: Home) -> list[str]:
    if not home.models.is_dir():
        return []
    names = (path.parent.name for path in home.models.glob(f"*/{RECORD}"))
    return sorted(name for name in names if is_model_id(name))


def _history(home: Home) -> dict[str, list[str]]:
    path = home.models / _PROMOTED
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, Mapping):
        raise WorkbenchError(f"the file {path} does not say which models are in use", "Remove it and promote anew")
    return {str(s): [m for m in line if is_model_id(str(m))] for s, line in value.items() if isinstance(line, list)}
