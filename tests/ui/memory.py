"""Where the resident memory of this process lies: what tells a leak from room that the allocator keeps."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from pathlib import Path

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


def _kind(start: int, name: str) -> str:
    if name == "[heap]":
        return "heap_mb"
    if name.startswith("/dev/shm/"):
        return "rings_mb"
    if name and not name.startswith("["):
        return "mapped_mb"
    return "heaps_mb" if start % _HEAP_BYTES == 0 else "rest_mb"
