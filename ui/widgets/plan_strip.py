"""When the policy thinks and how long its plans last: one bar per plan on a line of time that runs to the left."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import QRectF, QSize, Qt
from PyQt6.QtGui import QBrush, QColor, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font
from ui.translate import t
from workbench.services.plan_view import PlanTimes

_BEFORE_S, _AFTER_S = 3.0, 1.5
_ROWS = 3
_TOP_PX, _ROW_PX = 18, 9


class PlanStrip(QWidget):
    """Plans of the last seconds: hatched while it thinks, full while it can be executed. The window's thread.

    A plan that continues its predecessor is drawn in the accent colour, one drawn freely in the colour of warnings.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._plans: tuple[PlanTimes, ...] = ()
        self._now_ns = 0
        self._words = ""
        self.setAccessibleName(t("Plans of the policy"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:  # noqa: N802
        """A line of words and three rows of bars."""
        return QSize(300, _TOP_PX + _ROWS * (_ROW_PX + 3) + 4)

    @property
    def words(self) -> str:
        """What is said above the bars."""
        return self._words

    def show_plans(self, plans: Sequence[PlanTimes], now_ns: int) -> None:
        """Plans, oldest first, and the host time that is "now"; none: it says that nothing is planned."""
        self._plans, self._now_ns = tuple(plans), now_ns
        self._words = self._said()
        self.setAccessibleDescription(self._words)
        self.update()

    def _said(self) -> str:
        if not self._plans:
            return t("No plan: the policy does not drive")
        last = self._plans[-1]
        left_s = (last.until_ns - self._now_ns) / 1e9
        if left_s <= 0:
            return t("The last plan has run out")
        thought_ms = (last.ready_ns - last.observed_ns) / 1e6
        return t("Plan {n}: thought for {ms:.0f} ms, lasts {s:.1f} s more", n=last.number, ms=thought_ms, s=left_s)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Words, bars, the line of now."""
        colours = self._theme.colours
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(colours.surface))
        painter.setFont(base_font(0.8))
        painter.setPen(QColor(colours.dim))
        painter.drawText(self.rect().adjusted(6, 1, -6, 0), Qt.AlignmentFlag.AlignTop, self._words)
        now_px = self._x(self._now_ns)
        for plan in self._plans:
            if plan.until_ns < self._now_ns - _BEFORE_S * 1e9:
                continue
            top = _TOP_PX + (plan.number % _ROWS) * (_ROW_PX + 3)
            colour = QColor(colours.accent if plan.follows >= 0 else colours.warn)
            seen, ready, end = self._x(plan.observed_ns), self._x(plan.ready_ns), self._x(plan.until_ns)
            painter.fillRect(QRectF(seen, top, max(1.0, ready - seen), _ROW_PX), _hatched(colour))
            painter.fillRect(QRectF(ready, top, max(1.0, end - ready), _ROW_PX), colour)
        painter.setPen(QColor(colours.text))
        painter.drawLine(int(now_px), _TOP_PX - 3, int(now_px), self.height())

    def _x(self, t_ns: int) -> float:
        share = ((t_ns - self._now_ns) / 1e9 + _BEFORE_S) / (_BEFORE_S + _AFTER_S)
        return 6 + share * (self.width() - 12)


def _hatched(colour: QColor) -> QBrush:
    return QBrush(colour, Qt.BrushStyle.BDiagPattern)
