"""What to do next, in words that can be read from where the robot stands, and how much of it is done."""

from __future__ import annotations

from PyQt6.QtCore import QRect, QSize, Qt
from PyQt6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font
from ui.translate import t, tn
from workbench.services.task_counts import TaskCount

_HEIGHT_PX = 46


class Prompt(QWidget):
    """The instruction of the next take and the takes there are; marked unmistakably while practising."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._sentence = self._done = ""
        self._practice = False
        self.hide()  # until there is something to say
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    @property
    def words(self) -> str:
        """What is on screen."""
        return "   ".join(part for part in (self._mark(), self._sentence, self._done) if part)

    def sizeHint(self) -> QSize:  # noqa: N802
        """One large line."""
        return QSize(300, _HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Gives way in width only."""
        return QSize(160, _HEIGHT_PX)

    def show_task(self, sentence: str, count: TaskCount | None) -> None:
        """The instruction, and how many takes of it there are (None: not known yet)."""
        self._sentence, self._done = sentence, count_words(count) if count is not None else ""
        self._tell()

    def practise(self, on: bool) -> None:
        """Say that nothing is kept, or no longer."""
        self._practice = on
        self._tell()

    def _tell(self) -> None:
        self.setAccessibleName(self.words)
        self.setToolTip(self._sentence)
        self.setVisible(bool(self.words))
        self.update()

    def _mark(self) -> str:
        return t("PRACTICE: nothing is kept") if self._practice else ""

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """A bar; in the colour of warnings while practising."""
        colours = self._theme.colours
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(colours.warn if self._practice else colours.line))
        painter.setBrush(QColor(colours.warn if self._practice else colours.surface))
        painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 8, 8)
        inside = self.rect().adjusted(14, 0, -14, 0)
        ink = QColor(colours.on_state if self._practice else colours.text)
        used = self._paint_right(painter, inside, ink)
        font = base_font(1.35, bold=True)
        painter.setFont(font)
        painter.setPen(ink)
        room = QRect(inside.left(), inside.top(), inside.width() - used, inside.height())
        words = QFontMetrics(font).elidedText(self._sentence, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words)

    def _paint_right(self, painter: QPainter, inside: QRect, ink: QColor) -> int:
        """Mark or counts; returns the width that they take."""
        words = self._mark() or self._done
        painter.setFont(base_font(1.0, bold=self._practice))
        painter.setPen(ink if self._practice else QColor(self._theme.colours.dim))
        painter.drawText(inside, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)
        return painter.fontMetrics().horizontalAdvance(words) + 18 if words else 0


def count_words(count: TaskCount) -> str:
    """``12 takes: 10 ✔ 2 ✘``."""
    if not count.takes:
        return t("no take yet")
    judged = f": {count.successes} ✔ {count.failures} ✘" if count.successes or count.failures else ""
    return tn("{n} take", "{n} takes", count.takes) + judged
