"""Checkpoint files of others, read as numbers only: safetensors, or what ``torch.save`` wrote, without unpickling.

A file may come from anywhere. Its size, its parts and every tensor are looked at before anything is made of them.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_bytes
from torch import Tensor

from workbench.core.errors import WorkbenchError

_LARGEST = 16_000_000_000
_LARGEST_PICKLE = 64_000_000  # what describes the tensors; the tensors themselves lie beside it
_MOST = 100_000
_PREFIX = "clap."
_SAFE = "Convert it to safetensors where you trust it, and import that"


@dataclass(frozen=True, slots=True)
class Published:
    """What a file holds.

    Attributes:
        tensors: by name, without the prefix that the trainer of the release puts before all names of the network.
        told: whole numbers and words of the training's settings, if the file holds any.
        name, bytes, sha256: of the file.
    """

    tensors: Mapping[str, Tensor]
    told: Mapping[str, int | str]
    name: str
    bytes: int
    sha256: str


class _Nothing:
    """Stands where a file names a Python object that is no number: holds nothing, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_published(path: Path) -> Published:
    """The tensors of a checkpoint. WorkbenchError says what is wrong with a file that is none or cannot be trusted."""
    try:
        size = path.stat().st_size
        if not path.is_file() or not 0 < size <= _LARGEST:
            raise WorkbenchError(f"{path} is no checkpoint: no file of 1 byte to {_LARGEST // 10**9} GB", "")
        value = _torch(path) if zipfile.is_zipfile(path) else _safetensors(path)
        digest = _sha256(path)
    except OSError as error:
        raise WorkbenchError(f"{path} cannot be read ({error.strerror or error})", "Name a checkpoint file") from None
    inner = value.get("state_dict", value)
    tensors = {str(name): part for name, part in inner.items() if isinstance(part, Tensor)}
    if not tensors or len(tensors) > _MOST:
        raise WorkbenchError(f"{path.name} holds no weights by name", "Name a checkpoint of OpenCLAP, stage 1 or 2")
    return Published(_bare(tensors), _told(value.get("hyper_parameters")), path.name, size, digest)


def _torch(path: Path) -> Mapping[Any, Any]:
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    described = sum(part.file_size for part in parts if part.filename.endswith(".pkl"))
    packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if len(parts) > _MOST or described > _LARGEST_PICKLE or packed:
        raise WorkbenchError(f"{path.name} is not as torch writes checkpoints", _SAFE)
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins: list[Any] = [(_Nothing, name) for name in unknown]
        with torch.serialization.safe_globals(stand_ins):
            value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError) as error:
        why = str(error).strip().partition("\n")[0][:200]
        raise WorkbenchError(f"{path.name} holds more than numbers or is broken ({why})", _SAFE) from None
    if not isinstance(value, Mapping):
        raise WorkbenchError(f"{path.name} holds no weights by name", "Name a checkpoint of OpenCLAP, stage 1 or 2")
    return value


def _safetensors(path: Path) -> Mapping[Any, Any]:
    try:
        tensors: dict[str, Tensor] = load_bytes(path.read_bytes())
    except Exception as error:  # the parser of a hostile file may fail in any way; none of them runs what it holds
        raise WorkbenchError(f"{path.name} is neither a torch checkpoint nor safetensors ({error})", _SAFE) from None
    return tensors


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefix. WorkbenchError for tensors that are not plain finite numbers."""
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise WorkbenchError(f"'{name}' is not a plain tensor", "Name a checkpoint as its training wrote it")
    return {name.removeprefix(_PREFIX): value for name, value in tensors.items()}


def _told(value: object) -> dict[str, int | str]:
    given = value.items() if isinstance(value, Mapping) else ()
    return {str(name): part for name, part in given if isinstance(part, int | str)}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
