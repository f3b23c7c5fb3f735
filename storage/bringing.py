"""Bringing one understood take into the library: written item by item, or copied if it is one of ours already."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.exchange import Watch
from storage.importing import ImportSettings, SealedSource, SourceTake, picture_spec, task_name
from storage.layout import SEALED_SUFFIX, Home
from storage.videos import Video
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.types import Frame, TakeInfo

_INCOMING = "incoming"


def bring(
    home: Home, take: SourceTake | SealedSource, about: dict[str, Any], settings: ImportSettings, watch: Watch
) -> str:
    """Make a sealed take of it; returns its id. ``about`` says where it came from. Leaves nothing if it fails."""
    if isinstance(take, SealedSource):
        return copy_in(home, take, watch)
    return _write(home, take, about, settings, watch)


def copy_in(home: Home, take: SealedSource, watch: Watch) -> str:
    """Copy a take of another station under its own id, and compare the copy bit by bit with its fingerprint."""
    episode_id = take.manifest.id
    if home.trashed(episode_id).is_dir():
        raise WorkbenchError(f"the take {episode_id} lies in the trash here", "Restore it there")
    beside = home.cache / _INCOMING / f"{episode_id}{SEALED_SUFFIX}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        copy_take(take.folder, beside, watch)
        beside.rename(home.sealed(episode_id))
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return episode_id


def copy_take(source: Path, target: Path, watch: Watch) -> None:
    """Copy a take's folder file by file; CorruptTakeError if the copy is not what its fingerprint promises.

    A link in it is refused: it could lead anywhere.
    """
    for path in sorted(source.rglob("*")):
        watch()
        place = target / path.relative_to(source)
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise CorruptTakeError(f"the take holds {path.name}, which is no plain file", "Copy the take anew")
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    with Episode.at(target) as copy:
        problems = copy.verify()
    if problems:
        raise CorruptTakeError("; ".join(problems[:3]), "Copy the take anew, or run `python main.py doctor` there")


def _write(home: Home, take: SourceTake, about: dict[str, Any], settings: ImportSettings, watch: Watch) -> str:
    if not take.specs:
        raise WorkbenchError("it holds neither pictures nor numbers")
    info = TakeInfo(
        take.kind,
        take.task or task_name(take.instruction),
        take.instruction,
        operator=take.operator,
        scene=take.scene or str(about["format"]),
        devices=take.devices,
        settings={"import": {"max_side_px": settings.max_side_px}},
        extra={**take.extra, "source": about},
    )
    writer = EpisodeWriter.create(
        home, info, list(take.specs), settings=StoreSettings(rows_hz=take.rows_hz, sync=False)
    )
    try:
        for table in take.tables:
            _append(writer, table.spec.name, zip(table.times_ns.tolist(), table.values, strict=True), watch)
        for pictures in take.pictures:
            _append(writer, pictures.spec.name, pictures.frames(), watch)
        left_out = {}
        for camera, video in take.videos.items():
            left_out[camera] = _append_video(writer, picture_spec(camera, video).name, video, take.until_ns, watch)
        notes = {"pictures_left_out": left_out} if any(left_out.values()) else {}
        return writer.seal(take.outcome, extra=notes).id
    except BaseException:
        writer.abandon()
        raise


def _append(writer: EpisodeWriter, stream: str, items: Iterable[tuple[int, NDArray[Any]]], watch: Watch) -> None:
    for number, (t_ns, value) in enumerate(items):
        watch()
        writer.append(stream, Frame(number, t_ns, t_ns, 0, value))


def _append_video(writer: EpisodeWriter, stream: str, video: Video, until_ns: int | None, watch: Watch) -> int:
    """Append a video's pictures; returns how many were left out at its end."""
    left_out = 0
    for number, (t_ns, picture) in enumerate(video.frames()):
        watch()
        if until_ns is not None and t_ns > until_ns:
            left_out += 1
        else:
            writer.append(stream, Frame(number, t_ns, t_ns, 0, picture))
    if writer.counts[stream] == 0:
        raise WorkbenchError(f"the video {video.path.name} holds no pictures")
    return left_out
