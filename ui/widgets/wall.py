"""Several pictures side by side: the first one large, the others in a column beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray
from PyQt6.QtCore import QRect, Qt, QTimer
from PyQt6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QResizeEvent, QShowEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui import words
from ui.theme import Theme, base_font
from ui.translate import t
from ui.widgets.picture import Picture
from workbench.core.types import Frame, StreamSpec
from workbench.services.capture import CameraStatus

_GAP_PX = 8
_LIVE_MS = 17  # every other tile each time, so that no turn of the loop is long
_SHAPE = 4 / 3


class PictureWall(QWidget):
    """Lays pictures out by itself so that they use the room there is."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.tiles: dict[str, Picture] = {}
        self._empty = ""
        theme.changed.connect(self.update)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(240, 160)

    def set_streams(self, streams: Iterable[str]) -> None:
        """Show exactly these picture streams; tiles that stay are kept."""
        wanted = list(streams)
        if wanted == list(self.tiles):
            return
        for name in set(self.tiles) - set(wanted):
            self.tiles.pop(name).deleteLater()
        self.tiles = {name: self.tiles.get(name) or self._make(name) for name in wanted}
        self._arrange()

    def set_empty(self, words_: str) -> None:
        """What to say while there are no pictures at all."""
        self._empty = words_
        self.update()

    @property
    def empty(self) -> str:
        """What is said while there are no pictures at all."""
        return self._empty

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """Only without pictures: an empty frame with words."""
        if self.tiles or not self._empty:
            return
        colours = self._theme.colours
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(colours.line))
        painter.setBrush(QColor(colours.raised))
        painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 10, 10)
        painter.setPen(QColor(colours.dim))
        painter.setFont(base_font(1.1))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)

    def _make(self, stream: str) -> Picture:
        tile = Picture(picture_title(stream), self._theme, self)
        tile.show()
        return tile

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """New room, new layout."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        for tile, box in zip(self.tiles.values(), boxes(len(self.tiles), self.width(), self.height()), strict=True):
            tile.setGeometry(box)


def boxes(count: int, width: int, height: int) -> list[QRect]:
    """Where ``count`` 4:3 pictures go in ``width`` x ``height`` px: the first large, the others in a column beside."""
    if count == 0:
        return []
    if count == 1:
        return [QRect(0, 0, width, height)]
    others = count - 1
    share = 0.6 if others == 1 else 0.68
    first = min(int((width - _GAP_PX) * share), int(height * _SHAPE))
    column = width - first - _GAP_PX
    each = min(int(column / _SHAPE), (height - (others - 1) * _GAP_PX) // others)
    column = min(column, int(each * _SHAPE))
    first_height = min(height, int(first / _SHAPE))
    left = (width - first - _GAP_PX - column) // 2
    top = (height - max(first_height, others * each + (others - 1) * _GAP_PX)) // 2
    small = [QRect(left + first + _GAP_PX, top + i * (each + _GAP_PX), column, each) for i in range(others)]
    return [QRect(left, top, first, first_height), *small]


def picture_title(stream: str) -> str:
    """``observation.depth.front`` as a person would say it."""
    camera = stream.rsplit(".", 1)[-1].replace("_", " ").capitalize()
    return t("{camera} depth", camera=camera) if ".depth." in stream else t("{camera} camera", camera=camera)


def picture_streams(streams: Iterable[str], *, depth: bool) -> list[str]:
    """Names of the colour streams, then (if wanted) of the depth streams."""
    names = list(streams)
    colour = [name for name in names if name.startswith("observation.images.")]
    return colour + ([name for name in names if name.startswith("observation.depth.")] if depth else [])


class LiveWall(PictureWall):
    """Asks for the newest pictures about thirty times a second, and only while it is on screen.

    Args:
        latest: returns a copy of a stream's newest item without waiting.
    """

    def __init__(self, theme: Theme, latest: Callable[[str], Frame | None], parent: QWidget | None = None) -> None:
        super().__init__(theme, parent)
        self._latest = latest
        self._shown_ns: dict[str, int] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(_LIVE_MS)
        self._timer.timeout.connect(self._refresh_some)
        self._turn = 0

    def show_streams(self, streams: dict[str, StreamSpec], *, depth: bool) -> None:
        """Show the cameras among these streams."""
        self.set_streams(picture_streams(streams, depth=depth))

    def set_ghosts(self, pictures: Mapping[str, NDArray[Any]], share: float) -> None:
        """Lay reference pictures, by stream, over the live ones; an empty table takes them away."""
        for stream, tile in self.tiles.items():
            tile.set_ghost(pictures.get(stream), share)

    def set_paths(self, paths: Mapping[str, NDArray[Any]]) -> None:
        """Draw ways, by stream, into the pictures (``Picture.set_path``); pictures without one lose theirs."""
        for stream, tile in self.tiles.items():
            tile.set_path(paths.get(stream))

    def refresh(self) -> None:
        """Fetch what is new."""
        self._fetch(self.tiles.items())

    def _refresh_some(self) -> None:
        self._turn = 1 - self._turn
        self._fetch([pair for place, pair in enumerate(self.tiles.items()) if place % 2 == self._turn])

    def _fetch(self, tiles: Iterable[tuple[str, Picture]]) -> None:
        for name, tile in tiles:
            frame = self._latest(name)
            if frame is not None and self._shown_ns.get(name) != frame.t_host_ns:
                self._shown_ns[name] = frame.t_host_ns
                tile.show_pixels(frame.data)

    def show_status(self, cameras: Iterable[CameraStatus]) -> None:
        """Frames per second and drops over the pictures; trouble in large words."""
        by_name = {camera.name: camera for camera in cameras}
        for stream, tile in self.tiles.items():
            camera = by_name.get(stream.rsplit(".", 1)[-1])
            if camera is not None:
                tile.set_facts(camera_facts(camera), camera_alarm(camera))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """On screen: start asking."""
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Out of sight: stop asking."""
        super().hideEvent(event)
        self._timer.stop()


def camera_facts(camera: CameraStatus) -> str:
    """``29.9 fps · 0 dropped · 640x480``."""
    dropped = t("{n} dropped", n=camera.drops)
    return f"{camera.fps:4.1f} fps · {dropped} · {camera.width}x{camera.height}"


def camera_alarm(camera: CameraStatus) -> str:
    """What is wrong with a camera, "" when it is live."""
    if camera.state == "live":
        return ""
    state = words.camera_state(camera.state).word
    return camera.error or t("Camera {name} is {state}", name=camera.name, state=state)
