"""The Align page on a window without a station: what it says, what it starts, what it shows of a real alignment."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from models.recipes import preset
from models.stages import RunSpec
from storage.layout import Home
from tests.services.measured import write_measured
from tests.ui.conftest import WAIT_MS, close_window
from tests.ui.material import write_take
from ui.pages.align import AlignPage
from ui.theme import Theme
from ui.widgets.align_views import VIEWS
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.states import JobState
from workbench.core.types import EpisodeKind
from workbench.services.aligning import Aligning, Plan
from workbench.services.alignment_report import make_report

Open = Callable[[Path], AlignPage]


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder with takes of both kinds and a finished, measured alignment; its run's id."""
    home = Home.open(tmp_path_factory.mktemp("aligned"))
    robots = [write_take(home.path, seed, seconds=2.5) for seed in range(3)]
    people = [write_take(home.path, 50 + seed, EpisodeKind.HUMAN, seconds=2.5) for seed in range(3)]
    bases = {"act_vae": "0" * 32}
    spec = RunSpec("vd_vae", preset("tiny", "vd_vae"), (*robots, *people), home.path, bases, run_id="01-vd_vae")
    write_measured(home, spec.write().name, people, robots[0])
    lines = [{"step": 20 * k, "seconds": 1.0 * k, "loss": 1.0 / k} for k in range(1, 4)]
    (spec.folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = {"state": "done", "step": 60, "steps": 60, "model_id": spec.model_id}
    (spec.folder / "status.json").write_text(json.dumps(done))
    make_report(home.path, spec.run_id)
    return home.path, spec.run_id


@pytest.fixture
def copied(aligned: tuple[Path, str], tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The same, to be changed; whatever still works in it afterwards is ended."""
    home = tmp_path / "home"
    shutil.copytree(aligned[0], home)
    yield home, aligned[1]
    for path in home.glob("runs/*/process.json"):
        with contextlib.suppress(psutil.Error):  # it has ended, as it should
            process = psutil.Process(json.loads(path.read_text())["pid"])
            if any(str(home) in part for part in process.cmdline()):
                process.kill()


@pytest.fixture
def open_page(qtbot: QtBot, theme: Theme) -> Iterator[Open]:
    """The page of a window whose station never starts."""
    opened: list[Window] = []

    def no_station() -> None:
        raise WorkbenchError("there is no station here")

    def make(home: Path) -> AlignPage:
        window = Window(home, Bus(), theme, no_station)  # type: ignore[arg-type]
        opened.append(window)
        window.show()
        window._open_home()
        window.go("align")
        page = window.pages["align"]
        assert isinstance(page, AlignPage)
        qtbot.waitUntil(lambda: page._takes is not None and window.desk.jobs is not None, timeout=WAIT_MS)
        qtbot.waitUntil(lambda: bool(page.time.text()) and not page.watch.asking, timeout=WAIT_MS)
        window.refresh()
        return page

    yield make
    for window in opened:
        close_window(qtbot, window)


def press(page: AlignPage, command: str) -> None:
    """As the menu would."""
    window = page.window()
    assert isinstance(window, Window)
    window.refresh()
    action = page.desk.actions[command]
    assert action.isEnabled(), command
    action.trigger()


def enabled(page: AlignPage, command: str) -> bool:
    window = page.window()
    assert isinstance(window, Window)
    window.refresh()
    return page.desk.actions[command].isEnabled()


def shown(qtbot: QtBot, page: AlignPage) -> None:
    qtbot.waitUntil(lambda: page.report.shown is not None and not page.report._reading_clip, timeout=WAIT_MS)


def test_an_empty_folder_says_what_to_do(open_page: Open, tmp_path: Path) -> None:
    page = open_page(tmp_path / "home")
    assert "No robot takes" in page.summary.text() and "Ctrl+1" in page.summary.text()
    assert not enabled(page, "align.start") and not enabled(page, "align.cancel") and not enabled(page, "align.open")
    assert page.views.shown == "" and "Start aligning" in page.views.empty.text()
    page.show_view("figures")
    assert "No alignment is finished yet" in page.views.empty.text()


@pytest.mark.parametrize(
    ("kind", "said", "can_start"),
    [(EpisodeKind.HUMAN, "No robot takes", False), (EpisodeKind.TELEOP, "No people's takes", True)],
)
def test_one_kind_alone_is_told(open_page: Open, tmp_path: Path, kind: EpisodeKind, said: str, can_start: bool) -> None:
    write_take(tmp_path / "home", 1, kind, seconds=1.0)
    page = open_page(tmp_path / "home")
    assert said in page.summary.text() and enabled(page, "align.start") is can_start
    assert "(1)" in page.kinds[str(kind)].text() and len(page.chosen()) == 1
    page.kinds[str(kind)].setChecked(False)
    assert not page.chosen() and not enabled(page, "align.start")


def test_start_hands_over_preset_and_takes(
    open_page: Open, copied: tuple[Path, str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(copied[0])
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(Aligning, "start", lambda self, preset, takes: asked.append((preset, takes)) or "id")
    page.preset.setCurrentIndex(page.preset.findData("tiny"))
    page.kinds["human"].setChecked(False)
    qtbot.keyClick(page, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: bool(asked), timeout=WAIT_MS)
    assert asked[0][0] == "tiny" and len(asked[0][1]) == 3
    qtbot.waitUntil(lambda: "even if you close" in page.notice.words, timeout=WAIT_MS)


def write_alignment(home: Path, state: str, **curve: list[float]) -> str:
    """An alignment in its first training, as its processes leave it on disk."""
    folder, run = home / "runs" / "zz-align", home / "runs" / "zy-act_vae"
    spec = RunSpec("act_vae", preset("tiny", "act_vae"), ("take",), home, run_id=run.name)
    spec.write()
    lines = [
        {"step": 20 * (k + 1), "seconds": 1.0 * k, "loss": 0.1, **{n: v[k] for n, v in curve.items()}} for k in range(8)
    ]
    (run / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "status.json").write_text(json.dumps({"state": state, "step": 160, "steps": 200}))
    folder.mkdir()
    plan = Plan("tiny", {"act_vae": ["take"], "vd_vae": ["take"]}, runs={"act_vae": run.name}, state=state)
    plan.message = "cancelled; resume it to go on" if state == "cancelled" else "training"
    plan.write(folder)
    return folder.name


def test_a_training_is_watched_and_a_collapse_is_alarmed(open_page: Open, tmp_path: Path, qtbot: QtBot) -> None:
    home = Home.open(tmp_path / "home")
    write_take(home.path, 1, seconds=1.0)
    healthy = {"used_share": [0.9] * 8, "perplexity_p1": [20.0] * 8, "perplexity_p2": [11.0] * 8}
    write_alignment(home.path, "running", **healthy)
    page = open_page(home.path)
    qtbot.waitUntil(lambda: page._drawn, timeout=WAIT_MS)
    assert page.views.shown == "training" and page.views.training.bars.values == (20.0, 11.0)
    assert not page.views.training.alarm.isVisible()
    assert "Part 1 of 3" in page.phase.text() and "step 160 of 200" in page.phase.text() and page.bar.isVisible()
    assert page.bar.value() == 160 and page.bar.maximum() == 260
    assert enabled(page, "align.cancel") and not enabled(page, "align.start") and not enabled(page, "align.resume")
    path = home.runs / "zy-act_vae" / "progress.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "used_share": 0.1}) + "\n" for line in lines))
    page.watch.look()
    qtbot.waitUntil(page.views.training.alarm.isVisible, timeout=WAIT_MS)
    assert "10 %" in page.views.training.alarm.text() and "learning rate" in page.views.training.alarm.text()


def test_one_that_was_cancelled_can_go_on(
    open_page: Open, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.open(tmp_path / "home")
    write_take(home.path, 1, seconds=1.0)
    align_id = write_alignment(home.path, "cancelled")
    page = open_page(home.path)
    qtbot.waitUntil(lambda: page._latest is not None, timeout=WAIT_MS)
    assert "Cancelled" in page.phase.text() and enabled(page, "align.start")
    gone_on: list[str] = []
    monkeypatch.setattr(Aligning, "resume", lambda self, one: gone_on.append(one))
    press(page, "align.resume")
    qtbot.waitUntil(lambda: gone_on == [align_id], timeout=WAIT_MS)


def test_figures_clips_and_map_of_a_real_alignment(open_page: Open, aligned: tuple[Path, str], qtbot: QtBot) -> None:
    page = open_page(aligned[0])
    shown(qtbot, page)
    press(page, "align.figures")
    assert page.views.shown == "figures"
    rows = {row.figure.name: row.figure for row in page.views.figures.rows}
    assert rows["retrieval_top1"].n > 0 and page.views.figures.matrix.isVisible()
    first = [page.views.figures.model.data(page.views.figures.model.index(0, column)) for column in range(5)]
    assert first[0] == "Own action found first" and "%" in first[1] and "blind guess" in first[3] and int(first[4]) > 0
    assert "held-out" in page.views.figures.where.text()
    press(page, "align.copy")
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None and "Own action found first\t" in clipboard.text()

    press(page, "align.clips")
    assert page.report.clips > 1 and page.views.clips.human[0].pixels is not None
    before = page.views.clips.words.text()
    for key, wanted in ((Qt.Key.Key_Right, 1), (Qt.Key.Key_Left, 0), (Qt.Key.Key_Left, page.report.clips - 1)):
        window = page.window()
        assert isinstance(window, Window)
        window.refresh()
        qtbot.keyClick(page, key)
        assert page.report.clip == wanted
    qtbot.waitUntil(lambda: f"Clip {page.report.clips} of" in page.views.clips.words.text(), timeout=WAIT_MS)
    assert page.views.clips.words.text() != before and "camera's place" in page.views.clips.note.text()

    press(page, "align.map")
    by_direction = page.views.map.groups
    press(page, "align.colour")
    assert set(page.views.map.groups) == {"robot", "person"} != set(by_direction)
    assert sum(page.views.map.groups.values()) == sum(by_direction.values()) == 50
    press(page, "align.colour")


def test_every_view_has_a_key_and_says_which_is_on(open_page: Open, aligned: tuple[Path, str], qtbot: QtBot) -> None:
    page = open_page(aligned[0])
    shown(qtbot, page)
    for name in reversed(VIEWS):
        key = page.desk.actions[f"align.{name}"].shortcut().toString()
        qtbot.keyClick(page, key.lower())
        assert page.views.shown == name
        assert [other for other in VIEWS if page.desk.actions[f"align.{other}"].isChecked()] == [name]


def test_a_run_without_a_report_is_measured_on_wish(
    open_page: Open, copied: tuple[Path, str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run_id = copied
    kept = (home / "runs" / run_id / "report.json").read_text()
    (home / "runs" / run_id / "report.json").unlink()
    page = open_page(home)
    qtbot.waitUntil(lambda: bool(page.report._missing), timeout=WAIT_MS)
    page.show_view("figures")
    assert "has no report yet" in page.views.empty.text() and not enabled(page, "align.copy")

    def measure(home_: Path, run: str, stop: object) -> None:
        (home_ / "runs" / run / "report.json").write_text(kept)

    monkeypatch.setattr("ui.pages.align_report.explain_run", measure)
    press(page, "align.explain")
    shown(qtbot, page)
    assert page.views.shown == "figures" and (home / "runs" / run_id / "report.html").exists()


def test_a_damaged_report_is_told_with_what_to_do(open_page: Open, copied: tuple[Path, str], qtbot: QtBot) -> None:
    home, run_id = copied
    (home / "runs" / run_id / "report.json").write_text('{"groups": 3}')
    page = open_page(home)
    qtbot.waitUntil(lambda: "damaged" in page.notice.words, timeout=WAIT_MS)
    page.show_view("figures")
    assert page.views.shown == "" and enabled(page, "align.explain")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_button_really_aligns(open_page: Open, copied: tuple[Path, str], qtbot: QtBot) -> None:
    """From the button to the figures, with the real processes, on the smallest preset."""
    page = open_page(copied[0])
    page.preset.setCurrentIndex(page.preset.findData("tiny"))
    press(page, "align.start")

    qtbot.waitUntil(lambda: page._latest is not None and page._latest.ended, timeout=25 * WAIT_MS)
    assert page._latest is not None and page._latest.state is JobState.DONE, page._latest
    shown(qtbot, page)
    assert page.views.shown == "figures" and page.report.runs.count() == 2
