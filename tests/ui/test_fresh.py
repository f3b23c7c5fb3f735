"""Pages read the library when somebody sees them, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from tests.ui.conftest import WAIT_MS
from tests.ui.material import write_take
from ui.fresh import Fresh
from ui.pages.align import AlignPage
from ui.pages.finetune import FinetunePage
from ui.pages.library import LibraryPage
from ui.window import Window
from workbench.core.types import Outcome
from workbench.services.library import Library

Opener = Callable[..., Window]


def test_a_page_reads_once_when_it_is_seen_and_bursts_count_once(qtbot: QtBot) -> None:
    page, reads = QWidget(), list[int]()
    qtbot.addWidget(page)
    fresh = Fresh(page, lambda: reads.append(1), 20)
    for _ in range(3):
        fresh.changed()
    qtbot.wait(60)
    assert reads == []
    page.show()
    assert len(reads) == 1
    for _ in range(3):
        fresh.changed()
    qtbot.waitUntil(lambda: len(reads) == 2)
    page.hide()
    page.show()
    qtbot.wait(60)
    assert len(reads) == 2, "nothing has changed"


def test_hidden_pages_leave_the_library_alone_and_know_it_when_they_appear(
    open_window: Opener, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_take(tmp_path, 1)
    window = open_window(tmp_path)
    align, tune, shelf = (window.pages[name] for name in ("align", "finetune", "library"))
    assert isinstance(align, AlignPage) and isinstance(tune, FinetunePage) and isinstance(shelf, LibraryPage)
    for name, known in (("align", lambda: len(align.chosen())), ("finetune", lambda: len(tune.choice._takes))):
        window.go(name)
        qtbot.waitUntil(lambda known=known: known() == 1, timeout=WAIT_MS)
    window.go("record")
    asked: list[str] = []
    for method in ("episodes", "ids"):
        real = getattr(Library, method)
        monkeypatch.setattr(
            Library,
            method,
            lambda self, *of, real=real, method=method, **more: asked.append(method) or real(self, *of, **more),
        )
    take, library = write_take(tmp_path, 2), window.desk.library
    assert library is not None
    shelf.ask("edits", library.sync)
    qtbot.waitUntil(lambda: take in window.pages["record"].strip.cards, timeout=WAIT_MS)  # type: ignore[attr-defined]
    shelf.ask("edits", lambda: library.label(take, Outcome.FAILURE))
    qtbot.waitUntil(lambda: library.find(take).outcome == Outcome.FAILURE, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.bridge.busy, timeout=WAIT_MS)
    assert asked == [], "nobody sees these pages"
    window.go("finetune")
    qtbot.waitUntil(lambda: len(tune.choice._takes) == 2, timeout=WAIT_MS)
    window.go("library", take)
    qtbot.waitUntil(lambda: shelf.table.first_chosen() == take, timeout=WAIT_MS)
    window.go("align")
    qtbot.waitUntil(lambda: {brief.outcome for brief in align._takes or ()} == {"success", "failure"}, timeout=WAIT_MS)
