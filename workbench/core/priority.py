"""Who runs first when the processor is short: the arm, then capture, then everything; learning and upkeep last."""

from __future__ import annotations

import contextlib
import os
import threading
from enum import IntEnum
from pathlib import Path

REAL_TIME = "real time"
_AUTOGROUP = Path("/proc/self/autogroup")


class Rank(IntEnum):
    """Real-time ranks; the higher runs first. Both leave most of a processor idle, so neither starves the window."""

    CAPTURE = 5
    ARM = 10


def run_before(rank: Rank) -> str:
    """Ask the system to run this thread, and those it starts from now on, before others.

    Returns what was granted, in words. Linux and macOS; without the right to it nothing changes.
    """
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(rank))
            return f"{REAL_TIME} (FIFO {rank.value})"
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        return "raised (nice -15)"
    return "normal (raising it is not permitted here)"


def run_after(niceness: int, *, own_session: bool = False) -> None:
    """Let others run before this thread and those it starts from now on.

    Args:
        own_session: this process leads a session of its own. Linux then shares processors between sessions first, so
            that niceness counts only among threads of one session; the session as a whole is made nice, too.
    """
    with contextlib.suppress(OSError):  # not permitted: it works as well, only less politely
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    if own_session and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(niceness))
