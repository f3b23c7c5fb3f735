"""Threads that do long work for the station and say on the bus when they fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed


class Background:
    """The station's own threads. ``closing`` is set once the station closes: a failure is then no news."""

    def __init__(self, bus: Bus, closing: threading.Event) -> None:
        self._bus, self._closing = bus, closing
        self._threads: list[threading.Thread] = []

    def run(self, work: Callable[[], None], name: str) -> None:
        """Do ``work`` in a thread of this name; its WorkbenchError becomes a ``Failed``."""

        def guarded() -> None:
            try:
                work()
            except WorkbenchError as error:
                if not self._closing.is_set():
                    self._bus.publish(Failed(name, str(error)))

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def join(self, timeout_s: float = 10.0) -> None:
        """Wait for every thread but the caller's own."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)
        self._threads.clear()
