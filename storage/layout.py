"""Where things lie on disk: the data root and the names inside it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import CorruptTakeError, WorkbenchError

FORMAT = "clap-workbench-take"
FORMAT_VERSION = 1

SEALED_SUFFIX = ".zarr"
PARTIAL_SUFFIX = ".zarr.partial"
BEGUN_SUFFIX = ".begun"
JOURNAL_NAME = "journal.jsonl"
GROUP_NAME = "zarr.json"
COPY_NAME = "manifest.json"
ROWS_NAME = "rows"
REASON_NAME = "reason.txt"
RESERVE_NAME = "reserve"

_FOLDERS = ("episodes", "trash", "quarantine", "models", "runs", "exports", "cache", "evaluation")
_EPISODE_ID = re.compile(r"[0-9a-f]{32}")
_STREAM_NAME = re.compile(r"[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64}){0,7}")


def is_episode_id(text: str) -> bool:
    """True for the 32 hex digits that ``workbench.core.files.new_id`` makes; nothing else may become a path."""
    return _EPISODE_ID.fullmatch(text) is not None


def check_stream_name(name: str) -> str:
    """The name itself, if it is harmless as a folder name; else CorruptTakeError."""
    if _STREAM_NAME.fullmatch(name) is None or name == ROWS_NAME:
        raise CorruptTakeError(f"the stream name {name!r} is not allowed", "Use letters, digits, _ and single dots")
    return name


@dataclass(frozen=True, slots=True)
class Home:
    """The data root. Make it with ``Home.open``; the constructor itself touches no disk."""

    path: Path

    @classmethod
    def open(cls, path: Path | None = None, *, create: bool = True) -> Home:
        """The data root at ``path``, else ``$WORKBENCH_HOME``, else ``~/clap-workbench``.

        Raises WorkbenchError if it is missing (``create=False``) or cannot be written.
        """
        root = Path(path or os.environ.get("WORKBENCH_HOME") or Path.home() / "clap-workbench").expanduser().absolute()
        if not create and not root.is_dir():
            raise WorkbenchError(f"there is no data folder at {root}", "Check --home or $WORKBENCH_HOME")
        home = cls(root)
        try:
            for name in _FOLDERS:
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkbenchError(
                f"the data folder {root} cannot be made ({error.strerror})", "Choose another with --home"
            ) from error
        if not os.access(home.episodes, os.W_OK | os.X_OK):
            raise WorkbenchError(f"the data folder {root} cannot be written", "Choose another with --home")
        return home

    @property
    def episodes(self) -> Path:
        return self.path / "episodes"

    @property
    def trash(self) -> Path:
        return self.path / "trash"

    @property
    def quarantine(self) -> Path:
        """Leftovers that the doctor could not trust, each with a ``reason.txt``."""
        return self.path / "quarantine"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def evaluation(self) -> Path:
        """Truth kept outside the takes, for scoring only."""
        return self.path / "evaluation"

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the index: ``$WORKBENCH_CATALOG_URL``, else a SQLite file in the root."""
        return os.environ.get("WORKBENCH_CATALOG_URL") or f"sqlite:///{self.path / 'catalog.db'}"

    def free_bytes(self) -> int:
        """Bytes left on the disk that holds the data root."""
        return shutil.disk_usage(self.path).free

    def sealed(self, episode_id: str) -> Path:
        """Folder of a sealed take. CorruptTakeError for an id that is not 32 hex digits."""
        return self.episodes / (_checked(episode_id) + SEALED_SUFFIX)

    def partial(self, episode_id: str) -> Path:
        """Folder of a take that is being written."""
        return self.episodes / (_checked(episode_id) + PARTIAL_SUFFIX)

    def begun(self, episode_id: str) -> Path:
        """Folder of a take in the moment before it is ``partial``: nothing is in it but a journal without lines."""
        return self.episodes / (_checked(episode_id) + BEGUN_SUFFIX)

    def trashed(self, episode_id: str) -> Path:
        """Folder of a take in the trash."""
        return self.trash / (_checked(episode_id) + SEALED_SUFFIX)


def _checked(episode_id: str) -> str:
    if not is_episode_id(episode_id):
        raise CorruptTakeError(f"{episode_id!r} is not a take's id", "Ids are 32 hexadecimal digits")
    return episode_id


def newest_id(home: Home) -> str:
    """The greatest id of a take on disk, "" if there is none. A new take gets a greater one, whatever the clock."""
    newest = ""
    for folder in (home.episodes, home.trash):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:  # a missing folder is told when it is written
            ids = (entry.name.partition(".")[0] for entry in entries)
            newest = max(newest, max(filter(is_episode_id, ids), default=""))
    return newest
