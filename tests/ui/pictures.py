"""Makes the pictures of the window: ``python -m tests.ui.pictures [DEST] [--home HOME] [--rate HZ]``.

Everything in them really happens: takes are recorded on the simulated station, stages are trained for a short while,
the arm is driven by the model that came out. Takes a few minutes on two cores. A given home is used as it is and gets
what it lacks. ``--still`` does without a station: pages show what lies in the home, in seconds.

``--sizes 1280x720 2560x1440 --languages en zh_CN --scales 1 1.5 2`` makes a set of each combination; every language and
scale has a window (and a process) of its own. Words that do not fit are said at the end, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MUJOCO_GL", "egl")

from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication

from tests.ui.fitting import cut_words
from ui import translate, words
from ui.pages.drive import DrivePage
from ui.pages.finetune import FinetunePage
from ui.pages.library import LibraryPage
from ui.pages.record import RecordPage
from ui.pages.station import StationPage
from ui.theme import Theme, ThemeChoice
from ui.window import PAGES as WINDOW_PAGES
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services.jobs import Jobs
from workbench.services.settings import CameraSettings, Settings, load_settings
from workbench.services.station import Station

PAGES = ("record", "library", "station", *(n for n, _ in WINDOW_PAGES if n in ("align", "finetune", "models")), "drive")
PLAYED = (
    ("red_cube_to_white_plate", "record.robot"),
    ("blue_cylinder_to_pink_mat", "record.human"),
    ("green_prism_to_white_plate", "record.robot"),
    ("red_cube_to_white_plate", "record.robot"),
    ("yellow_box_to_pink_mat", "record.human"),
    ("red_cube_to_white_plate", "record.robot"),
)
DEFAULT_SIZE = (1280, 720)
STEPS = {"act_vae": 600, "vd_vae": 120, "ntp": 120, "rf": 120}


def main() -> int:
    """Make all pictures; the exit status says whether all words fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dest", nargs="?", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--home", type=Path)
    parser.add_argument("--rate", type=float, default=15.0, help="camera rate; two busy cores do not render 30 Hz")
    parser.add_argument("--only", nargs="*", default=list(PAGES), choices=PAGES)
    parser.add_argument("--still", action="store_true", help="no station: show what lies in the home")
    parser.add_argument("--sizes", nargs="*", type=_size, default=[DEFAULT_SIZE], help="1280x720 ...")
    parser.add_argument("--languages", nargs="*", default=["en"], choices=list(translate.LANGUAGES))
    parser.add_argument("--scales", nargs="*", type=float, default=[1.0], help="of the screen, as QT_SCALE_FACTOR")
    options = parser.parse_args()
    options.dest.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        options.home = options.home or Path(folder) / "home"
        sets = list(itertools.product(options.languages, options.scales))
        if len(sets) == 1 and sets[0][1] == float(os.environ.get("QT_SCALE_FACTOR", "1")):
            os.environ["XDG_CONFIG_HOME"] = folder  # nobody's choices
            return 1 if Shoot(options, sets[0][0]).run() else 0
        return max(_apart(options, language, scale) for language, scale in sets)


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _apart(options: argparse.Namespace, language: str, scale: float) -> int:
    """One language and scale in a process of its own: both are fixed for a process's life."""
    sizes = [f"{width}x{height}" for width, height in options.sizes]
    command = [sys.executable, "-m", "tests.ui.pictures", str(options.dest), "--home", str(options.home)]
    command += ["--rate", str(options.rate), "--only", *options.only, "--sizes", *sizes, "--languages", language]
    command += ["--scales", str(scale), *(["--still"] if options.still else [])]
    return subprocess.run(command, env={**os.environ, "QT_SCALE_FACTOR": str(scale)}, check=False).returncode


