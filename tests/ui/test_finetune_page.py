"""Training from the window, on real takes, with the real trainer; it needs no station."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from models.recipes import PRESETS, preset
from models.registry import ModelRecord, write_record
from models.stages import STAGES, RunSpec
from storage.layout import Home
from tests.ui.conftest import WAIT_MS, close_window
from tests.ui.material import TASK, write_take
from tests.ui.test_window import click, press
from ui import words
from ui.pages.finetune import FinetunePage
from ui.theme import Theme
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.files import write_json
from workbench.core.types import EpisodeKind
from workbench.services.evaluation import Rate
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


def choose_stage(page: FinetunePage, stage: str) -> None:
    page.stage.setCurrentIndex(page.stage.findData(stage))


def test_what_can_be_learned_from_follows_the_stage(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    choose_stage(page, "act_vae")
    choice = page.choice
    qtbot.waitUntil(lambda: "4 takes" in choice.summary.text(), timeout=WAIT_MS)
    assert not choice.kinds["human"].isEnabled() and not page.summary.isVisible()
    choose_stage(page, "vd_vae")
    assert "5 takes" in choice.summary.text() and choice.kinds["human"].isChecked()
    choice.kinds["teleop"].setFocus()
    qtbot.keyClick(choice.kinds["teleop"], Qt.Key.Key_Space)
    assert "1 take " in choice.summary.text()
    choice.kinds["human"].setChecked(False)
    qtbot.waitUntil(lambda: not window.actions_["finetune.start"].isEnabled(), timeout=WAIT_MS)
    assert "Nothing to learn from" in choice.summary.text()
    assert window.actions_["finetune.start"].text() == "Start training"


def test_fine_tuning_says_what_is_missing(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    assert page.tuning, "one click is what the page offers first"
    qtbot.waitUntil(lambda: "no trained rf model" in page.summary.warnings.text(), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.actions_["finetune.start"].isEnabled(), timeout=WAIT_MS)


def test_a_stage_without_its_base_is_refused_in_words(window: Window, qtbot: QtBot) -> None:
    choose_stage(page_of(window), "rf")
    click(qtbot, window, "finetune.start")
    qtbot.waitUntil(lambda: "Train the stage" in page_of(window).notice.words, timeout=WAIT_MS)


@pytest.mark.slow
def test_train_watch_pause_cancel_resume_and_promote(window: Window, qtbot: QtBot) -> None:
    page = page_of(window)
    choose_stage(page, "act_vae")
    page.choice.preset.setCurrentIndex(page.choice.preset.findData("quick"))
    click(qtbot, window, "finetune.start")
    qtbot.waitUntil(lambda: page.jobs.rowCount() == 1 and newest(window).step > 0, timeout=5 * WAIT_MS)
    qtbot.waitUntil(lambda: len(page.plot.lines) > 0, timeout=WAIT_MS)
    assert newest(window).state == "running"
    press(qtbot, window, Qt.Key.Key_H, "finetune.pause", Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: newest(window).state == "paused", timeout=WAIT_MS)
    click(qtbot, window, "finetune.pause")
    qtbot.waitUntil(lambda: newest(window).state == "running", timeout=WAIT_MS)
    click(qtbot, window, "finetune.cancel")
    qtbot.waitUntil(lambda: newest(window).state == "cancelled", timeout=WAIT_MS)
    stopped_at = newest(window).step
    assert 0 < stopped_at < newest(window).steps
    qtbot.waitUntil(window.actions_["finetune.resume"].isEnabled, timeout=WAIT_MS)

    page.choice.preset.setCurrentIndex(page.choice.preset.findData("tiny"))
    click(qtbot, window, "finetune.start")
    qtbot.waitUntil(lambda: page.jobs.rowCount() == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: newest(window).state == "done", timeout=5 * WAIT_MS)
    press(qtbot, window, Qt.Key.Key_P, "finetune.promote", Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: any(model.promoted for model in models_of(window)), timeout=WAIT_MS)
    page.jobs_table.selectRow(1)
    click(qtbot, window, "finetune.resume")
    qtbot.waitUntil(lambda: page.jobs.records[1].step > stopped_at, timeout=5 * WAIT_MS)
    click(qtbot, window, "finetune.cancel")  # it would outlive the window
    qtbot.waitUntil(lambda: page.jobs.records[1].state == "cancelled", timeout=WAIT_MS)


def models_of(window: Window) -> tuple[ModelRecord, ...]:
    assert window.desk.jobs is not None
    return window.desk.jobs.models()


def test_the_pages_former_name_still_opens_it(window: Window) -> None:
    window.go("record")
    window.go("train")
    assert window.page is window.pages["finetune"] and window.actions_["page.finetune"].isChecked()


# one click ------------------------------------------------------------------------------------------------------------


def write_driver(home: Path, model_id: str, seen: tuple[str, ...], **more: object) -> None:
    """A model's record as training leaves it; enough to look at what one click would do."""
    root = Home.open(home)
    for stage in ("act_vae", "ntp"):
        write_record(root, ModelRecord(stage, stage, {}, "hash"))
    bases = {"act_vae": "act_vae", "ntp": "ntp"}
    recipe = preset("tiny", "rf").to_json()
    data = tuple((episode_id, "hash") for episode_id in seen)
    write_record(root, ModelRecord(model_id, "rf", recipe, "hash", bases=bases, tasks=(TASK,), data=data, **more))


