"""A finished model as a folder of its own, for other computers and other programs; whole or not there at all.

Copied into ``models/`` under its id, the folder is the model again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import checkpoint, export_onnx, familiarity
from models.act_vae import act_vae_from
from models.policy_model import policy_model_from
from models.registry import RECORD, ModelRecord, model_folder, read_record
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import sync_directory, write_atomic, write_json

RESULT = "export.json"
_STATISTICS = ("scalers", "cameras", "instructions", "binary_gripper", "size", "flow", "encoder")
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Work:
    """What an export reads and where it writes."""

    home: Home
    record: ModelRecord
    source: Path
    folder: Path


def export_model(
    home: Home, model_id: str, dest: Path, card: str, *, onnx: bool = False, tell: Tell = lambda *_: None
) -> dict[str, Any]:
    """Write a model to ``dest``: weights, recipe, statistics, record, card, and with ``onnx`` its network for others.

    Returns plain values: ``model``, ``dest``, ``files`` (bytes by name), ``verified`` and ``onnx`` (one entry per
    graph with the largest difference to this program's own answers).

    Args:
        dest: a folder that does not exist yet or is empty.
        card: the page about the model that goes with it.
        tell: called before every step with its words, its number and how many there are; may raise to cancel.

    WorkbenchError says why it cannot be; then nothing is left behind.
    """
    record = read_record(home, model_id)
    total = 4 if onnx else 3
    with _beside(dest) as folder:
        work = _Work(home, record, model_folder(home, model_id), folder)
        tell("Reading the weights", 0, total)
        tensors, meta = checkpoint.load(work.source)
        tell("Writing weights, recipe and statistics", 1, total)
        _write(work, tensors, meta, card)
        graphs: list[dict[str, Any]] = []
        if onnx:
            tell("Writing the network as ONNX and comparing its answers", 2, total)
            graphs = export_onnx.write_graphs(home, record, work.source, folder)
            write_atomic(folder / "README.md", (card + export_onnx.about(graphs)).encode())
        tell("Loading it again", total - 1, total)
        _verify(work, tensors, meta)
        files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
        result = {"model": model_id, "dest": str(dest), "files": files, "verified": True, "onnx": graphs}
        write_json(folder / RESULT, result)
        tell("Done", total, total)
    return result


def partial_folder(dest: Path) -> Path:
    """Where an export is while it is not whole."""
    return dest.parent / f".{dest.name}.partial"


@contextmanager
def _beside(dest: Path) -> Iterator[Path]:
    """A folder that becomes ``dest`` if the body ends well, and goes if it does not."""
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise WorkbenchError(f"there is something at {dest} already", "Name a folder that does not exist yet")
    folder = partial_folder(dest)
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of an export that was killed
        folder.mkdir(parents=True)
        yield folder
        folder.replace(dest)
        sync_directory(dest.parent)
    except OSError as error:
        raise WorkbenchError(
            f"the folder {dest} cannot be written ({error.strerror or error})", "Choose another place"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(work: _Work, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], card: str) -> None:
    """Everything but the graphs."""
    checkpoint.save(work.folder, tensors, meta)
    familiar = familiarity.Familiarity.load(work.source)
    if familiar is not None:
        familiar.save(work.folder)
    write_json(work.folder / RECORD, work.record.to_json())
    write_json(work.folder / "recipe.json", work.record.to_json()["recipe"])
    write_json(work.folder / "statistics.json", {name: meta[name] for name in _STATISTICS if name in meta})
    write_atomic(work.folder / "README.md", card.encode())


def _verify(work: _Work, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Read what was written and make of it what this program makes of a model. WorkbenchError if it is not the same."""
    again, told = checkpoint.load(work.folder)
    same = again.keys() == tensors.keys() and all(
        again[name].dtype == value.dtype and torch.equal(again[name], value) for name, value in tensors.items()
    )
    if not same or told != meta:
        raise WorkbenchError("what was written is not what was read", "Check the disk and export again")
    if work.record.stage in ("ntp", "rf"):
        policy_model_from(again, told, near=work.source.parent.parent)
    elif work.record.stage == "act_vae":
        act_vae_from(again, told)
