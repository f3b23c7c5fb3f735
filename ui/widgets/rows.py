"""Tables of records: virtual, so that they stay quick with a hundred thousand rows, and calm when refreshed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PyQt6.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, QModelIndex, QRect, Qt
from PyQt6.QtGui import QColor, QPainter
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from ui.style import chosen_colour
from ui.theme import Theme, base_font

R = TypeVar("R")
_NOWHERE = QModelIndex()
_PADDING_PX = 9
_WIDE_PX = 9.5
_MOST_SHORT = 2000
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column.

    Attributes:
        text: the words of a record's cell.
        width: pixels; 0 takes what is left.
        colour: name of a colour of the theme, or "".
        share: 0..1 for a progress bar behind the words.
        whole_end: words too long lose their middle: names of tasks begin alike and end differently.
    """

    title: str
    text: Callable[[R], str]
    width: int = 0
    colour: Callable[[R], str] | None = None
    share: Callable[[R], float] | None = None
    whole_end: bool = False


class RowsModel(QAbstractTableModel, Generic[R]):
    """Records as rows. Words are made only for what is on screen.

    Args:
        key: tells records apart; a refresh with the same keys in the same order keeps selection and position.
        tip: the tool tip of a row.
    """

    def __init__(
        self, theme: Theme, columns: Sequence[Column[R]], key: Callable[[R], str], tip: Callable[[R], str]
    ) -> None:
        super().__init__()
        self._theme = theme
        self.columns = tuple(columns)
        self._key = key
        self._tip = tip
        self._records: tuple[R, ...] = ()

    @property
    def records(self) -> tuple[R, ...]:
        return self._records

    def replace(self, records: Sequence[R]) -> bool:
        """Show these. Returns True when rows came, went or moved (and the selection was lost)."""
        if [self._key(r) for r in records] == [self._key(r) for r in self._records]:
            if tuple(records) != self._records:
                self._records = tuple(records)
                self.dataChanged.emit(self.index(0, 0), self.index(len(records) - 1, len(self.columns) - 1))
            return False
        self.beginResetModel()
        self._records = tuple(records)
        self.endResetModel()
        return True

    def row_of(self, key: str) -> int:
        """The row of a record by its key, -1 if it is not there."""
        return next((i for i, record in enumerate(self._records) if self._key(record) == key), -1)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """One row per record."""
        return 0 if parent.isValid() else len(self._records)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """As declared."""
        return 0 if parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:  # noqa: N802
        """Names of the columns."""
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Words, colour, progress and tool tip of one cell."""
        return self.cell(self._records[index.row()], index.column(), role)

    def look(self, row: int, place: int) -> tuple[str, str, float | None]:
        """Words, name of a colour ("" for the usual one) and share of one cell, for painting."""
        return self.look_of(self._records[row], place)

    def look_of(self, record: R, place: int) -> tuple[str, str, float | None]:
        """As ``look``, of a record."""
        column = self.columns[place]
        colour = column.colour(record) if column.colour is not None else ""
        return column.text(record), colour, column.share(record) if column.share is not None else None

    def cell(self, record: R, place: int, role: int) -> Any:
        """What one column says of a record."""
        column = self.columns[place]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return column.text(record)
        if role == Qt.ItemDataRole.ForegroundRole and column.colour is not None:
            name = column.colour(record)
            return QColor(getattr(self._theme.colours, name)) if name else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(record)
        return None


class RowsTable(QTableView):
    """Shows a RowsModel; rows are chosen whole, letters are commands and not a search."""

    def __init__(self, model: RowsModel[Any], theme: Theme, name: str, *, many: bool = False) -> None:
        super().__init__()
        self._rows = model
        self.setModel(model)
        self.setAccessibleName(name)
        self.setItemDelegate(_CellDelegate(model, theme, self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        modes = QAbstractItemView.SelectionMode
        self.setSelectionMode(modes.ExtendedSelection if many else modes.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self._lay_out_columns()

    def _lay_out_columns(self) -> None:
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None:
            rows.hide()
            rows.setDefaultSectionSize(31)
        if columns is None:
            return
        columns.setHighlightSections(False)
        columns.setSectionsClickable(False)
        columns.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for place, column in enumerate(self._rows.columns):
            if column.width:
                self.setColumnWidth(place, column.width)
            else:
                columns.setSectionResizeMode(place, QHeaderView.ResizeMode.Stretch)

    def chosen(self) -> list[int]:
        """Chosen rows, from top to bottom. By ranges: a hundred thousand chosen rows are one range."""
        return sorted({row for first, last in self._ranges() for row in range(first, last + 1)})

    def chosen_count(self) -> int:
        """How many rows are chosen."""
        return sum(last - first + 1 for first, last in self._ranges())

    def _ranges(self) -> set[tuple[int, int]]:
        selection = self.selectionModel()
        if selection is None:
            return set()
        parts = selection.selection()
        return {(parts[i].top(), parts[i].bottom()) for i in range(len(parts))}

    def choose(self, rows: Sequence[int]) -> None:
        """Choose these rows and no others; the first becomes the current one."""
        selection, chosen = self.selectionModel(), QItemSelection()
        if selection is None:
            return
        last_column = len(self._rows.columns) - 1
        for first, last in stretches(rows):
            chosen.select(self._rows.index(first, 0), self._rows.index(last, last_column))
        flags = QItemSelectionModel.SelectionFlag
        if rows:
            selection.setCurrentIndex(self._rows.index(rows[0], 0), flags.NoUpdate)
        selection.select(chosen, flags.ClearAndSelect)

    def on_chosen(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` whenever other rows are chosen."""
        selection = self.selectionModel()
        if selection is not None:
            selection.selectionChanged.connect(lambda *_: handler())

    def selectRow(self, row: int) -> None:  # noqa: N802
        """This row and no other; Qt's own way would take it off while somebody holds Ctrl."""
        self.choose([row])

    def selectAll(self) -> None:  # noqa: N802
        """As one range; Qt's own way asks the model about every cell."""
        if self.selectionMode() is QAbstractItemView.SelectionMode.ExtendedSelection:
            self.choose(range(self._rows.rowCount()))

    def keyboardSearch(self, _search: str | None) -> None:  # noqa: N802
        """Nothing: letters are commands here."""


