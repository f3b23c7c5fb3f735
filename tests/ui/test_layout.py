"""The window comes back as it was left: page, language, size, how its parts share the room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PyQt6.QtCore import QSize
from PyQt6.QtWidgets import QApplication, QLabel, QMainWindow, QSplitter, QWidget

from tests.ui.material import write_take
from tests.ui.sentences import ROOT
from tests.ui.still import close_still, open_still
from ui import look
from ui.layout import GEOMETRY, PAGE, SPLITS, Layout
from ui.preferences import Preferences
from ui.theme import Theme, ThemeChoice
from ui.window import Window
from workbench.core.bus import Bus
from workbench.services.station import Station


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_take(folder, 0)
    return folder


def test_the_window_comes_back_as_it_was_left(home: Path, theme: Theme, choices: Preferences) -> None:
    first = open_still(home, theme, choices)
    first.resize(1400, 800)
    first.go("library")
    QApplication.processEvents()
    splitter = first.pages["library"].findChild(QSplitter)
    assert splitter is not None
    splitter.setSizes([500, 800])
    left = splitter.sizes()
    first.actions_["view.dark"].trigger()
    first.actions_["view.language_zh_CN"].trigger()
    assert "简体中文" in first.pages["library"].notice.words
    close_still(first)

    kept = Preferences(choices.path)
    assert look.theme_choice(kept) is ThemeChoice.DARK
    assert look.language_choice(kept) == "zh_CN"
    second = Window(home, Bus(), theme, _no_station, kept)
    second.resize(1400, 800)  # the screen of these tests is too small for it; see the next test
    second.show()
    try:
        assert second.page is not None and second.page.name == "library"
        again = second.page.findChild(QSplitter)
        assert again is not None
        QApplication.processEvents()
        assert again.sizes()[0] == pytest.approx(left[0], abs=12)
        assert second.actions_["view.language_zh_CN"].isChecked()
    finally:
        close_still(second)


_LEFT_AND_FOUND = """
import sys
from pathlib import Path
from PyQt6.QtWidgets import QApplication, QMainWindow
from ui.layout import Layout
from ui.pages.station import StationPage
from ui.preferences import Preferences

application = QApplication([])
kept = Preferences(Path(sys.argv[1]))
window = QMainWindow()
layout = Layout(window, kept)
layout.restore()
window.show()
application.processEvents()
print(window.width(), window.height())
window.resize(1900, 1000)
application.processEvents()
layout.keep("record", {})
kept.flush()
"""


def test_the_size_comes_back_where_the_screen_has_room_for_it(tmp_path: Path) -> None:
    said = [_left_and_found(tmp_path, *screen) for screen in ((2560, 1440), (2560, 1440), (1280, 720))]
    assert said[1] == (1900, 1000)
    assert said[2][0] <= 1280 and said[2][1] <= 720


def _left_and_found(folder: Path, width: int, height: int) -> tuple[int, int]:
    """Start, tell the size, leave the window large; on a screen of the given size."""
    screen = {"name": "screen", "x": 0, "y": 0, "width": width, "height": height, "logicalDpi": 96, "dpr": 1}
    (folder / "screens.json").write_text(json.dumps({"screens": [screen]}))
    run = subprocess.run(
        [sys.executable, "-c", _LEFT_AND_FOUND, str(folder / "window.json")],
        cwd=ROOT,
        env={**os.environ, "QT_QPA_PLATFORM": f"offscreen:configfile={folder / 'screens.json'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = run.stdout.split()
    return int(found[0]), int(found[1])


@pytest.mark.parametrize(
    ("geometry", "splits"),
    [("no base64 at all", ["a", -3]), ("AAAA", [1, 2, 3, 4, 5]), ("", [10**9, True]), ("=", "wide"), ("", [0, 0])],
)
def test_a_layout_of_another_version_is_no_trouble(
    geometry: str, splits: object, qapp: QApplication, choices: Preferences
) -> None:
    choices.keep(GEOMETRY, geometry)
    choices.keep(SPLITS, {"library.0": splits})
    main, page = QMainWindow(), QWidget()
    main.resize(1280, 720)
    splitter = QSplitter(page)
    for _ in range(2):
        splitter.addWidget(QLabel("part"))
    before = splitter.sizes()
    layout = Layout(main, choices)
    layout.restore()
    layout.divide("library", page)
    assert main.size() == QSize(1280, 720)
    assert splitter.sizes() == before
    layout.keep("library", {"library": page})


@pytest.mark.parametrize(("kept", "opened"), [("train", "finetune"), ("attic", "record")])
def test_a_page_that_is_called_otherwise_now_opens(
    kept: str, opened: str, tmp_path: Path, theme: Theme, choices: Preferences
) -> None:
    choices.keep(PAGE, kept)
    window = Window(tmp_path, Bus(), theme, _no_station, choices)
    try:
        assert window.page is not None and window.page.name == opened
    finally:
        close_still(window)


def _no_station() -> Station:
    raise AssertionError("this window is never started")
