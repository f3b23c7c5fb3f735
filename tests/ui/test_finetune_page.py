"""Training from the window, on real takes, with the real trainer; it needs no station."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from models.recipes import PRESETS
from models.stages import STAGES
from tests.ui.conftest import WAIT_MS, close_window
from tests.ui.material import write_take
from tests.ui.test_window import click, press
from ui import words
from ui.pages.finetune import FinetunePage
from ui.theme import Theme
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services.jobs import JobStatus
from workbench.services.runs import KINDS
from workbench.services.station import Station


def no_station() -> Station:
    raise WorkbenchError("no station in this test")


@pytest.fixture
def window(qtbot: QtBot, theme: Theme, tmp_path: Path) -> Iterator[Window]:
    for seed in range(4):
        write_take(tmp_path, seed)
    write_take(tmp_path, 9, EpisodeKind.HUMAN)
    made = Window(tmp_path, Bus(), theme, no_station)
    made.show()
    made.start()
    qtbot.waitUntil(lambda: made.desk.jobs is not None, timeout=WAIT_MS)
    made.go("finetune")
    yield made
    jobs = made.desk.jobs
    assert jobs is not None
    for job in jobs.jobs():
        if not job.ended:
            jobs.cancel(job.run_id)
    qtbot.waitUntil(lambda: all(job.ended for job in jobs.jobs()), timeout=WAIT_MS)
    close_window(qtbot, made)


def page_of(window: Window) -> FinetunePage:
    page = window.pages["finetune"]
    assert isinstance(page, FinetunePage)
    return page


def newest(window: Window) -> JobStatus:
    return page_of(window).jobs.records[0]


def test_stages_and_presets_are_the_trainers_own() -> None:
    assert tuple(words.STAGES) == STAGES
    assert set(words.PRESETS) == set(PRESETS)
    for name, stage in words.STAGES.items():
        assert {str(kind) for kind in KINDS[name]} == set(stage.kinds)


def test_what_can_be_learned_from_follows_the_stage(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    qtbot.waitUntil(lambda: "4 takes" in page.summary.text(), timeout=WAIT_MS)
    assert not page.kinds["human"].isEnabled()
    page.stage.setCurrentIndex(page.stage.findData("vd_vae"))
    assert "5 takes" in page.summary.text() and page.kinds["human"].isChecked()
    page.kinds["teleop"].setFocus()
    qtbot.keyClick(page.kinds["teleop"], Qt.Key.Key_Space)
    assert "1 takes" in page.summary.text()
    page.kinds["human"].setChecked(False)
    qtbot.waitUntil(lambda: not window.actions_["finetune.start"].isEnabled(), timeout=WAIT_MS)
    assert "Nothing to learn from" in page.summary.text()


def test_fine_tuning_says_what_is_missing(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    page.stage.setCurrentIndex(page.stage.findData(words.FINETUNE))
    qtbot.waitUntil(lambda: "no trained rf model" in page.summary.text(), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.actions_["finetune.start"].isEnabled(), timeout=WAIT_MS)


def test_a_stage_without_its_base_is_refused_in_words(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    page.stage.setCurrentIndex(page.stage.findData("rf"))
    click(qtbot, window, "finetune.start")
    qtbot.waitUntil(lambda: "Train the stage" in page.notice.words, timeout=WAIT_MS)


def test_train_watch_cancel_resume_and_promote(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    page.preset.setCurrentIndex(page.preset.findData("quick"))
    click(qtbot, window, "finetune.start")
    qtbot.waitUntil(lambda: page.jobs.rowCount() == 1 and newest(window).step > 0, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: len(page.plot.lines) > 0, timeout=WAIT_MS)
    assert newest(window).state == "running"
    click(qtbot, window, "finetune.cancel")
    qtbot.waitUntil(lambda: newest(window).state == "cancelled", timeout=WAIT_MS)
    stopped_at = newest(window).step
    assert 0 < stopped_at < newest(window).steps
    qtbot.waitUntil(window.actions_["finetune.resume"].isEnabled, timeout=WAIT_MS)

    page.preset.setCurrentIndex(page.preset.findData("tiny"))
    click(qtbot, window, "finetune.start")
    qtbot.waitUntil(lambda: page.jobs.rowCount() == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: newest(window).state == "done", timeout=2 * WAIT_MS)
    qtbot.waitUntil(lambda: page.models.rowCount() == 1, timeout=WAIT_MS)
    page.models_table.selectRow(0)
    press(qtbot, window, Qt.Key.Key_P, "finetune.promote", Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: page.models.records[0].promoted, timeout=WAIT_MS)
    assert "✔  Act-VAE: 1 model" in page.ladder.text()
    page.jobs_table.selectRow(1)
    click(qtbot, window, "finetune.resume")
    qtbot.waitUntil(lambda: page.jobs.records[1].step > stopped_at, timeout=WAIT_MS)


def test_the_pages_former_name_still_opens_it(window: Window) -> None:
    window.go("record")
    window.go("train")
    assert window.page is window.pages["finetune"] and window.actions_["page.finetune"].isChecked()
