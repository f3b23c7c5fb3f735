"""How varied the tokens are at every position: one bar each, painted while a training runs."""

from __future__ import annotations

from PyQt6.QtCore import QRectF, Qt
from PyQt6.QtGui import QColor, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font, number_font
from ui.translate import t

_BAR_PX, _GAP_PX, _LEFT_PX, _RIGHT_PX = 15, 7, 84, 46


class CodeBars(QWidget):
    """Bars of perplexity by token position; a full bar is a book whose codes are all used equally often."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._values: tuple[float, ...] = ()
        self._codes = 1
        self._low = False
        self.setAccessibleName(t("Codes in use by position"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(0)
        theme.changed.connect(self.update)

    @property
    def values(self) -> tuple[float, ...]:
        """What is on screen."""
        return self._values

    def show_values(self, values: tuple[float, ...], codes: int, *, low: bool) -> None:
        """Perplexities by position of a book of ``codes``; ``low`` paints them as a warning."""
        if (values, codes, low) == (self._values, self._codes, self._low):
            return
        self._values, self._codes, self._low = values, max(1, codes), low
        self.setFixedHeight(len(values) * (_BAR_PX + _GAP_PX))
        words = ", ".join(f"{place}: {value:.0f}" for place, value in enumerate(values, 1))
        self.setAccessibleDescription(t("perplexity by position: {words}", words=words))
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Name, bar, number."""
        colours, painter = self._theme.colours, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = self.width() - _LEFT_PX - _RIGHT_PX
        middle = Qt.AlignmentFlag.AlignVCenter
        for place, value in enumerate(self._values):
            top = place * (_BAR_PX + _GAP_PX)
            painter.setPen(QColor(colours.dim))
            painter.setFont(base_font(0.9))
            words = t("position {n}", n=place + 1)
            painter.drawText(QRectF(0, top, _LEFT_PX - 8, _BAR_PX), Qt.AlignmentFlag.AlignLeft | middle, words)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.raised))
            painter.drawRoundedRect(QRectF(_LEFT_PX, top, room, _BAR_PX), 4, 4)
            painter.setBrush(QColor(colours.warn if self._low else colours.good))
            painter.drawRoundedRect(QRectF(_LEFT_PX, top, room * min(1.0, value / self._codes), _BAR_PX), 4, 4)
            painter.setPen(QColor(colours.text))
            painter.setFont(number_font(0.9))
            box = QRectF(_LEFT_PX + room, top, _RIGHT_PX, _BAR_PX)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | middle, f"{value:.0f}")
