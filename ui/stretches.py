"""How long the window's thread works at a stretch: what people feel as a window that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from PyQt6.QtCore import QAbstractEventDispatcher

from workbench.core.errors import WorkbenchError

LONGEST_MS = 16.0


@dataclass
class Stretches:
    """CPU milliseconds of the window's thread between one wait for events and the next, in their order."""

    found: list[float] = field(default_factory=list)

    @property
    def longest_ms(self) -> float:
        return max(self.found, default=0.0)

    def share_over(self, limit_ms: float) -> float:
        """How many of them were longer than the limit, of 1."""
        return sum(ms > limit_ms for ms in self.found) / max(1, len(self.found))


@contextmanager
def measured_stretches() -> Iterator[Stretches]:
    """Measure while the body runs, in the window's thread. CPU time, so that other busy processes change nothing."""
    dispatcher = QAbstractEventDispatcher.instance()
    if dispatcher is None:
        raise WorkbenchError("there is no event loop in this thread", "Measure in the window's own thread")
    stretches, began = Stretches(), [time.thread_time()]

    def about_to_wait() -> None:
        now = time.thread_time()  # waiting itself takes no CPU time
        stretches.found.append(1000 * (now - began[0]))
        began[0] = now

    dispatcher.aboutToBlock.connect(about_to_wait)
    try:
        yield stretches
    finally:
        dispatcher.aboutToBlock.disconnect(about_to_wait)
