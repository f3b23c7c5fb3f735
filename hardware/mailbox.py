"""Newest-wins hand-over from a device's own thread to the control tick, which never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
SILENCE_S = 0.15  # a device that has said nothing for so long is not there
ABSENCE_S = 0.3  # nobody has asked for so long: whoever asks again starts afresh


class Mailbox(Generic[T]):
    """Holds the newest reading of a device. Thread-safe.

    A dead-man that opened and closed again between two ticks is not lost: ``take`` tells of it. Nor is a time in which
    nobody listened: the first ``take`` after it finds nothing, as after a loss, so that a hand that has held its
    dead-man all the while does not move the arm at once.
    """

    def __init__(self, silence_s: float = SILENCE_S, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._silence_ns = round(silence_s * 1e9)
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._newest: T | None = None
        self._at_ns = 0
        self._asked_ns = 0
        self._released = self._lost = False
        self._marks: list[str] = []

    def put(self, reading: T, held: bool) -> None:
        """A new reading, and whether the dead-man is held in it."""
        with self._lock:
            self._newest, self._at_ns = reading, self._now_ns()
            self._released |= not held

    def lose(self) -> None:
        """The device has gone: the next ``take`` tells of it, even if the device is back by then."""
        with self._lock:
            self._newest = None
            self._released, self._lost = False, True

    def take(self) -> tuple[T | None, bool]:
        """The newest reading, None when there is none or it is too old; and whether the dead-man was seen open."""
        with self._lock:
            released, self._released = self._released and not self._lost, False
            lost, self._lost = self._lost, False
            now_ns = self._now_ns()
            lost |= now_ns - self._asked_ns > ABSENCE_S * 1e9
            self._asked_ns = now_ns
            fresh = now_ns - self._at_ns <= self._silence_ns
            return (self._newest if fresh and not lost else None), released

    def mark(self, word: str) -> None:
        """The operator's judgement of the take ("success", "failure"), kept until it is asked for."""
        with self._lock:
            self._marks.append(word)

    def marks(self) -> tuple[str, ...]:
        """The judgements since the last call."""
        with self._lock:
            marks, self._marks = tuple(self._marks), []
            return marks
