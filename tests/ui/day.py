"""A simulated operator who uses the window's keys and commands, and keeps a book of what became of every take."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from PyQt6.QtCore import Qt
from PyQt6.QtTest import QTest

from tests.ui.memory import open_files, sample
from ui.pages.drive import DrivePage
from ui.pages.library import LibraryPage
from ui.pages.record import RecordPage
from ui.theme import ThemeChoice
from ui.window import PAGES, Window
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError
from workbench.core.events import TakeDiscarded, TakeSealed
from workbench.services.library import Library

WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Known:
    """One take in the catalogue."""

    outcome: str
    trashed: bool


@dataclass
class Ledger:
    """What became of every take, as the bus told it and the operator wanted it."""

    sealed: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    outcome: dict[str, str] = field(default_factory=dict)
    trashed: set[str] = field(default_factory=set)
    practised: set[str] = field(default_factory=set)


class Operator:
    """Works through rounds until the time is over. The window's thread."""

    def __init__(self, window: Window, bus: Bus, seed: int) -> None:
        self.window, self.chance, self.ledger = window, random.Random(seed), Ledger()
        self.samples: list[dict[str, float]] = []
        self.files: list[Counter[str]] = []
        self.done: dict[str, int] = {}
        bus.subscribe(TakeSealed, lambda event: self.ledger.sealed.append(event.episode_id))
        bus.subscribe(TakeDiscarded, lambda event: self.ledger.discarded.append(event.episode_id))
        pages = window.pages["record"], window.pages["drive"]
        assert isinstance(pages[0], RecordPage) and isinstance(pages[1], DrivePage)
        self.record, self.driving = pages

    def work(self, seconds: float) -> None:
        """One round after another: a take, something else, a sample."""
        until_s = time.monotonic() + seconds
        others = [self.edit, self.edit, self.stroll, self.practise, self.look, self.play, self.save_last]
        jobs = self.window.desk.jobs
        if jobs is not None and any(model.stage == "rf" for model in jobs.models()):
            others += [self.drive, self.drive]
        while time.monotonic() < until_s:
            self.take()
            self._do(self.chance.choice(others))
            self.samples.append(sample())
            self.files.append(open_files())

    def _do(self, what: Callable[[], None]) -> None:
        what()
        self.done[what.__name__] = self.done.get(what.__name__, 0) + 1

    # what an operator does ------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Record one, by keys; label it while it ends, or afterwards, or throw it away."""
        self.go("record")
        self.trigger(self.chance.choice(("record.human", "record.robot")))
        self.record.tasks.setCurrentIndex(self.chance.randrange(self.record.tasks.count()))
        before = len(self.ledger.sealed) + len(self.ledger.discarded)
        self.key(Qt.Key.Key_Return, "record.start")
        self.until(lambda: self.record.takes.recording, "the take to begin")
        QTest.qWait(self.chance.randrange(400, 2500))
        way = self.chance.choice(("success", "failure", "later", "discard"))
        keys = {"success": Qt.Key.Key_Right, "failure": Qt.Key.Key_Down, "later": Qt.Key.Key_Up}
        self.key(keys.get(way, Qt.Key.Key_Left), "record.keep" if way == "later" else f"record.{way}")
        self.until(lambda: len(self.ledger.sealed) + len(self.ledger.discarded) > before, "the take to end")
        self.until(lambda: not self.record.takes.recording, "the page to hear of it")
        if way != "discard":
            take = self.ledger.sealed[-1]
            self.ledger.outcome[take] = "unlabelled" if way == "later" else way
            if way == "later" and self.chance.random() < 0.6:
                self.until(lambda: self.record.takes.fresh == take, "the take to be labelled")
                self.key(Qt.Key.Key_Right, "record.success")
                self.until(lambda: self.known(take).outcome == "success", "the label")
                self.ledger.outcome[take] = "success"
        self._do(self.take_done)

    def take_done(self) -> None:
        """Counted."""

    def practise(self) -> None:
        """A take that leaves nothing."""
        self.go("record")
        self.trigger("record.practice")
        before = len(self.ledger.discarded)
        self.key(Qt.Key.Key_Return, "record.start")
        self.until(lambda: self.record.takes.recording, "practice to begin")
        QTest.qWait(500)
        self.key(Qt.Key.Key_Right, "record.success")
        self.until(lambda: len(self.ledger.discarded) > before, "practice to end")
        take = self.ledger.discarded[-1]
        self.ledger.practised.add(take)
        self.until(lambda: not list(self.window.desk.home.glob(f"*/{take}*")), "practice to vanish")
        self.trigger("record.practice")

    def play(self) -> None:
        """The simulated operator does a task."""
        self.go("record")
        before = len(self.ledger.sealed)
        self.trigger("record.play")
        self.until(lambda: len(self.ledger.sealed) > before, "the simulated operator")
        self.ledger.outcome[self.ledger.sealed[-1]] = ""  # the world judges

    def save_last(self) -> None:
        """What nobody recorded."""
        before = len(self.ledger.sealed)
        self.go("drive")
        self.trigger("drive.save_last")
        self.until(lambda: len(self.ledger.sealed) > before, "the last seconds to be saved")
        self.ledger.outcome[self.ledger.sealed[-1]] = ""

    def edit(self) -> None:
        """In the library: open, scrub, label, trash, undo, redo, restore."""
        page = self.library_page()
        self.until(lambda: page.model.rowCount() > 0 or not self.usable(), "the list of takes")
        if not page.model.rowCount():
            return
        row = self.chance.randrange(min(12, page.model.rowCount()))
        take = page.model.records[row].id
        page.table.selectRow(row)
        opened = lambda: page.viewer.view is not None and page.viewer.view.record.id == take  # noqa: E731
        self.until(lambda: opened() and page.viewer.shown_row >= 0, "the take to open")
        page.viewer.timeline.setValue(self.chance.randrange(page.viewer.timeline.maximum() + 1))
        word = self.chance.choice(("success", "failure"))
        self.trigger(f"library.{word}")
        self.until(lambda: self.known(take).outcome == word, "the label of the library")
        if self.ledger.outcome.get(take):
            self.ledger.outcome[take] = word
        self.trigger("library.trash")
        self.until(lambda: self.known(take).trashed, "the trash")
        self.trigger("library.undo")
        self.until(lambda: not self.known(take).trashed, "the take to come back")
        if self.chance.random() < 0.3:
            self.trigger("library.redo")
            self.until(lambda: self.known(take).trashed, "redo")
            self.ledger.trashed.add(take)

    def stroll(self) -> None:
        """Every page, both themes, both panels."""
        for name, _ in PAGES:
            self.go(name)
            QTest.qWait(60)
        self.window.desk.theme.choose(self.chance.choice((ThemeChoice.DARK, ThemeChoice.LIGHT)))
        for panel in ("app.notices", "app.about"):
            for _ in range(2):
                self.trigger(panel)
                QTest.qWait(60)

    def look(self) -> None:
        """A reference picture, depth on and off."""
        self.go("record")
        for _ in range(2):
            self.trigger("record.ghost")
            QTest.qWait(300)
            self.trigger("record.depth")
            QTest.qWait(150)
        if self.record.ghost.on:
            self.trigger("record.ghost")

    def drive(self) -> None:
        """An attempt of a policy, ended in one of the ways that a person has."""
        self.go("drive")
        self.until(lambda: self.driving.models.count() > 0, "the models that can drive")
        self.driving.models.setCurrentIndex(self.chance.randrange(self.driving.models.count()))
        self.driving.tasks.setCurrentIndex(self.chance.randrange(self.driving.tasks.count()))
        before = len(self.ledger.sealed)
        self.trigger("drive.reset")  # what lies as it should is a success at once
        QTest.qWait(500)
        self.trigger("drive.start")
        self.until(lambda: self.policy_drives() or len(self.ledger.sealed) > before, "the policy to drive")
        QTest.qWait(self.chance.randrange(1500, 4000))
        self._do(self.chance.choice((self.hold_and_go_on, self.take_over, self.stop_and_look, self.judge)))
        self.until(self.at_home, "the arm to be at home")
        self.until(lambda: len(self.ledger.sealed) > before, "the attempt to be kept")
        self.ledger.outcome.setdefault(self.ledger.sealed[-1], "")

    def policy_drives(self) -> bool:
        """It may hold first, when a busy machine brought its picture late."""
        if self.driver == "holding" and self.recorder == "recording" and self.enabled("drive.resume"):
            self.window.actions_["drive.resume"].trigger()
            QTest.qWait(500)
        return self.driver == "driving" and self.driving.figures["Thinking"].text() != "–"

    def hold_and_go_on(self) -> None:
        """Space, R, P; the policy may have come to hold by itself."""
        self.press_if(Qt.Key.Key_Space, "drive.hold")
        self.until(lambda: self.driver in ("holding", "stopped"), "the arm to hold")
        self.press_if(Qt.Key.Key_R, "drive.resume")
        QTest.qWait(800)

    def take_over(self) -> None:
        """A person moves the arm with the keys of the pad and lets go."""
        if not self.enabled("drive.correct"):
            return
        self.window.actions_["drive.correct"].trigger()
        self.until(lambda: self.driver in ("correcting", "stopped"), "a person to steer")
        key = self.chance.choice((Qt.Key.Key_R, Qt.Key.Key_A, Qt.Key.Key_D))
        QTest.keyPress(self.driving.pad, key)
        QTest.qWait(600)
        QTest.keyRelease(self.driving.pad, key)
        self.press_if(Qt.Key.Key_Space, "drive.hold")

    def stop_and_look(self) -> None:
        """Escape, at once; a person clears it afterwards."""
        QTest.keyClick(self.window, Qt.Key.Key_Escape)
        self.until(lambda: self.driver == "stopped", "the arm to stop")

    def judge(self) -> None:
        """A person's word ends the attempt."""
        before = len(self.ledger.sealed)
        way, key = self.chance.choice((("success", Qt.Key.Key_Right), ("failure", Qt.Key.Key_Down)))
        if self.recorder == "recording" and self.press_if(key, f"drive.{way}"):
            self.until(lambda: len(self.ledger.sealed) > before, "the attempt to end")

    def at_home(self) -> bool:
        """Whatever the driver came to: from there back to the beginning."""
        if self.driver == "stopped" and self.enabled("drive.clear"):
            self.window.actions_["drive.clear"].trigger()
            self.until(lambda: self.driver != "stopped", "the stop to be cleared")
        elif self.driver in ("ready", "driving", "holding", "correcting") and self.enabled("drive.park"):
            self.window.actions_["drive.park"].trigger()
            self.until(lambda: self.driver in ("parked", "stopped"), "the arm to be parked")
        return self.driver == "parked" and self.recorder == "idle"

    # helpers --------------------------------------------------------------------------------------------------------

    @property
    def library(self) -> Library:
        assert self.window.desk.library is not None
        return self.window.desk.library

    @property
    def driver(self) -> str:
        station = self.window.desk.station
        return str(station.status().driver.state) if station is not None else ""

    @property
    def recorder(self) -> str:
        station = self.window.desk.station
        return str(station.status().recorder.state) if station is not None else ""

    def enabled(self, command: str) -> bool:
        return bool(self.window.actions_[command].isEnabled())

    def press_if(self, key: Qt.Key, command: str) -> bool:
        """Press it if it means something now; whether it did."""
        meant = self.enabled(command)
        if meant:
            QTest.keyClick(self.window, key)
        return meant

    def known(self, take: str) -> Known:
        """What the catalogue knows of a take; nothing while it has not been entered yet."""
        try:
            record = self.library.find(take)
        except NotFoundError:
            return Known("", False)
        return Known(str(record.outcome), record.trashed)

    def library_page(self) -> LibraryPage:
        self.go("library")
        page = self.window.pages["library"]
        assert isinstance(page, LibraryPage)
        return page

    def usable(self) -> bool:
        return any(take not in self.ledger.trashed for take in self.ledger.sealed)

    def go(self, name: str) -> None:
        self.window.go(name)
        QTest.qWait(20)

    def trigger(self, command: str) -> None:
        self.until(lambda: self.enabled(command), f"{command} to make sense")
        self.window.actions_[command].trigger()

    def key(self, key: Qt.Key, command: str) -> None:
        self.until(lambda: self.enabled(command), f"{command} to make sense")
        QTest.keyClick(self.window, key)

    def until(self, ready: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + WAIT_S
        while not ready():
            if time.monotonic() > end_s:
                page = self.window.page
                now = f"driver {self.driver}, recorder {self.recorder}"
                raise TimeoutError(f"waited for {what}; {now}; the page says: {page.notice.words if page else ''}")
            QTest.qWait(20)
