"""Two takes side by side at the same instant: pictures beside each other, signals over each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ui import words
from ui.bridge import Bridge
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.chooser import Chooser, fill_chooser
from ui.widgets.picture import Picture
from ui.widgets.player import Player
from ui.widgets.plots import Line, Plot, axis_groups
from ui.widgets.timeline import Timeline
from ui.widgets.wall import picture_streams, picture_title
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.library import TakeView
from workbench.services.take_compare import CLOSING, START, Pair, lay_over

_STREAM = "observation.state"
_NAMES = ("A", "B")
_WAYS = ((mark("By their beginning"), START), (mark("By the first grasp"), CLOSING))
Signal = tuple[NDArray[np.float64], NDArray[np.float32], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two opened takes and how they lie over each other; made in the background."""

    views: tuple[TakeView, TakeView]
    pair: Pair
    signals: tuple[Signal | None, Signal | None]

    @classmethod
    def of(cls, views: tuple[TakeView, TakeView], wanted: str) -> Compared:
        """Reads whole signals."""
        first, second = (view.signal(_STREAM) if _STREAM in view.streams else None for view in views)
        return cls(views, lay_over(views, wanted), (first, second))


class CompareView(QWidget):
    """Reads pictures in the background, newest wish first."""

    def __init__(self, bridge: Bridge, theme: Theme, failed: Callable[[WorkbenchError], None]) -> None:
        super().__init__()
        self._bridge = bridge
        self._failed = failed
        self._shown: Compared | None = None
        self._reading = False
        self._wanted = self.shown_row = -1
        self.titles = tuple(QLabel() for _ in _NAMES)
        self.pictures = tuple(Picture(t("Take {name}", name=name), theme) for name in _NAMES)
        self.cameras, self.ways, self.groups = Chooser(), Chooser(), Chooser()
        self.remark = QLabel()
        self.timeline = Timeline(theme)
        self.player = Player(self.timeline)
        self.plot = Plot(theme, t("Signals of both takes"), t("seconds"))
        self._build()

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        both = QHBoxLayout()
        both.setSpacing(8)
        for title, picture in zip(self.titles, self.pictures, strict=True):
            side = QVBoxLayout()
            title.setWordWrap(True)
            side.addWidget(title)
            side.addWidget(picture, 1)
            both.addLayout(side, 1)
        column.addLayout(both, 5)
        line = QHBoxLayout()
        named = (
            (self.cameras, t("Camera to compare")),
            (self.ways, t("How the takes are laid over each other")),
            (self.groups, t("Signals to draw")),
        )
        for chooser, name in named:
            chooser.setAccessibleName(name)
            line.addWidget(chooser, 1)
        column.addLayout(line)
        self.remark.setProperty("dim", True)
        self.remark.setWordWrap(True)
        self.remark.hide()
        column.addWidget(self.remark)
        column.addWidget(self.timeline)
        column.addWidget(self.plot, 3)
        fill_chooser(self.ways, [(t(text), way) for text, way in _WAYS])
        self.plot.set_dashed(t("┅ dashed: take B"))
        self.timeline.valueChanged.connect(self._moved)
        self.plot.on_seek(self.player.seek)
        self.cameras.currentIndexChanged.connect(lambda _: self._want(self.timeline.value()))
        self.groups.currentIndexChanged.connect(lambda _: self._draw())
        self.ways.currentIndexChanged.connect(lambda _: self._lay_again())

    @property
    def compared(self) -> Compared | None:
        return self._shown

    @property
    def way(self) -> str:
        """How the takes are to be laid over each other."""
        return str(self.ways.currentData())

    def show_pair(self, compared: Compared | None) -> None:
        """Show two takes, or none."""
        self.player.pause()
        self._shown = compared
        self.shown_row = self._wanted = -1
        times_s = compared.pair.times_s if compared is not None else np.zeros(0)
        self.player.times_s = times_s
        for place, name in enumerate(_NAMES):
            self.titles[place].setText(_title(name, compared.views[place]) if compared is not None else "")
            self.pictures[place].show_pixels(None)
        self.timeline.set_take(times_s)
        self._fill(compared)
        self._draw()
        if compared is not None:
            self._moved(0)

    def _fill(self, compared: Compared | None) -> None:
        views = compared.views if compared is not None else ()
        streams = dict.fromkeys(name for view in views for name in picture_streams(view.streams, depth=True))
        for chooser, entries in (
            (self.cameras, [(picture_title(name), name) for name in streams]),
            (self.groups, [(name, name) for name in self._group_names()]),
        ):
            before = chooser.blockSignals(True)
            fill_chooser(chooser, entries)
            chooser.blockSignals(before)
            chooser.setEnabled(bool(entries))
        told = compared is not None and compared.pair.aligned_by != self.way
        self.remark.setText(t("One of them has no grasp: their beginnings are laid together") if told else "")
        self.remark.setVisible(told)

    def _group_names(self) -> list[str]:
        signals = [signal for signal in self._shown.signals if signal is not None] if self._shown is not None else []
        return list(dict.fromkeys(title for _, _, axes in signals for title in axis_groups(axes)))

    def _lay_again(self) -> None:
        shown, way = self._shown, self.way
        if shown is not None:
            self._bridge.run_in_background(
                lambda: Compared.of(shown.views, way),
                lambda again: self.show_pair(again) if self._shown is shown else None,
                self._failed,
                lane="pictures",
            )

    # moving ---------------------------------------------------------------------------------------------------------

    def _moved(self, row: int) -> None:
        if self._shown is not None and row < len(self._shown.pair.times_s):
            self.plot.set_cursor(float(self._shown.pair.times_s[row]))
            self._want(row)

    def _want(self, row: int) -> None:
        self._wanted = row
        shown, stream = self._shown, self.cameras.currentData()
        if self._reading or shown is None or stream is None or not 0 <= row < len(shown.pair.times_s):
            return
        self._reading = True
        at_s = float(shown.pair.times_s[row])

        def read() -> list[NDArray[Any] | None]:
            return [_picture(shown, place, stream, at_s) for place in range(len(_NAMES))]

        self._bridge.run_in_background(
            read,
            lambda pictures: self._arrived(shown, stream, row, pictures),
            lambda error: self._unreadable(shown, error),
            lane="pictures",
        )

    def _arrived(self, shown: Compared, stream: str, row: int, pictures: Sequence[NDArray[Any] | None]) -> None:
        self._reading = False
        if shown is self._shown and stream == self.cameras.currentData():
            for picture, pixels in zip(self.pictures, pictures, strict=True):
                picture.show_pixels(pixels, t("No picture at this moment"))
            self.shown_row = row
        if self._wanted != row or shown is not self._shown or stream != self.cameras.currentData():
            self._want(self._wanted)

    def _unreadable(self, shown: Compared, error: WorkbenchError) -> None:
        self._reading = False
        if shown is not self._shown:
            self._want(self._wanted)
        elif isinstance(error, NotFoundError):
            self.show_pair(None)
            self.remark.setText(t("One of these takes is not here any more. It may lie in the trash."))
            self.remark.show()
        else:
            self.player.pause()
            self._failed(error)

    # signals --------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        shown, title = self._shown, self.groups.currentData()
        lines: list[Line] = []
        for place, name in enumerate(_NAMES):
            signal = shown.signals[place] if shown is not None else None
            if shown is None or signal is None:
                continue
            times_s, values, axes = signal
            for colour, index in enumerate(axis_groups(axes).get(title, [])):
                common_s = times_s + shown.pair.shifts_s[place]
                axis = axes[index].removeprefix("ee.")
                lines.append(Line(f"{axis} {name}", common_s, values[:, index], colour, place == 1))
        self.plot.show_lines(tuple(lines), t("These takes have pictures only") if shown is not None else "")


def _picture(shown: Compared, place: int, stream: str, at_s: float) -> NDArray[Any] | None:
    view = shown.views[place]
    row = shown.pair.row(place, view, at_s)
    return view.picture(stream, row) if row is not None and stream in view.streams else None


def _title(name: str, view: TakeView) -> str:
    record = view.record
    outcome = words.outcome(record.outcome)
    parts = (words.task(record.task), words.when(record.started_at), f"{outcome.symbol} {outcome.word}".strip())
    return f"{name}   " + " · ".join(part for part in parts if part)
