"""What is known of one trained model, as a small file in its folder. Free of torch.

A data folder may have been copied from anywhere, so nothing in it is believed: ids are plain words and never paths,
records are small plain files that name the folder they lie in, links lead nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.stages import STAGES
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json

RECORD = "model.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LARGEST_BYTES = 64_000_000  # of a record; half a million takes are a third of that
_ANEW = "Copy the model anew or train it again"


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
        gate: what the check for forgetting said: ``passed`` (bool) and ``reasons`` (sentences); empty if none was made.
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
    gate: Mapping[str, Any] = field(default_factory=dict)
    promoted: bool = False

    @property
    def refused(self) -> bool:
        """True if the check for forgetting speaks against using it."""
        return self.gate.get("passed") is False

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
            fields["tasks"] = tuple(str(task) for task in fields.get("tasks", ()))
            fields["data"] = tuple((str(a), str(b)) for a, b in fields.get("data", ()))
            record = cls(**fields)
            _check(record)
            return record
        except (TypeError, ValueError) as error:
            raise WorkbenchError(f"a model record is not readable ({error})", _ANEW) from None


def is_model_id(text: str) -> bool:
    """True for a plain word of letters, digits, - and _; nothing else may become part of a path."""
    return _ID.fullmatch(text) is not None


def record_in(folder: Path) -> ModelRecord:
    """The record in a model's folder. WorkbenchError if it cannot be believed."""
    path = folder / RECORD
    if folder.is_symlink() or path.is_symlink():
        raise WorkbenchError(f"the model {folder.name} is a link to somewhere else", "Copy the model itself here")
    if path.stat().st_size > _LARGEST_BYTES:
        raise WorkbenchError(f"the record of the model {folder.name} is far too large", _ANEW)
    try:
        value = read_json(path)
    except RecursionError:
        raise WorkbenchError(f"the record of the model {folder.name} is nested too deeply", _ANEW) from None
    if not isinstance(value, Mapping):
        raise WorkbenchError(f"the record of the model {folder.name} is no JSON object", _ANEW)
    record = ModelRecord.from_json(value)
    if record.id != folder.name:
        raise WorkbenchError(f"the model {folder.name} says that it is {record.id[:80]!r}", _ANEW)
    return record


def _check(record: ModelRecord) -> None:
    """ValueError in words for values that have the wrong shape or could become a path elsewhere."""
    if not isinstance(record.id, str) or not is_model_id(record.id):
        raise ValueError("its id is no plain word")
    if record.stage not in STAGES:
        raise ValueError(f"its stage is none of {', '.join(STAGES)}")
    for name in ("recipe", "bases", "metrics", "gate"):
        if not isinstance(getattr(record, name), Mapping):
            raise ValueError(f"its {name} is no table")
    for name in ("recipe_hash", "parent", "created_at", "run_id", "preset"):
        if not isinstance(getattr(record, name), str):
            raise ValueError(f"its {name} is no text")
    for model_id in (record.parent, *record.bases.values()):
        if model_id and not (isinstance(model_id, str) and is_model_id(model_id)):
            raise ValueError("it names a model by something that is no plain word")
    if record.run_id and not is_model_id(record.run_id):
        raise ValueError("it names its run by something that is no plain word")
    datetime.fromisoformat(record.created_at)
