"""A drop-down and a box to tick that draw their own signs, since a style sheet would need picture files for them."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QPointF, Qt
from PyQt6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF, QWheelEvent
from PyQt6.QtWidgets import QCheckBox, QComboBox, QStyle, QStyleOptionButton

_NOTHING = object()


class Chooser(QComboBox):
    """Does not grow with its entries; the wheel scrolls the page instead of choosing something by accident."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumContentsLength(8)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """The style's box, and a small arrow."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().placeholderText().color()
        painter.setPen(QPen(ink, 2, cap=Qt.PenCapStyle.RoundCap, join=Qt.PenJoinStyle.RoundJoin))
        x, y = self.width() - 16.0, self.height() / 2 + 2.0
        painter.drawPolyline(QPolygonF([QPointF(x - 5, y - 4), QPointF(x, y + 1), QPointF(x + 5, y - 4)]))

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """Only while the list is open."""
        if event is not None:
            event.ignore()


def fill_chooser(combo: QComboBox, entries: list[tuple[str, Any]], chosen: Any = None) -> None:
    """Replace the entries (words, value), keeping ``chosen`` or the present value if it is still there.

    Only another value than before is told: more entries are no choice of a person.
    """
    had = combo.currentData() if combo.count() else _NOTHING
    wanted = combo.currentData() if chosen is None else chosen
    if [(combo.itemText(i), combo.itemData(i)) for i in range(combo.count())] == entries:
        return
    before = combo.blockSignals(True)
    combo.clear()
    for text, value in entries:
        combo.addItem(text, value)
    combo.setCurrentIndex(max(0, combo.findData(wanted)) if entries else -1)
    combo.blockSignals(before)
    if (combo.currentData() if entries else _NOTHING) != had:
        combo.currentIndexChanged.emit(combo.currentIndex())


class Tick(QCheckBox):
    """A box to tick."""

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        """The style's box, and the tick."""
        super().paintEvent(event)
        style = self.style()
        if not self.isChecked() or style is None:
            return
        option = QStyleOptionButton()
        self.initStyleOption(option)
        box = style.subElementRect(QStyle.SubElement.SE_CheckBoxIndicator, option, self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().highlightedText().color()
        painter.setPen(QPen(ink, 2.2, cap=Qt.PenCapStyle.RoundCap, join=Qt.PenJoinStyle.RoundJoin))
        x, y = box.center().x() + 0.5, box.center().y() + 0.5
        painter.drawPolyline(QPolygonF([QPointF(x - 4, y), QPointF(x - 1, y + 3.5), QPointF(x + 4.5, y - 3.5)]))
