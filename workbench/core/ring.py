"""Stamped rings in shared memory: one writer, any readers, no locks, no torn items.

A ring is one memory-mapped file, by default below /dev/shm. Every item carries a stamp that the writer makes negative
while it copies and positive afterwards; a reader checks it before and after its own copy, so an item that was
overwritten meanwhile is reported as missing instead of being returned torn. Readers never slow the writer. A follower
may publish how far it has come (``ack``), which only lockstep simulation waits for.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError
from workbench.core.types import Frame, StreamSpec

_MAGIC = 0x434C4150_52494E47
_HEADER_BYTES = 4096
_SLOT_HEADER = 6  # int64: stamp before, sequence, t_device_ns, t_host_ns, gap_before, unused
_MAGIC_AT, _SLOTS_AT, _WRITTEN_AT, _ACKED_AT, _SPEC_AT = 0, 1, 2, 3, 8


def runtime_directory() -> Path:
    """Where rings and sockets of this user live: memory-backed if possible."""
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    path = base / f"clap-workbench-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise WorkbenchError(f"{path} belongs to another user", "Remove that folder, or ask its owner to")
    return path


def sweep_runtime_directory() -> int:
    """Remove what dead processes left behind (folders are named ``<pid>-...``). Returns how many folders went."""
    removed = 0
    for folder in runtime_directory().glob("*-*"):
        pid = folder.name.split("-")[0]
        if pid.isdigit() and folder.is_dir() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)  # another sweep may be at work on the same folder
            removed += 1
    return removed


class Ring:
    """One stream's ring. Make it with ``create`` (the writer) or ``attach`` (a reader, any process)."""

    def __init__(self, path: Path, spec: StreamSpec, memory: mmap.mmap, owner: bool) -> None:
        self.path = path
        self.spec = spec
        self._memory = memory
        self._owner = owner
        self._header = np.frombuffer(memory, dtype=np.int64, count=_SPEC_AT)
        self.slots = int(self._header[_SLOTS_AT])
        stride = _SLOT_HEADER + -(-spec.item_bytes // 8)
        words = np.frombuffer(memory, dtype=np.int64, offset=_HEADER_BYTES, count=self.slots * stride)
        slots = words.reshape(self.slots, stride)
        self._stamps = slots[:, :_SLOT_HEADER]
        self._items: list[NDArray[Any]] = [
            slots[i, _SLOT_HEADER:].view(np.uint8)[: spec.item_bytes].view(spec.dtype).reshape(spec.shape)
            for i in range(self.slots)
        ]

    @classmethod
    def create(cls, path: Path, spec: StreamSpec, slots: int = 0) -> Ring:
        """Make a ring file. ``slots`` 0 means about two seconds of the stream, at least 8."""
        slots = slots or max(8, round(2 * spec.rate_hz))
        text = json.dumps(spec.to_json()).encode()
        if len(text) + 8 * _SPEC_AT + 8 > _HEADER_BYTES:
            raise ValueError(f"the description of stream {spec.name} is too long for a ring header")
        size = _HEADER_BYTES + slots * 8 * (_SLOT_HEADER + -(-spec.item_bytes // 8))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
            memory = mmap.mmap(handle, size)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise WorkbenchError(
                f"no shared memory for stream {spec.name} ({error})", "Free memory or /dev/shm"
            ) from error
        finally:
            os.close(handle)
        header = np.frombuffer(memory, dtype=np.int64, count=_SPEC_AT)
        header[_SLOTS_AT], header[_ACKED_AT] = slots, 0
        at = 8 * _SPEC_AT
        memory[at : at + 8] = len(text).to_bytes(8, "little")
        memory[at + 8 : at + 8 + len(text)] = text
        header[_MAGIC_AT] = _MAGIC
        return cls(path, spec, memory, owner=True)

    @classmethod
    def attach(cls, path: Path) -> Ring:
        """Open an existing ring; WorkbenchError if it is gone."""
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            raise WorkbenchError(f"the stream {path.name} is not running", "Start the station first") from None
        try:
            if os.fstat(handle).st_size < _HEADER_BYTES:
                raise WorkbenchError(f"{path} is not a stream ring", "Start the station first")
            memory = mmap.mmap(handle, 0)
        finally:
            os.close(handle)
        if int(np.frombuffer(memory, dtype=np.int64, count=1)[0]) != _MAGIC:
            raise WorkbenchError(f"{path} is not a stream ring", "Start the station first")
        at = 8 * _SPEC_AT
        length = int.from_bytes(memory[at : at + 8], "little")
        spec = StreamSpec.from_json(json.loads(memory[at + 8 : at + 8 + length]))
        return cls(path, spec, memory, owner=False)

    @property
    def written(self) -> int:
        """How many items were ever written; the newest has index ``written - 1``."""
        return int(self._header[_WRITTEN_AT])

    @property
    def acked(self) -> int:
        """How many items the follower says it has taken."""
        return int(self._header[_ACKED_AT])

    def ack(self, count: int) -> None:
        """Follower: everything before item ``count`` is taken."""
        self._header[_ACKED_AT] = count

    def write(self, data: NDArray[Any], *, sequence: int, t_device_ns: int, t_host_ns: int, gap_before: int = 0) -> int:
        """Writer: append one item and return its index. Never waits."""
        index = self.written
        slot = index % self.slots
        stamps = self._stamps[slot]
        stamps[0] = -(index + 1)
        stamps[1:5] = sequence, t_device_ns, t_host_ns, gap_before
        self._items[slot][...] = data
        stamps[0] = index + 1
        self._header[_WRITTEN_AT] = index + 1
        return index

    def read(self, index: int) -> Frame | None:
        """A copy of item ``index``, or None if it is not there yet or no longer."""
        items, slot = self._items, index % self.slots
        stamps = self._stamps[slot]
        if index < 0 or not items or int(stamps[0]) != index + 1:
            return None
        _, sequence, t_device_ns, t_host_ns, gap, _ = (int(value) for value in stamps)
        data = items[slot].copy()
        if int(stamps[0]) != index + 1:
            return None
        return Frame(sequence, t_device_ns, t_host_ns, gap, data)

    def latest(self) -> Frame | None:
        """A copy of the newest item, or None while there is none."""
        for _ in range(3):
            frame = self.read(self.written - 1)
            if frame is not None or self.written == 0:
                return frame
        return None

    def host_times(self) -> tuple[int, NDArray[np.int64]]:
        """Index of the oldest item that is still there, and the host times of all from it on, without copying items.

        An item may be overwritten before it is read; ``read`` then says so.
        """
        written = self.written
        first = max(0, written - self.slots + 1)  # the oldest slot may be under the writer's hands
        stamps = self._stamps
        return first, np.array([stamps[index % self.slots][3] for index in range(first, written)], dtype=np.int64)

    def newest_host_ns(self) -> int:
        """Host time of the newest item without copying it; 0 while there is none."""
        written = self.written
        return int(self._stamps[(written - 1) % self.slots][3]) if written else 0

    def close(self) -> None:
        """Let go of the memory; the writer also removes the file. Safe to call twice."""
        self._items = []  # a new list: a reader in another thread may still hold the old one
        self._stamps = np.zeros((self.slots, _SLOT_HEADER), np.int64)
        self._header = np.zeros(_SPEC_AT, np.int64)
        with contextlib.suppress(BufferError):  # a caller still looks at the header; the mapping goes with it
            self._memory.close()
        if self._owner:
            self.path.unlink(missing_ok=True)
            self._owner = False
