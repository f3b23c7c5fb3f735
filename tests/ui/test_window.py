"""The whole window on a real simulated station: what a person does by clicks and keys, and what then is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtCore import QPoint, Qt
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QComboBox,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QTableView,
    QWidget,
)
from pytestqt.qtbot import QtBot

from tests.ui.conftest import WAIT_MS, close_window, small_settings
from tests.ui.material import TASK, write_take
from ui.pages.library import LibraryPage
from ui.pages.record import RecordPage
from ui.theme import Theme, ThemeChoice
from ui.window import PAGES, Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library
from workbench.services.station import Station

Opener = Callable[..., Window]
_CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QAbstractSlider, QTableView)


def click(qtbot: QtBot, window: Window, command_id: str) -> None:
    """Press the button of a command as soon as it is enabled, on the page on screen."""
    page = window.page
    assert page is not None
    button = page.findChild(QPushButton, f"button:{command_id}")
    assert button is not None, f"no button for {command_id}"
    qtbot.waitUntil(button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def press(
    qtbot: QtBot,
    window: Window,
    key: Qt.Key,
    command_id: str,
    modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Press a key as soon as its command is enabled."""
    qtbot.waitUntil(window.actions_[command_id].isEnabled, timeout=WAIT_MS)
    qtbot.keyClick(window.focusWidget() or window, key, modifier)


def recorder(window: Window) -> str:
    assert window.desk.station is not None
    return str(window.desk.station.status().recorder.state)


def driver(window: Window) -> str:
    assert window.desk.station is not None
    return str(window.desk.station.status().driver.state)


