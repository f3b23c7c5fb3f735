"""One take, opened: pictures of all cameras, the scrub bar and the signals, always at the same instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui.bridge import Bridge
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.chooser import Chooser
from ui.widgets.player import Player
from ui.widgets.plots import Line, Plot, axis_groups
from ui.widgets.timeline import Band, Timeline, bands_of
from ui.widgets.wall import PictureWall, picture_streams
from ui.words import stream as stream_words
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.library import TakeView

_AUTHORITY = {1: ("busy", mark("the operator steered")), 2: ("good", mark("the policy drove"))}
_FLAGS: tuple[str, ...] = ("authority", "guard")
_SIGNALS: tuple[str, ...] = ("observation.state", "action")
_WATCHED = ("observation.images.", "observation.depth.", "observation.state")
_MOST = 200
Signal = tuple[NDArray[np.float64], NDArray[np.float32], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Signals:
    """Everything drawn as lines, by stream, the authority and guard flags, and where streams were silent."""

    vectors: dict[str, Signal]
    flags: dict[str, Signal]
    silences: dict[str, tuple[tuple[float, float], ...]]


class TakeViewer(QWidget):
    """Reads pictures in the background, newest wish first: a fast scrub skips pictures instead of queueing them.

    Args:
        failed: told what could not be read of the open take.
        gone: called after the open take was thrown away or removed while it was read; nothing is open any more.
    """

    def __init__(
        self,
        bridge: Bridge,
        theme: Theme,
        failed: Callable[[WorkbenchError], None],
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._bridge = bridge
        self._failed, self._gone = failed, gone
        self._view: TakeView | None = None
        self._signals = _Signals({}, {}, {})
        self._reading = False
        self._wanted = -1
        self._still: tuple[tuple[float, float], ...] = ()
        self.shown_row = -1
        self.wall = PictureWall(theme)
        self.timeline = Timeline(theme)
        self.plot = Plot(theme, t("Signals of the take"), t("seconds"))
        self.groups = Chooser()
        self.groups.setAccessibleName(t("Signals to draw"))
        self.player = Player(self.timeline)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.wall, 5)
        column.addWidget(self.timeline)
        column.addWidget(self.plot, 3)
        self.timeline.valueChanged.connect(self._moved)
        self.groups.currentIndexChanged.connect(self._draw)
        self.plot.on_seek(self.seek)

    # one take -------------------------------------------------------------------------------------------------------

    @property
    def view(self) -> TakeView | None:
        return self._view

    @property
    def playing(self) -> bool:
        return self.player.playing

    def show_take(self, view: TakeView | None) -> None:
        """Open a take (or none). Its first picture and its signals come in the background."""
        self.pause()
        before, self._view = self._view, view
        if before is not None and before is not view:
            self._bridge.run_in_background(before.close, lane="pictures")  # after what is still being read of it
        self._signals = _Signals({}, {}, {})
        self.shown_row = self._wanted = -1
        self._still = ()
        self.wall.set_empty("")
        self.wall.set_streams(picture_streams(view.streams, depth=True) if view else [])
        self.player.times_s = view.row_times_s if view else np.zeros(0)
        self.timeline.set_take(self.player.times_s)
        self.plot.show_lines(())
        self.plot.set_cursor(None)
        if view is not None:
            self._want(0)
            self._bridge.run_in_background(
                lambda: _read_signals(view),
                lambda signals: self._show_signals(view, signals),
                lambda error: self._unreadable(view, error),
                lane="pictures",
            )

    def show_still(self, stretches: Sequence[tuple[float, float]]) -> None:
        """Mark where nothing moves, (start, end) in seconds."""
        self._still = tuple(stretches)
        self._show_remarks()

    def show_used(self, used_ns: tuple[int, int] | None) -> None:
        """Mark the part that is used, in host ns; None for all of it."""
        view = self._view
        if view is None or not len(view.row_times_s) or used_ns is None:
            self.timeline.set_used(None)
            return
        end_s = max(float(view.row_times_s[-1]), 1e-9)
        start, end = (min(1.0, max(0.0, view.seconds(at) / end_s)) for at in used_ns)
        self.timeline.set_used((start, end))

    @property
    def time_s(self) -> float:
        """Where we are, in seconds from the first row."""
        view = self._view
        return float(view.row_times_s[self.timeline.value()]) if view is not None and view.rows else 0.0

    def play(self) -> None:
        """Play at the speed it was recorded, from the start if at the end."""
        self.player.play()

    def pause(self) -> None:
        """Stay at the present picture."""
        self.player.pause()

    def step(self, rows: int) -> None:
        """Some pictures on or back."""
        self.player.step(rows)

    def seek(self, time_s: float) -> None:
        """Go to the row nearest to a time."""
        self.player.seek(time_s)

    # moving ---------------------------------------------------------------------------------------------------------

    def _moved(self, row: int) -> None:
        if self._view is None or not len(self._view.row_times_s):
            return
        self.plot.set_cursor(float(self._view.row_times_s[min(row, len(self._view.row_times_s) - 1)]))
        self._want(row)

    def _want(self, row: int) -> None:
        self._wanted = row
        view = self._view
        if self._reading or view is None or row < 0 or row >= len(view.row_times_s):
            return
        self._reading = True
        names = list(self.wall.tiles)

        def read() -> dict[str, NDArray[Any] | None]:
            return {name: view.picture(name, row) for name in names}

        self._bridge.run_in_background(
            read,
            lambda pictures: self._arrived(view, row, pictures),
            lambda error: self._not_arrived(view, error),
            lane="pictures",
        )

    def _arrived(self, view: TakeView, row: int, pictures: dict[str, NDArray[Any] | None]) -> None:
        self._reading = False
        if view is self._view:
            for name, pixels in pictures.items():
                self.wall.tiles[name].show_pixels(pixels, t("No picture at this moment"))
            self.shown_row = row
        if self._wanted != row or view is not self._view:
            self._want(self._wanted)

    def _not_arrived(self, view: TakeView, error: WorkbenchError) -> None:
        self._reading = False
        self._unreadable(view, error)
        if view is not self._view:
            self._want(self._wanted)

    def _unreadable(self, view: TakeView, error: WorkbenchError) -> None:
        """What was wrong with a take that is not open any more concerns nobody."""
        if view is not self._view:
            return
        if isinstance(error, NotFoundError):
            self.show_take(None)
            self._gone()
            self.wall.set_empty(t("This take is not here any more.\nIt may lie in the trash."))
        else:
            self.pause()
            self._failed(error)

    # signals --------------------------------------------------------------------------------------------------------

    def _show_signals(self, view: TakeView, signals: _Signals) -> None:
        if view is not self._view:
            return
        self._signals = signals
        self._show_flags(view)
        titles = list(axis_groups(next(iter(signals.vectors.values()))[2])) if signals.vectors else []
        present = self.groups.currentData()
        self.groups.blockSignals(True)
        self.groups.clear()
        for title in titles:
            self.groups.addItem(t(title), title)
        if present in titles:
            self.groups.setCurrentIndex(titles.index(present))
        self.groups.blockSignals(False)
        self.groups.setEnabled(bool(titles))
        self._draw()
        self.plot.set_cursor(float(view.row_times_s[self.timeline.value()]) if len(view.row_times_s) else None)

    def _draw(self) -> None:
        title = self.groups.currentData()
        lines = []
        for dashed, stream in enumerate(_SIGNALS):
            if stream not in self._signals.vectors:
                continue
            times_s, values, axes = self._signals.vectors[stream]
            for place, index in enumerate(axis_groups(axes).get(title, [])):
                name = axes[index].removeprefix("ee.") + (" " + t("sent") if dashed else "")
                lines.append(Line(name, times_s, values[:, index], place, bool(dashed)))
        nothing = t("This take has pictures only") if self._view is not None and not lines else ""
        self.plot.show_lines(tuple(lines), nothing)

    def _show_flags(self, view: TakeView) -> None:
        flags = self._signals.flags
        bands = bands_of(flags["authority"][1][:, 0], _AUTHORITY) if "authority" in flags else []
        marks: list[float] = []
        if "guard" in flags and len(view.row_times_s):
            times_s, values, _ = flags["guard"]
            end_s = max(float(view.row_times_s[-1]), 1e-9)
            marks = [float(t / end_s) for t in times_s[values[:, 0] > 0] if 0 <= t <= end_s]
        self.timeline.set_bands(bands, marks[:: max(1, len(marks) // 300)])
        self._show_remarks()

    def _show_remarks(self) -> None:
        view = self._view
        if view is None or not view.rows:
            return
        end_s = max(float(view.row_times_s[-1]), 1e-9)
        found = [(start, end, "idle", t("nothing moves")) for start, end in self._still]
        for stream, silences in self._signals.silences.items():
            found += [
                (start, end, "warn", t("nothing from {stream}", stream=stream_words(stream)))
                for start, end in silences[:_MOST]
            ]
        self.timeline.set_remarks(
            [Band(min(1.0, start / end_s), min(1.0, end / end_s), *look) for start, end, *look in found]
        )


def _read_signals(view: TakeView) -> _Signals:
    """In the background: whole vector streams, a few hundred kilobytes."""
    vectors = {name: view.signal(name) for name in _SIGNALS if name in view.streams}
    flags = {name: view.signal(name) for name in _FLAGS if name in view.streams}
    watched = [name for name in view.streams if name.startswith(_WATCHED)]
    return _Signals(vectors, flags, {name: view.silences(name) for name in watched})