def stretches(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted rows as (first, last) of each unbroken stretch."""
    found: list[tuple[int, int]] = []
    if isinstance(rows, range):
        return [(rows.start, rows.stop - 1)] if rows else []
    for row in rows:
        if found and row == found[-1][1] + 1:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, row))
    return found


class _CellDelegate(QStyledItemDelegate):
    """Paints words, and a progress bar behind those of cells that have a share.

    Words are drawn here and not by the style, which takes ten times as long with a style sheet in force: a page of rows
    must be painted well within a frame.
    """

    def __init__(self, rows: RowsModel[Any], theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._rows = rows
        self._theme = theme
        self._short: dict[tuple[str, int, bool], str] = {}

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Ground, bar, words."""
        if painter is None:
            return
        colours = self._theme.colours
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(chosen_colour(colours)))
        text, colour, share = self._rows.look(index.row(), index.column())
        if share is not None:
            self._paint_share(painter, option, share, text)
        elif text:
            box = option.rect.adjusted(_PADDING_PX, 0, -4, 0)
            painter.setPen(QColor(getattr(colours, colour or "text")))
            if len(text) * _WIDE_PX > box.width():  # only what may be too long is measured
                whole_end = self._rows.columns[index.column()].whole_end
                text = self._shortened(option, text, box.width(), whole_end=whole_end)
            painter.drawText(box, _LEFT, text)

    def _shortened(self, option: QStyleOptionViewItem, text: str, width: int, *, whole_end: bool) -> str:
        """Measured once: most cells of a column say what others say too."""
        key = (text, width, whole_end)
        short = self._short.get(key)
        if short is None:
            if len(self._short) > _MOST_SHORT:
                self._short.clear()
            mode = Qt.TextElideMode.ElideMiddle if whole_end else Qt.TextElideMode.ElideRight
            short = self._short[key] = option.fontMetrics.elidedText(text, mode, width)
        return short

    def _paint_share(self, painter: QPainter, option: QStyleOptionViewItem, share: float, text: str) -> None:
        colours = self._theme.colours
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = option.rect.adjusted(6, 6, -10, -6)
        painter.setPen(QColor(colours.line))
        painter.setBrush(QColor(colours.raised))
        painter.drawRoundedRect(box, 5, 5)
        done = QRect(box.left(), box.top(), round(box.width() * min(1.0, max(0.0, share))), box.height())
        if done.width() > 8:
            painter.setBrush(QColor(colours.accent))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(done, 5, 5)
        painter.setFont(base_font(0.85, bold=True))
        for part, ink in ((box, colours.text), (done, colours.on_accent)):
            painter.setClipRect(part)
            painter.setPen(QColor(ink))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
        painter.restore()
