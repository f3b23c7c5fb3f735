"""A state, large: symbol, word and colour together, so that none of them is needed alone."""

from __future__ import annotations

from PyQt6.QtCore import QRect, QSize, Qt
from PyQt6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font, number_font
from ui.words import STARTING, StateWords


class StateBadge(QWidget):
    """A filled box that says the state, a running figure beside it and one line of explanation below.

    Args:
        subject: whose state it is, for screen readers ("Recorder").
    """

    def __init__(self, subject: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._subject = subject
        self._theme = theme
        self._state = STARTING.translated()
        self._figure = ""
        self._detail = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(subject)
        theme.changed.connect(self.update)

    @property
    def state(self) -> StateWords:
        return self._state

    def sizeHint(self) -> QSize:  # noqa: N802
        """Tall enough for big words and a line below."""
        return QSize(260, 84)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Never smaller than readable."""
        return QSize(200, 84)

    def show_state(self, state: StateWords, figure: str = "", detail: str = "") -> None:
        """Change what is shown; nothing is repainted if nothing changed."""
        state = state.translated()
        if (state, figure, detail) == (self._state, self._figure, self._detail):
            return
        self._state, self._figure, self._detail = state, figure, detail
        self.setAccessibleName(f"{self._subject}: {state.word}")
        self.setAccessibleDescription(detail)
        self.setToolTip(detail)
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """A rounded box in the state's colour, strong when something is going on."""
        colours = self._theme.colours
        strong = self._state.colour != "idle"
        fill = QColor(getattr(colours, self._state.colour) if strong else colours.raised)
        words = QColor(colours.on_state if strong else colours.text)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(fill)
        painter.setPen(QColor(colours.line) if not strong else Qt.PenStyle.NoPen)
        painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 10, 10)
        painter.setPen(words)
        inside = self.rect().adjusted(16, 5, -16, -7)
        top = QRect(inside.left(), inside.top(), inside.width(), 44)
        painter.setFont(base_font(1.95, bold=True))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(top, left, f"{self._state.symbol} {self._state.word}")
        painter.setFont(number_font(1.6, bold=True))
        painter.drawText(top, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._figure)
        self._paint_detail(
            painter, QRect(inside.left(), top.bottom() + 2, inside.width(), inside.bottom() - top.bottom())
        )

    def _paint_detail(self, painter: QPainter, box: QRect) -> None:
        font = base_font(0.95)
        painter.setFont(font)
        short = QFontMetrics(font).elidedText(self._detail, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, short)
