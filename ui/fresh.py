"""Pages that show what the library holds read it again when it changes, but only while somebody sees them.

Reading every take after every change would cost more, in time and in memory, the more takes there are, and a page that
is not on screen needs none of it: it reads once when it is next seen.
"""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QEvent, QObject, QTimer
from PyQt6.QtWidgets import QWidget

GATHER_MS = 150


class Fresh(QObject):
    """Keeps one page up to date. The window's thread only.

    Args:
        read: reads what the page shows.
        gather_ms: changes come in bursts; those within so many milliseconds are answered once.
    """

    def __init__(self, page: QWidget, read: Callable[[], None], gather_ms: int = 0) -> None:
        super().__init__(page)
        self._page, self._read, self._stale = page, read, False
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(gather_ms)
        self._soon.timeout.connect(self._read_now)
        page.installEventFilter(self)

    def changed(self) -> None:
        """What the page shows is not true any more."""
        self._stale = True
        if self._page.isVisible():
            self._soon.start()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """The page appears: read what it missed."""
        if self._stale and watched is self._page and event is not None and event.type() is QEvent.Type.Show:
            self._read_now()
        return False

    def _read_now(self) -> None:
        if self._stale:
            self._stale = False
            self._read()
