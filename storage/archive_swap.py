"""Putting an archived take where the original was, and back, so that a crash leaves one of them whole.

Folders: ``episodes/<id>.zarr`` the take; ``archiving/<id>.zarr`` what is being made or taken away;
``trash/originals/<id>.zarr`` the original of an archived take, which is not a take in the trash: nobody lists it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.disk import sync_paths
from storage.layout import SEALED_SUFFIX, Home
from storage.manifest import Manifest
from storage.marks import ARCHIVE, recorded_hash
from storage.reader import read_manifest
from workbench.core.errors import CorruptTakeError, StateError

_EXCHANGE = 2  # RENAME_EXCHANGE, linux/fs.h
_AT_FDCWD = -100
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def original_folder(home: Home, episode_id: str) -> Path:
    """Where the original of an archived take lies, while it is kept."""
    return home.trash / "originals" / home.sealed(episode_id).name


def work_folder(home: Home, episode_id: str) -> Path:
    """Where an archived take is made."""
    return home.path / "archiving" / home.sealed(episode_id).name


def original_hash(manifest: Manifest) -> str:
    """The content hash a take was recorded with, archived or not: the same for both forms of a take."""
    return recorded_hash(manifest.extra, manifest.content_hash)


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """One archiving at a time per data root, over all processes. StateError if another one is under way."""
    handle = os.open(home.path / ".archive.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StateError("another process is archiving takes", "Wait until it is done") from None
    finally:
        os.close(handle)


def put_in_place(home: Home, episode_id: str) -> None:
    """Exchange the take with what was made in the work folder, and keep the original. OSError if the disk refuses."""
    made, live, kept = _folders(home, episode_id)
    kept.parent.mkdir(parents=True, exist_ok=True)
    if exchange(made, live):
        made.rename(kept)
    else:  # two steps: ``settle`` takes the second one if this process cannot
        live.rename(kept)
        made.rename(live)
    sync_paths([made.parent, live.parent, kept.parent])


def put_back(home: Home, episode_id: str) -> None:
    """Exchange the archived take with its original and remove it. OSError if the disk refuses."""
    made, live, kept = _folders(home, episode_id)
    made.parent.mkdir(exist_ok=True)
    shutil.rmtree(made, ignore_errors=True)
    if exchange(kept, live):
        kept.rename(made)
    else:
        live.rename(made)
        kept.rename(live)
    sync_paths([made.parent, live.parent, kept.parent])
    shutil.rmtree(made)


def settle(home: Home) -> list[str]:
    """Finish or undo what a killed archiving left; says in words what was done. Call it within ``only_one``.

    Whatever happens, a folder is only removed while the take itself lies in its place.
    """
    done = []
    for made in sorted((home.path / "archiving").glob("*" + SEALED_SUFFIX)):
        done += _settle_made(home, made)
    for kept in sorted((home.trash / "originals").glob("*" + SEALED_SUFFIX)):
        done += _settle_kept(home, kept)
    return done


def settle_leftovers(home: Home) -> list[str]:
    """``settle`` for whoever starts or looks after the program; nothing while an archiving is under way."""
    try:
        with only_one(home):
            return settle(home)
    except StateError:
        return []


def set_originals_free(home: Home, episode_ids: Iterable[str] | None = None, suffix: str = ".purging") -> int:
    """Give the originals of these archived takes (None: of all) to the purge; returns how many there were.

    Each becomes ``trash/<id>.original<suffix>``, a name of no take.
    """
    kept = home.trash / "originals"
    wanted = None if episode_ids is None else {home.sealed(episode_id).name for episode_id in episode_ids}
    found = [path for path in kept.glob("*" + SEALED_SUFFIX) if wanted is None or path.name in wanted]
    for path in found:
        path.rename(home.trash / f"{path.name.partition('.')[0]}.original{suffix}")
    return len(found)


def exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system or the disk cannot. OSError if the disk refuses."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    names = os.fsencode(first), os.fsencode(second)
    if library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _settle_made(home: Home, made: Path) -> list[str]:
    episode_id = made.name.partition(".")[0]
    live, kept = home.sealed(episode_id), original_folder(home, episode_id)
    there, now = _look(made), _look(live) or _look(home.trashed(episode_id))
    if now is None:
        if there is None or not there.sealed or live.exists() or home.trashed(episode_id).exists():
            return []  # nothing is sure, nothing is touched
        made.rename(live)
        return [f"{episode_id}: the take was put in its place"]
    if there is not None and _is_original(there, now) and not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        made.rename(kept)
        return [f"{episode_id}: the original was put aside"]
    shutil.rmtree(made)
    return [f"{episode_id}: an unfinished archive was removed"]


def _settle_kept(home: Home, kept: Path) -> list[str]:
    """Beside a take that is not archived there is nothing to keep: it is the original, or its equal."""
    there, now = _look(kept), _look(home.sealed(kept.name.partition(".")[0]))
    if there is None or now is None or ARCHIVE in now.extra or original_hash(there) != now.content_hash:
        return []
    shutil.rmtree(kept)
    return [f"{now.id}: what was left of its archived form was removed"]


def _is_original(one: Manifest, archived: Manifest) -> bool:
    return ARCHIVE not in one.extra and ARCHIVE in archived.extra and original_hash(archived) == one.content_hash


def _look(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except CorruptTakeError:
        return None


def _folders(home: Home, episode_id: str) -> tuple[Path, Path, Path]:
    return work_folder(home, episode_id), home.sealed(episode_id), original_folder(home, episode_id)
