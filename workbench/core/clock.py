"""Time: the host's monotonic clock, its simulated twin for lockstep, and a pacer for fixed-rate loops."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Nanoseconds that never go backwards. Thread-safe."""

    def now_ns(self) -> int: ...


class MonotonicClock:
    """CLOCK_MONOTONIC, the one clock of a real station."""

    def now_ns(self) -> int:
        return time.monotonic_ns()


class LockstepClock:
    """Simulated time: moves only when ``advance_ns`` is called. Thread-safe."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        return self._now_ns

    def advance_ns(self, step_ns: int) -> int:
        """Move forward by ``step_ns`` (not negative) and return the new time."""
        if step_ns < 0:
            raise ValueError(f"time cannot go back by {-step_ns} ns")
        with self._lock:
            self._now_ns += step_ns
            return self._now_ns


class Pacer:
    """Keeps a loop at a fixed rate on the monotonic clock and measures how late it was.

    A tick that starts late does not shift later ones; whole missed periods are skipped and counted.

    Args:
        spin_s: the last stretch before a tick is waited for awake, because the system wakes sleepers a little late.
            A loop that spins looks at ``stop`` once per tick only.
    """

    def __init__(self, rate_hz: float, spin_s: float = 0.0) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self._spin_ns = round(1e9 * spin_s)
        self.missed = 0
        self.lateness_ms: list[float] = []
        self._due_ns = time.monotonic_ns()

    def wait(self, stop: threading.Event | None = None) -> bool:
        """Sleep until the next tick. Returns False at once when ``stop`` is set."""
        self._due_ns += self.period_ns
        left_s = (self._due_ns - self._spin_ns - time.monotonic_ns()) / 1e9
        if left_s > 0:
            if stop is not None and not self._spin_ns and stop.wait(left_s):
                return False
            if stop is None or self._spin_ns:
                time.sleep(left_s)
        while self._spin_ns and time.monotonic_ns() < self._due_ns:
            pass
        late_ns = time.monotonic_ns() - self._due_ns
        self.lateness_ms.append(late_ns / 1e6)
        if len(self.lateness_ms) > 100_000:
            del self.lateness_ms[:50_000]
        if late_ns > self.period_ns:
            skipped = late_ns // self.period_ns
            self.missed += skipped
            self._due_ns += skipped * self.period_ns
        return stop is None or not stop.is_set()
