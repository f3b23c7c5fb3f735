"""The scrub bar of a take: where we are, who commanded the arm, where something is missing, which part is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QPointF, QRect, QSize, Qt
from PyQt6.QtGui import QBrush, QColor, QMouseEvent, QPainter, QPaintEvent
from PyQt6.QtWidgets import QAbstractSlider, QSizePolicy, QWidget

from ui import words
from ui.theme import Theme, number_font
from ui.translate import t

_SIDE_PX = 12


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the take, as shares 0..1 of its length, in a colour of the theme, and what it means."""

    start: float
    end: float
    colour: str
    meaning: str = ""


class Timeline(QAbstractSlider):
    """Its value is a row. Arrow keys, Page keys, Home and End work as on any slider; a click jumps."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._times_s: NDArray[np.float64] = np.zeros(0)
        self._bands: tuple[Band, ...] = ()
        self._marks: tuple[float, ...] = ()
        self._remarks: tuple[Band, ...] = ()
        self._used: tuple[float, float] | None = None
        self.setOrientation(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(t("Position in the take"))
        self.setEnabled(False)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:  # noqa: N802
        """A track and a line of times."""
        return QSize(300, 46)

    def set_take(self, times_s: NDArray[np.float64]) -> None:
        """Rows of a new take (K,) in seconds; empty for none."""
        self._times_s = times_s
        self._bands, self._marks, self._remarks, self._used = (), (), (), None
        self.setRange(0, max(0, len(times_s) - 1))
        self.setSingleStep(1)
        self.setPageStep(max(1, len(times_s) // 10))
        self.setValue(0)
        self.setEnabled(len(times_s) > 0)
        self.update()

    def set_bands(self, bands: Sequence[Band], marks: Sequence[float] = ()) -> None:
        """Colour stretches of the track; ``marks`` (0..1) are small ticks below it."""
        self._bands, self._marks = tuple(bands), tuple(marks)
        self.update()

    @property
    def remarks(self) -> tuple[Band, ...]:
        return self._remarks

    @property
    def used(self) -> tuple[float, float] | None:
        return self._used

    def set_remarks(self, remarks: Sequence[Band]) -> None:
        """Hatched stretches above the track: gaps and what else the quality check found there."""
        self._remarks = tuple(remarks)
        self.update()

    def set_used(self, used: tuple[float, float] | None) -> None:
        """The part between the trim marks, as shares 0..1; None for all of it."""
        self._used = used
        self.setAccessibleDescription(self._position_words())
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Jump."""
        if event is not None:
            self.setSliderDown(True)
            self._jump(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Drag."""
        if event is not None and self.isSliderDown():
            self._jump(event.position().x())

    def mouseReleaseEvent(self, _event: QMouseEvent | None) -> None:  # noqa: N802
        """Let go."""
        self.setSliderDown(False)

    def _jump(self, x: float) -> None:
        share = (x - _SIDE_PX) / max(1, self.width() - 2 * _SIDE_PX)
        self.setValue(round(max(0.0, min(1.0, share)) * self.maximum()))

    def sliderChange(self, change: QAbstractSlider.SliderChange) -> None:  # noqa: N802
        """Repaint for a new position."""
        super().sliderChange(change)
        self.setAccessibleDescription(self._position_words())
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Remarks, track, bands, marks, trim marks, handle, times."""
        colours = self._theme.colours
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRect(_SIDE_PX, 10, self.width() - 2 * _SIDE_PX, 8)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.line))
        painter.drawRoundedRect(track, 4, 4)
        for band in self._bands:
            painter.setBrush(QColor(getattr(colours, band.colour)))
            left = track.left() + band.start * track.width()
            painter.drawRect(QRect(round(left), track.top(), max(1, round((band.end - band.start) * track.width())), 8))
        painter.setBrush(QColor(colours.bad))
        for mark in self._marks:
            painter.drawRect(QRect(round(track.left() + mark * track.width()), track.bottom() + 3, 2, 5))
        self._paint_remarks(painter, track)
        self._paint_used(painter, track)
        if self.isEnabled():
            self._paint_handle(painter, track)
        painter.setFont(number_font(0.85))
        painter.setPen(QColor(colours.dim))
        line = QRect(_SIDE_PX, 24, track.width(), 20)
        room = line.width() - painter.fontMetrics().horizontalAdvance("  00:00.0")
        place = painter.fontMetrics().elidedText(self._position_words(), Qt.TextElideMode.ElideRight, room)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, place)
        end = words.clock_time(float(self._times_s[-1])) if len(self._times_s) else ""
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, end)

    def _paint_remarks(self, painter: QPainter, track: QRect) -> None:
        """Hatched, each meaning in its own direction, so that it is told without colours too."""
        for band in self._remarks:
            ink = QColor(getattr(self._theme.colours, band.colour))
            pattern = Qt.BrushStyle.Dense4Pattern if band.colour == "idle" else Qt.BrushStyle.BDiagPattern
            left, width = track.left() + band.start * track.width(), (band.end - band.start) * track.width()
            box = QRect(round(left), 1, max(3, round(width)), 7)
            painter.setBrush(QBrush(ink, pattern if box.width() > 6 else Qt.BrushStyle.SolidPattern))
            painter.setPen(ink)
            painter.drawRect(box)
        painter.setPen(Qt.PenStyle.NoPen)

    def _paint_used(self, painter: QPainter, track: QRect) -> None:
        """Brackets at the trim marks; what lies outside is pale."""
        if self._used is None:
            return
        left, right = (round(track.left() + share * track.width()) for share in self._used)
        pale = QColor(self._theme.colours.surface)
        pale.setAlphaF(0.72)
        painter.fillRect(QRect(track.left(), 0, left - track.left(), 21), pale)
        painter.fillRect(QRect(right, 0, track.right() + 1 - right, 21), pale)
        ink = QColor(self._theme.colours.accent)
        for x, foot in ((left, 0), (right - 2, -4)):
            painter.fillRect(QRect(x, 3, 3, 21), ink)
            painter.fillRect(QRect(x + foot, 3, 6, 3), ink)
            painter.fillRect(QRect(x + foot, 21, 6, 3), ink)

    def _paint_handle(self, painter: QPainter, track: QRect) -> None:
        colours = self._theme.colours
        share = self.value() / max(1, self.maximum())
        centre = QPointF(track.left() + share * track.width(), track.center().y() + 0.5)
        painter.setBrush(QColor(colours.text))
        painter.setPen(QColor(colours.surface))
        radius = 8.5 if self.hasFocus() else 7.0
        painter.drawEllipse(centre, radius, radius)

    def _position_words(self) -> str:
        if not len(self._times_s):
            return ""
        row = min(self.value(), len(self._times_s) - 1)
        share = row / max(1, self.maximum())
        said = [t(band.meaning) for band in (*self._bands, *self._remarks) if band.start <= share <= band.end]
        if self._used is not None and not self._used[0] <= share <= self._used[1]:
            said.append(t("not used: outside the trim marks"))
        at = t("row {row} of {rows}", row=row + 1, rows=len(self._times_s))
        place = f"{words.clock_time(float(self._times_s[row]))}   {at}"
        return "   ".join((place, ", ".join(dict.fromkeys(word for word in said if word)))).rstrip()


def bands_of(codes: NDArray[np.float32], looks: dict[int, tuple[str, str]]) -> list[Band]:
    """Stretches of equal code (T,), in order. ``looks``: (colour, meaning) by code; codes without are left out."""
    if not len(codes):
        return []
    edges = np.flatnonzero(np.diff(codes)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(codes)]])
    found = ((int(codes[a]), a / len(codes), b / len(codes)) for a, b in zip(starts, ends, strict=True))
    return [Band(float(a), float(b), *looks[code]) for code, a, b in found if code in looks]
