"""A window whose station does not start: every page at once, no simulation; the library has the takes it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QCoreApplication, QEvent
from PyQt6.QtTest import QTest

from ui.preferences import Preferences
from ui.theme import Theme
from ui.window import PAGES, Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.services.station import Station

WAIT_S = 60.0


def open_still(home: Path, theme: Theme, preferences: Preferences | None = None) -> Window:
    """Opened, with all pages made. The caller closes it with ``close_still``."""

    def no_station() -> Station:
        raise WorkbenchError("this station has no devices", "Attach some")

    window = Window(home, Bus(), theme, no_station, preferences)
    window.show()
    window.start()
    until(lambda: window.desk.jobs is not None and len(window.pages) == len(PAGES))
    return window


def close_still(window: Window) -> None:
    """Close and wait until nothing of it runs."""
    closed: list[int] = []
    window.closed.connect(lambda: closed.append(1))
    window.close()
    until(lambda: bool(closed))
    window.deleteLater()
    QCoreApplication.sendPostedEvents(
        window, QEvent.Type.DeferredDelete
    )  # else the next style is worked out for it too


def until(ready: Callable[[], bool], seconds: float = WAIT_S) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s")
        QTest.qWait(20)
