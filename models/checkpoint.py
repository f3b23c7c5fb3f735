"""Weights on disk: safetensors beside JSON, atomic as a pair, checked on reading. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from workbench.core.errors import WorkbenchError
from workbench.core.files import hash_bytes, read_json, write_atomic, write_json


def save(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], name: str = "weights") -> None:
    """Write ``<name>.json`` (meta, shapes, hash) and the tensor file it names.

    The JSON file is replaced last, so a crash leaves the old pair or the new pair.
    """
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    data = save_bytes(plain)
    digest = hash_bytes(data)
    file = f"{name}-{digest[:16]}.safetensors"
    write_atomic(folder / file, data)
    record = {
        "file": file,
        "bytes": len(data),
        "sha256": digest,
        "shapes": {key: list(value.shape) for key, value in plain.items()},
        "meta": dict(meta),
    }
    write_json(folder / f"{name}.json", record)
    for old in folder.glob(f"{name}-*.safetensors"):
        if old.name != file:
            with contextlib.suppress(OSError):
                old.unlink()


def exists(folder: Path, name: str = "weights") -> bool:
    """True if ``save`` once finished here."""
    return (folder / f"{name}.json").is_file()


def load(folder: Path, name: str = "weights") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta of ``save``. WorkbenchError if anything is missing, cut or altered."""
    record = read_json(folder / f"{name}.json")
    try:
        path = folder / Path(record["file"]).name
        expected, digest, shapes, meta = record["bytes"], record["sha256"], record["shapes"], record["meta"]
    except (KeyError, TypeError) as error:
        raise _broken(folder, f"its record lacks {error}") from None
    if not path.is_file() or path.stat().st_size != expected:
        raise _broken(folder, "the weights are missing or cut")
    data = path.read_bytes()
    if hash_bytes(data) != digest:
        raise _broken(folder, "the weights are not those that were written")
    try:
        tensors = load_bytes(data)
    except SafetensorError as error:
        raise _broken(folder, str(error)) from None
    if {key: list(value.shape) for key, value in tensors.items()} != shapes:
        raise _broken(folder, "the weights have other shapes than their record says")
    return tensors, dict(meta)


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under ``prefix.<name>``."""
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below ``prefix.``, with the prefix taken off."""
    start = prefix + "."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


def load_into(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a module. WorkbenchError names the first tensor that is missing, unknown, of another shape or not finite."""
    own = module.state_dict()
    odd = sorted(own.keys() ^ tensors.keys())
    if odd:
        raise WorkbenchError(f"the checkpoint does not fit the model (at '{odd[0]}')", "Train the model anew")
    for key, value in tensors.items():
        if own[key].shape != value.shape:
            raise WorkbenchError(
                f"the checkpoint's '{key}' has shape {tuple(value.shape)}, the model wants {tuple(own[key].shape)}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WorkbenchError(f"the checkpoint's '{key}' is not finite", "Train the model anew")
    module.load_state_dict(dict(tensors))


def _broken(folder: Path, why: str) -> WorkbenchError:
    return WorkbenchError(f"the checkpoint in {folder} is broken: {why}", "Delete it and train or copy it anew")
