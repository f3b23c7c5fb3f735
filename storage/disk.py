"""The few ways this room touches files: whole writes, optional durability, no following of links."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def write_all(handle: int, data: bytes | memoryview, offset: int) -> None:
    """``pwrite`` until everything is written; OSError when the disk is full."""
    view = memoryview(data)
    while len(view):
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done


def write_file(path: Path | str, data: bytes, *, sync: bool) -> None:
    """Write a new file in place. Only for files that nothing on disk refers to yet."""
    handle = os.open(path, _NEW, 0o644)
    try:
        write_all(handle, data, 0)
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path | str, data: bytes, *, sync: bool) -> None:
    """Replace a file that is already relied upon: a crash leaves the old or the new one."""
    beside = f"{path}.tmp"
    write_file(beside, data, sync=sync)
    Path(beside).replace(path)


def write_range(path: Path | str, data: bytes, offset: int, size: int, *, sync: bool) -> None:
    """Write ``data`` at ``offset`` of a file kept at ``size`` bytes; what was never written reads as zeros."""
    handle = os.open(path, _OLD, 0o644)
    try:
        if os.fstat(handle).st_size != size:
            os.ftruncate(handle, size)
        write_all(handle, data, offset)
        if sync:
            os.fdatasync(handle)
    finally:
        os.close(handle)


class Reserve:
    """Room on the disk that is given back when the disk is full, so that what was recorded can still be sealed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = False

    def take(self, size: int) -> None:
        """Allocate ``size`` bytes. OSError if the disk does not have them."""
        if size <= 0:
            return
        handle = os.open(self._path, _NEW, 0o644)
        self._taken = True
        try:
            os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)

    def give_back(self) -> bool:
        """Free the room; False if there was none to free. OSError if the disk refuses."""
        if not self._taken:
            return False
        self._taken = False
        self._path.unlink(missing_ok=True)
        return True


def sync_paths(paths: Iterable[Path | str]) -> None:
    """Make files or folders durable."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def open_for_reading(path: Path | str) -> int:
    """A handle for ``pread``; a symbolic link is refused with OSError."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def read_exactly(handle: int, size: int, offset: int) -> bytes:
    """``size`` bytes at ``offset``; EOFError if the file is shorter."""
    data = os.pread(handle, size, offset)
    if len(data) != size:
        raise EOFError(f"wanted {size} bytes at {offset}, got {len(data)}")
    return data
