"""The record page through an operator's day: countdown, practice, labels after the take, reference picture, pedal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtCore import QPoint, Qt
from PyQt6.QtWidgets import QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from tests.ui.conftest import WAIT_MS
from tests.ui.material import TASK, write_take
from tests.ui.test_window import press, recorder
from ui.pages.record import RecordPage, room_words
from ui.pedal import Pedal, PedalKey
from ui.preferences import Preferences
from ui.theme import Theme
from ui.widgets import countdown
from ui.widgets.live_plot import SPAN_S, History, value_range
from ui.widgets.picture import Picture
from ui.window import Window
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library

Opener = Callable[..., Window]


def on_record(window: Window, qtbot: QtBot) -> RecordPage:
    page = window.pages["record"]
    assert isinstance(page, RecordPage)
    page.tasks.setCurrentIndex(page.tasks.findData(TASK))
    qtbot.waitUntil(lambda: all(tile.shown > 1 for tile in page.wall.tiles.values()), timeout=WAIT_MS)
    window.activateWindow()
    return page


def folders(home: Path) -> list[str]:
    return [path.name for folder in ("episodes", "trash") for path in (home / folder).glob("*.zarr*")]


def test_practice_then_a_take_that_is_labelled_afterwards(
    open_window: Opener, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(countdown, "STEP_MS", 150)
    window = open_window(tmp_path)
    page = on_record(window, qtbot)
    assert page.shelf.steps.isVisible() and not page.strip.isVisible(), "nobody has recorded yet"
    _take_back_a_start(qtbot, window, page)
    _practise(qtbot, window, page, tmp_path)
    press(qtbot, window, Qt.Key.Key_Return, "record.start")
    qtbot.waitUntil(lambda: page.badge.state.word == "REC" and page.signals.painted > 0, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: len(page.signals.history.times_s) > 3, timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_Up, "record.keep")
    qtbot.waitUntil(lambda: bool(page.takes.fresh) and recorder(window) == "idle", timeout=WAIT_MS)
    take, library = page.takes.fresh, Library(tmp_path)
    for key, command, outcome in (
        (Qt.Key.Key_N, "record.failure", Outcome.FAILURE),
        (Qt.Key.Key_Right, "record.success", Outcome.SUCCESS),
    ):
        press(qtbot, window, key, command)
        qtbot.waitUntil(lambda wanted=outcome: library.find(take).outcome == wanted, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "1 take: 1 ✔" in page.prompt.words, timeout=WAIT_MS)
    assert page.strip.isVisible() and folders(tmp_path) == [f"{take}.zarr"]
    press(qtbot, window, Qt.Key.Key_Left, "record.discard")
    qtbot.waitUntil(lambda: library.find(take).trashed, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.actions_["record.success"].isEnabled(), timeout=WAIT_MS)


def _take_back_a_start(qtbot: QtBot, window: Window, page: RecordPage) -> None:
    page.takes.count_down(True)
    press(qtbot, window, Qt.Key.Key_Return, "record.start")
    assert page.number.isVisible() and page.number.words == "3"
    press(qtbot, window, Qt.Key.Key_Left, "record.discard")
    assert not page.number.isVisible() and not page.takes.countdown.running
    page.takes.start()
    window.actions_["drive.stop"].trigger()
    assert not page.takes.countdown.running, "whoever stops the arm wants no take to begin"
    qtbot.waitUntil(lambda: window.desk.station.status().driver.state == "stopped", timeout=WAIT_MS)  # type: ignore[union-attr]


def _practise(qtbot: QtBot, window: Window, page: RecordPage, home: Path) -> None:
    """Counted down this time; ended by a word that would label it; nothing is left of it."""
    window.actions_["record.practice"].trigger()
    assert "PRACTICE" in page.prompt.words
    qtbot.waitUntil(lambda: not window.actions_["record.play"].isEnabled(), timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_Return, "record.start")
    qtbot.waitUntil(lambda: recorder(window) == "recording", timeout=WAIT_MS)
    assert folders(home), "it is recorded like any other"
    press(qtbot, window, Qt.Key.Key_Right, "record.success")
    qtbot.waitUntil(lambda: "practice" in page.notice.words, timeout=WAIT_MS)
    assert folders(home) == [] and not page.takes.fresh
    page.takes.count_down(False)
    qtbot.waitUntil(window.actions_["record.practice"].isEnabled, timeout=WAIT_MS)
    window.actions_["record.practice"].trigger()
    assert "PRACTICE" not in page.prompt.words


def test_a_reference_lies_over_the_live_picture_and_messages_can_be_read_afterwards(
    open_window: Opener, qtbot: QtBot, tmp_path: Path
) -> None:
    older, newer = write_take(tmp_path, 1), write_take(tmp_path, 2)
    write_take(tmp_path, 3, EpisodeKind.HUMAN)
    window = open_window(tmp_path)
    page = on_record(window, qtbot)
    tile = page.wall.tiles["observation.images.front"]
    qtbot.waitUntil(lambda: "2 takes: 2 ✔" in page.prompt.words, timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_G, "record.ghost", Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: tile.has_ghost, timeout=WAIT_MS)
    shown = page.ghost.reference
    assert shown is not None and shown.take == newer
    first = Library(tmp_path).open(newer).picture("observation.images.front", 0)
    assert np.array_equal(shown.pictures["observation.images.front"], first)
    press(qtbot, window, Qt.Key.Key_G, "record.ghost_other", _CONTROL_SHIFT)
    qtbot.waitUntil(lambda: page.ghost.reference is not None and page.ghost.reference.take == older, timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_D, "record.depth", Qt.KeyboardModifier.ControlModifier)
    assert tile.has_ghost, "other tiles, same ghost"
    press(qtbot, window, Qt.Key.Key_PageDown, "record.next_task")
    qtbot.waitUntil(lambda: not page.ghost.on and "no take of this task" in page.notice.words.lower(), timeout=WAIT_MS)
    assert not tile.has_ghost and page.ghost.panel.isHidden()
    _read_messages(qtbot, window)
    _a_late_picture_is_dropped(page, qtbot, [older, newer])


def _a_late_picture_is_dropped(page: RecordPage, qtbot: QtBot, takes: list[str]) -> None:
    """It comes for a card that has gone meanwhile."""
    pixels = np.zeros((12, 16, 3), np.uint8)
    page.strip.show_takes([page.strip.cards[takes[1]].record])
    qtbot.wait(50)
    for take in takes:
        page.shelf._show_picture(take, pixels)
    assert page.strip.cards[takes[1]].pixels is pixels and takes[0] not in page.strip.cards


_CONTROL_SHIFT = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


def _read_messages(qtbot: QtBot, window: Window) -> None:
    """The warning is counted, can be read and copied, and counts no longer once it was on screen."""
    qtbot.waitUntil(lambda: "1 unread" in window._unread.text(), timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_F8, "app.notices")
    panel = window.drawer.notices
    qtbot.waitUntil(lambda: bool(panel.rows.records), timeout=WAIT_MS)
    assert "no take of this task" in panel.rows.records[0].what and panel.rows.records[0].where == "record"
    assert "Record one" in panel.whole.text()
    qtbot.waitUntil(lambda: "unread" not in window._unread.text(), timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_F1, "app.about")
    about = window.drawer.about.text
    qtbot.waitUntil(lambda: "PyQt6" in about.toPlainText() and "camera front" in about.toPlainText(), timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_F1, "app.about")
    assert window.drawer.isHidden()


def test_depth_is_read_in_millimetres_below_the_pointer(qtbot: QtBot, theme: Theme) -> None:
    picture = Picture("Depth", theme)
    qtbot.addWidget(picture)
    picture.resize(640, 480)
    depth = np.full((48, 64), 700, np.uint16)
    depth[0, 0], depth[47, 63] = 0, 1234
    picture.show_pixels(depth)
    assert picture.reading_mm(QPoint(320, 240)) == 700
    assert picture.reading_mm(QPoint(0, 0)) == 0 and picture.reading_mm(QPoint(639, 479)) == 1234
    picture.resize(900, 480)
    assert picture.reading_mm(QPoint(10, 240)) is None, "beside the picture"
    picture.show_pixels(np.zeros((48, 64, 3), np.uint8))
    assert picture.reading_mm(QPoint(450, 240)) is None


class Desk(QWidget):
    """A window with a button that counts, and a pedal."""

    def __init__(self, choices: Preferences) -> None:
        super().__init__()
        self.done: list[str] = []
        self.button = QPushButton("press")
        self.button.clicked.connect(lambda: self.done.append("button"))
        QVBoxLayout(self).addWidget(self.button)
        uses = {"start": lambda: self.done.append("start"), "success": lambda: self.done.append("success")}
        self.pedal = Pedal(choices, uses, lambda key: key.words() == "S", self)


def test_a_pedal_is_learned_by_pressing_it_and_remembered(qtbot: QtBot, choices: Preferences) -> None:
    desk = Desk(choices)
    qtbot.addWidget(desk)
    desk.show()
    desk.button.setFocus()
    desk.pedal.switch(True)
    learned: list[PedalKey | None] = []
    left: list[int] = []

    def learn(use: str, key: Qt.Key) -> None:
        desk.pedal.learn(use, learned.append, lambda: left.append(1))
        qtbot.keyClick(desk.button, key)

    learn("start", Qt.Key.Key_S)
    learn("start", Qt.Key.Key_Space)
    learn("success", Qt.Key.Key_Escape)
    assert [key.words() if key else None for key in learned] == [None, "Space"] and left == [1]
    for key in (Qt.Key.Key_Space, Qt.Key.Key_B, Qt.Key.Key_Space):
        qtbot.keyClick(desk.button, key)
    assert desk.done == ["start", "start"], "the pedal's key presses no button any more"
    choices.flush()
    again = Desk(Preferences())
    qtbot.addWidget(again)
    assert again.pedal.keys == desk.pedal.keys
    learn("success", Qt.Key.Key_Space)
    assert list(desk.pedal.keys) == ["success"], "one key, one meaning"
    desk.pedal.switch(False)
    qtbot.keyClick(desk.button, Qt.Key.Key_Space)
    assert desk.done == ["start", "start", "button"], "elsewhere it is a key like any other"


def test_live_signals_keep_ten_seconds_in_order() -> None:
    history = History()
    for k in range(600):
        history.add(k / 20, np.array([k, -k], np.float32))
    times = history.times_s
    assert len(times) <= 400 and times[-1] - times[0] <= SPAN_S + 1e-9 and np.all(np.diff(times) > 0)
    assert history.values[-1].tolist() == [599, -599]
    assert not history.add(times[-1], np.zeros(2)), "the same reading again is no news"
    history.add(1.0, np.zeros(3))
    assert history.values.shape == (1, 3), "another station: afresh"
    low, high = value_range(np.full((5, 2), np.nan, np.float32))
    assert low < high
    assert value_range(np.array([[0.1], [0.1004]], np.float32))[1] > 0.15, "noise is not blown up"


def test_room_on_the_disk_is_said_in_words_that_fit() -> None:
    assert room_words(12.9) == "12 min of recording" and room_words(600) == "10 h of recording"
    assert room_words(float("inf")) == ""
