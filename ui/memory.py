"""Memory that pictures have left behind goes back to the system.

A window that runs all day makes and drops thousands of arrays of a megabyte in a dozen threads. Left to itself, glibc
keeps such blocks in one heap per thread, full of holes, and the program seems to grow for ever.
"""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # numbers of mallopt(3)
_LARGE_BYTES = 256 * 1024
_ARENAS = 2


def give_back_large_blocks() -> None:
    """Large blocks are mapped one by one and unmapped when dropped; few heaps for the rest. Elsewhere: no change."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        for what, value in (
            (_MMAP_THRESHOLD, _LARGE_BYTES),
            (_TRIM_THRESHOLD, _LARGE_BYTES),
            (_ARENA_MAX, _ARENAS),
        ):
            mallopt(what, value)
