"""One station per data folder: two would drive the same arm and record into each other's library."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import sys
from pathlib import Path

from workbench.core.errors import WorkbenchError

LOCK_NAME = ".station.lock"


class HomeLock:
    """The right to run a station on a data folder. The kernel takes it back when the process ends, however it ends.

    Looking at takes needs no lock; only a station does. Used from one thread.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / LOCK_NAME
        self._handle = -1

    def take(self, program: str = "") -> None:
        """Take the lock. WorkbenchError says which program holds it, its process id and since when.

        Args:
            program: how this program calls itself to the others; "" for its command line.
        """
        if self._handle >= 0:
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _described(os.pread(handle, 4096, 0))
            os.close(handle)
            raise WorkbenchError(
                f"a station is running on {self._path.parent} already ({holder})",
                "Close it first, or choose another data folder with --home",
            ) from None
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        words = {"pid": os.getpid(), "program": program or _command_line(), "since": since}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(words).encode(), 0)

    def release(self) -> None:
        """Let others in; safe to call twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _command_line() -> str:
    words = [Path(sys.argv[0]).name, *sys.argv[1:3]] if sys.argv and sys.argv[0] else ["python"]
    return " ".join(words)[:80]


def _described(text: bytes) -> str:
    """Who holds the lock, in words; the file may be half written or somebody else's."""
    try:
        words = json.loads(text)
        return f"`{words['program']}`, process {int(words['pid'])}, since {words['since']}"
    except (ValueError, KeyError, TypeError):
        return "it does not say which program it is"