def test_the_window_is_there_before_the_station(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    begin = time.perf_counter()
    window = open_window(tmp_path, wait=False)
    assert window.isVisible() and not window.desk.running
    assert time.perf_counter() - begin < 3
    assert window.page is not None and window.page.name == "record"
    assert not window.actions_["record.start"].isEnabled()
    qtbot.waitUntil(lambda: window.desk.running, timeout=WAIT_MS)
    page = window.pages["record"]
    assert isinstance(page, RecordPage)
    qtbot.waitUntil(lambda: all(tile.shown > 2 for tile in page.wall.tiles.values()), timeout=WAIT_MS)


def test_closing_while_the_station_starts_leaves_nothing(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    close_window(qtbot, open_window(tmp_path, wait=False))


def test_every_page_can_be_used_without_eyes_and_without_a_mouse(
    open_window: Opener, qtbot: QtBot, tmp_path: Path
) -> None:
    window = open_window(tmp_path)
    assert window.actions_.unbound() == set()
    for name, _ in PAGES:
        number = window.actions_.command(f"page.{name}").keys[0].removeprefix("Ctrl+")
        qtbot.keyClick(window, getattr(Qt.Key, f"Key_{number}"), Qt.KeyboardModifier.ControlModifier)
        page = window.page
        assert page is not None and page.name == name
        assert window.actions_[f"page.{name}"].isChecked()
        qtbot.wait(150)
        for control in page.findChildren(QWidget):
            if isinstance(control, _CONTROLS) and control.isVisible() and not isinstance(control, QScrollBar):
                assert control.accessibleName(), f"{name}: {control.objectName() or control} has no accessible name"
        _assert_fits(page)


def _assert_fits(page: QWidget) -> None:
    """At 1280 x 720 nothing scrolls sideways or lies on top of something else."""
    window = page.window()
    assert window is not None and (window.width(), window.height()) == (1280, 720)
    for area in page.findChildren(QScrollArea):
        inside = area.widget()
        assert inside is not None and inside.minimumSizeHint().width() <= area.viewport().width(), "scrolls sideways"
    buttons = [b for b in page.findChildren(QPushButton) if b.isVisible()]
    places = [(b, b.rect().translated(b.mapTo(page, QPoint(0, 0)))) for b in buttons]
    for i, (button, place) in enumerate(places):
        assert page.rect().contains(place), f"{button.objectName()} is cut off"
        for other, there in places[i + 1 :]:
            assert not place.intersects(there), f"{button.objectName()} lies on {other.objectName()}"


def test_a_failed_start_is_told_on_the_page_and_can_be_repeated(qtbot: QtBot, theme: Theme, tmp_path: Path) -> None:
    tries: list[int] = []

    def make() -> Station:
        tries.append(1)
        if len(tries) == 1:
            raise WorkbenchError("camera 'front' is not attached", "Plug it in")
        return Station(tmp_path, small_settings(tmp_path), threads=True, bus=bus)

    bus = Bus()
    window = Window(tmp_path, bus, theme, make)
    window.show()
    window.start()
    try:
        page = window.page
        assert page is not None
        qtbot.waitUntil(lambda: "camera 'front' is not attached" in page.notice.words.lower(), timeout=WAIT_MS)
        assert "Plug it in" in page.notice.words
        assert isinstance(page, RecordPage) and page.badge.state.word == "Not running"
        window.go("drive")
        assert "F5" in window.pages["drive"].wall._empty and not window.actions_["drive.stop"].isEnabled()
        press(qtbot, window, Qt.Key.Key_F5, "app.retry")
        qtbot.waitUntil(lambda: window.desk.running, timeout=WAIT_MS)
    finally:
        close_window(qtbot, window)


def test_record_a_take_by_clicks_then_look_label_trash_and_undo(
    open_window: Opener, qtbot: QtBot, tmp_path: Path
) -> None:
    window = open_window(tmp_path)
    record = window.pages["record"]
    assert isinstance(record, RecordPage)
    record.tasks.setCurrentIndex(record.tasks.findData(TASK))
    click(qtbot, window, "record.start")
    qtbot.waitUntil(lambda: recorder(window) == "recording", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: record.badge.state.word == "REC", timeout=WAIT_MS)
    qtbot.wait(1500)
    click(qtbot, window, "record.success")
    qtbot.waitUntil(lambda: len(record.strip.cards) == 1, timeout=WAIT_MS)
    (take,) = window.desk.library.episodes()  # type: ignore[union-attr]
    assert (take.task, take.outcome, take.kind) == (TASK, Outcome.SUCCESS, EpisodeKind.TELEOP)
    assert take.duration_s > 1

    qtbot.mouseClick(record.strip.cards[take.id], Qt.MouseButton.LeftButton)
    page = window.page
    assert isinstance(page, LibraryPage)
    qtbot.waitUntil(lambda: page.viewer.shown_row == 0, timeout=WAIT_MS)
    _scrub(qtbot, page)
    _edit(qtbot, window, page, take.id)


def _scrub(qtbot: QtBot, page: LibraryPage) -> None:
    """A click in the middle of the bar moves pictures and signals to the same instant."""
    viewer = page.viewer
    view = viewer.view
    assert view is not None
    qtbot.waitUntil(lambda: len(viewer.plot.lines) == 6, timeout=WAIT_MS)
    qtbot.mouseClick(viewer.timeline, Qt.MouseButton.LeftButton, pos=QPoint(viewer.timeline.width() // 2, 14))
    row = viewer.timeline.value()
    assert abs(row - viewer.timeline.maximum() / 2) <= 1
    qtbot.waitUntil(lambda: viewer.shown_row == row, timeout=WAIT_MS)
    expected = view.picture("observation.images.front", row)
    shown = viewer.wall.tiles["observation.images.front"].pixels
    assert shown is not None and np.array_equal(shown, expected)
    assert viewer.plot.cursor_x == pytest.approx(view.row_times_s[row])
    qtbot.keyClick(viewer.timeline, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: viewer.shown_row == 0, timeout=WAIT_MS)


def _edit(qtbot: QtBot, window: Window, page: LibraryPage, take: str) -> None:
    """Every change is on disk and can be taken back."""
    library = Library(window.desk.home)

    def outcome() -> str:
        return str(library.find(take).outcome)

    press(qtbot, window, Qt.Key.Key_F, "library.failure")
    qtbot.waitUntil(lambda: outcome() == "failure", timeout=WAIT_MS)
    page.note.setFocus()
    qtbot.keyClicks(page.note, "fast take")
    qtbot.keyClick(page.note, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: library.find(take).notes == "fast take", timeout=WAIT_MS)
    assert outcome() == "failure", "letters typed into the note are no commands"
    press(qtbot, window, Qt.Key.Key_Delete, "library.trash")
    qtbot.waitUntil(lambda: library.episodes() == (), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: page.model.rowCount() == 0, timeout=WAIT_MS)
    click(qtbot, window, "library.undo")
    qtbot.waitUntil(lambda: page.model.rowCount() == 1, timeout=WAIT_MS)
    assert len(library.episodes()) == 1


def test_steering_moves_the_arm_while_a_key_is_down(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    record = window.pages["record"]
    assert isinstance(record, RecordPage) and window.desk.station is not None
    station = window.desk.station

    def height() -> float:
        frame = station.latest("observation.state")
        assert frame is not None
        return float(frame.data[station.streams["observation.state"].axes.index("ee.z")])

    window.activateWindow()
    click(qtbot, window, "record.steer")
    qtbot.waitUntil(record.pad.hasFocus, timeout=WAIT_MS)
    before = height()
    qtbot.keyPress(record.pad, Qt.Key.Key_R)
    qtbot.waitUntil(lambda: driver(window) == "correcting", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: height() > before + 0.02, timeout=WAIT_MS)
    qtbot.keyRelease(record.pad, Qt.Key.Key_R)
    click(qtbot, window, "record.steer")
    qtbot.waitUntil(lambda: driver(window) == "holding", timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_Escape, "drive.stop")
    qtbot.waitUntil(lambda: driver(window) == "stopped", timeout=WAIT_MS)


def test_a_refused_order_is_told_with_its_next_step(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    page = window.pages["record"]
    page.order(lambda station: station.stop_take())
    qtbot.waitUntil(lambda: "no take is being recorded" in page.notice.words.lower(), timeout=WAIT_MS)
    assert window.isActiveWindow() or not window.findChildren(QWidget, "QMessageBox"), "nothing modal"


def test_filters_narrow_the_list_and_say_so_when_nothing_is_left(
    open_window: Opener, qtbot: QtBot, tmp_path: Path
) -> None:
    takes = [write_take(tmp_path, 1), write_take(tmp_path, 2, EpisodeKind.HUMAN)]
    window = open_window(tmp_path)
    window.go("library")
    page = window.page
    assert isinstance(page, LibraryPage)
    qtbot.waitUntil(lambda: page.model.rowCount() == 2, timeout=WAIT_MS)
    page.kind.setCurrentIndex(page.kind.findData(EpisodeKind.HUMAN))
    qtbot.waitUntil(lambda: [r.id for r in page.model.records] == [takes[1]], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: page.viewer.plot.lines == (), timeout=WAIT_MS)
    page.kind.setCurrentIndex(0)
    window.actions_["library.search"].trigger()
    qtbot.keyClicks(page.search, "nothing like this")
    qtbot.waitUntil(lambda: page.model.rowCount() == 0, timeout=WAIT_MS)
    assert "No take fits" in page._empty.text()


@pytest.mark.parametrize("choice", [ThemeChoice.LIGHT, ThemeChoice.DARK])
def test_every_page_paints_in_both_themes(
    open_window: Opener, qtbot: QtBot, theme: Theme, tmp_path: Path, choice: ThemeChoice
) -> None:
    window = open_window(tmp_path)
    theme.choose(choice)
    for name, _ in PAGES:
        window.go(name)
        qtbot.wait(300)
        shot = window.grab()
        shot.save(str(tmp_path / f"{name}-{choice}.png"))
        image = shot.toImage()
        colours = {image.pixel(x, y) for x in range(0, 1280, 16) for y in range(0, 720, 16)}
        assert len(colours) > 12, f"{name} looks empty"
    theme.choose(ThemeChoice.LIGHT)
