"""How often something may happen."""

from __future__ import annotations

from collections.abc import Callable


class RateLimit:
    """A bucket of tokens: a steady rate with short bursts."""

    def __init__(self, per_s: float, burst: float, now_s: Callable[[], float]) -> None:
        self._per_s, self._burst, self._now_s = per_s, burst, now_s
        self._left, self._at_s = burst, now_s()

    def allows(self) -> bool:
        """Take one token, if there is one."""
        now_s = self._now_s()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
