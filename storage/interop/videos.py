"""Plain videos of people: a folder of video files, or one file. Each becomes a take of kind ``human``.

Pictures keep the times that the file gives them, however uneven; a file that asks to be shown upright is turned. Sound
is left out. What is done in each video stands in a list beside them, ``tasks.csv`` or ``tasks.json``, or else the name
of the folder that a video lies in is its task:

``tasks.csv``: columns ``file`` and ``task``, if wanted ``instruction``, ``operator``, ``scene``, ``outcome``.
``tasks.json``: ``{"clip.mp4": "fold the cloth"}``, or an object with the same names in place of the words, or a list
of such objects with ``file``.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.importing import ImportSettings, Source, SourceTake, task_name
from storage.interop import FORMATS, FormatConfig
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import EpisodeKind, Outcome

_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi"})
_LISTS = ("tasks.csv", "tasks.json")
_WORDS = ("task", "instruction", "operator", "scene", "outcome")
_CAMERA = re.compile(r"[A-Za-z0-9_]{1,64}")


class HumanVideos:
    """The format; see the module."""

    title = "videos of people (mp4, mov, m4v, webm, mkv, avi), with tasks.csv or tasks.json if there is one"

    def detect(self, path: Path) -> bool:
        """True if there is a video at the path or below it."""
        return next(_videos(path), None) is not None

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """One take for each file; files that the list names and that are missing are reported too."""
        if _CAMERA.fullmatch(settings.camera) is None:
            raise WorkbenchError(f"{settings.camera!r} cannot be a camera's name", "Use letters, digits and _")
        root = path if path.is_dir() else path.parent
        told = _read_list(root)
        files = sorted(_videos(path))
        names = {file.relative_to(root).as_posix(): file for file in files}
        told = {_find(name, names): words for name, words in told.items()}
        found = [_source(name, file, told.get(name), settings) for name, file in names.items()]
        if path.is_dir():
            found += [_absent(name) for name in told if name not in names]
        return found


FORMATS.register(
    Plugin("videos", HumanVideos.title, FormatConfig, lambda config: HumanVideos(), needs="av", install="av")
)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the list says of one video."""

    task: str = ""
    instruction: str = ""
    operator: str = ""
    scene: str = ""
    outcome: Outcome = Outcome.UNLABELLED

    @classmethod
    def of(cls, words: Mapping[str, Any], where: str) -> _Told:
        values = {name: str(words.get(name) or "").strip() for name in _WORDS}
        outcome = values.pop("outcome") or str(Outcome.UNLABELLED)
        if outcome not in list(Outcome):
            raise WorkbenchError(f"{where} has the outcome '{outcome}'", f"Write one of {', '.join(Outcome)}")
        return cls(**values, outcome=Outcome(outcome))


def _videos(path: Path) -> Iterator[Path]:
    """Video files at or below a path; hidden files and folders are passed over."""
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        yield path
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES:
                yield Path(folder, name)


def _source(name: str, file: Path, told: _Told | None, settings: ImportSettings) -> Source:
    return Source(name, (file,), lambda: _load(file, told or _Told(task=file.resolve().parent.name), settings))


def _absent(name: str) -> Source:
    def load() -> SourceTake:
        raise WorkbenchError(f"the list of tasks names {name}, which is not here", "Correct the list")

    return Source(name, (), load, part=f"absent {name}")


def _load(file: Path, told: _Told, settings: ImportSettings) -> SourceTake:
    video = Video.open(file, settings.max_side_px)
    instruction = told.instruction or told.task.replace("_", " ").strip()
    extra: dict[str, Any] = {"times": "video file"}
    if video.quarter_turns:
        extra["turned_degrees"] = 90 * video.quarter_turns
    return SourceTake(
        instruction=instruction,
        outcome=told.outcome,
        tables=(),
        videos={settings.camera: video},
        rows_hz=video.rate_hz,
        devices={settings.camera: {"kind": "video file"}},
        extra=extra,
        kind=EpisodeKind.HUMAN,
        task=task_name(told.task or instruction),
        operator=told.operator,
        scene=told.scene,
    )


def _find(name: str, files: Mapping[str, Path]) -> str:
    """The file that a list means: by its path below the folder, else by its bare name if only one has it."""
    if name in files:
        return name
    same = [path for path in files if name in (Path(path).name, Path(path).stem)]
    return same[0] if len(same) == 1 else name


def _read_list(root: Path) -> dict[str, _Told]:
    """What the list says, by the file's name in it; {} without a list. WorkbenchError names the bad line."""
    for name in _LISTS:
        path = root / name
        if path.is_file():
            try:
                rows = _csv_rows(path) if path.suffix == ".csv" else _json_rows(path)
            except (OSError, ValueError, csv.Error) as error:
                raise WorkbenchError(f"{name} cannot be read ({error})", "Correct or remove it") from error
            return {str(row["file"]).strip(): _Told.of(row, where) for where, row in rows}
    return {}


def _csv_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "file" not in (reader.fieldnames or ()):
            raise ValueError("its first line names no column 'file'")
        return [(f"{path.name}, line {reader.line_num},", row) for row in reader if row["file"]]


def _json_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(value, dict):
        value = [{"file": name, **(told if isinstance(told, dict) else {"task": told})} for name, told in value.items()]
    if not isinstance(value, list) or not all(isinstance(row, dict) and row.get("file") for row in value):
        raise ValueError("it is no list of objects with 'file'")
    return [(f"{path.name}, entry {number},", row) for number, row in enumerate(value, 1)]
