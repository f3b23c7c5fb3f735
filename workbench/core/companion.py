"""Whether another process still runs, asked once per tick for the price of one system call."""

from __future__ import annotations

import contextlib
import os
import select


class Companion:
    """Another process of this machine. One thread; close it.

    Where the system has no process handles (anything but Linux) it never says that the process has ended; there the
    pipe to it tells, some milliseconds later.
    """

    def __init__(self, pid: int) -> None:
        self._poll: select.poll | None = None
        self._handle, self._ended = -1, False
        if not hasattr(os, "pidfd_open"):
            return
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended = True
        except OSError:  # a system that forbids it
            return
        else:
            self._poll = select.poll()
            self._poll.register(self._handle, select.POLLIN)

    @property
    def ended(self) -> bool:
        """True once the process has ended, whether or not its parent has taken notice. Never blocks."""
        if not self._ended and self._poll is not None:
            self._ended = bool(self._poll.poll(0))
        return self._ended

    def close(self) -> None:
        """Safe to call twice."""
        self._poll = None
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):  # closed behind our back is closed
                os.close(handle)
