"""Whether work that can wait should: a take is being recorded and the processor has no time to spare."""

from __future__ import annotations

import time

import psutil

from storage.journal import is_being_written
from storage.layout import JOURNAL_NAME, PARTIAL_SUFFIX, Home

GIVE_WAY_S = 0.25
_BUSY_PERCENT = 50.0  # of all cores


def is_recording(home: Home) -> bool:
    """Whether any program is writing a take into this data folder now."""
    return any(is_being_written(folder / JOURNAL_NAME) for folder in home.episodes.glob("*" + PARTIAL_SUFFIX))


class GiveWay:
    """Asked between the parts of a long work; looks now and then, answers quickly. One thread."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._next_check_s = 0.0
        psutil.cpu_percent(None)  # the first call has nothing to compare with

    def look_again(self) -> None:
        """Look at the next question, whenever the last one was."""
        self._next_check_s = 0.0

    def must_wait(self) -> bool:
        """True if the work should wait for ``GIVE_WAY_S`` and ask again after ``look_again``."""
        now_s = time.monotonic()
        if now_s < self._next_check_s:
            return False
        self._next_check_s = now_s + GIVE_WAY_S
        return is_recording(self._home) and psutil.cpu_percent(None) > _BUSY_PERCENT
