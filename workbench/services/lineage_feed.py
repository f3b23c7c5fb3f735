"""Tells the catalogue about models and runs: it may not know the training rooms, so plain entries are handed in."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable
from pathlib import Path

from models.registry import RECORD, ModelRecord, read_record
from models.stages import RunSpec
from storage.layout import Home
from storage.lineage import Lineage
from storage.records import ModelEntry, RunEntry
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.services.run_files import ENDED

_log = logging.getLogger(__name__)


def enter_new(home: Home, lineage: Lineage) -> None:
    """Enter models and runs that appeared, refresh runs that had not ended, forget what is gone. Cheap."""
    models, runs = _ids(home.models, RECORD), _ids(home.runs, "run.json")
    known_models = {entry.id for entry in lineage.models()}
    known_runs = {entry.id: entry.state for entry in lineage.runs()}
    gone_models, gone_runs = known_models - models, known_runs.keys() - runs
    if gone_models or gone_runs:
        lineage.forget(models=gone_models, runs=gone_runs)
    _enter_models(home, lineage, models - known_models)
    for run_id in sorted(runs):
        state = _state(home.runs / run_id)
        if known_runs.get(run_id) not in (state, *ENDED):
            _enter_run(home, lineage, run_id, state)


def enter_all(home: Home, lineage: Lineage) -> None:
    """Forget every model and run and read them again."""
    lineage.forget(models=[entry.id for entry in lineage.models()], runs=[entry.id for entry in lineage.runs()])
    enter_new(home, lineage)


def model_entry(record: ModelRecord) -> ModelEntry:
    """What the catalogue keeps of a model's record."""
    parent = (("parent", record.parent),) if record.parent else ()
    created = datetime.datetime.fromisoformat(record.created_at)
    return ModelEntry(
        record.id,
        record.stage,
        record.run_id,
        record.preset,
        record.recipe_hash,
        (created if created.tzinfo else created.replace(tzinfo=datetime.UTC)).isoformat(),
        tuple(record.tasks),
        dict(record.metrics),
        (*parent, *sorted((str(role), str(base)) for role, base in record.bases.items())),
    )


def _enter_models(home: Home, lineage: Lineage, model_ids: Iterable[str]) -> None:
    found = []
    for model_id in sorted(model_ids):
        try:
            record = read_record(home, model_id)
            found.append((model_entry(record), record.data))
        except (WorkbenchError, ValueError, AttributeError) as error:
            _log.warning("the model %s is left out of the catalogue: %s", model_id, error)
    if found:
        lineage.enter_models(found)


def _enter_run(home: Home, lineage: Lineage, run_id: str, state: str) -> None:
    try:
        spec = RunSpec.read(home.runs / run_id)
    except (WorkbenchError, ValueError, TypeError, AttributeError) as error:
        _log.warning("the run %s is left out of the catalogue: %s", run_id, error)
        return
    takes = {**dict.fromkeys(spec.replay, "replay"), **dict.fromkeys(spec.episodes, "learn")}
    entry = RunEntry(run_id, spec.stage, spec.preset, state, spec.model_id, dict(spec.bases))
    lineage.enter_run(entry, takes)


def _state(folder: Path) -> str:
    """What the run last said of itself; a run that died without a word is found out by ``jobs``."""
    path = folder / "status.json"
    try:
        return str(read_json(path).get("state", "queued"))[:64] if path.is_file() else "queued"
    except (WorkbenchError, AttributeError):
        return "failed"


def _ids(folder: Path, name: str) -> set[str]:
    return {path.parent.name for path in folder.glob(f"*/{name}")}
