"""Carrying out an import, or only saying what it would do: broken takes are reported, known ones skipped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from storage.bringing import bring
from storage.exchange import Progress, StoppedError, Watch, nobody_watches
from storage.importing import ImportReport, ImportSettings, Preview, SealedSource, Source, task_name
from storage.layout import SEALED_SUFFIX, Home
from storage.reader import read_manifest
from workbench.core.errors import CorruptTakeError, WorkbenchError

_log = logging.getLogger(__name__)


def run_import(
    format_name: str,
    sources: Sequence[Source],
    home: Home,
    progress: Progress,
    settings: ImportSettings,
    watch: Watch = nobody_watches,
) -> ImportReport:
    """Write every source take; a broken one is skipped with its reason, one imported before is not written again.

    ``watch`` is called before each picture; a StoppedError of it ends the import, the take in work is removed.
    """
    report = ImportReport()
    known = _Known(home, format_name)
    progress(0, len(sources))
    for done, source in enumerate(sources, 1):
        try:
            watch()
            key = known.key(source)
            if key in known:
                report.known.append(source.name)
            else:
                about = {"format": format_name, "name": source.name, "hash": key}
                report.ids.append(bring(home, source.load(), about, settings, watch))
                known.add(key)
        except StoppedError:
            report.stopped = True
            return report
        except _BROKEN as error:
            _log.warning("the %s take %s is skipped: %r", format_name, source.name, error)
            report.skipped.append((source.name, _reason(error)))
        progress(done, len(sources))
    return report


def preview(
    format_name: str, sources: Sequence[Source], home: Home, progress: Progress, watch: Watch = nobody_watches
) -> list[Preview]:
    """What ``run_import`` would do, without writing anything. StoppedError if ``watch`` raises it."""
    known, found = _Known(home, format_name), []
    progress(0, len(sources))
    for done, source in enumerate(sources, 1):
        watch()
        try:
            found.append(_preview(source, known))
        except _BROKEN as error:
            found.append(Preview(source.name, problem=_reason(error)))
        progress(done, len(sources))
    return found


_BROKEN = (WorkbenchError, OSError, ValueError, KeyError, TypeError, IndexError)


def _reason(error: BaseException) -> str:
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)


def _preview(source: Source, known: _Known) -> Preview:
    key = known.key(source)
    seen, take = key in known, source.load()
    known.add(key)
    if isinstance(take, SealedSource):
        about, streams = take.manifest, tuple(take.manifest.streams.values())
        size = sum(path.stat().st_size for path in take.folder.rglob("*") if path.is_file())
        words = (about.kind, about.task, about.instruction)
        return Preview(source.name, *words, about.duration_s, streams, seen, bytes=size)
    task = take.task or task_name(take.instruction)
    return Preview(source.name, take.kind, task, take.instruction, take.duration_s, take.specs, seen)


class _Known:
    """Which source takes are in the library already; files that several takes share are hashed once."""

    def __init__(self, home: Home, format_name: str) -> None:
        self._format = format_name
        self._keys = imported_hashes(home) | {folder.name.partition(".")[0] for folder in home.episodes.glob("*.zarr")}
        self._files: dict[Path, bytes] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        self._keys.add(key)

    def key(self, source: Source) -> str:
        """The take's own id, else SHA-256 of the format's name, its files' contents in order, and its part of them."""
        if source.id or not source.part:
            return source.id or source_hash(self._format, source)
        whole = hashlib.sha256(self._format.encode())
        for path in source.files:
            if path not in self._files:
                with open(path, "rb") as file:
                    self._files[path] = hashlib.file_digest(file, "sha256").digest()
            whole.update(self._files[path])
        whole.update(source.part.encode())
        return whole.hexdigest()


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
