"""Archiving: a sealed take in a form of about video size, under the same id, and the way back.

Pictures are stored anew (``recoding``); numbers, times, gaps, rows and the journal are copied byte for byte. The new
form is made beside the take, read back in full, and put in its place in one step; the original waits in the trash.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage import zarr_meta
from storage.archive_swap import only_one, original_folder, put_back, put_in_place, settle, work_folder
from storage.content import content_hash, examine_stream, journal_sums, read_grid
from storage.database import locked
from storage.disk import sync_paths, write_file
from storage.layout import COPY_NAME, GROUP_NAME, Home
from storage.manifest import Manifest
from storage.marks import ARCHIVE
from storage.reader import Episode, read_manifest
from storage.recoding import WORTH, ArchiveSettings, Recoded, plan_codec, recode, with_codecs
from storage.sealing import array_documents, write_manifest
from workbench.core.errors import CorruptTakeError, NotFoundError, StateError, WorkbenchError

Progress = Callable[[int, int], None]
_DEFAULTS = ArchiveSettings()


class ArchiveStoppedError(WorkbenchError):
    """Somebody asked to stop; the take is as it was."""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What came of archiving one take.

    Attributes:
        changed: False if its form would not have become smaller; the take is then as it was.
        bytes_before, bytes_after: of all files of the take together.
        psnr_db, ssim: of the worst piece of any colour stream against what was stored; None without colour.
        streams: figures per stream that was stored anew, as the manifest keeps them.
    """

    episode_id: str
    changed: bool
    bytes_before: int
    bytes_after: int
    psnr_db: float | None = None
    ssim: float | None = None
    streams: dict[str, Any] = field(default_factory=dict)


