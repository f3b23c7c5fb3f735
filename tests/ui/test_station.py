"""The station page: health, findings with what to do, whether cameras moved, settings proposed, written and used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from tests.ui.conftest import WAIT_MS, close_window
from tests.ui.guard import LONGEST_MS, gui_thread_guard
from ui.pages.station import StationPage
from ui.theme import Theme
from ui.widgets.station_tables import finding_rows
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.services.camera_watch import CameraWatch
from workbench.services.devices import Device, DeviceList
from workbench.services.overview import Finding, Overview, look_over
from workbench.services.settings import load_settings
from workbench.services.station import Station
from workbench.services.station_setup import propose

Opener = Callable[..., Window]
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
REAL = Device("realsense", "825312070123", "attached", "connected by USB 3.2", "D435", {"serial": "825312070123"})


def with_real_camera(home: Path, station: Station | None) -> Overview:
    """The look as it is here, with one device more than this machine has."""
    found = look_over(home, station)
    devices = DeviceList((*found.devices.cameras, REAL), found.devices.arms, found.devices.teleops)
    return replace(found, devices=devices, proposal=propose(load_settings(home), devices))


def station_page(window: Window, qtbot: QtBot) -> StationPage:
    page = window.pages["station"]
    assert isinstance(page, StationPage)
    window.go("station")
    qtbot.waitUntil(lambda: len(page.cameras.records) == 2 and len(page.findings.records) > 5, timeout=WAIT_MS)
    return page


def key(qtbot: QtBot, window: Window, command: str, pressed: Qt.Key, modifier: Qt.KeyboardModifier) -> None:
    qtbot.waitUntil(window.actions_[command].isEnabled, timeout=WAIT_MS)
    qtbot.keyClick(window.focusWidget() or window, pressed, modifier)


def test_health_findings_limits_and_moved_cameras(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    page = station_page(window, qtbot)
    qtbot.waitUntil(lambda: all(row.status.state == "live" for row in page.cameras.records), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: all(row.place is not None for row in page.cameras.records), timeout=WAIT_MS)
    rates = [page.cameras.data(page.cameras.index(row, 2)) for row in range(2)]
    assert all(words.endswith("of 10 Hz") for words in rates)
    assert {row.status.info.serial for row in page.cameras.records if row.status.info} == {"sim-front", "sim-wrist"}
    qtbot.waitUntil(lambda: "serial number sim-front" in page.camera_words.text(), timeout=WAIT_MS)
    assert page.badge.state.word in ("Ready to record", "Ready, but look")
    assert "Parked" in page.arm_words.text() or "parked" in page.arm_words.text()
    assert page.limits.records[0][0] == "Joint 1" and "°/s" in page.limits.records[0][1]
    assert {row.device.status for row in page.devices.records} >= {"attached", "possible"}
    assert page.devices.records[0].device.chosen, "what the settings name comes first"

    key(qtbot, window, "station.moved", Qt.Key.Key_I, CONTROL)
    qtbot.waitUntil(lambda: len(page._looks) == 2, timeout=WAIT_MS)
    assert all(look.new for look in page._looks.values()), "the first look takes the references"
    watch = CameraWatch(tmp_path)
    reference = watch.reference("front")
    assert reference is not None
    watch.remember("front", np.roll(reference, (9, 14), (0, 1)))
    key(qtbot, window, "station.moved", Qt.Key.Key_I, CONTROL)
    qtbot.waitUntil(lambda: not page._looks["front"].new, timeout=WAIT_MS)
    if page._looks["front"].comparison.verdict == "moved":  # small pictures may leave it open, but never say "ok"
        assert "moved: front" in page.notice.words.lower()
        assert page.cameras.data(page.cameras.index(0, 7)) == "▲ has moved"
    else:
        assert "nobody can tell whether these have moved: front" in page.notice.words.lower()
    assert page._looks["front"].comparison.verdict != "ok"
    key(qtbot, window, "station.remember", Qt.Key.Key_I, CONTROL | SHIFT)
    qtbot.waitUntil(lambda: page._looks["front"].comparison.verdict == "ok", timeout=WAIT_MS)


def test_the_station_page_never_blocks(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    page = station_page(window, qtbot)
    qtbot.wait(500)
    longest = []
    for _ in range(5):
        qtbot.waitUntil(window.actions_["station.look"].isEnabled, timeout=WAIT_MS)
        with gui_thread_guard() as stretches:
            window.actions_["station.look"].trigger()
            for row in range(len(page.findings.records)):
                page.findings_table.selectRow(row)
                qtbot.wait(40)
        longest.append(stretches.longest_ms)
        if longest[-1] < LONGEST_MS:
            break
    assert len(stretches.found) > 10
    assert min(longest) < LONGEST_MS


def test_a_finding_says_what_to_do_and_the_worst_comes_first(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    page = station_page(window, qtbot)
    bad = Finding("disk space", "bad", "room for 20 seconds of recording", "Free space on the disk")
    found = look_over(tmp_path, window.desk.station)
    page.look_over = lambda _home, _station: replace(found, findings=(*found.findings[:1], bad))
    qtbot.waitUntil(window.actions_["station.look"].isEnabled, timeout=WAIT_MS)
    key(qtbot, window, "station.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: page.badge.state.word == "Do not record", timeout=WAIT_MS)
    assert page.findings.records[0] == bad and finding_rows((*found.findings, bad))[0] == bad
    assert page.fix.text() == "Disk space: room for 20 seconds of recording.\nFree space on the disk."

    def broken(_home: Path, _station: Station | None) -> Overview:
        raise WorkbenchError("the bus cannot be searched", "Look at the permissions")

    page.look_over = broken
    qtbot.waitUntil(window.actions_["station.look"].isEnabled, timeout=WAIT_MS)
    key(qtbot, window, "station.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: "Look at the permissions" in page.notice.words, timeout=WAIT_MS)
    assert window.actions_["station.propose"].isEnabled(), "the last look still serves"


def test_settings_are_proposed_read_written_and_used(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    page = station_page(window, qtbot)
    assert page.proposal.proposal is None, "nothing real is attached here"
    key(qtbot, window, "station.propose", Qt.Key.Key_P, CONTROL)
    assert page.proposal.state == "same" and not window.actions_["station.agree"].isEnabled()
    key(qtbot, window, "station.leave", Qt.Key.Key_Backspace, CONTROL)
    window.go("record")
    page.look_over = with_real_camera
    page.look()
    qtbot.waitUntil(lambda: page.proposal.state == "new", timeout=WAIT_MS)
    assert window.page is page, "the first run with real devices leads here"
    assert 'serial = "825312070123"' in page.proposal.text.toPlainText()
    assert "takes the place" in page.proposal.notes.text() or "take the place" in page.proposal.notes.text()
    assert not (tmp_path / "station.toml").exists()
    button = page.findChild(QPushButton, "button:station.agree")
    assert button is not None
    qtbot.waitUntil(button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: (tmp_path / "station.toml").exists(), timeout=WAIT_MS)
    assert load_settings(tmp_path).cameras[0].options["serial"] == "825312070123"
    qtbot.waitUntil(lambda: "Ctrl+F5" in page.notice.words, timeout=WAIT_MS)


def test_the_station_is_started_again_and_runs_as_before(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    page = station_page(window, qtbot)
    before = window.desk.station
    key(qtbot, window, "station.restart", Qt.Key.Key_F5, CONTROL)
    assert not window.desk.running and page.cameras.records == ()
    qtbot.waitUntil(lambda: window.desk.running, timeout=WAIT_MS)
    assert window.desk.station is not before
    qtbot.waitUntil(lambda: [row.status.state for row in page.cameras.records] == ["live", "live"], timeout=WAIT_MS)


def test_why_a_station_does_not_start_is_looked_for(qtbot: QtBot, theme: Theme, tmp_path: Path) -> None:
    def make() -> Station:
        raise WorkbenchError("camera 'front' is not attached", "Plug it in")

    window = Window(tmp_path, Bus(), theme, make)
    window.show()
    window.start()
    try:
        window.go("station")
        page = window.page
        assert isinstance(page, StationPage)
        qtbot.waitUntil(lambda: len(page.findings.records) > 5, timeout=WAIT_MS)
        qtbot.waitUntil(lambda: "F5" in page.arm_words.text(), timeout=WAIT_MS)
        assert not window.actions_["station.moved"].isEnabled() and not window.actions_["station.restart"].isEnabled()
        assert window.actions_["app.retry"].isEnabled()
    finally:
        close_window(qtbot, window)


@pytest.mark.parametrize("state", ["recording", "sealing"])
def test_nothing_is_searched_while_a_take_is_recorded(state: str) -> None:
    from ui.actions import COMMANDS, Situation

    situation = Situation(page="station", running=True, recorder=state, cameras=True)
    allowed = {c.id for c in COMMANDS if c.page == "station" and c.enabled(situation)}
    assert allowed == set()
