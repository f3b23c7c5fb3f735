"""Import, export and comparing in the library page, by keys alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.storage.foreign import write_clip
from tests.ui.conftest import WAIT_MS
from tests.ui.material import write_take
from tests.ui.still import close_still, open_still
from tests.ui.test_library import CONTROL, SHIFT, key
from ui.pages.library import LibraryPage
from ui.theme import Theme
from ui.window import Window
from workbench.core.types import EpisodeKind
from workbench.services.exchange import StopSwitch
from workbench.services.library import Library

Opened = tuple[Window, LibraryPage]


@pytest.fixture
def show(theme: Theme, qtbot: QtBot) -> Iterator[Callable[[Path], Opened]]:
    """Opens the library page on a data folder."""
    opened: list[Window] = []

    def make(home: Path) -> Opened:
        window = open_still(home, theme)
        opened.append(window)
        window.go("library")
        page = window.page
        assert isinstance(page, LibraryPage)
        qtbot.waitUntil(lambda: page.desk.library is not None, timeout=WAIT_MS)
        page.table.setFocus()
        return window, page

    yield make
    for window in opened:
        close_still(window)


def test_videos_come_after_they_were_looked_at(show: Callable[[Path], Opened], qtbot: QtBot, tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "fold_cloth" / "a.mp4", range(0, 1200, 40))
    write_clip(tmp_path / "clips" / "fold_cloth" / "b.mp4", range(0, 1500, 50))
    (tmp_path / "clips" / "bad.mp4").write_text("no video")
    window, page = show(tmp_path / "home")
    panel = page.panels.importing
    assert not window.actions_["library.look"].isEnabled()
    key(qtbot, window, "library.import", Qt.Key.Key_I, CONTROL)
    qtbot.waitUntil(panel.path.hasFocus, timeout=WAIT_MS)
    qtbot.keyClicks(panel.path, str(tmp_path / "nowhere"))
    qtbot.keyClick(panel.path, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "no folder" in page.notice.words and panel.state == "idle", timeout=WAIT_MS)
    assert not window.actions_["library.go"].isEnabled()
    panel.path.selectAll()
    qtbot.keyClicks(panel.path, str(tmp_path / "clips"))
    key(qtbot, window, "library.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "planned", timeout=WAIT_MS)
    assert [(take.name, bool(take.problem)) for take in panel.model.records] == [
        ("bad.mp4", True), ("fold_cloth/a.mp4", False), ("fold_cloth/b.mp4", False),
    ]  # fmt: skip
    assert "2 takes would come" in panel.status.text() and "1 cannot be read" in panel.status.text()
    assert page.model.rowCount() == 0, "looking writes nothing"
    key(qtbot, window, "library.go", Qt.Key.Key_G, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "done", timeout=WAIT_MS)
    assert "2 takes came" in panel.status.text() and "bad.mp4" in panel.status.text()
    qtbot.waitUntil(lambda: page.model.rowCount() == 2, timeout=WAIT_MS)
    key(qtbot, window, "library.show_result", Qt.Key.Key_R, CONTROL)
    assert page.panels.shown == "" and panel.report is not None
    qtbot.waitUntil(lambda: page.table.first_chosen() == panel.report.ids[-1], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: page.viewer.shown_row == 0, timeout=WAIT_MS)
    key(qtbot, window, "library.import", Qt.Key.Key_I, CONTROL)
    panel.side.setCurrentIndex(1)
    assert panel.state == "idle", "other settings: look again"
    key(qtbot, window, "library.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: "2 are here already" in panel.status.text(), timeout=WAIT_MS)
    assert not window.actions_["library.go"].isEnabled()


def test_a_long_import_can_be_stopped(
    show: Callable[[Path], Opened], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "clips" / "a.mp4", range(0, 2000, 40))
    write_clip(tmp_path / "clips" / "b.mp4", range(0, 3000, 40))
    window, page = show(tmp_path / "home")
    panel, brought = page.panels.importing, []
    real = StopSwitch.__call__

    def slow(self: StopSwitch) -> None:
        """The second take waits until somebody stops it."""
        brought.append(1)
        if len(brought) > 55:
            qtbot_stopped = self._event.wait(WAIT_MS / 1000)
            assert qtbot_stopped
        real(self)

    key(qtbot, window, "library.import", Qt.Key.Key_I, CONTROL)
    panel.path.setText(str(tmp_path / "clips"))
    key(qtbot, window, "library.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "planned", timeout=WAIT_MS)
    monkeypatch.setattr(StopSwitch, "__call__", slow)
    key(qtbot, window, "library.go", Qt.Key.Key_G, CONTROL)
    qtbot.waitUntil(lambda: len(brought) > 55, timeout=WAIT_MS)
    assert panel.bar.isVisible() and panel.path.isReadOnly()
    key(qtbot, window, "library.stop", Qt.Key.Key_Period, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "done", timeout=WAIT_MS)
    assert panel.status.text().startswith("Stopped") and "1 take came" in panel.status.text()
    qtbot.waitUntil(lambda: page.model.rowCount() == 1, timeout=WAIT_MS)


def test_chosen_takes_are_exported_and_come_back(show: Callable[[Path], Opened], qtbot: QtBot, tmp_path: Path) -> None:
    ids = [write_take(tmp_path / "home", seed, seconds=1.5) for seed in range(3)]
    window, page = show(tmp_path / "home")
    qtbot.waitUntil(lambda: page.model.rowCount() == 3, timeout=WAIT_MS)
    page.table.setFocus()
    page.table.choose([0, 1])
    panel = page.panels.exporting
    key(qtbot, window, "library.export", Qt.Key.Key_E, CONTROL | SHIFT)
    qtbot.waitUntil(panel.path.hasFocus, timeout=WAIT_MS)
    assert panel.which.currentText() == "the 2 chosen takes" and panel.which.itemText(1) == "all 3 listed takes"
    qtbot.waitUntil(lambda: panel.format.currentData() == "lerobot_v3", timeout=WAIT_MS)
    panel.format.setCurrentIndex(panel.format.findData("clap"))
    qtbot.keyClicks(panel.path, str(tmp_path / "out"))
    qtbot.keyClick(panel.path, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel.state == "planned", timeout=WAIT_MS)
    assert panel.status.text().startswith("2 takes")
    key(qtbot, window, "library.go", Qt.Key.Key_G, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "done", timeout=WAIT_MS)
    with Library(tmp_path / "other") as other:
        assert other.import_from(tmp_path / "out").ids == sorted(ids[1:])
    key(qtbot, window, "library.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: "exists already" in panel.status.text(), timeout=WAIT_MS)
    key(qtbot, window, "library.close_panel", Qt.Key.Key_W, CONTROL)
    assert page.panels.shown == "" and page.table.hasFocus()


def test_two_takes_are_compared_at_the_same_instant(
    show: Callable[[Path], Opened], qtbot: QtBot, tmp_path: Path
) -> None:
    for seed, seconds in ((0, 2.0), (1, 3.0), (2, 2.0)):
        write_take(tmp_path / "home", seed, EpisodeKind.HUMAN if seed == 2 else EpisodeKind.TELEOP, seconds)
    window, page = show(tmp_path / "home")
    qtbot.waitUntil(lambda: page.model.rowCount() == 3, timeout=WAIT_MS)
    page.table.setFocus()
    page.table.choose([1])
    assert not window.actions_["library.compare"].isEnabled()
    page.table.choose([1, 2])
    key(qtbot, window, "library.compare", Qt.Key.Key_D, CONTROL)
    view = page.panels.comparing
    qtbot.waitUntil(lambda: page.panels.shown == "compare" and view.shown_row == 0, timeout=WAIT_MS)
    shown = view.compared
    assert shown is not None and shown.pair.shifts_s == (0.0, 0.0)
    view.ways.setCurrentIndex(1)
    qtbot.waitUntil(lambda: view.compared is not shown and view.shown_row == 0, timeout=WAIT_MS)
    pair = view.compared.pair
    assert pair.aligned_by == "closing" and pair.shifts_s == pytest.approx((0.0, 0.0)), "both close after a second"
    row = round(0.8 * view.timeline.maximum())
    view.timeline.setValue(row)
    qtbot.waitUntil(lambda: view.shown_row == row, timeout=WAIT_MS)
    assert view.pictures[0].pixels is not None and view.pictures[1].pixels is None, "the second has ended"
    assert {line.dashed for line in view.plot.lines} == {False, True}
    key(qtbot, window, "library.back", Qt.Key.Key_Comma)
    assert view.timeline.value() == row - 1
    key(qtbot, window, "library.play", Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: view.timeline.value() == view.timeline.maximum(), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.actions_["library.play"].isChecked(), timeout=WAIT_MS)
    key(qtbot, window, "library.close_panel", Qt.Key.Key_W, CONTROL)
    page.table.choose([0, 1])
    key(qtbot, window, "library.compare", Qt.Key.Key_D, CONTROL)
    qtbot.waitUntil(lambda: view.remark.isVisible() and "no grasp" in view.remark.text(), timeout=WAIT_MS)
