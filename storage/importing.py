"""The words of all importers: what a foreign take is, and what came of it. ``import_run`` does the work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.manifest import Manifest
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome, StreamSpec


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """What the person who imports decides.

    Attributes:
        max_side_px: larger pictures are reduced so that their longer side has this many pixels; None keeps them.
        camera: what the camera of plain videos is called.
        rate_hz: steps a second of sources that do not tell; None where it must be known.
    """

    max_side_px: int | None = None
    camera: str = "front"
    rate_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A stream of vectors: its spec, (T,) times in ns, (T, D) values."""

    spec: StreamSpec
    times_ns: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A stream of single picture files: its spec and how to read (time in ns, picture) one after another."""

    spec: StreamSpec
    frames: Callable[[], Iterator[tuple[int, NDArray[Any]]]]


@dataclass(frozen=True, slots=True)
class SourceTake:
    """One take as a format understood it.

    Attributes:
        videos: by camera name; pictures keep the times of the file.
        pictures: streams of single picture files, depth among them.
        until_ns: pictures later than this are left out (a video that outlasts its states), None keeps all.
        kind, task, operator, scene: of the take; no task: one made of the instruction, no scene: the format.
        seconds: how long single pictures last together, where neither tables nor videos tell.
    """

    instruction: str
    outcome: Outcome
    tables: tuple[Table, ...]
    videos: dict[str, Video]
    rows_hz: float
    until_ns: int | None = None
    devices: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Pictures, ...] = ()
    kind: EpisodeKind = EpisodeKind.IMPORTED
    task: str = ""
    operator: str = ""
    scene: str = ""
    seconds: float = 0.0

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        """Every stream that the take will have."""
        videos = (picture_spec(camera, video) for camera, video in self.videos.items())
        return (*(table.spec for table in self.tables), *videos, *(pictures.spec for pictures in self.pictures))

    @property
    def duration_s(self) -> float:
        """About how long it is, without decoding a picture."""
        tables = [float(np.ptp(table.times_ns)) / 1e9 for table in self.tables if len(table.times_ns)]
        return max([self.seconds, *tables, *(video.seconds for video in self.videos.values())])


@dataclass(frozen=True, slots=True)
class SealedSource:
    """A take that is already one of ours, in a folder elsewhere: it is copied as it is, under its own id."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Source:
    """One take still in its own format: its name, every file that makes it up, and how to understand it.

    ``part`` tells takes apart that lie in the same files; ``id`` is that of a take which is already one of ours.
    """

    name: str
    files: tuple[Path, ...]
    load: Callable[[], SourceTake | SealedSource]
    part: str = ""
    id: str = ""


@dataclass(slots=True)
class ImportReport:
    """What came of an import. Iterating and ``len`` go over the new takes' ids.

    Attributes:
        ids: new takes; known: names of source takes that were imported before; skipped: (name, reason).
        stopped: it was stopped; what had come until then stays.
    """

    ids: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Preview:
    """What one source take would become; ``problem`` says why it would be left out, ``known`` that it is here.

    ``bytes``: exactly what it takes on disk, 0 where only the import will tell.
    """

    name: str
    kind: EpisodeKind = EpisodeKind.IMPORTED
    task: str = ""
    instruction: str = ""
    seconds: float = 0.0
    streams: tuple[StreamSpec, ...] = ()
    known: bool = False
    problem: str = ""
    bytes: int = 0


class TakeFormat(Protocol):
    """One foreign format. One file in ``storage.interop`` each."""

    title: str

    def detect(self, path: Path) -> bool:
        """True if the folder is of this format. Quick; never raises."""

    def sources(self, path: Path, settings: ImportSettings) -> Sequence[Source]:
        """Every take of the folder, not read yet. WorkbenchError if what describes them all cannot be read."""


def task_name(instruction: str) -> str:
    """A short name made of an instruction: lower case words joined by underscores."""
    words = re.findall(r"[a-z0-9]+", instruction.lower())
    return "_".join(words)[:80].rstrip("_") or "unnamed"


def inside(root: Path, relative: str) -> Path:
    """A file below ``root`` named by untrusted text; WorkbenchError if it would lie elsewhere or is missing."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise WorkbenchError(f"the file name {relative!r} leads outside the folder")
    if not path.is_file():
        raise WorkbenchError(f"the file {relative} is missing")
    return path


def as_float32(table: Table) -> Table:
    """The table with finite float32 values of its spec's width; WorkbenchError otherwise."""
    values = np.ascontiguousarray(table.values, dtype=np.float32)
    if values.shape != (len(table.times_ns), *table.spec.shape) or not np.all(np.isfinite(values)):
        raise WorkbenchError(f"the numbers of {table.spec.name} are not complete and finite")
    return replace(table, values=values)


def picture_spec(camera: str, video: Video) -> StreamSpec:
    """The stream that a video becomes."""
    name = f"observation.images.{camera}"
    return StreamSpec(name, (video.height, video.width, 3), "uint8", rate_hz=video.rate_hz)
