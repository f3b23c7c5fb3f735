"""Where the resident memory of this process lies, and what else of it could leak: widgets, threads, open files."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from PyQt6.QtCore import QEvent
from PyQt6.QtWidgets import QApplication

_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$")
_HEAP_BYTES = 64 << 20  # glibc aligns the heaps of threads to their greatest size


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
                 "keepcost")]  # fmt: skip


def resident_mb(smaps: str | None = None) -> dict[str, float]:
    """Megabytes by what holds them: the main heap, the heaps of threads, rings, files, and all the rest.

    The rest are large blocks, stacks, and the pools of Python's own allocator.
    """
    found: Counter[str] = Counter(heap_mb=0, heaps_mb=0, rings_mb=0, mapped_mb=0, rest_mb=0)
    kind = "rest_mb"
    for line in (smaps if smaps is not None else Path("/proc/self/smaps").read_text()).splitlines():
        head = _HEAD.match(line)
        if head is not None:
            kind = _kind(int(head[1], 16), head[4])
        elif line.startswith("Rss:"):
            found[kind] += int(line.split()[1])
    return {name: kilobytes * 1024 / 1e6 for name, kilobytes in found.items()}


def allocated_mb() -> dict[str, float]:
    """Megabytes that were asked of the allocator (``used_mb``) and that it keeps for later (``kept_mb``)."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _Mallinfo
    told = ask()
    return {"used_mb": (told.uordblks + told.hblkhd) / 1e6, "kept_mb": told.fordblks / 1e6}


def sample() -> dict[str, float]:
    """What could leak, now that everything was deleted that waits for it. The window's thread."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    gc.collect()
    process = psutil.Process()
    return {
        "minutes": time.monotonic() / 60,
        "rss_mb": process.memory_info().rss / 1e6,
        "widgets": len(QApplication.allWidgets()),
        "threads": threading.active_count(),
        "files": process.num_fds(),
        **resident_mb(),
        **allocated_mb(),
    }


def open_files() -> Counter[str]:
    """What this process has open, by kind: ids and numbers are left out."""
    kinds: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            kinds[sys.intern(re.sub(r"[0-9a-f]{12,}|\d+", "#", str(link.readlink())))] += 1
    return kinds


def _kind(start: int, name: str) -> str:
    if name == "[heap]":
        return "heap_mb"
    if name.startswith("/dev/shm/"):
        return "rings_mb"
    if name and not name.startswith("["):
        return "mapped_mb"
    return "heaps_mb" if start % _HEAP_BYTES == 0 else "rest_mb"
