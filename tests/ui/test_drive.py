"""Driving from the window with a real (barely trained) model: hold, resume, take over, stop, clear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from storage.episode import Episode
from tests.ui.conftest import WAIT_MS
from tests.ui.material import TASK, train_driver, write_take
from tests.ui.test_window import click, driver, press
from ui.pages.drive import DrivePage
from ui.pages.drive_tables import limit_rows
from ui.window import Window
from workbench.core.errors import StateError
from workbench.core.events import TrialScored
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.finetune import candidates
from workbench.services.jobs import Jobs
from workbench.services.trial_runs import SeriesRun
from workbench.services.trials import Entrant, Series


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    for seed in range(4):
        write_take(home, seed)
    train_driver(home)
    return home


def test_limits_are_words_a_person_reads() -> None:
    rows = limit_rows(
        {"joint_speed_rad_s": None, "tool_speed_m_s": 0.6, "workspace_min_m": (0.2, -0.4, 0.0), "gripper_speed_s": 4.0}
    )
    assert [(row.name, row.value) for row in rows] == [
        ("Tool speed", "0.6 m/s"),
        ("Workspace from", "0.2, -0.4, 0 m"),
        ("Gripper speed", "4 full strokes/s"),
    ]
    assert "stays parked" in limit_rows({})[0].value


def test_without_a_model_the_page_says_what_to_do(
    open_window: Callable[..., Window], qtbot: QtBot, tmp_path: Path
) -> None:
    window = open_window(tmp_path)
    window.go("drive")
    page = window.pages["drive"]
    assert isinstance(page, DrivePage)
    qtbot.waitUntil(page._no_model.isVisible, timeout=WAIT_MS)
    assert "Ctrl+4" in page._no_model.text()
    assert not window.actions_["drive.start"].isEnabled()


def test_drive_hold_resume_take_over_and_stop(
    open_window: Callable[..., Window], qtbot: QtBot, trained_home: Path
) -> None:
    window = open_window(trained_home)
    qtbot.keyClick(window, Qt.Key.Key_5, Qt.KeyboardModifier.ControlModifier)
    page = window.pages["drive"]
    assert isinstance(page, DrivePage)
    window.activateWindow()
    page.tasks.setCurrentIndex(page.tasks.findData(TASK))
    click(qtbot, window, "drive.start")
    qtbot.waitUntil(lambda: driver(window) == "driving", timeout=2 * WAIT_MS)
    qtbot.waitUntil(lambda: page.badge.state.word == "Driving", timeout=WAIT_MS)
    assert page.authority.text().startswith("The policy drives")
    front = page.wall.tiles["observation.images.front"]
    qtbot.waitUntil(lambda: front.path is not None and "thought for" in page.plans.words, timeout=WAIT_MS)

    press(qtbot, window, Qt.Key.Key_Space, "drive.hold")
    qtbot.waitUntil(lambda: driver(window) == "holding", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: front.path is None and page.plans.words.startswith("No plan"), timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_R, "drive.resume")
    qtbot.waitUntil(lambda: driver(window) == "driving", timeout=WAIT_MS)

    click(qtbot, window, "drive.correct")
    qtbot.waitUntil(lambda: driver(window) == "correcting" and page.pad.hasFocus(), timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_Space, "drive.hold")
    qtbot.waitUntil(lambda: driver(window) == "holding", timeout=WAIT_MS)

    press(qtbot, window, Qt.Key.Key_Escape, "drive.stop")
    qtbot.waitUntil(lambda: driver(window) == "stopped" and page.badge.state.word == "Stopped", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: page.trials.rowCount() == 1, timeout=WAIT_MS)
    assert "1" in page.score.text()
    click(qtbot, window, "drive.clear")
    qtbot.waitUntil(lambda: driver(window) == "parked", timeout=WAIT_MS)
    library = window.desk.library
    assert library is not None
    qtbot.waitUntil(lambda: any(r.kind is EpisodeKind.ROLLOUT for r in library.episodes()), timeout=WAIT_MS)


def test_resume_pressed_twice_begins_one_attempt_that_can_be_ended(
    open_window: Callable[..., Window], qtbot: QtBot, trained_home: Path
) -> None:
    window = open_window(trained_home)
    station = window.desk.station
    assert station is not None
    ended: list[TrialScored] = []
    station.bus.subscribe(TrialScored, ended.append)
    station.load_policy(next(m.id for m in Jobs(trained_home).models() if m.stage == "rf"))
    station.drive(TASK)
    with pytest.raises(StateError, match="drives already"):
        station.drive(TASK)
    station.judge(Outcome.FAILURE)
    qtbot.waitUntil(lambda: len(ended) == 1, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: station.status().recorder.state == "idle", timeout=WAIT_MS)
    station.resume()  # a new attempt: the last one is over
    station.resume()
    station.judge(Outcome.FAILURE)
    qtbot.waitUntil(lambda: len(ended) == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: station.status().recorder.state == "idle", timeout=WAIT_MS)


def test_stop_works_on_every_page(open_window: Callable[..., Window], qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    for name in ("record", "library", "finetune", "drive"):
        window.go(name)
        press(qtbot, window, Qt.Key.Key_Escape, "drive.stop")
        qtbot.waitUntil(lambda: driver(window) == "stopped", timeout=WAIT_MS)
        window.go("drive")
        click(qtbot, window, "drive.clear")
        qtbot.waitUntil(lambda: driver(window) == "parked", timeout=WAIT_MS)


def test_a_key_corrects_a_person_judges_and_all_of_it_is_in_the_take(
    open_window: Callable[..., Window], qtbot: QtBot, trained_home: Path
) -> None:
    window = open_window(trained_home)
    window.go("drive")
    page, station = window.pages["drive"], window.desk.station
    assert isinstance(page, DrivePage) and station is not None
    page.tasks.setCurrentIndex(page.tasks.findData(TASK))
    takes: list[TrialScored] = []
    station.bus.subscribe(TrialScored, takes.append)
    click(qtbot, window, "drive.start")
    qtbot.waitUntil(lambda: driver(window) == "driving", timeout=2 * WAIT_MS)
    qtbot.waitUntil(lambda: station.status().driver.watching == "keyboard", timeout=WAIT_MS)
    station.set_keys(frozenset({"a"}))
    qtbot.waitUntil(lambda: driver(window) == "correcting", timeout=WAIT_MS)
    qtbot.wait(600)
    station.set_keys(frozenset())
    qtbot.waitUntil(lambda: driver(window) == "holding", timeout=WAIT_MS)
    other = next(name for name, _ in window.desk.tasks() if name != TASK)
    page.tasks.setCurrentIndex(page.tasks.findData(other))
    click(qtbot, window, "drive.change")
    page.words.setText("the gripper slipped")
    click(qtbot, window, "drive.note")
    qtbot.waitUntil(lambda: station.status().driver.task == other, timeout=WAIT_MS)
    press(qtbot, window, Qt.Key.Key_Right, "drive.success")
    qtbot.waitUntil(lambda: len(takes) == 1, timeout=WAIT_MS)
    assert not takes[0].success, "somebody helped"
    assert takes[0].model_id and takes[0].seconds > 0.5
    with Episode.open(station.home, takes[0].episode_id) as episode:
        manifest = episode.manifest
        codes = set(episode.vectors("authority")[:, 0].tolist())
        epochs = episode.vectors("policy.tick")[:, list(manifest.streams["policy.tick"].axes).index("epoch")]
    assert codes == {0.0, 1.0, 2.0} and epochs[-1] > epochs[0]
    assert manifest.outcome == "success" and manifest.notes == "the gripper slipped"
    extra = manifest.extra
    assert [entry["task"] for entry in extra["instructions"]] == [TASK, other]
    assert extra["corrected_s"] > 0.2 and not extra["trial"]["success"] and "said a person" in extra["ended_by"]
    found = {c.episode_id: c.why for c in candidates(trained_home)}
    assert found[takes[0].episode_id] == "correction"
    qtbot.waitUntil(lambda: station.status().recorder.state == "idle", timeout=WAIT_MS)
    qtbot.wait(1200)
    before = len(list(station.home.episodes.glob("*.zarr")))
    click(qtbot, window, "drive.save_last")
    qtbot.waitUntil(lambda: len(list(station.home.episodes.glob("*.zarr"))) == before + 1, timeout=WAIT_MS)


@pytest.mark.slow
def test_a_blind_series_runs_by_itself_and_names_models_in_the_end(
    open_window: Callable[..., Window], qtbot: QtBot, trained_home: Path
) -> None:
    window = open_window(trained_home)
    window.go("drive")
    page, station = window.pages["drive"], window.desk.station
    assert isinstance(page, DrivePage) and station is not None
    page.tasks.setCurrentIndex(page.tasks.findData(TASK))
    qtbot.waitUntil(lambda: page.models.count() > 0, timeout=WAIT_MS)
    model = page.models.currentData()
    series = Series.create(station.home, (Entrant(model), Entrant(model, "ntp")), [TASK], 1, blind=True, seed=1)
    page.series.run = SeriesRun(station, series, most_s=1.5)
    page.series.run.start()
    qtbot.waitUntil(lambda: page.series.lines.rowCount() == 2, timeout=WAIT_MS)
    assert station.status().driver.model_id == "" and not any(line.model_id for line in page.series.lines.records)
    qtbot.waitUntil(lambda: not page.series.running, timeout=2 * WAIT_MS)
    assert {line.rate.n for line in page.series.lines.records} == {1}
    assert all(line.model_id == model for line in page.series.lines.records)
    assert "all trials are done" in page.series.words.text()
