"""What all importers share: source takes in, sealed takes out, broken ones reported, known ones skipped."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import SEALED_SUFFIX, Home
from storage.reader import read_manifest
from storage.videos import Video
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """max_side_px: larger pictures are reduced so that their longer side has this many pixels; None keeps them."""

    max_side_px: int | None = None


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


@dataclass(frozen=True, slots=True)
class Source:
    """One take still in its own format: its name, every file that makes it up, and how to understand it."""

    name: str
    files: tuple[Path, ...]
    load: Callable[[], SourceTake]


@dataclass(slots=True)
class ImportReport:
    """What came of an import. Iterating and ``len`` go over the new takes' ids.

    Attributes:
        ids: new takes; known: names of source takes that were imported before; skipped: (name, reason).
    """

    ids: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


class TakeFormat(Protocol):
    """One foreign format. One file in ``storage.interop`` each."""

    title: str

    def detect(self, path: Path) -> bool:
        """True if the folder is of this format. Quick; never raises."""

    def import_takes(
        self, path: Path, home: Home, progress: Progress, *, settings: ImportSettings = ...
    ) -> ImportReport:
        """Bring every take of the folder into ``home`` as kind ``imported``; calls ``progress(done, total)``."""


def run_import(
    format_name: str, sources: Sequence[Source], home: Home, progress: Progress, settings: ImportSettings
) -> ImportReport:
    """Write every source take; a broken one is skipped with its reason, one imported before is not written again."""
    report = ImportReport()
    known = imported_hashes(home)
    progress(0, len(sources))
    for done, source in enumerate(sources, 1):
        try:
            digest = source_hash(format_name, source)
            if digest in known:
                report.known.append(source.name)
            else:
                about = {"format": format_name, "name": source.name, "hash": digest}
                report.ids.append(_write(home, source.load(), about, settings))
                known.add(digest)
        except (WorkbenchError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            _log.warning("the %s take %s is skipped: %r", format_name, source.name, error)
            reason = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
            report.skipped.append((source.name, reason))
        progress(done, len(sources))
    return report


def source_hash(format_name: str, source: Source) -> str:
    """SHA-256 over the format's name and the contents of the take's files, in order."""
    digest = hashlib.sha256(format_name.encode())
    for path in source.files:
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def imported_hashes(home: Home) -> set[str]:
    """Hashes of the source takes that are already in the library (the trash does not count)."""
    found = set()
    for folder in home.episodes.glob("*" + SEALED_SUFFIX):
        try:
            source = read_manifest(folder).extra.get("source")
        except CorruptTakeError as error:
            _log.warning("%s is not considered: %s", folder.name, error)
            continue
        if isinstance(source, dict) and isinstance(source.get("hash"), str):
            found.add(source["hash"])
    return found


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


def _write(home: Home, take: SourceTake, about: dict[str, Any], settings: ImportSettings) -> str:
    if not (take.videos or take.tables or take.pictures):
        raise WorkbenchError("it holds neither pictures nor numbers")
    info = TakeInfo(
        EpisodeKind.IMPORTED,
        task_name(take.instruction),
        take.instruction,
        scene=str(about["format"]),
        devices=take.devices,
        settings={"import": {"max_side_px": settings.max_side_px}},
        extra={**take.extra, "source": about},
    )
    specs = [table.spec for table in take.tables]
    specs += [_picture_spec(camera, video) for camera, video in take.videos.items()]
    specs += [pictures.spec for pictures in take.pictures]
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(rows_hz=take.rows_hz, sync=False))
    try:
        for table in take.tables:
            _append(writer, table.spec.name, zip(table.times_ns.tolist(), table.values, strict=True))
        for pictures in take.pictures:
            _append(writer, pictures.spec.name, pictures.frames())
        left_out = {}
        for camera, video in take.videos.items():
            left_out[camera] = _append_video(writer, _picture_spec(camera, video).name, video, take.until_ns)
        notes = {"pictures_left_out": left_out} if any(left_out.values()) else {}
        return writer.seal(take.outcome, extra=notes).id
    except BaseException:
        writer.abandon()
        raise


def _append(writer: EpisodeWriter, stream: str, items: Iterable[tuple[int, NDArray[Any]]]) -> None:
    for number, (t_ns, value) in enumerate(items):
        writer.append(stream, Frame(number, t_ns, t_ns, 0, value))


def _append_video(writer: EpisodeWriter, stream: str, video: Video, until_ns: int | None) -> int:
    """Append a video's pictures; returns how many were left out at its end."""
    left_out = 0
    for number, (t_ns, picture) in enumerate(video.frames()):
        if until_ns is not None and t_ns > until_ns:
            left_out += 1
        else:
            writer.append(stream, Frame(number, t_ns, t_ns, 0, picture))
    if writer.counts[stream] == 0:
        raise WorkbenchError(f"the video {video.path.name} holds no pictures")
    return left_out


def _picture_spec(camera: str, video: Video) -> StreamSpec:
    name = f"observation.images.{camera}"
    return StreamSpec(name, (video.height, video.width, 3), "uint8", rate_hz=video.rate_hz)


def as_float32(table: Table) -> Table:
    """The table with finite float32 values of its spec's width; WorkbenchError otherwise."""
    values = np.ascontiguousarray(table.values, dtype=np.float32)
    if values.shape != (len(table.times_ns), *table.spec.shape) or not np.all(np.isfinite(values)):
        raise WorkbenchError(f"the numbers of {table.spec.name} are not complete and finite")
    return replace(table, values=values)
