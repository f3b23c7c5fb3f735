"""Icons drawn by hand, so that they follow the theme and need no files."""

from __future__ import annotations

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

_SIZE = 64


def icon(name: str, colour: str, active: str) -> QIcon:
    """The icon ``record | library | align | finetune | drive | models | station`` in a normal and a checked colour."""
    made = QIcon()
    for state, ink in ((QIcon.State.Off, colour), (QIcon.State.On, active)):
        picture = QPixmap(_SIZE, _SIZE)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(ink), 5, cap=Qt.PenCapStyle.RoundCap, join=Qt.PenJoinStyle.RoundJoin))
        _DRAW[name](painter, QColor(ink))
        painter.end()
        made.addPixmap(picture, QIcon.Mode.Normal, state)
    return made


def _record(painter: QPainter, ink: QColor) -> None:
    painter.drawEllipse(QPointF(32, 32), 24, 24)
    painter.setBrush(ink)
    painter.drawEllipse(QPointF(32, 32), 11, 11)


def _library(painter: QPainter, ink: QColor) -> None:
    painter.drawRoundedRect(QRectF(8, 12, 48, 40), 5, 5)
    for x in (8, 46):
        painter.drawLine(QPointF(x + 10 if x == 8 else x, 12), QPointF(x + 10 if x == 8 else x, 52))
    play = QPainterPath(QPointF(27, 24))
    play.lineTo(39, 32)
    play.lineTo(27, 40)
    play.closeSubpath()
    painter.fillPath(play, ink)


def _align(painter: QPainter, ink: QColor) -> None:
    """Two streams that become one."""
    for y in (14, 50):
        way = QPainterPath(QPointF(8, y))
        way.cubicTo(26, y, 26, 32, 42, 32)
        painter.drawPath(way)
    painter.drawLine(QPointF(42, 32), QPointF(57, 32))
    painter.setBrush(ink)
    for y in (14, 50):
        painter.drawEllipse(QPointF(9, y), 3.5, 3.5)


def _finetune(painter: QPainter, _ink: QColor) -> None:
    painter.drawLine(QPointF(9, 8), QPointF(9, 55))
    painter.drawLine(QPointF(9, 55), QPointF(56, 55))
    curve = QPainterPath(QPointF(17, 15))
    curve.cubicTo(22, 42, 32, 44, 54, 45)
    painter.drawPath(curve)


def _drive(painter: QPainter, ink: QColor) -> None:
    painter.drawLine(QPointF(10, 55), QPointF(34, 55))
    painter.drawLine(QPointF(22, 55), QPointF(18, 36))
    painter.drawLine(QPointF(18, 36), QPointF(38, 16))
    painter.drawLine(QPointF(38, 16), QPointF(52, 30))
    painter.setBrush(ink)
    for x, y in ((18, 36), (38, 16)):
        painter.drawEllipse(QPointF(x, y), 4.5, 4.5)
    painter.drawLine(QPointF(52, 30), QPointF(46, 40))
    painter.drawLine(QPointF(52, 30), QPointF(58, 40))


def _models(painter: QPainter, ink: QColor) -> None:
    """A tree of descent."""
    painter.drawLine(QPointF(18, 16), QPointF(18, 48))
    painter.drawLine(QPointF(18, 31), QPointF(44, 31))
    painter.setBrush(ink)
    for x, y in ((18, 13), (18, 51), (47, 31)):
        painter.drawEllipse(QPointF(x, y), 7.0, 7.0)


def _station(painter: QPainter, ink: QColor) -> None:
    """A camera on its stand above a table."""
    painter.drawRoundedRect(QRectF(14, 10, 28, 19), 4, 4)
    painter.drawPolyline(QPolygonF([QPointF(42, 16), QPointF(52, 11), QPointF(52, 28), QPointF(42, 23)]))
    painter.drawLine(QPointF(28, 29), QPointF(28, 48))
    painter.drawLine(QPointF(9, 48), QPointF(55, 48))
    painter.setBrush(ink)
    painter.drawEllipse(QPointF(28, 19.5), 3.0, 3.0)


_DRAW = {
    "record": _record,
    "library": _library,
    "align": _align,
    "finetune": _finetune,
    "drive": _drive,
    "models": _models,
    "station": _station,
}
