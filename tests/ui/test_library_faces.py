"""Blurring faces in the library page, by keys alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from storage.layout import Home
from tests.storage.face_pictures import KnowsFaces, record
from tests.ui.conftest import WAIT_MS
from tests.ui.material import write_take
from tests.ui.still import close_still, open_still
from tests.ui.test_library import CONTROL, NO_KEY, key
from ui.pages.library import LibraryPage
from ui.theme import Theme
from ui.window import Window
from workbench.services import faces as service
from workbench.services.exchange import StopSwitch

Opened = tuple[Window, LibraryPage]


@pytest.fixture
def show(theme: Theme, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, int], Opened]]:
    """Opens the library page on a data folder, with so many takes chosen; faces are found by the tests' own finder."""
    monkeypatch.setattr(service, "FaceFinder", KnowsFaces)
    opened: list[Window] = []

    def make(home: Path, chosen: int) -> Opened:
        window = open_still(home, theme)
        opened.append(window)
        window.go("library")
        page = window.page
        assert isinstance(page, LibraryPage)
        qtbot.waitUntil(lambda: page.model.rowCount() >= chosen, timeout=WAIT_MS)
        page.table.setFocus()
        page.table.choose(list(range(chosen)))
        qtbot.waitUntil(lambda: window.actions_["library.blur"].isEnabled(), timeout=WAIT_MS)
        return window, page

    yield make
    for window in opened:
        close_still(window)


def test_faces_are_shown_before_they_are_blurred_and_undo_brings_the_take_back(
    show: Callable[[Path, int], Opened], qtbot: QtBot, tmp_path: Path
) -> None:
    whole = record(Home.open(tmp_path / "home"))
    window, page = show(tmp_path / "home", 1)
    panel = page.panels.blurring
    key(qtbot, window, "library.blur", Qt.Key.Key_B, NO_KEY)
    qtbot.waitUntil(lambda: panel.state == "planned", timeout=WAIT_MS)
    assert page.panels.shown == "faces" and panel.table.hasFocus()
    assert "1 take with a face" in panel.status.text() and page.model.rowCount() == 1
    qtbot.waitUntil(lambda: isinstance(panel.example.pixels, np.ndarray), timeout=WAIT_MS)
    key(qtbot, window, "library.go", Qt.Key.Key_G, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "done", timeout=WAIT_MS)
    assert panel.report is not None and list(panel.report.copies) == [whole.id]
    assert "blurred in 1 take" in panel.status.text() and "Ctrl+Z" in panel.status.text()
    key(qtbot, window, "library.show_result", Qt.Key.Key_R, CONTROL)
    copy_id = panel.report.copies[whole.id]
    qtbot.waitUntil(lambda: page.table.first_chosen() == copy_id and page.model.rowCount() == 1, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "faces blurred" in page.facts_line.text(), timeout=WAIT_MS)
    assert any(whole.id in line and line.startswith("Faces") for line in page.details.sentences)
    key(qtbot, window, "library.undo", Qt.Key.Key_Z, CONTROL)
    qtbot.waitUntil(lambda: [row.id for row in shown(page)] == [whole.id], timeout=WAIT_MS)


def test_a_take_without_a_face_is_left_alone_and_said_so(
    show: Callable[[Path, int], Opened], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_take(tmp_path / "home", 1, seconds=1.0)
    window, page = show(tmp_path / "home", 1)
    monkeypatch.setattr(service, "FaceFinder", NobodyThere)
    key(qtbot, window, "library.blur", Qt.Key.Key_B, NO_KEY)
    panel = page.panels.blurring
    qtbot.waitUntil(lambda: "without a face" in panel.status.text(), timeout=WAIT_MS)
    assert panel.state == "idle" and "look through the takes yourself" in panel.status.text()
    assert not window.actions_["library.go"].isEnabled()


def test_looking_and_blurring_can_be_stopped(
    show: Callable[[Path, int], Opened], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = [record(Home.open(tmp_path / "home")).id for _ in range(2)]
    window, page = show(tmp_path / "home", 2)
    panel, asked = page.panels.blurring, []
    real, wait_at = StopSwitch.__call__, [40]

    def slow(self: StopSwitch) -> None:
        """In the second take the work waits until somebody stops it."""
        asked.append(1)
        if len(asked) == wait_at[0]:
            assert self._event.wait(WAIT_MS / 1000)
        real(self)

    monkeypatch.setattr(StopSwitch, "__call__", slow)
    key(qtbot, window, "library.blur", Qt.Key.Key_B, NO_KEY)
    qtbot.waitUntil(lambda: len(asked) == 40, timeout=WAIT_MS)
    assert panel.bar.isVisible()
    key(qtbot, window, "library.stop", Qt.Key.Key_Period, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "planned", timeout=WAIT_MS)
    assert panel.status.text().startswith("Stopped") and len(panel.model.records) == 1
    key(qtbot, window, "library.look", Qt.Key.Key_L, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "planned" and len(panel.model.records) == 2, timeout=WAIT_MS)
    asked.clear()
    wait_at[0] = 100
    key(qtbot, window, "library.go", Qt.Key.Key_G, CONTROL)
    qtbot.waitUntil(lambda: len(asked) == 100, timeout=WAIT_MS)
    key(qtbot, window, "library.stop", Qt.Key.Key_Period, CONTROL)
    qtbot.waitUntil(lambda: panel.state == "done", timeout=WAIT_MS)
    assert panel.status.text().startswith("Stopped") and panel.report is not None
    (done,) = panel.report.copies
    qtbot.waitUntil(
        lambda: {row.id for row in shown(page)} == {panel.report.copies[done], *takes} - {done}, timeout=WAIT_MS
    )


class NobodyThere(KnowsFaces):
    """Finds no face anywhere."""

    def find(self, picture: np.ndarray) -> list:
        return []


def shown(page: LibraryPage) -> list:
    """The records that the list shows now."""
    records = [page.table.record(episode_id) for episode_id in page.model.listing.ids]
    return [record for record in records if record is not None]