def archive_take(
    home: Home,
    episode_id: str,
    settings: ArchiveSettings = _DEFAULTS,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> ArchiveReport:
    """Store a sealed take anew, smaller. Blocks; one at a time per data root, over all processes.

    The catalogue's entry has to be refreshed afterwards. Labels, notes and marks that change meanwhile are kept.

    Args:
        progress: told (pictures done, pictures in all) often; what it raises ends the work, the take is as it was.
        cancel: asked often; True ends the work with ArchiveStoppedError.

    Raises:
        NotFoundError, CorruptTakeError (the take is damaged and stays), StateError (archived already, trashed
        meanwhile, or another process is archiving), WorkbenchError (the disk refuses).
    """
    with only_one(home), _disk(home, episode_id):
        settle(home)
        with Episode.open(home, episode_id) as take:
            manifest = take.manifest
            if ARCHIVE in manifest.extra:
                raise StateError(
                    f"the take {episode_id} is archived already", "`episodes archive --undo` takes it back"
                )
            problems = take.verify()
        if problems:
            raise CorruptTakeError(
                f"the take {episode_id} is damaged ({problems[0]})", "Run `python main.py doctor`; it stays as it is"
            )
        try:
            return _archive(home, manifest, settings, _Ticker(manifest, progress, cancel))
        except BaseException:
            settle(home)  # it knows what is half-made and what is the original
            raise


def unarchive(home: Home, episode_id: str) -> Manifest:
    """Put the original of an archived take back in its place, with the labels and marks given since.

    The catalogue's entry has to be refreshed afterwards. NotFoundError if the original was purged, StateError if the
    take is not archived or lies in the trash.
    """
    with only_one(home), _disk(home, episode_id):
        settle(home)
        with locked(home.path / ".catalog.lock"):
            archived = _current(home, episode_id)
            kept = original_folder(home, episode_id)
            if ARCHIVE not in archived.extra:
                raise StateError(f"the take {episode_id} is not archived", "There is nothing to undo")
            if not kept.is_dir():
                raise NotFoundError(f"the original of take {episode_id} was purged", "The archived form stays")
            original = read_manifest(kept)
            if original.content_hash != archived.extra[ARCHIVE].get("original_hash"):
                raise CorruptTakeError(f"the original of take {episode_id} is another take", "The archived form stays")
            extra = {key: value for key, value in archived.extra.items() if key != ARCHIVE}
            restored = dataclasses.replace(original, outcome=archived.outcome, notes=archived.notes, extra=extra)
            write_manifest(kept, restored, sync=True)
            put_back(home, episode_id)
            return restored


def is_archived(manifest: Manifest) -> bool:
    """True for the archived form of a take."""
    return ARCHIVE in manifest.extra


def can_unarchive(home: Home, episode_id: str) -> bool:
    """True while the original is kept."""
    return original_folder(home, episode_id).is_dir()


class _Ticker:
    """Counts pictures, tells how far the work is and stops it when asked to."""

    def __init__(self, manifest: Manifest, progress: Progress | None, cancel: Callable[[], bool] | None) -> None:
        self._id = manifest.id
        self._progress = progress
        self._cancel = cancel
        self._done = 0
        self._total = sum(manifest.counts[name] for name, item in manifest.layout.items() if item.codec is not None)

    def __call__(self, pictures: int) -> None:
        self._done += pictures
        if self._cancel is not None and self._cancel():
            raise ArchiveStoppedError(f"archiving the take {self._id} was stopped", "The take is as it was")
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


def _archive(home: Home, manifest: Manifest, settings: ArchiveSettings, tick: _Ticker) -> ArchiveReport:
    """Make the new form in the work folder, check it, and put it in place."""
    live, made = home.sealed(manifest.id), work_folder(home, manifest.id)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    found = _recode_streams(live, made, manifest, settings, tick)
    before = _folder_bytes(live)
    if not found:
        shutil.rmtree(made)
        return ArchiveReport(manifest.id, False, before, before)
    _copy_rest(live, made, set(found))
    fresh = with_codecs(manifest, {name: item.layout for name, item in found.items()})
    fresh = dataclasses.replace(fresh, content_hash=_hash_of(made, fresh))
    _describe(made, fresh)
    if settings.sync:
        sync_paths([made, *made.rglob("*")])
    report = _report(manifest, found, before, _folder_bytes(made))
    tick(0)  # the last moment to stop
    _swap(home, manifest, fresh, report, sync=settings.sync)
    return report


def _recode_streams(
    live: Path, made: Path, manifest: Manifest, settings: ArchiveSettings, tick: _Ticker
) -> dict[str, Recoded]:
    """Every stream that becomes smaller; others leave nothing in ``made``."""
    found = {}
    for name, spec in manifest.streams.items():
        layout, count = manifest.layout[name], manifest.counts[name]
        codec = plan_codec(spec, layout, settings) if count else None
        result = recode(live, made / name, manifest, name, codec, settings, tick) if codec else None
        if result is None:
            tick(count if layout.codec is not None else 0)
            continue
        before = sum(path.stat().st_size for path in (live / name).glob("c.*"))
        if result.bytes_after >= WORTH * before:
            shutil.rmtree(made / name)
        else:
            found[name] = dataclasses.replace(result, bytes_before=before)
    return found


def _copy_rest(live: Path, made: Path, recoded: set[str]) -> None:
    """Everything but the pictures that were stored anew and the descriptions that change with them."""
    for path in sorted(live.iterdir()):
        if path.name in recoded or path.name in (GROUP_NAME, COPY_NAME):
            continue
        if path.is_dir():
            shutil.copytree(path, made / path.name, symlinks=True)
        else:
            shutil.copy2(path, made / path.name, follow_symlinks=False)


def _hash_of(made: Path, fresh: Manifest) -> str:
    """The content hash of what is on disk now, read back in full. CorruptTakeError if anything is not as written."""
    sums, digests = journal_sums(made), {}
    for name in fresh.streams:
        digests[name], damage = examine_stream(made, fresh, name, sums)
        if damage:
            raise CorruptTakeError(f"the archived form did not come out whole ({damage[0]})", "The take is as it was")
    return content_hash(fresh, digests, read_grid(made, fresh))


def _folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _describe(made: Path, fresh: Manifest) -> None:
    for path, document in array_documents(fresh).items():
        write_file(made / path / GROUP_NAME, zarr_meta.to_bytes(document), sync=False)


def _report(manifest: Manifest, found: dict[str, Recoded], before: int, after: int) -> ArchiveReport:
    worst = [(min(item.psnr), min(item.ssim)) for item in found.values() if item.psnr]
    return ArchiveReport(
        manifest.id,
        True,
        before,
        after,
        round(min(pair[0] for pair in worst), 2) if worst else None,
        round(min(pair[1] for pair in worst), 4) if worst else None,
        {name: item.to_json() for name, item in found.items()},
    )


def _swap(home: Home, manifest: Manifest, fresh: Manifest, report: ArchiveReport, *, sync: bool) -> None:
    """Take over what was labelled meanwhile and exchange the folders; nobody edits takes in between."""
    made = work_folder(home, manifest.id)
    with locked(home.path / ".catalog.lock"):
        now = _current(home, manifest.id)
        if now.content_hash != manifest.content_hash or ARCHIVE in now.extra:
            raise StateError(f"the take {manifest.id} was changed meanwhile", "Archive it again")
        told = {
            "at": datetime.datetime.now(datetime.UTC).isoformat(),
            "codec": "+".join(sorted({str(stream["codec"]) for stream in report.streams.values()})),
            "psnr_db": report.psnr_db,
            "ssim": report.ssim,
            "bytes_before": report.bytes_before,
            "bytes_after": report.bytes_after,
            "original_hash": manifest.content_hash,
            "streams": report.streams,
        }
        whole = dataclasses.replace(
            now, layout=fresh.layout, content_hash=fresh.content_hash, extra={**now.extra, ARCHIVE: told}
        )
        write_manifest(made, whole, sync=sync)
        put_in_place(home, manifest.id)


def _current(home: Home, episode_id: str) -> Manifest:
    """What the take says now. StateError if it was moved to the trash, NotFoundError if it is nowhere."""
    if home.sealed(episode_id).is_dir():
        return read_manifest(home.sealed(episode_id))
    if home.trashed(episode_id).is_dir():
        raise StateError(f"the take {episode_id} lies in the trash", f"Restore it: episodes restore {episode_id}")
    raise NotFoundError(f"there is no take {episode_id}", "`episodes list` names those that there are")


@contextlib.contextmanager
def _disk(home: Home, episode_id: str) -> Iterator[None]:
    """Turn the disk's refusals into a sentence."""
    try:
        yield
    except OSError as error:
        if not home.sealed(episode_id).is_dir():
            raise StateError(f"the take {episode_id} was moved meanwhile", "Bring it back and try again") from error
        raise WorkbenchError(
            f"the take {episode_id} could not be stored anew ({error.strerror or error}); it is as it was",
            f"Free space on the disk of {home.path}",
        ) from error
