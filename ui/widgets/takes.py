"""Takes as a table that stays quick with a hundred thousand rows, and as a strip of cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QRect, QSize, Qt
from PyQt6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPaintEvent, QResizeEvent
from PyQt6.QtWidgets import QAbstractButton, QHBoxLayout, QWidget

from ui import words
from ui.images import to_image
from ui.records import ShelvedTake, TakeRecord
from ui.theme import Theme, base_font
from ui.translate import t
from ui.widgets.rows import Column

CARD_PX, _GAP_PX = 254, 8
_WIDEST_TIME = "2028-11-28T20:48:00+00:00"
_MARGINS_PX = 16


def take_columns() -> tuple[Column[ShelvedTake], ...]:
    """The columns of the table of takes; what a colour says is always said by a word and a sign too."""

    def outcome(take: ShelvedTake) -> words.StateWords:
        return words.outcome(take.outcome)

    def quality(take: ShelvedTake) -> words.StateWords:
        return words.quality(take.flags, take.quality_version is not None)

    return (
        Column(t("Recorded"), lambda take: words.when(take.started_at), _room(words.when(_WIDEST_TIME))),
        Column(t("By"), lambda take: words.kind(take.kind), 68),
        Column(t("Task"), task_and_tags, whole_end=True),
        Column(t("Outcome"), lambda take: _sign(outcome(take)), 92, lambda take: outcome(take).colour),
        Column(t("Length"), _length, 78),
        Column(t("Quality"), lambda take: _sign(quality(take)), 124, lambda take: quality(take).colour),
    )


def _room(text: str) -> int:
    """The width of a column for words like these."""
    return QFontMetrics(base_font()).horizontalAdvance(text) + _MARGINS_PX


def task_and_tags(take: ShelvedTake) -> str:
    """``red cube to white plate  #good``."""
    return "  ".join((words.task(take.task), *(f"#{tag}" for tag in take.tags)))


def take_tip(take: ShelvedTake) -> str:
    """Everything that has no room in the row."""
    flags = ", ".join(words.flag(name) for name in take.flags)
    lines = (task_and_tags(take), take.instruction, take.notes, flags and t("Quality: {flags}", flags=flags), take.id)
    return "\n".join(line for line in lines if line)


def _sign(state: words.StateWords) -> str:
    return f"{state.symbol} {state.word}".strip()


def _length(take: ShelvedTake) -> str:
    """Scissors where trim marks leave only a part of it."""
    trimmed = take.used_s < take.duration_s - 1e-3
    return f"✂ {words.duration(take.used_s)}" if trimmed else words.duration(take.duration_s)


def newest_first(records: Sequence[TakeRecord]) -> tuple[TakeRecord, ...]:
    """Ids sort by time, so their order is the order of recording."""
    return tuple(sorted(records, key=lambda record: record.id, reverse=True))


class TakeCard(QAbstractButton):
    """One recent take: a small picture, task, outcome, length."""

    def __init__(self, record: TakeRecord, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.record = record
        self._theme = theme
        self._image: QImage | None = None
        self.pixels: NDArray[np.uint8] | None = None
        outcome = words.outcome(record.outcome)
        self.setAccessibleName(t("Open take: {task}, {outcome}", task=words.task(record.task), outcome=outcome.word))
        self.setToolTip(f"{record.instruction}\n{words.when(record.started_at)} · " + t("open in the library"))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:  # noqa: N802
        """A picture and three short lines."""
        return QSize(CARD_PX, 92)

    def show_pixels(self, pixels: NDArray[np.uint8] | None) -> None:
        """The picture, (H, W, 3)."""
        if pixels is not None and pixels.ndim == 3:
            self.pixels, self._image = pixels, to_image(pixels)
            self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Picture left, words right."""
        colours = self._theme.colours
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        marked = self.hasFocus() or self.underMouse()
        painter.setPen(QColor(colours.accent if marked else colours.line))
        painter.setBrush(QColor(colours.surface))
        painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 8, 8)
        box = QRect(7, 7, 102, self.height() - 15)
        if self._image is not None:
            painter.drawImage(box, self._image, _middle_4_3(self._image, box))
        else:
            painter.fillRect(box, QColor(colours.raised))
        self._paint_words(painter, QRect(117, 7, self.width() - 124, self.height() - 14))

    def _paint_words(self, painter: QPainter, box: QRect) -> None:
        colours, record = self._theme.colours, self.record
        outcome = words.outcome(record.outcome)
        third = box.height() // 3
        font = base_font(0.88, bold=True)
        painter.setFont(font)
        painter.setPen(QColor(getattr(colours, outcome.colour)))
        label = f"{outcome.symbol} {outcome.word}" if outcome.symbol else t("Not labelled")
        painter.drawText(QRect(box.left(), box.top(), box.width(), third), Qt.AlignmentFlag.AlignVCenter, label)
        painter.setFont(base_font(0.82))
        painter.setPen(QColor(colours.text))
        task = QFontMetrics(painter.font()).elidedText(
            words.task(record.task), Qt.TextElideMode.ElideRight, box.width()
        )
        painter.drawText(QRect(box.left(), box.top() + third, box.width(), third), Qt.AlignmentFlag.AlignVCenter, task)
        painter.setPen(QColor(colours.dim))
        line = f"{words.kind(record.kind)} · {words.duration(record.duration_s)}"
        painter.drawText(
            QRect(box.left(), box.top() + 2 * third, box.width(), third), Qt.AlignmentFlag.AlignVCenter, line
        )


def _middle_4_3(image: QImage, box: QRect) -> QRect:
    """The part of an image that fills ``box`` without distortion."""
    size = box.size().scaled(image.size(), Qt.AspectRatioMode.KeepAspectRatio)
    return QRect(
        (image.width() - size.width()) // 2, (image.height() - size.height()) // 2, size.width(), size.height()
    )


class TakeStrip(QWidget):
    """The newest takes, newest first, as many as there is room for.

    Args:
        opened: told the id of a card that was pressed.
    """

    def __init__(self, theme: Theme, opened: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._opened = opened
        self._cards: dict[str, TakeCard] = {}
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(_GAP_PX)
        self._row.addStretch(1)
        self.setFixedHeight(92)
        self.setAccessibleName(t("Newest takes"))

    @property
    def cards(self) -> dict[str, TakeCard]:
        return self._cards

    def show_takes(self, records: Sequence[TakeRecord]) -> list[TakeCard]:
        """Show these (newest first). Returns the cards that still need a picture."""
        fresh = []
        cards: dict[str, TakeCard] = {}
        for record in records:
            old = self._cards.pop(record.id, None)
            if old is not None and old.record == record:
                cards[record.id] = old
                continue
            cards[record.id] = self._new_card(record, old)
            if old is not None:
                old.deleteLater()
            fresh.append(cards[record.id])
        for gone in self._cards.values():
            gone.deleteLater()
        self._cards = cards
        for place, card in enumerate(cards.values()):
            self._row.insertWidget(place, card)
        self._fit()
        return fresh

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """More room, more cards."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = max(1, (self.width() + _GAP_PX) // (CARD_PX + _GAP_PX))
        for place, card in enumerate(self._cards.values()):
            card.setVisible(place < room)

    def _new_card(self, record: TakeRecord, old: TakeCard | None) -> TakeCard:
        card = TakeCard(record, self._theme)
        card.clicked.connect(lambda: self._opened(record.id))
        if old is not None:
            card.show_pixels(old.pixels)
        return card
