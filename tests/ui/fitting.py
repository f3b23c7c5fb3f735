"""Which words of a window are cut off: found by measuring what is shown against the room it has."""

from __future__ import annotations

from collections.abc import Iterator

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QFontMetrics
from PyQt6.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QComboBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QTabBar,
    QTableView,
    QToolButton,
    QWidget,
)

from ui.widgets.button import CommandButton

_ARROW_PX = 22  # the arrow of a drop-down
_HEAD_PX = 18  # both paddings of a column's head


def cut_words(top: QWidget) -> Iterator[str]:
    """What does not fit among the visible widgets, in words for a test's message."""
    for widget in top.findChildren(QWidget):
        if not widget.isVisible() or widget.visibleRegion().isEmpty():
            continue
        for text, needed, room in _measured(widget):
            if needed > room:
                name = widget.objectName() or widget.accessibleName()
                yield f"{type(widget).__name__} {name!r}: “{text}” needs {needed} px of {room}"


def _measured(widget: QWidget) -> Iterator[tuple[str, int, int]]:
    """(text, needed, room) in pixels."""
    metrics = widget.fontMetrics()
    if isinstance(widget, CommandButton):
        yield widget.text(), metrics.horizontalAdvance(widget.text()) + widget.key_px + 12, widget.width()
    elif isinstance(widget, QPushButton | QToolButton | QCheckBox):
        yield widget.text(), _button_px(widget, metrics), widget.width()
    elif isinstance(widget, QComboBox):
        if widget.count() and not widget.isEditable():
            room = widget.width() - _ARROW_PX - 2 * 9
            yield (
                widget.currentText(),
                0 if _from_data(widget) else metrics.horizontalAdvance(widget.currentText()),
                room,
            )
    elif isinstance(widget, QLabel):
        yield from _label(widget)
    elif isinstance(widget, QTabBar):
        for place in range(widget.count()):
            text = widget.tabText(place)
            yield text, metrics.horizontalAdvance(text) + 16, widget.tabRect(place).width()
    elif isinstance(widget, QTableView):
        yield from _heads(widget)


def _button_px(button: QAbstractButton, metrics: QFontMetrics) -> int:
    return metrics.horizontalAdvance(button.text().replace("&", "")) + 8


def _from_data(combo: QComboBox) -> bool:
    """Names of tasks and models may be cut; they are told in full in the list."""
    return isinstance(combo.currentData(), str) and combo.currentData() not in ("rf", "ntp")


def _label(label: QLabel) -> Iterator[tuple[str, int, int]]:
    text = label.text()
    if not text or (label.pixmap() is not None and not label.pixmap().isNull()):
        return
    if label.wordWrap():
        yield text, label.heightForWidth(label.width()), label.height()
    elif label.textFormat() is not Qt.TextFormat.RichText and "<" not in text:
        lines = text.split("\n")
        yield text, max(label.fontMetrics().horizontalAdvance(line) for line in lines), label.width()


def _heads(table: QTableView) -> Iterator[tuple[str, int, int]]:
    head, model = table.horizontalHeader(), table.model()
    if head is None or model is None or head.isHidden():
        return
    metrics = QFontMetrics(head.font())
    for place in range(model.columnCount()):
        text = str(model.headerData(place, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole) or "")
        if text and head.sectionResizeMode(place) is not QHeaderView.ResizeMode.Stretch:
            yield text, metrics.horizontalAdvance(text) + _HEAD_PX, head.sectionSize(place)
