"""Changing pages without holding up the window's thread: painted once, and part by part.

Qt asks every widget that appears to paint itself, one after the other, and begins to paint before it has asked the last
one: what was painted by then is painted again. So a page that appears is kept from painting until all were asked. What
takes longest of it (``Page.late``) is painted after the rest, each part in a turn of the event loop of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import QEvent, QObject, QTimer
from PyQt6.QtWidgets import QStackedWidget, QWidget

_LATEST_MS = 250  # nothing paints where nothing can be seen


class PageTurner(QObject):
    """Shows pages of a stack. The window's thread only.

    Args:
        post: makes a call later, after all events that wait now.
    """

    def __init__(self, stack: QStackedWidget, post: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(stack)
        self._stack, self._post = stack, post
        self._parts: list[QWidget] = []  # not painted yet, the next one first
        self._turn = 0
        self._latest = QTimer(self)
        self._latest.setSingleShot(True)
        self._latest.setInterval(_LATEST_MS)
        self._latest.timeout.connect(self._paint_all)

    def show(self, page: QWidget, late: Sequence[QWidget]) -> None:
        """Make this page the one on screen; ``late`` are the parts of it that may come a moment later."""
        if page is self._stack.currentWidget():
            return
        self._paint_all()
        self._parts = [page, *late]
        for part in self._parts:
            part.setUpdatesEnabled(False)
        self._stack.setCurrentWidget(page)
        self._latest.start()
        self._go_on()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """A part is being painted: the next one may."""
        if watched is not None and event is not None and event.type() is QEvent.Type.Paint:
            watched.removeEventFilter(self)
            self._go_on()
        return False

    def _go_on(self) -> None:
        self._turn += 1
        turn = self._turn
        self._post(lambda: self._paint_next() if turn == self._turn else None)

    def _paint_next(self) -> None:
        if not self._parts:
            return
        part = self._parts.pop(0)
        part.installEventFilter(self)
        part.setUpdatesEnabled(True)

    def _paint_all(self) -> None:
        for part in self._parts:
            part.setUpdatesEnabled(True)
        self._parts.clear()
