"""The action latents as points on a plane, coloured by the direction they decode to or by whose pictures they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QPainter, QPaintEvent, QPixmap, QPolygonF, QResizeEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font
from ui.translate import mark, t
from workbench.services.alignment_pictures import LatentMap

DIRECTIONS = (
    mark("away from the robot"),
    mark("towards the robot"),
    mark("to its left"),
    mark("to its right"),
    mark("up"),
    mark("down"),
    mark("hardly moves"),
)
WHO = (mark("robot"), mark("person"))
_MARGIN_PX, _LEGEND_PX, _DOT_PX = 16, 226, 2.6
_MOST = 1400


class LatentMapView(QWidget):
    """Points are painted once into a picture, so that showing it again costs nothing."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._map: LatentMap | None = None
        self._by_person = False
        self._painted: QPixmap | None = None
        self.setAccessibleName(t("Map of the action latents"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(160)
        theme.changed.connect(self._again)

    @property
    def groups(self) -> dict[str, int]:
        """How many points every colour has, by its words; empty without a map."""
        names, group = self._groups()
        return {t(name): int((group == number).sum()) for number, name in enumerate(names)}

    def show_map(self, latent: LatentMap | None) -> None:
        """Show this one from now on."""
        self._map = latent
        self._again()

    def colour_by_person(self, on: bool) -> None:
        """By whose pictures they are; else by direction."""
        self._by_person = on
        self._again()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Paint for the new size."""
        super().resizeEvent(event)
        self._again()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """The picture, made when it is first needed."""
        if self._map is None:
            return
        if self._painted is None:
            self._painted = self._paint(self._map)
        QPainter(self).drawPixmap(0, 0, self._painted)

    def _again(self) -> None:
        self._painted = None
        described = ", ".join(f"{count} {name}" for name, count in self.groups.items() if count)
        self.setAccessibleDescription(described)
        self.update()

    def _groups(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        if self._map is None:
            return (), np.zeros(0, np.int64)
        return (WHO, self._map.human.astype(np.int64)) if self._by_person else (DIRECTIONS, self._map.direction)

    def _paint(self, latent: LatentMap) -> QPixmap:
        ratio = self.devicePixelRatioF()
        made = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        made.setDevicePixelRatio(ratio)
        made.fill(Qt.GlobalColor.transparent)
        painter = QPainter(made)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        names, group = self._groups()
        series, places = self._theme.colours.series, self._places(latent)
        for number, name in enumerate(names):
            ink = QColor(series[number % len(series)])
            self._legend(painter, number, t(name), ink, int((group == number).sum()))
            ink.setAlpha(170)
            pen = painter.pen()
            pen.setColor(ink)
            pen.setWidthF(2 * _DOT_PX)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            painter.setPen(pen)
            painter.drawPoints(QPolygonF([QPointF(x, y) for x, y in places[group == number][:_MOST]]))
        painter.end()
        return made

    def _places(self, latent: LatentMap) -> NDArray[np.float64]:
        """Pixels, both axes to the same scale, y upwards."""
        low, high = (np.percentile(latent.xy, share, axis=0) for share in (0.5, 99.5))
        room = np.array([self.width() - _LEGEND_PX - 2 * _MARGIN_PX, self.height() - 2 * _MARGIN_PX], float)
        scale = float((np.maximum(room, 1) / np.maximum(high - low, 1e-9)).min())
        middle = np.array([_MARGIN_PX + room[0] / 2, _MARGIN_PX + room[1] / 2])
        places = np.asarray(middle + (latent.xy - (low + high) / 2) * (scale, -scale), np.float64)
        return places.clip((2, 2), (self.width() - _LEGEND_PX, self.height() - 2))

    def _legend(self, painter: QPainter, number: int, name: str, ink: QColor, count: int) -> None:
        left, top = self.width() - _LEGEND_PX + 10, _MARGIN_PX + 24 * number
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.drawEllipse(QPointF(left, top + 9), 5, 5)
        painter.setPen(QColor(self._theme.colours.text))
        painter.setFont(base_font(0.95))
        box = QRectF(left + 12, top, _LEGEND_PX - 24, 18)
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, f"{name}  {count}")
