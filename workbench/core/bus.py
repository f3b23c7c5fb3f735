"""Words between parts of one process: publish past-tense events to whoever subscribed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

Listener = Callable[[Any], None]
_log = logging.getLogger(__name__)


class Subscription:
    """Ends listening when closed. Usable as a context manager."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def close(self) -> None:
        self._end()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bus:
    """Synchronous publish / subscribe by event type. Thread-safe; listeners run in the publisher's thread.

    A listener that raises is logged and does not keep the others from hearing.
    """

    def __init__(self) -> None:
        self._listeners: list[tuple[type, Listener]] = []
        self._lock = threading.Lock()

    def subscribe(self, kind: type, listener: Listener) -> Subscription:
        """Call ``listener(event)`` for every published instance of ``kind``."""
        entry = (kind, listener)
        with self._lock:
            self._listeners.append(entry)

        def end() -> None:
            with self._lock:
                self._listeners = [other for other in self._listeners if other is not entry]

        return Subscription(end)

    def publish(self, event: object) -> None:
        """Tell every listener of the event's type (or a base of it)."""
        with self._lock:
            listeners = [listener for kind, listener in self._listeners if isinstance(event, kind)]
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("a listener failed on %s", type(event).__name__)
