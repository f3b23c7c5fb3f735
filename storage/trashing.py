"""Emptying the trash: the one thing that nobody can take back."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from storage import marks
from storage.archive_swap import set_originals_free
from storage.layout import Home
from storage.reader import read_manifest
from storage.scanning import keep_trial
from workbench.core.errors import CorruptTakeError

PURGING = ".purging"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What came of emptying the trash.

    Attributes:
        ids: takes that are gone for good. freed_bytes: what they took up on disk.
        refused: takes that stay in the trash, and why: the names of snapshots, models and runs that need them.
    """

    ids: tuple[str, ...] = ()
    freed_bytes: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict)


def doom(home: Home, episode_id: str) -> None:
    """Rename a take in the trash so that it counts as gone; ``sweep`` removes it. What it proves of a model stays."""
    folder = home.trashed(episode_id)
    try:
        trial = read_manifest(folder).extra.get(marks.TRIAL)
        if isinstance(trial, dict):
            keep_trial(home, trial)
    except CorruptTakeError as error:
        _log.warning("the take %s goes without telling of its trial: %s", episode_id, error)
    folder.rename(folder.with_name(f"{episode_id}{PURGING}"))
    set_originals_free(home, [episode_id], PURGING)


def sweep(home: Home) -> int:
    """Remove what was doomed, also by a program that died over it; returns the bytes that are free again."""
    freed = 0
    for folder in sorted(home.trash.glob(f"*{PURGING}")):
        episode_id = folder.name.removesuffix(PURGING)
        truth = home.evaluation / f"{episode_id}.npz"
        freed += disk_bytes(truth) + disk_bytes(folder)
        truth.unlink(missing_ok=True)
        shutil.rmtree(folder)  # last, so that who dies here does all of it again
    return freed


def disk_bytes(path: Path) -> int:
    """What a file or a folder takes up on disk."""
    if path.is_file():
        return path.stat().st_blocks * 512
    return sum(part.lstat().st_blocks * 512 for part in path.rglob("*"))
