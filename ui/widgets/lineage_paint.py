"""How one row of the lineage looks: takes, lines of descent, the model, what it drove."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QPainter, QPen
from PyQt6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ui import words
from ui.style import chosen_colour, mix
from ui.theme import Theme, base_font, number_font
from ui.translate import t, tn
from ui.widgets.lineage_rows import LineageRow
from workbench.services.model_shelf import ShelvedModel

ROW_PX, _DATA_PX, _DRIVES_PX, _LANE_PX, _MOST_LANES = 60, 92, 128, 20, 6
_STAGE_SERIES = {"act_vae": 2, "vd_vae": 3, "ntp": 4, "rf": 0}
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def stage_colour(theme: Theme, stage: str) -> str:
    """The colour of a stage's models; always beside its name."""
    return theme.colours.series[_STAGE_SERIES.get(stage, 6)]


def data_box(row: QRect) -> QRectF:
    """Where the takes are drawn."""
    return QRectF(row.left() + 6, row.top() + 10, _DATA_PX - 12, row.height() - 20)


def card_box(row: QRect, lane: int) -> QRectF:
    """Where the model is drawn."""
    left = row.left() + _DATA_PX + 12 + min(lane, _MOST_LANES) * _LANE_PX
    return QRectF(left, row.top() + 5, row.right() - _DRIVES_PX - 12 - left, row.height() - 10)


def drives_box(row: QRect) -> QRectF:
    """Where the takes it drove are drawn."""
    return QRectF(row.right() - _DRIVES_PX, row.top() + 10, _DRIVES_PX - 6, row.height() - 20)


class RowPainter(QStyledItemDelegate):
    """Paints one row: takes, lines, model, drives."""

    def __init__(self, row_at: Callable[[int], LineageRow], theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.marked = ""
        self._row_at = row_at
        self._theme = theme

    def sizeHint(self, _option: QStyleOptionViewItem, _index: QModelIndex) -> QSize:  # noqa: N802
        """All rows are alike."""
        return QSize(420, ROW_PX)

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """One row."""
        if painter is None:
            return
        row, box = self._row_at(index.row()), option.rect
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if chosen:
            painter.fillRect(box, QColor(chosen_colour(self._theme.colours)))
        self._lines(painter, row, box)
        self._pill(painter, data_box(box), words.count(row.model.takes, "take"), words.count(row.model.tasks, "task"))
        self._card(painter, row.model, card_box(box, row.lane), chosen)
        if row.model.rollouts or row.model.trials.n:
            rate = row.model.trials
            said = f"{100 * rate.success:.0f} % ({100 * rate.interval[0]:.0f}–{100 * rate.interval[1]:.0f})"
            self._pill(
                painter,
                drives_box(box),
                tn("▶ {n} drive", "▶ {n} drives", max(row.model.rollouts, rate.n)),
                said if rate.n else t("not judged"),
            )
        painter.restore()

    def _lines(self, painter: QPainter, row: LineageRow, box: QRect) -> None:
        """From the takes to the model, from the model to its drives, and from parents to children."""
        colours, card = self._theme.colours, card_box(box, row.lane)
        middle = card.center().y()
        painter.setPen(QPen(QColor(colours.line), 1.5, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(data_box(box).right(), middle), QPointF(card.left(), middle))
        if row.model.rollouts or row.model.trials.n:
            painter.drawLine(QPointF(card.right(), middle), QPointF(drives_box(box).left(), middle))
        painter.setPen(QPen(QColor(mix(colours.dim, colours.surface, 0.35)), 2))
        for lane in row.passing:
            x = self._rail(box, lane)
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom() + 1))
        if row.from_lane == row.lane:
            x = self._rail(box, row.lane)
            painter.drawLine(QPointF(x, box.top()), QPointF(x, card.top()))
        elif row.from_lane >= 0:
            x = self._rail(box, row.from_lane)
            painter.drawLine(QPointF(x, middle), QPointF(card.left(), middle))
        if row.goes_on:
            x = self._rail(box, row.lane)
            painter.drawLine(QPointF(x, card.bottom()), QPointF(x, box.bottom() + 1))

    def _rail(self, box: QRect, lane: int) -> float:
        return card_box(box, lane).left() + 10

    def _card(self, painter: QPainter, model: ShelvedModel, box: QRectF, chosen: bool) -> None:
        colours, ink = self._theme.colours, QColor(stage_colour(self._theme, model.stage))
        painter.setPen(QPen(QColor(colours.accent if chosen else colours.line), 2 if chosen else 1))
        painter.setBrush(QColor(colours.raised))
        painter.drawRoundedRect(box, 8, 8)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.drawRoundedRect(QRectF(box.left(), box.top(), 7, box.height()), 3, 3)
        upper = QRectF(box.left() + 16, box.top() + 3, box.width() - 22, box.height() / 2 - 2)
        lower = QRectF(upper.left(), box.center().y(), upper.width(), box.height() / 2 - 4)
        painter.setFont(base_font(1.0, bold=True))
        painter.setPen(QColor(colours.text))
        title = words.stage(model.stage)
        painter.drawText(upper, _LEFT, title)
        used = painter.fontMetrics().horizontalAdvance(title) + 10
        painter.setFont(number_font(0.88))
        painter.setPen(QColor(colours.dim))
        room = upper.adjusted(used, 0, 0, 0)
        name = painter.fontMetrics().elidedText(model.id[:12], Qt.TextElideMode.ElideRight, int(room.width()))
        painter.drawText(room, _LEFT, name)
        self._remarks(painter, model, lower)
        if model.id == self.marked:
            self._letter(painter, box)

    def _remarks(self, painter: QPainter, model: ShelvedModel, box: QRectF) -> None:
        colours = self._theme.colours
        remarks = [(t("★ in use"), colours.good)] if model.promoted else []
        if model.refused:
            remarks.append((t("▲ not to be used yet"), colours.warn))
        painter.setFont(base_font(0.85, bold=True))
        for said, ink in remarks:
            painter.setPen(QColor(ink))
            painter.drawText(box, _LEFT, said)
            box = box.adjusted(painter.fontMetrics().horizontalAdvance(said) + 10, 0, 0, 0)
        painter.setFont(base_font(0.85))
        painter.setPen(QColor(colours.dim))
        painter.drawText(box, _LEFT, words.when(model.created_at))

    def _letter(self, painter: QPainter, card: QRectF) -> None:
        colours = self._theme.colours
        box = QRectF(card.right() - 30, card.center().y() - 12, 24, 24)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.accent))
        painter.drawEllipse(box)
        painter.setPen(QColor(colours.on_accent))
        painter.setFont(base_font(1.0, bold=True))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "A")

    def _pill(self, painter: QPainter, box: QRectF, first: str, second: str) -> None:
        colours = self._theme.colours
        painter.setPen(QPen(QColor(colours.line), 1))
        painter.setBrush(QColor(colours.surface))
        painter.drawRoundedRect(box, 10, 10)
        half = box.height() / 2
        painter.setFont(base_font(0.9))
        painter.setPen(QColor(colours.text))
        centre = Qt.AlignmentFlag.AlignCenter
        painter.drawText(QRectF(box.left(), box.top() + 1, box.width(), half), centre, first)
        painter.setFont(base_font(0.82))
        painter.setPen(QColor(colours.dim))
        painter.drawText(QRectF(box.left(), box.top() + half - 1, box.width(), half), centre, second)
