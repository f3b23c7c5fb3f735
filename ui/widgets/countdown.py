"""Seconds until a take begins, large over the pictures."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QObject, QRect, Qt, QTimer
from PyQt6.QtGui import QColor, QPainter, QPaintEvent
from PyQt6.QtWidgets import QWidget

from ui.theme import base_font

STEP_MS = 1000


class Countdown(QObject):
    """Counts down once at a time. The window's thread only.

    Args:
        told: called with the seconds left, at the beginning and every second; 0 when it is over or was cancelled.
    """

    def __init__(self, told: Callable[[int], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._told = told
        self._left = 0
        self._done: Callable[[], None] = lambda: None
        self._timer = QTimer(self)
        self._timer.setInterval(STEP_MS)
        self._timer.timeout.connect(self._step)

    @property
    def left(self) -> int:
        """Seconds until the take begins, 0 while none is about to."""
        return self._left

    @property
    def running(self) -> bool:
        return self._left > 0

    def start(self, seconds: int, done: Callable[[], None]) -> None:
        """Call ``done`` in so many seconds, at once for 0; one that runs is replaced."""
        self._timer.stop()
        self._left, self._done = max(0, seconds), done
        if not self._left:
            done()
            return
        self._told(self._left)
        self._timer.start()

    def cancel(self) -> bool:
        """Forget it; returns whether one was running."""
        was, self._left = self._left > 0, 0
        self._timer.stop()
        if was:
            self._told(0)
        return was

    def _step(self) -> None:
        self._left -= 1
        self._told(self._left)
        if self._left <= 0:
            self._timer.stop()
            self._done()


class BigNumber(QWidget):
    """A number in the middle of its parent, readable from across the room; lets clicks through."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._words = ""
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    @property
    def words(self) -> str:
        return self._words

    def say(self, words: str) -> None:
        """Show it over everything in the parent, "" hides it."""
        parent = self.parentWidget()
        if parent is not None:
            side = min(parent.width(), parent.height()) // 2
            self.setGeometry((parent.width() - side) // 2, (parent.height() - side) // 2, side, side)
        self._words = words
        self.setAccessibleName(words)
        self.setVisible(bool(words))
        self.raise_()
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """White on a dark disc, whatever lies below."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = min(self.width(), self.height()) - 4
        disc = QRect((self.width() - side) // 2, (self.height() - side) // 2, side, side)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(5, 8, 12, 190))
        painter.drawEllipse(disc)
        painter.setPen(QColor("#ffffff"))
        font = base_font(1.0, bold=True)
        font.setPixelSize(max(12, side // 2))
        painter.setFont(font)
        painter.drawText(disc, Qt.AlignmentFlag.AlignCenter, self._words)
