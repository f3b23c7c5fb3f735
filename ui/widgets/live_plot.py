"""The last seconds of the arm's joints and gripper, painted straight: the first page loads no plot library."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QPointF, QRect, QSize, Qt, QTimer
from PyQt6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QPen, QPolygonF, QShowEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font
from ui.translate import mark, t
from workbench.core.types import Frame

SPAN_S = 10.0
_REFRESH_MS = 66
_MOST = 400
_TOP_PX = 18
_LEAST_RANGE = 0.2  # rad: a resting arm's noise is not blown up to the full height


@dataclass(frozen=True, slots=True)
class Lane:
    """One plot: what its axes are called in a stream, its title, and fixed limits or None for those of the values."""

    title: str
    axes: str
    limits: tuple[float, float] | None = None


LANES = (
    Lane(mark("Joints (rad)"), r"joint_\d+$"),
    Lane(mark("Gripper"), r"gripper$", (-0.05, 1.05)),
)


class History:
    """The newest values of a vector stream: (K,) seconds and (K, D) numbers, at most ``_MOST`` of ``SPAN_S``."""

    def __init__(self) -> None:
        self._times = np.zeros(0)
        self._values = np.zeros((0, 0), np.float32)

    @property
    def times_s(self) -> NDArray[np.float64]:
        return self._times

    @property
    def values(self) -> NDArray[np.float32]:
        return self._values

    def add(self, time_s: float, values: NDArray[Any]) -> bool:
        """Append one reading; False if it is not newer than the last. Another number of axes starts afresh."""
        if len(self._times) and time_s <= self._times[-1] and time_s > self._times[-1] - 1.0:
            return False
        if self._values.shape[1:] != values.shape or (len(self._times) and time_s < self._times[-1]):
            self.clear()
            self._values = np.zeros((0, len(values)), np.float32)
        first = int(np.searchsorted(self._times, time_s - SPAN_S))
        first = max(first, len(self._times) + 1 - _MOST)
        self._times = np.append(self._times[first:], time_s)
        self._values = np.concatenate([self._values[first:], np.asarray(values, np.float32)[None]])
        return True

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]


class LiveSignals(QWidget):
    """Asks for the newest state fifteen times a second while it is on screen, and draws the last ten seconds.

    Args:
        latest: returns the newest item of the arm's state without waiting, None where there is no arm.
    """

    def __init__(self, theme: Theme, latest: Callable[[], Frame | None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._latest = theme, latest
        self._lanes: list[tuple[Lane, list[int]]] = []
        self.history = History()
        self.painted = 0
        self.setAccessibleName(t("The arm's signals"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self.refresh)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:  # noqa: N802
        """As high as a card of a take."""
        return QSize(320, 92)

    def set_axes(self, axes: Sequence[str]) -> None:
        """Which numbers the state has, by name; () where there is no arm."""
        found = [(lane, [i for i, axis in enumerate(axes) if re.search(lane.axes, axis)]) for lane in LANES]
        self._lanes = [(lane, indexes) for lane, indexes in found if indexes]
        self.history.clear()
        self.update()

    def refresh(self) -> None:
        """Fetch what is new."""
        frame = self._latest() if self._lanes else None
        if frame is not None and self.history.add(frame.t_host_ns / 1e9, frame.data):
            self.update()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """On screen: start asking."""
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Out of sight: stop asking."""
        super().hideEvent(event)
        self._timer.stop()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """One box per lane, side by side."""
        painter = QPainter(self)
        colours = self._theme.colours
        painter.fillRect(self.rect(), QColor(colours.window))
        if not self._lanes:
            painter.setPen(QColor(colours.dim))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, t("No arm to show signals of"))
            return
        width = (self.width() - 8 * (len(self._lanes) - 1)) // len(self._lanes)
        for place, (lane, indexes) in enumerate(self._lanes):
            self._paint_lane(painter, QRect(place * (width + 8), 0, width, self.height()), lane, indexes)
        self.painted += 1

    def _paint_lane(self, painter: QPainter, box: QRect, lane: Lane, indexes: list[int]) -> None:
        colours = self._theme.colours
        painter.fillRect(box, QColor(colours.surface))
        painter.setPen(QColor(colours.dim))
        painter.setFont(base_font(0.75))
        painter.drawText(
            box.adjusted(7, 2, -7, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, t(lane.title)
        )
        times, values = self.history.times_s, self.history.values
        if len(times) < 2:
            return
        plot = box.adjusted(4, _TOP_PX, -4, -5)
        low, high = lane.limits or value_range(values[:, indexes])
        x = plot.right() - (times[-1] - times) / SPAN_S * plot.width()
        painter.setClipRect(plot)
        for colour, index in enumerate(indexes):
            known = np.isfinite(values[:, index])  # a painter has no place for "not a number"
            y = plot.bottom() - (values[known, index] - low) / (high - low) * plot.height()
            painter.setPen(QPen(QColor(colours.series[colour % len(colours.series)]), 1.6))
            painter.drawPolyline(
                QPolygonF([QPointF(*point) for point in zip(x[known].tolist(), y.tolist(), strict=True)])
            )
        painter.setClipping(False)


def value_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Lowest and highest finite value with a margin, never closer than a resting arm deserves."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = max(0.05 * (high - low), (_LEAST_RANGE - (high - low)) / 2)
    return low - margin, high + margin