class Shoot:
    """One window, led through all pages."""

    def __init__(self, options: argparse.Namespace, language: str) -> None:
        self.application = QApplication(["clap-workbench"])
        translate.use(language)
        self.language, self.options = language, options
        self.theme = Theme(self.application, ThemeChoice.DARK)
        self.home: Path = options.home
        self.cut: set[str] = set()
        bus = Bus()

        def make_station() -> Station:
            if options.still:
                raise WorkbenchError("this station has no devices", "Attach some")
            return Station(self.home, slower(load_settings(self.home), options.rate), bus=bus)

        self.window = Window(self.home, bus, self.theme, make_station)
        self.window.resize(*options.sizes[0])

    def run(self) -> set[str]:
        """Record, look, train, drive; pictures of each wanted page. Returns the words that do not fit."""
        self.window.show()
        self.window.start()
        desk = self.window.desk
        self.until(
            lambda: (
                (desk.running or self.options.still)
                and desk.jobs is not None
                and len(self.window.pages) == len(WINDOW_PAGES)
            )
        )
        for page in PAGES:
            if page in self.options.only:
                (self.plain if self.options.still else getattr(self, page, self.plain))(page)
        closed: list[int] = []
        self.window.closed.connect(lambda: closed.append(1))
        self.window.close()
        self.until(lambda: bool(closed))
        print("".join(f"{line}\n" for line in sorted(self.cut)), end="")
        return self.cut

    def plain(self, name: str) -> None:
        """A page as it is when one goes there."""
        self.window.go(name)
        QTest.qWait(1500)
        self.shoot(name)

    def record(self, _name: str) -> None:
        page = self.window.pages["record"]
        assert isinstance(page, RecordPage) and self.window.desk.library is not None
        self.window.go("record")
        done = len(self.window.desk.library.episodes())
        for number, (task, actor) in enumerate(PLAYED):
            if number < min(done, len(PLAYED) - 1):
                continue
            self.window.actions_[actor].trigger()
            page.tasks.setCurrentIndex(page.tasks.findData(task))
            self.press("record.play")
            self.until(lambda: page.badge.state.word == words.recorder_state("recording").word)
            if number == len(PLAYED) - 1:
                QTest.qWait(1500)
                self.shoot("record")
            self.until(lambda: page.badge.state.word == words.recorder_state("idle").word)
            QTest.qWait(700)

    def library(self, _name: str) -> None:
        self.window.go("library")
        page = self.window.pages["library"]
        assert isinstance(page, LibraryPage)
        self.until(lambda: page.model.rowCount() >= len(PLAYED))
        robot = next(i for i, take in enumerate(page.model.records) if take.kind == EpisodeKind.TELEOP)
        page.table.selectRow(robot)
        take = page.model.records[robot].id
        self.until(lambda: page.viewer.view is not None and page.viewer.view.record.id == take)
        self.until(lambda: page.viewer.shown_row >= 0 and len(page.viewer.plot.lines) > 0)
        page.viewer.timeline.setValue(round(page.viewer.timeline.maximum() * 0.45))
        self.until(lambda: page.viewer.shown_row == page.viewer.timeline.value())
        QTest.qWait(300)
        self.shoot("library")

    def station(self, _name: str) -> None:
        self.window.go("station")
        page = self.window.pages["station"]
        assert isinstance(page, StationPage)
        self.press("station.look")
        self.until(lambda: page.badge.state.word != words.LOOKING.translated().word and len(page.cameras.records) > 0)
        self.press("station.moved")
        self.until(lambda: all(row.look is not None for row in page.cameras.records))
        QTest.qWait(700)
        self.shoot("station")

    def finetune(self, _name: str) -> None:
        self.window.go("finetune")
        page = self.window.pages["finetune"]
        jobs = self.window.desk.jobs
        assert isinstance(page, FinetunePage) and jobs is not None
        others = Jobs(self.home)
        if not any(model.stage == "rf" for model in others.models()):
            for stage, steps in STEPS.items():
                self.finish(others, others.start(stage, "quick", steps=steps, batch=64))
        if self.until_soon(lambda: page.jobs.rowCount() > 0):
            self.plain("finetune")
            return
        run = others.start("act_vae", "quick")
        self.until(lambda: page.jobs.rowCount() > 0 and page.jobs.records[0].run_id == run)
        page.jobs_table.selectRow(0)
        self.until(lambda: page.jobs.records[0].step > 500)
        QTest.qWait(1000)
        self.shoot("finetune")
        others.cancel(run)
        self.finish(others, run)

    def drive(self, _name: str) -> None:
        self.window.go("drive")
        page = self.window.pages["drive"]
        assert isinstance(page, DrivePage)
        page.tasks.setCurrentIndex(page.tasks.findData("red_cube_to_white_plate"))
        self.until(lambda: page.models.count() > 0)
        for attempt in range(2):
            self.press("drive.reset")
            QTest.qWait(1500)
            self.press("drive.start")
            self.moving(page)
            if attempt == 1:
                self.shoot("drive")
            QTest.qWait(3000)
            self.window.actions_["drive.park"].trigger()
            self.until(lambda attempt=attempt: page.trials.rowCount() > attempt)  # type: ignore[misc]

    def moving(self, page: DrivePage) -> None:
        """Wait until the policy drives on a plan of its own; a busy machine may make it hold first."""

        def drives() -> bool:
            if (
                page.badge.state.word == words.driver_state("holding").word
                and self.window.actions_["drive.resume"].isEnabled()
            ):
                self.window.actions_["drive.resume"].trigger()
            return (
                page.badge.state.word == words.driver_state("driving").word and page.figures["Thinking"].text() != "–"
            )

        self.until(drives)

    def press(self, command_id: str) -> None:
        action = self.window.actions_[command_id]
        self.until(action.isEnabled)
        action.trigger()

    def finish(self, jobs: Jobs, run_id: str) -> None:
        self.until(lambda: jobs.status(run_id).ended, 600)

    def shoot(self, name: str) -> None:
        """The page in all sizes and both themes; the light one is the one without a suffix."""
        for size in self.options.sizes:
            self.window.resize(*size)
            for choice, suffix in ((ThemeChoice.DARK, "-dark"), (ThemeChoice.LIGHT, "")):
                self.theme.choose(choice)
                QTest.qWait(250)
                self.window.grab().save(str(self.options.dest / f"{name}{suffix}{self.suffix(size)}.png"))
            self.cut |= {f"{name}{self.suffix(size)}: {words_}" for words_ in cut_words(self.window)}
        self.window.resize(*self.options.sizes[0])

    def suffix(self, size: tuple[int, int]) -> str:
        """What is not as usual."""
        scale = self.options.scales[0]
        language = "" if self.language == "en" else f"-{self.language}"
        pixels = "" if size == DEFAULT_SIZE else f"-{size[0]}x{size[1]}"
        return language + pixels + ("" if scale == 1 else f"@{scale:g}")

    def until_soon(self, ready: Callable[[], bool]) -> bool:
        """Wait a little; whether it is so then."""
        end = time.monotonic() + 5
        while not ready() and time.monotonic() < end:
            QTest.qWait(50)
        return ready()

    def until(self, ready: Callable[[], bool], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                page = self.window.page
                raise TimeoutError(f"waited {seconds} s; the page says: {page.notice.words if page else ''}")
            QTest.qWait(50)


def slower(settings: Settings, rate_hz: float) -> Settings:
    """The same station with another camera rate."""
    cameras = tuple(
        CameraSettings(name=c.name, kind=c.kind, options={**c.options, "rate_hz": rate_hz}) for c in settings.cameras
    )
    return settings.model_copy(update={"cameras": cameras})


if __name__ == "__main__":
    sys.exit(main())
