"""Weights on disk: safetensors beside JSON, atomic as a pair, checked on reading. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from workbench.core.errors import WorkbenchError
from workbench.core.files import hash_bytes, read_json, write_atomic, write_json

M = TypeVar("M", bound=nn.Module)
_LARGEST_RECORD = 64_000_000
_LARGEST_WEIGHTS = 8_000_000_000


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
    """Tensors and meta of ``save``. WorkbenchError if anything is missing, cut, altered or not what it says."""
    record = _record(folder, name)
    data = _bytes(folder, record)
    try:
        tensors = load_bytes(data)
    except Exception as error:  # the parser of a hostile file may fail in any way; none of them runs what it holds
        raise _broken(folder, f"it holds no weights ({error})") from None
    if {key: list(value.shape) for key, value in tensors.items()} != record["shapes"]:
        raise _broken(folder, "the weights have other shapes than their record says")
    return tensors, dict(record["meta"])


def _record(folder: Path, name: str) -> dict[str, Any]:
    """What the JSON file says, each value of the kind it should be."""
    path = folder / f"{name}.json"
    if path.is_symlink() or (path.is_file() and path.stat().st_size > _LARGEST_RECORD):
        raise _broken(folder, f"{path.name} is a link or far too large")
    try:
        record = read_json(path)
        kinds = {"file": str, "bytes": int, "sha256": str, "shapes": dict, "meta": dict}
        wrong = [key for key, kind in kinds.items() if not isinstance(record[key], kind)]
    except (KeyError, TypeError) as error:
        raise _broken(folder, f"its record lacks {error}") from None
    except RecursionError:
        raise _broken(folder, f"{path.name} is nested too deeply") from None
    if wrong:
        raise _broken(folder, f"its record's '{wrong[0]}' is of the wrong kind")
    return dict(record)


def _bytes(folder: Path, record: Mapping[str, Any]) -> bytes:
    """The tensor file, if it is a file of its own beside the record with the size and hash that were written."""
    name, size = record["file"], record["bytes"]
    path: Path = folder / name
    if Path(name).name != name or not name.endswith(".safetensors") or path.is_symlink():
        raise _broken(folder, "its record names a file that is not its own")
    if not 0 < size <= _LARGEST_WEIGHTS:
        raise _broken(folder, "its weights are far too large")
    if not path.is_file() or path.stat().st_size != size:
        raise _broken(folder, "the weights are missing or cut")
    data = path.read_bytes()
    if hash_bytes(data) != record["sha256"]:
        raise _broken(folder, "the weights are not those that were written")
    return data


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under ``prefix.<name>``."""
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below ``prefix.``, with the prefix taken off."""
    start = prefix + "."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


def load_into(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a module. WorkbenchError names the first tensor that is missing, unknown, of another shape or not finite."""
    _check_fit(module, tensors)
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WorkbenchError(f"the checkpoint's '{key}' is not finite", "Train the model anew")
    module.load_state_dict(dict(tensors))


def _check_fit(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    odd = sorted(own.keys() ^ tensors.keys())
    if odd:
        raise WorkbenchError(f"the checkpoint does not fit the model (at '{odd[0]}')", "Train the model anew")
    for key, value in tensors.items():
        if own[key].shape != value.shape:
            raise WorkbenchError(
                f"the checkpoint's '{key}' has shape {tuple(value.shape)}, the model wants {tuple(own[key].shape)}"
            )


def build(make: Callable[[], M], tensors: Mapping[str, Tensor]) -> M:
    """A module made and filled. It is first made without memory and compared, so that sizes out of a file do no harm.

    WorkbenchError as ``load_into``.
    """
    with torch.device("meta"):
        _check_fit(make(), tensors)
    module = make()
    load_into(module, tensors)
    return module


@contextlib.contextmanager
def described() -> Iterator[None]:
    """Reads a checkpoint's meta: whatever is missing in it or of the wrong kind becomes a WorkbenchError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0][:200]
        raise WorkbenchError(f"the checkpoint's description does not fit ({why})", "Copy it or train it anew") from None


def whole(value: object, most: int) -> int:
    """A size out of a file. ValueError unless it is a whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{str(value)[:20]} is no size from 1 to {most}")
    return value


def _broken(folder: Path, why: str) -> WorkbenchError:
    return WorkbenchError(f"the checkpoint in {folder} is broken: {why}", "Delete it and train or copy it anew")
