"""Moves a timeline on at the speed at which things happened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QElapsedTimer, QTimer
from PyQt6.QtWidgets import QAbstractSlider

_PLAY_MS = 33


class Player:
    """Owned by the widget whose timeline it moves. Window's thread.

    Attributes:
        times_s: (K,) seconds of the timeline's rows.
        finished: called at the end.
    """

    def __init__(self, timeline: QAbstractSlider) -> None:
        self._timeline = timeline
        self.times_s: NDArray[np.float64] = np.zeros(0)
        self.finished: Callable[[], None] = lambda: None
        self._clock = QElapsedTimer()
        self._start_s = 0.0
        self._timer = QTimer(timeline)
        self._timer.setInterval(_PLAY_MS)
        self._timer.timeout.connect(self._go_on)

    @property
    def playing(self) -> bool:
        return self._timer.isActive()

    def play(self) -> None:
        """From where it is, from the start if at the end."""
        if not len(self.times_s):
            return
        if self._timeline.value() >= self._timeline.maximum():
            self._timeline.setValue(0)
        self._start_s = float(self.times_s[self._timeline.value()])
        self._clock.start()
        self._timer.start()

    def pause(self) -> None:
        """Stay where it is."""
        self._timer.stop()

    def step(self, rows: int) -> None:
        """Some rows on or back."""
        self.pause()
        self._timeline.setValue(self._timeline.value() + rows)

    def seek(self, time_s: float) -> None:
        """Go to the row nearest to a time."""
        if len(self.times_s):
            self._timeline.setValue(int(np.argmin(np.abs(self.times_s - time_s))))

    def _go_on(self) -> None:
        now_s = self._start_s + self._clock.elapsed() / 1e3
        row = int(np.searchsorted(self.times_s, now_s, side="right")) - 1
        self._timeline.setValue(max(0, row))
        if row >= self._timeline.maximum():
            self.pause()
            self.finished()
