"""Makes the pictures of the window: ``python -m tests.ui.pictures [DEST] [--home HOME] [--rate HZ]``.

Everything in them really happens: takes are recorded on the simulated station, stages are trained for a short while,
the arm is driven by the model that came out. Takes a few minutes on two cores. A given home is used as it is and gets
what it lacks.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MUJOCO_GL", "egl")

from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication

from ui.pages.drive import DrivePage
from ui.pages.finetune import FinetunePage
from ui.pages.library import LibraryPage
from ui.pages.record import RecordPage
from ui.pages.station import StationPage
from ui.theme import Theme, ThemeChoice
from ui.window import PAGES as WINDOW_PAGES
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.types import EpisodeKind
from workbench.services.jobs import Jobs
from workbench.services.settings import CameraSettings, Settings, load_settings
from workbench.services.station import Station

PAGES = ("record", "library", "station", "finetune", "drive")
PLAYED = (
    ("red_cube_to_white_plate", "record.robot"),
    ("blue_cylinder_to_pink_mat", "record.human"),
    ("green_prism_to_white_plate", "record.robot"),
    ("red_cube_to_white_plate", "record.robot"),
    ("yellow_box_to_pink_mat", "record.human"),
    ("red_cube_to_white_plate", "record.robot"),
)
STEPS = {"act_vae": 600, "vd_vae": 120, "ntp": 120, "rf": 120}


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dest", nargs="?", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--home", type=Path)
    parser.add_argument("--rate", type=float, default=15.0, help="camera rate; two busy cores do not render 30 Hz")
    parser.add_argument("--only", nargs="*", default=list(PAGES), choices=PAGES)
    options = parser.parse_args()
    options.dest.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Shoot(options.home or Path(folder), options.dest, options.rate).run(options.only)


class Shoot:
    """One window, led through all pages."""

    def __init__(self, home: Path, dest: Path, rate_hz: float) -> None:
        self.application = QApplication(["clap-workbench"])
        self.theme = Theme(self.application, ThemeChoice.DARK)
        self.home, self.dest = home, dest
        bus = Bus()
        self.window = Window(
            home, bus, self.theme, lambda: Station(home, slower(load_settings(home), rate_hz), bus=bus)
        )
        self.window.resize(1280, 720)

    def run(self, only: list[str]) -> None:
        """Record, look, train, drive; one picture of each page in ``only``."""
        self.window.show()
        self.window.start()
        self.until(
            lambda: (
                self.window.desk.running
                and self.window.desk.jobs is not None
                and len(self.window.pages) == len(WINDOW_PAGES)
            )
        )
        for page in PAGES:
            if page in only:
                getattr(self, page)()
        closed: list[int] = []
        self.window.closed.connect(lambda: closed.append(1))
        self.window.close()
        self.until(lambda: bool(closed))

    def record(self) -> None:
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
            self.until(lambda: page.badge.state.word == "REC")
            if number == len(PLAYED) - 1:
                QTest.qWait(3000)
                self.shoot("record")
            self.until(lambda: page.badge.state.word == "Ready")
            QTest.qWait(700)

    def library(self) -> None:
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

    def station(self) -> None:
        self.window.go("station")
        page = self.window.pages["station"]
        assert isinstance(page, StationPage)
        self.press("station.look")
        self.until(lambda: page.badge.state.word != "Looking" and len(page.cameras.records) > 0)
        self.press("station.moved")
        self.until(lambda: all(row.look is not None for row in page.cameras.records))
        QTest.qWait(700)
        self.shoot("station")

    def finetune(self) -> None:
        self.window.go("finetune")
        page = self.window.pages["finetune"]
        jobs = self.window.desk.jobs
        assert isinstance(page, FinetunePage) and jobs is not None
        others = Jobs(self.home)
        if not any(model.stage == "rf" for model in others.models()):
            for stage, steps in STEPS.items():
                self.finish(others, others.start(stage, "quick", steps=steps, batch=64))
        run = others.start("act_vae", "quick")
        self.until(lambda: page.jobs.rowCount() > 0 and page.jobs.records[0].run_id == run)
        page.jobs_table.selectRow(0)
        self.until(lambda: page.jobs.records[0].step > 500)
        QTest.qWait(1000)
        self.shoot("finetune")
        others.cancel(run)
        self.finish(others, run)

    def drive(self) -> None:
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
            if page.badge.state.word == "Holding" and self.window.actions_["drive.resume"].isEnabled():
                self.window.actions_["drive.resume"].trigger()
            return page.badge.state.word == "Driving" and page.figures["Thinking"].text() != "–"

        self.until(drives)

    def press(self, command_id: str) -> None:
        action = self.window.actions_[command_id]
        self.until(action.isEnabled)
        action.trigger()

    def finish(self, jobs: Jobs, run_id: str) -> None:
        self.until(lambda: jobs.status(run_id).ended, 600)

    def shoot(self, name: str) -> None:
        """The page in both themes; the light one is the one without a suffix."""
        for choice, suffix in ((ThemeChoice.DARK, "-dark"), (ThemeChoice.LIGHT, "")):
            self.theme.choose(choice)
            QTest.qWait(150)
            self.window.grab().save(str(self.dest / f"{name}{suffix}.png"))

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
    main()
