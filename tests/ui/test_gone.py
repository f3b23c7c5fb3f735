"""Takes that are thrown away while somebody looks at them: nothing is damaged, and nothing says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from storage.episode import Episode
from storage.layout import Home
from tests.ui.conftest import WAIT_MS
from tests.ui.material import write_take
from ui.bridge import Bridge
from ui.pages.library import LibraryPage
from ui.theme import Theme
from ui.widgets.compare_view import Compared, CompareView
from ui.widgets.viewer import TakeViewer
from ui.window import Window
from workbench.core.errors import CorruptTakeError, NotFoundError
from workbench.services.library import Library
from workbench.services.take_compare import START

Opener = Callable[..., Window]
FRONT = "observation.images.front"


def test_the_open_take_goes_and_comes_back(
    open_window: Opener, qtbot: QtBot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    take = write_take(tmp_path, 1)
    window = open_window(tmp_path)
    window.go("library", take)
    page = window.page
    assert isinstance(page, LibraryPage)
    viewer = page.viewer
    qtbot.waitUntil(lambda: viewer.shown_row == 0, timeout=WAIT_MS)
    caplog.set_level(logging.WARNING)
    with Library(tmp_path) as another:
        another.trash([take])
        viewer.timeline.setValue(viewer.timeline.maximum())
        qtbot.waitUntil(lambda: viewer.view is None, timeout=WAIT_MS)
        assert not viewer.wall.tiles and "trash" in viewer.wall.empty
        assert not page.note.isEnabled() and page.notice.words == ""
        another.restore([take])
    assert window.desk.library is not None
    page.ask("edits", lambda: window.desk.library.refresh([take]))  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: viewer.view is not None and viewer.shown_row == 0, timeout=WAIT_MS)
    assert viewer.wall.empty == ""
    assert [record.getMessage() for record in caplog.records] == []


def test_a_failure_of_the_take_before_does_not_stop_the_one_that_is_open(
    bridge: Bridge, theme: Theme, qtbot: QtBot, tmp_path: Path
) -> None:
    ids, failures = [write_take(tmp_path, seed) for seed in (1, 2)], list[object]()
    viewer = TakeViewer(bridge, theme, failures.append, lambda: failures.append("gone"))
    qtbot.addWidget(viewer)
    with Library(tmp_path) as library:
        first, second = (library.open(take) for take in ids)
        library.trash(ids[:1])
        viewer.show_take(first)
        viewer.show_take(second)
        qtbot.waitUntil(lambda: viewer.shown_row == 0, timeout=WAIT_MS)
        qtbot.waitUntil(lambda: not bridge.busy, timeout=WAIT_MS)
        assert viewer.view is second and failures == []
        viewer.show_take(None)
        qtbot.waitUntil(lambda: not bridge.busy, timeout=WAIT_MS)


def test_one_of_two_compared_takes_goes(bridge: Bridge, theme: Theme, qtbot: QtBot, tmp_path: Path) -> None:
    ids = [write_take(tmp_path, seed) for seed in (1, 2)]
    failures: list[object] = []
    both = CompareView(bridge, theme, failures.append)
    qtbot.addWidget(both)
    with Library(tmp_path) as library, library.open(ids[0]) as first, library.open(ids[1]) as second:
        both.show_pair(Compared.of((first, second), START))
        qtbot.waitUntil(lambda: both.shown_row == 0, timeout=WAIT_MS)
        library.trash(ids[1:])
        both.timeline.setValue(both.timeline.maximum())
        qtbot.waitUntil(lambda: both.compared is None, timeout=WAIT_MS)
        assert "trash" in both.remark.text() and failures == []


def test_a_folder_that_moved_is_no_damage_and_one_that_did_not_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    take, broken, home = write_take(tmp_path, 1), write_take(tmp_path, 2), Home.open(tmp_path)
    with Library(tmp_path) as library, Episode.open(home, take) as episode:
        folder = episode.folder.rename(home.trash / episode.folder.name)
        for read in (episode.row_times, lambda: episode.times(FRONT), lambda: episode.vectors("action")):
            with pytest.raises(NotFoundError, match="not there any more"):
                read()
        with pytest.raises(NotFoundError, match="not there any more"):
            episode.read(FRONT, 0)
        assert caplog.records == []
        with library.open(take) as view:  # the catalogue does not know yet where it lies
            assert view.picture(FRONT, 0) is not None
        folder.rename(episode.folder)
        assert episode.read(FRONT, 0) is not None
    with Episode.open(home, broken) as episode:
        for part in (episode.folder / FRONT).glob("c.*"):
            part.unlink()
        with pytest.raises(CorruptTakeError):
            episode.read(FRONT, 0)
