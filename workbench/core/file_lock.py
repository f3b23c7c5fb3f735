"""A right that one process has at a time; the kernel takes it back when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from workbench.core.errors import WorkbenchError

_LOOK_S = 0.05


class FileLock:
    """An advisory lock on a file. Used from one thread; as a context it waits up to ``patience_s``.

    Args:
        why: what it means that somebody else has it, for the error.
    """

    def __init__(self, path: Path, why: str, patience_s: float = 60.0) -> None:
        self._path = path
        self._why = why
        self._patience_s = patience_s
        self._handle = -1

    def take(self) -> bool:
        """True if this process has it now. OSError if the file cannot be made."""
        if self._handle >= 0:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def keep_over_exec(self) -> None:
        """Let the program that replaces this one go on having it."""
        os.set_inheritable(self._handle, True)

    def release(self) -> None:
        """Let others have it; safe to call twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._patience_s
        while not self.take():
            if time.monotonic() > deadline:
                raise WorkbenchError(self._why, "Wait until it has ended")
            time.sleep(_LOOK_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
