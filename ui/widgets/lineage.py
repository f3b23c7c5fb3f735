"""The lineage of models as a drawing that is also a list: takes on the left, models in the middle, drives on the right.

Only the rows on screen are painted, so hundreds of models cost no more than ten. Every row says the same in words to a
screen reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PyQt6.QtCore import QAbstractListModel, QModelIndex, QPointF, Qt
from PyQt6.QtGui import QKeyEvent, QMouseEvent
from PyQt6.QtWidgets import QAbstractItemView, QListView

from ui import words
from ui.theme import Theme
from ui.translate import t
from ui.widgets.lineage_paint import RowPainter, drives_box
from ui.widgets.lineage_rows import LineageRow, lineage_rows
from workbench.services.model_shelf import ShelvedModel

_NOWHERE = QModelIndex()


def sentence(model: ShelvedModel) -> str:
    """One model in words."""
    parts = [f"{words.stage(model.stage)} {model.id[:12]}"]
    if model.promoted:
        parts.append(t("in use"))
    if model.refused:
        parts.append(t("did not pass the check for forgetting"))
    parts.append(t("made from {model}", model=model.parent[:12]) if model.parent else t("the first of its line"))
    parts.append(t("learnt from {takes} takes of {tasks} tasks", takes=model.takes, tasks=model.tasks))
    if model.rollouts or model.trials.n:
        parts.append(t("drove {n} takes, success {rate}", n=model.rollouts, rate=str(model.trials)))
    return ", ".join(parts)


class LineageModel(QAbstractListModel):
    """Rows of the drawing."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[LineageRow, ...] = ()

    def replace(self, models: Sequence[ShelvedModel]) -> bool:
        """Show these. Returns True when rows came, went or moved (and the choice was lost)."""
        rows = lineage_rows(models)
        if [row.model.id for row in rows] == [row.model.id for row in self.rows]:
            if rows != self.rows:
                self.rows = rows
                self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))
            return False
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()
        return True

    def row_of(self, model_id: str) -> int:
        """Where a model is, -1 if it is not there."""
        return next((place for place, row in enumerate(self.rows) if row.model.id == model_id), -1)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:  # noqa: N802
        """One per model."""
        return 0 if parent.isValid() else len(self.rows)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The words of a row."""
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            return sentence(self.rows[index.row()].model)
        return None


class LineageView(QListView):
    """Up and Down go through the rows, Left to the parent, Right to the newest child.

    Attributes:
        chosen_changed: called when another model is chosen. drives_clicked: when a model's drives are clicked.
    """

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.rows = LineageModel()
        self.chosen_changed: Callable[[], None] = lambda: None
        self.drives_clicked: Callable[[], None] = lambda: None
        self._paints = RowPainter(lambda place: self.rows.rows[place], theme, self)
        self.setModel(self.rows)
        self.setItemDelegate(self._paints)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(t("Models and what they came from"))
        selection = self.selectionModel()
        if selection is not None:
            selection.selectionChanged.connect(lambda *_: self.chosen_changed())
        theme.changed.connect(self._redraw)

    @property
    def chosen(self) -> ShelvedModel | None:
        """The chosen model."""
        row = self.currentIndex().row()
        return self.rows.rows[row].model if 0 <= row < len(self.rows.rows) else None

    def show_models(self, models: Sequence[ShelvedModel]) -> None:
        """Draw these; the chosen one stays chosen if it is still there, else the newest is."""
        before = self.chosen
        if self.rows.replace(models) and models:
            at = self.rows.row_of(before.id) if before is not None else -1
            newest = max(models, key=lambda model: (model.created_at, model.id))
            self.choose(self.rows.rows[at].model.id if at >= 0 else newest.id)

    def choose(self, model_id: str) -> bool:
        """Choose a model and scroll to it; False if it is not there."""
        at = self.rows.row_of(model_id)
        if at >= 0:
            index = self.rows.index(at)
            self.setCurrentIndex(index)
            self.scrollTo(index)
        return at >= 0

    def mark(self, model_id: str) -> None:
        """Show a model as A, the one that others are compared with; "" for none."""
        self._paints.marked = model_id
        self._redraw()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Left and Right along the line of descent; letters are commands, not a search."""
        if event is None:
            return
        chosen = self.chosen
        if event.key() == Qt.Key.Key_Left and chosen is not None:
            self.choose(chosen.parent)
        elif event.key() == Qt.Key.Key_Right and chosen is not None:
            mine = [row.model for row in self.rows.rows if row.model.parent == chosen.id]
            if mine:
                self.choose(mine[-1].id)
        elif not event.text().isprintable() or not event.text():
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """On the right: what the model drove."""
        super().mouseReleaseEvent(event)
        if event is not None and self._on_drives(event.position()):
            self.drives_clicked()

    def _on_drives(self, at: QPointF) -> bool:
        index = self.indexAt(at.toPoint())
        return index.isValid() and drives_box(self.visualRect(index)).contains(at)

    def _redraw(self) -> None:
        viewport = self.viewport()
        if viewport is not None:
            viewport.update()
