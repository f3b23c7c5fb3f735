"""Takes for other programs and stations: a folder that appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from storage.exchange import Progress, Watch, nobody_watches
from storage.layout import Home
from storage.manifest import Manifest
from storage.marks import ARCHIVE
from storage.reader import Episode
from workbench.core.errors import CorruptTakeError, WorkbenchError

_UNPACKED = 8  # archived takes hold dense video, which an exchange format may not be able to


@dataclass(slots=True)
class ExportReport:
    """What came of an export: the folder, how much is in it, streams left out, takes skipped (id, reason)."""

    path: Path
    episodes: int = 0
    frames: int = 0
    bytes: int = 0
    left_out: tuple[str, ...] = ()
    skipped: list[tuple[str, str]] = field(default_factory=list)


class SetWriter(Protocol):
    """Builds one set in a folder that nobody else knows yet."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of streams that the format has no place for."""

    @property
    def episodes(self) -> int:
        """Takes in it so far."""

    @property
    def frames(self) -> int:
        """Rows in it so far."""

    def add(self, take: Episode, watch: Watch) -> None:
        """Append one take; CorruptTakeError if it cannot be read. ``watch`` is called before each picture or file."""

    def forget(self) -> None:
        """Remove what a failed ``add`` has written."""

    def finish(self) -> None:
        """Write what describes the whole set."""


class ExportFormat(Protocol):
    """One format that takes can be written in. ``keeps_bytes``: the takes' files are copied as they are."""

    title: str
    keeps_bytes: bool

    def check(self, manifests: Sequence[Manifest]) -> tuple[str, ...]:
        """The streams that would be left out; WorkbenchError says why the takes do not fit into one set."""

    def begin(self, root: Path, manifests: Sequence[Manifest]) -> SetWriter:
        """Begin a set at ``root``. WorkbenchError as ``check``; nothing is written then."""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What an export would write.

    Attributes:
        manifests: of the takes, in their order.
        left_out: names of streams that the format has no place for.
        bytes_needed: at most about so much.
        problem: why it cannot be done, "" if it can.
    """

    manifests: tuple[Manifest, ...]
    left_out: tuple[str, ...]
    bytes_needed: int
    problem: str = ""


def plan_export(home: Home, episode_ids: Sequence[str], target: Path, form: ExportFormat) -> ExportPlan:
    """Look at the takes' manifests and the sizes of their files; writes nothing."""
    takes = _open(home, episode_ids)
    manifests = tuple(take.manifest for take in takes)
    needed = sum(_bytes(take, form.keeps_bytes) for take in takes)
    try:
        _check_target(target)
        left_out = form.check(manifests)
    except WorkbenchError as error:
        return ExportPlan(manifests, (), needed, str(error))
    return ExportPlan(manifests, left_out, needed)


def export_takes(
    home: Home,
    episode_ids: Sequence[str],
    target: Path,
    form: ExportFormat,
    progress: Progress = lambda done, total: None,
    watch: Watch = nobody_watches,
) -> ExportReport:
    """Write the takes, in the given order, as a new set at ``target``; a damaged one is skipped with its reason.

    WorkbenchError says why they do not fit into one set; StoppedError if ``watch`` raised it. Nothing is left then.
    """
    _check_target(target)
    takes = _open(home, episode_ids)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(target)
    shutil.rmtree(beside, ignore_errors=True)
    report = ExportReport(target)
    try:
        writer = form.begin(beside, [take.manifest for take in takes])
        progress(0, len(takes))
        for done, take in enumerate(takes, 1):
            watch()
            with take:
                _add(writer, take, report, watch)
            progress(done, len(takes))
        if not writer.episodes:
            raise WorkbenchError("none of the takes could be exported", report.skipped[0][1])
        writer.finish()
        beside.rename(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    report.episodes, report.frames, report.left_out = writer.episodes, writer.frames, writer.left_out
    report.bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return report


def _add(writer: SetWriter, take: Episode, report: ExportReport, watch: Watch) -> None:
    try:
        writer.add(take, watch)
    except CorruptTakeError as error:
        writer.forget()
        report.skipped.append((take.manifest.id, str(error)))


def _open(home: Home, episode_ids: Sequence[str]) -> list[Episode]:
    if not episode_ids:
        raise WorkbenchError("there is nothing to export", "Choose at least one take")
    return [Episode.open(home, episode_id) for episode_id in episode_ids]


def _check_target(target: Path) -> None:
    if target.exists():
        raise WorkbenchError(f"{target} exists already", "Choose a new folder")


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _bytes(take: Episode, keeps_bytes: bool) -> int:
    size = sum(path.stat().st_size for path in take.folder.rglob("*") if path.is_file())
    return size * (_UNPACKED if ARCHIVE in take.manifest.extra and not keeps_bytes else 1)
