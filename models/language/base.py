"""The model a policy is built on: a folder of config, tokenizer and safetensors, known by the hash of its contents.

Nothing is fetched unless a recipe says ``hub:``, nothing is unpickled, and no code that lies in such a folder is run.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.language.families import FAMILIES, Family
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import read_json

HUB = "hub:"
FOLDER = "bases"  # below the data folder: where fetched bases lie, and where a policy from elsewhere finds its own
_CONFIG, _TOKENIZER, _PICTURES = "config.json", "tokenizer.json", "preprocessor_config.json"
_WANTED = (_CONFIG, _TOKENIZER, _PICTURES, "*.safetensors", "*.safetensors.index.json")
_MIDDLE = (0.5, 0.5, 0.5)
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that was looked at, but not loaded.

    Attributes:
        kind: family. folder: where it lies. sha256: of config, tokenizer and weights.
        mean, spread: by which its pictures are standardised, per colour.
    """

    kind: str
    folder: Path
    sha256: str
    mean: tuple[float, ...] = _MIDDLE
    spread: tuple[float, ...] = _MIDDLE

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind]


def open_base(folder: Path, kind: str) -> Base:
    """Look at a folder; WorkbenchError in words if it holds no base of this family. Reads all of it, for the hash."""
    if kind not in FAMILIES:
        raise NotFoundError.of("kind of backbone", kind, FAMILIES)
    if not (folder / _CONFIG).is_file():
        raise WorkbenchError(
            f"there is no base model in {folder} (no {_CONFIG})",
            f"Copy one there, or ask for it with backbone_folder={HUB}OWNER/NAME",
        )
    found = str(read_json(folder / _CONFIG).get("model_type", "none"))
    if found != FAMILIES[kind].model_type:
        raise WorkbenchError(
            f"the base model in {folder} is of the type '{found}', not {FAMILIES[kind].title}", "Choose another folder"
        )
    if not (folder / _TOKENIZER).is_file():
        raise WorkbenchError(f"the base model in {folder} has no {_TOKENIZER}", "Copy the whole model")
    if not any(folder.glob("*.safetensors")):
        raise WorkbenchError(
            f"the base model in {folder} has no safetensors; pickled weights are not opened",
            "Take a release with safetensors",
        )
    told = read_json(folder / _PICTURES) if (folder / _PICTURES).is_file() else {}
    return Base(kind, folder, content_hash(folder), _numbers(told, "image_mean"), _numbers(told, "image_std"))


def content_hash(folder: Path) -> str:
    """SHA-256 of names, sizes and contents of everything that decides what the base says."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.name in _WANTED or p.suffix == ".safetensors"):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def wanted(where: str, home: Path) -> Path:
    """The folder a recipe means: a path, or for ``hub:OWNER/NAME`` a copy below the data folder, fetched if need be."""
    if not where.startswith(HUB):
        return Path(where).expanduser()
    return fetch(where.removeprefix(HUB), home / FOLDER)


def fetch(repository: str, into: Path) -> Path:
    """A base from the hub of models as ``into/OWNER--NAME``; whole or not there. WorkbenchError if it cannot be had."""
    folder = into / repository.replace("/", "--")
    if folder.is_dir():
        return folder
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415  (only for who asks for the hub)

        beside = into / f".{folder.name}.partial"
        snapshot_download(repository, local_dir=beside, allow_patterns=list(_WANTED))
    except Exception as error:  # network, names, rights, disk: whatever it is, the person must hear it
        why = str(error).partition("\n")[0][:200]
        raise WorkbenchError(
            f"the base model {repository} could not be fetched ({type(error).__name__}: {why})",
            "Check the name and the network, or copy the model into a folder and name that",
        ) from None
    shutil.rmtree(beside / ".cache", ignore_errors=True)
    beside.rename(folder)
    return folder


def find_again(told: Mapping[str, Any], near: Path | None) -> Base:
    """The base a finished policy was built on: where it lay then, or ``bases/`` of the data folder ``near`` it.

    WorkbenchError if it is not there, or is another one.
    """
    kind, name, sha256 = str(told["kind"]), str(told["name"]), str(told["sha256"])
    places = [Path(str(told["folder"]))]
    if near is not None:
        places.append(near / FOLDER / Path(name).name)
    there = [place for place in places if (place / _CONFIG).is_file()]
    for place in there:
        base = open_base(place, kind)
        if base.sha256 == sha256:
            return base
    if there:
        raise WorkbenchError(
            f"the base model in {there[0]} is not the one this policy was trained on ({sha256[:12]} is wanted)",
            f"Put the right '{name}' there",
        )
    raise WorkbenchError(f"this policy needs its base model '{name}'", f"Copy it to {places[-1]}")


def load(base: Base, network: str, dtype: Any) -> tuple[Any, Any]:
    """The base's network, in evaluation mode, and its tokenizer. WorkbenchError if a package or a part is missing."""
    try:
        import tokenizers  # noqa: PLC0415  (only for who thinks with a language model)
        import transformers  # noqa: PLC0415
    except ImportError as error:
        raise WorkbenchError(
            f"a policy with a language model needs the Python package '{error.name}'", f"Run: pip install {error.name}"
        ) from None
    say: Any = transformers.utils.logging
    say.set_verbosity_error()
    say.disable_progress_bar()
    try:
        made, report = getattr(transformers, network).from_pretrained(
            base.folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        tokenizer = tokenizers.Tokenizer.from_file(str(base.folder / _TOKENIZER))
    except Exception as error:  # files from anywhere: whatever is wrong with them, none of it is ours
        why = str(error).partition("\n")[0][:200]
        raise WorkbenchError(f"the base model in {base.folder} cannot be loaded ({why})", "Copy it anew") from None
    if lacking := _first(report.get("missing_keys", ())):
        raise WorkbenchError(f"the base model in {base.folder} lacks the weights '{lacking}'", "Copy the whole model")
    return made.eval(), tokenizer


def _first(names: Iterable[str]) -> str:
    return next(iter(sorted(names)), "")


def _numbers(told: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = told.get(name, _MIDDLE)
    return tuple(map(float, values)) if isinstance(values, list | tuple) and len(values) == 3 else _MIDDLE
