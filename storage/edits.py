"""Changes to sealed takes: labels, notes, remarks of others, and the way to the trash and back. Never the contents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from storage.disk import sync_paths
from storage.layout import GROUP_NAME, Home
from storage.manifest import Manifest
from storage.reader import read_manifest
from storage.sealing import write_manifest
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import Outcome


def take_folder(home: Home, episode_id: str) -> Path:
    """Where a sealed take lies, in use or in the trash. NotFoundError if it is in neither."""
    for folder in (home.sealed(episode_id), home.trashed(episode_id)):
        if folder.is_dir():
            return folder
    raise NotFoundError(f"the take {episode_id} is no longer on disk", "Run `python main.py doctor`")


def change_manifest(
    folder: Path, *, outcome: str | None = None, notes: str | None = None, extra: dict[str, Any] | None = None
) -> Manifest:
    """Change what is given; ``extra`` is merged, a value of None in it removes the key.

    Atomic and durable; the content hash stays true.
    """
    manifest, given = read_manifest(folder), extra or {}
    changed = dataclasses.replace(
        manifest,
        outcome=manifest.outcome if outcome is None else Outcome(outcome),
        notes=manifest.notes if notes is None else notes,
        extra={key: value for key, value in {**manifest.extra, **given}.items() if given.get(key, ()) is not None},
    )
    checked = Manifest.from_json(changed.to_json())
    write_manifest(folder, checked, sync=True)
    return checked


def move_take(home: Home, episode_id: str, *, to_trash: bool) -> None:
    """Move a take to the trash or back; fine if it is there already. WorkbenchError if it is nowhere."""
    source, target = home.sealed(episode_id), home.trashed(episode_id)
    if not to_trash:
        source, target = target, source
    if target.is_dir() and not source.is_dir():
        return
    try:
        source.rename(target)
    except OSError as error:
        raise WorkbenchError(
            f"the take {episode_id} cannot be moved ({error.strerror})", "Run `python main.py doctor`"
        ) from error
    sync_paths([home.episodes, home.trash])


def stamp_of(folder: Path) -> str:
    """What changes whenever a take's manifest does: its file's inode, time and size; "" without a file."""
    try:
        stat = (folder / GROUP_NAME).stat()
    except OSError:
        return ""
    return f"{stat.st_ino}:{stat.st_mtime_ns}:{stat.st_size}"