def receipt(passed: bool) -> dict[str, object]:
    rate = Rate.of(9, 10).to_json()
    fallen = rate if passed else Rate.of(2, 10).to_json()
    verdict = "no clear change" if passed else "worse"
    line = {
        "new": False,
        "before": rate,
        "after": fallen,
        "verdict": verdict,
        "held_out": {},
        "why_not_measured": "why",
    }
    gate = {"passed": passed, "reasons": [] if passed else [f"{TASK} fell"], "remarks": []}
    return {"tasks": {TASK: line}, "gate": gate}


def write_tuned(home: Path, run_id: str, passed: bool) -> None:
    """A fine-tuning that has ended, as its folder shows it."""
    model_id = f"model-of-{run_id}"
    bases = {"act_vae": "act_vae", "ntp": "ntp", "rf": "parent"}
    spec = RunSpec("rf", preset("tiny", "rf"), ("take",), home, bases, run_id=run_id, model_id=model_id)
    spec.write()
    write_json(spec.folder / "finetune.json", {})
    write_json(spec.folder / "status.json", {"state": "done", "step": 60, "steps": 60, "model_id": model_id})
    write_json(spec.folder / "receipt.json", receipt(passed))
    write_driver(home, model_id, (), gate=receipt(passed)["gate"])


def test_one_click_says_what_it_would_use_and_ticks_are_heard(window: Window, qtbot: QtBot) -> None:
    page, home = page_of(window), window.desk.home
    write_driver(home, "parent", ())
    page._look()
    qtbot.waitUntil(lambda: "4 takes, 1 task" in page.summary.sentence.text(), timeout=WAIT_MS)
    assert "time not known yet" in page.summary.sentence.text() and "only 4 takes" in page.summary.warnings.text()
    qtbot.waitUntil(window.actions_["finetune.start"].isEnabled, timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_O, "finetune.options", Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(page.options.table.isVisible, timeout=WAIT_MS)
    page.options.table.setFocus()
    page.options.table.selectRow(1)
    qtbot.waitUntil(window.actions_["finetune.tick"].isEnabled, timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_Space, "finetune.tick", Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: "3 takes, 1 task" in page.summary.sentence.text(), timeout=WAIT_MS)
    assert page.offer is not None and page.offer.material.episodes == page.options.chosen()
    entries = page.options.base.count()
    write_driver(home, "another", ())
    qtbot.waitUntil(lambda: page.options.base.count() == entries + 1, timeout=WAIT_MS)
    chosen_takes = page.options.chosen()
    assert chosen_takes is not None and len(chosen_takes) == 3, "another model in the list takes no ticks back"
    page.options.replay.setValue(30)
    page.options.hold.setCurrentIndex(1)
    chosen = page.options.options()
    assert chosen.rung == 1 and chosen.changes == {"replay_share": 0.3}


def test_a_receipt_shows_arrows_and_what_forgot_cannot_be_promoted(window: Window, qtbot: QtBot) -> None:
    page, home = page_of(window), window.desk.home
    write_tuned(home, "1-forgot", passed=False)
    qtbot.waitUntil(page.receipt.isVisible, timeout=WAIT_MS)
    assert "It forgot" in page.receipt.verdict.text() and "fell" in page.receipt.reasons.text()
    assert [page.receipt.lines.look(0, place)[0] for place in (0, 1)] == ["red cube to white plate", "▼ worse"]
    assert page.receipt.lines.look(0, 2)[0] == "90 % (60–98) → 20 % (6–51)"
    qtbot.waitUntil(window.actions_["finetune.retry"].isEnabled, timeout=WAIT_MS)
    assert not window.actions_["finetune.promote"].isEnabled()
    write_tuned(home, "2-kept", passed=True)
    qtbot.waitUntil(lambda: page.jobs.rowCount() == 2, timeout=WAIT_MS)
    page.jobs_table.selectRow(0)
    qtbot.waitUntil(window.actions_["finetune.promote"].isEnabled, timeout=WAIT_MS)
    click(qtbot, window, "finetune.promote")
    qtbot.waitUntil(lambda: any(m.promoted and m.id == "model-of-2-kept" for m in models_of(window)), timeout=WAIT_MS)
