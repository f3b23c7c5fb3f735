"""One picture on screen, painted straight from a NumPy array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QEvent, QPoint, QPointF, QRect, QSize, Qt
from PyQt6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.images import to_image
from ui.theme import Theme, base_font, number_font
from ui.translate import t

_SMOOTH_BELOW_PX = 520_000  # smooth scaling of larger areas costs more than a live view should
_VIRIDIS = (
    (68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142),
    (31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37),
)  # fmt: skip


class DepthColours:
    """Turns depth in millimetres into colours: near is bright, far is dark, no reading is grey.

    The range follows the scene slowly, so that colours do not flicker.
    """

    def __init__(self) -> None:
        self.near_mm, self.far_mm = 300.0, 1500.0
        self._table = self._make_table()

    def paint(self, depth_mm: NDArray[np.uint16]) -> NDArray[np.uint32]:
        """(H, W) uint16 mm, 0 = no reading, to (H, W) 0xffRRGGBB."""
        self._follow(depth_mm)
        coloured: NDArray[np.uint32] = np.take(self._table, depth_mm)
        return coloured

    def _follow(self, depth_mm: NDArray[np.uint16]) -> None:
        sample = depth_mm[::16, ::16]
        sample = sample[sample > 0]
        if sample.size < 10:
            return
        near, far = (float(v) for v in np.percentile(sample, (2, 98)))
        far = max(far, near + 100.0)
        if abs(near - self.near_mm) > 40 or abs(far - self.far_mm) > 80:
            self.near_mm += 0.3 * (near - self.near_mm)
            self.far_mm += 0.3 * (far - self.far_mm)
            self._table = self._make_table()

    def _make_table(self) -> NDArray[np.uint32]:
        share = (np.arange(65536, dtype=np.float32) - self.near_mm) / (self.far_mm - self.near_mm)
        place = (1.0 - np.clip(share, 0.0, 1.0)) * (len(_VIRIDIS) - 1)
        anchors = np.arange(len(_VIRIDIS))
        rgb = [np.interp(place, anchors, channel).astype(np.uint32) for channel in np.array(_VIRIDIS).T]
        table: NDArray[np.uint32] = np.uint32(0xFF000000) | (rgb[0] << 16) | (rgb[1] << 8) | rgb[2]
        table[0] = 0xFF3A414A
        return table


class Picture(QWidget):
    """Shows (H, W, 3) uint8 colour or (H, W) uint16 depth, keeping its shape. The window's thread only.

    Args:
        title: what is seen, also the accessible name.
    """

    def __init__(self, title: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._theme = theme
        self._image: QImage | None = None
        self._pixels: NDArray[Any] | None = None  # the image does not own its memory
        self._given: NDArray[Any] | None = None
        self._facts = ""
        self._alarm = ""
        self._empty = t("No picture yet")
        self._depth = DepthColours()
        self._ghost: QImage | None = None
        self._ghost_share = 0.0
        self._path: NDArray[np.float64] | None = None
        self._pointer: QPoint | None = None
        self.shown = 0
        self.setMouseTracking(True)
        self.setAccessibleName(title)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 90)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        theme.changed.connect(self.update)

    @property
    def pixels(self) -> NDArray[Any] | None:
        """What is on screen, as it was given."""
        return self._given

    @property
    def title(self) -> str:
        return self._title

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for a picture without dictating the layout."""
        return QSize(320, 240)

    def show_pixels(self, pixels: NDArray[Any] | None, empty: str = "") -> None:
        """Show an array from now on, which must not be written to afterwards.

        None shows the words ``empty``, or that there is no picture yet.
        """
        self._empty = empty or t("No picture yet")
        if pixels is None:
            self._image = self._pixels = self._given = None
        else:
            self._image, self._pixels = self._to_image(pixels)
            self._given = pixels
            self.shown += 1
        self.update()

    def set_facts(self, facts: str, alarm: str = "") -> None:
        """Words over the picture: ``facts`` in the corner, ``alarm`` large in the middle."""
        if (facts, alarm) != (self._facts, self._alarm):
            self._facts, self._alarm = facts, alarm
            self.setAccessibleDescription(alarm or facts)
            self.update()

    def set_ghost(self, pixels: NDArray[Any] | None, share: float = 0.4) -> None:
        """Lay another (H, W, 3) picture over this one, ``share`` of 1 opaque, to set the scene by; None takes it away.

        It fills the same area, so the same camera in the same place shows both scenes on top of each other.
        """
        self._ghost = to_image(pixels) if pixels is not None and pixels.ndim == 3 else None
        self._ghost_share = share
        self.update()

    def set_path(self, path: NDArray[np.float64] | None) -> None:
        """Draw a way through the picture: (N, 2) shares 0..1 of its width and height, NaN where it is not seen."""
        if path is not None or self._path is not None:
            self._path = path
            self.update()

    @property
    def path(self) -> NDArray[np.float64] | None:
        return self._path

    @property
    def has_ghost(self) -> bool:
        return self._ghost is not None

    def reading_mm(self, at: QPoint) -> int | None:
        """The depth below a point of the widget in mm, 0 = no reading; None for colour and outside the picture."""
        area, given = self.picture_area(), self._given
        if given is None or given.ndim != 2 or not area.contains(at):
            return None
        height, width = given.shape
        x = min(width - 1, (at.x() - area.left()) * width // area.width())
        y = min(height - 1, (at.y() - area.top()) * height // area.height())
        return int(given[y, x])

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802
        """Over depth: say how far."""
        super().mouseMoveEvent(event)
        if event is not None and self._given is not None and self._given.ndim == 2:
            self._pointer = event.position().toPoint()
            self.update()

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """The pointer is elsewhere."""
        super().leaveEvent(event)
        self._pointer = None
        self.update()

    def picture_area(self) -> QRect:
        """Where the picture is inside the widget."""
        if self._image is None:
            return self.rect()
        size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        corner = QPoint((self.width() - size.width()) // 2, (self.height() - size.height()) // 2)
        return QRect(corner, size)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Ground, picture, words."""
        painter = QPainter(self)
        colours = self._theme.colours
        painter.fillRect(self.rect(), QColor("#05080c" if self._image is not None else colours.raised))
        area = self.picture_area()
        if self._image is not None:
            smooth = area.width() * area.height() < _SMOOTH_BELOW_PX
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            painter.drawImage(area, self._image)
            if self._ghost is not None:
                painter.setOpacity(self._ghost_share)
                painter.drawImage(area, self._ghost)
                painter.setOpacity(1.0)
            if self._path is not None:
                paint_path(painter, area, self._path, QColor(colours.accent))
            self._paint_tag(painter, area.left(), area.top(), self._title, bold=True)
            if self._facts:
                self._paint_tag(painter, area.left(), area.bottom() - 23, self._facts)
        else:
            painter.setPen(QColor(colours.dim))
            painter.setFont(base_font())
            words = f"{self._title}\n{self._empty}"
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, words)
        if self._alarm:
            self._paint_alarm(painter, area)
        elif self._pointer is not None:
            self._paint_reading(painter, area, self._pointer)

    def _paint_reading(self, painter: QPainter, area: QRect, at: QPoint) -> None:
        """The distance beside the pointer, always inside the picture."""
        reading = self.reading_mm(at)
        if reading is None:
            return
        words = t("{mm} mm", mm=reading) if reading else t("no reading")
        painter.setFont(base_font(0.85, bold=True))
        width = painter.fontMetrics().horizontalAdvance(words) + 16
        x = min(at.x() + 12, area.right() - width)
        y = max(area.top(), at.y() - 30)
        painter.setPen(QColor("#f4f7fa"))
        painter.drawRect(QRect(at.x() - 3, at.y() - 3, 6, 6))
        self._paint_tag(painter, x, y, words, bold=True)

    def _paint_tag(self, painter: QPainter, x: int, y: int, words: str, *, bold: bool = False) -> None:
        painter.setFont(base_font(0.85, bold=True) if bold else number_font(0.82))
        width = painter.fontMetrics().horizontalAdvance(words) + 16
        box = QRect(x, y, width, 24)
        painter.fillRect(box, QColor(5, 8, 12, 170))
        painter.setPen(QColor("#f4f7fa"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)

    def _paint_alarm(self, painter: QPainter, area: QRect) -> None:
        painter.fillRect(area, QColor(5, 8, 12, 160))
        painter.setPen(QColor("#ffb37a"))
        painter.setFont(base_font(1.1, bold=True))
        inside = area.adjusted(14, 10, -14, -10)
        painter.drawText(inside, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, f"▲ {self._alarm}")

    def _to_image(self, pixels: NDArray[Any]) -> tuple[QImage, NDArray[Any]]:
        held = self._depth.paint(pixels) if pixels.ndim == 2 else pixels
        return to_image(held), held


def paint_path(painter: QPainter, area: QRect, path: NDArray[np.float64], colour: QColor) -> None:
    """A line with a dark rim, a dot per step and a ring around the last, clipped to the picture."""
    places = [
        QPointF(area.left() + x * area.width(), area.top() + y * area.height())
        for x, y in path[np.all(np.isfinite(path), axis=1)].tolist()
    ]
    if not places:
        return
    painter.save()
    painter.setClipRect(area)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for pen in (QPen(QColor(5, 8, 12, 190), 7), QPen(colour, 3)):
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF(places))
    painter.setBrush(colour)
    for place in places:
        painter.drawEllipse(place, 3, 3)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(places[-1], 9, 9)
    painter.restore()
