"""An operator's day in fast motion: ``python -m tests.ui.endurance --minutes 30 [--threads] [--home HOME]``.

The real window on the real simulated station, without a screen. Takes are recorded, labelled, thrown away, brought
back, practised and played by the simulated operator; pages, themes and panels change; a policy drives, if the home has
one. Prints one JSON object; exit code 1 if something leaked, complained or a take is not accounted for.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
import psutil
from PyQt6.QtCore import QEvent, Qt, qInstallMessageHandler
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication

from tests.ui.conftest import small_settings
from tests.ui.memory import allocated_mb, resident_mb
from ui.pages.library import LibraryPage
from ui.pages.record import RecordPage
from ui.preferences import Preferences
from ui.theme import Theme, ThemeChoice
from ui.window import PAGES, Window
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError
from workbench.core.events import TakeDiscarded, TakeSealed
from workbench.services.library import Library
from workbench.services.station import Station
from workbench.services.upkeep import Upkeep

_WAIT_S = 120.0
_WARM_UP = 0.3  # of the samples: caches fill, fonts and pages load
_MOST_MORE = {"widgets": 12, "threads": 2, "files": 6}
_MOST_MB, _MOST_MB_A_MINUTE = 25.0, 0.6


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
        page = window.pages["record"]
        assert isinstance(page, RecordPage)
        self.record = page

    def work(self, seconds: float) -> None:
        """One round after another: a take, something else, a sample."""
        until_s = time.monotonic() + seconds
        others = [self.edit, self.edit, self.stroll, self.practise, self.look, self.play, self.drive, self.save_last]
        while time.monotonic() < until_s:
            self.take()
            self._do(self.chance.choice(others))
            self.sample()

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
        if self.window.actions_["drive.save_last"].isEnabled():
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
        """An attempt of a policy, if there is one."""
        self.go("drive")
        if not self.window.actions_["drive.start"].isEnabled():
            return
        before = len(self.ledger.sealed)
        self.trigger("drive.start")
        QTest.qWait(2500)
        if self.window.actions_["drive.park"].isEnabled():
            self.trigger("drive.park")
        self.until(lambda: len(self.ledger.sealed) > before, "the attempt to be kept")
        self.ledger.outcome[self.ledger.sealed[-1]] = ""

    # helpers --------------------------------------------------------------------------------------------------------

    @property
    def library(self) -> Library:
        assert self.window.desk.library is not None
        return self.window.desk.library

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
        action = self.window.actions_[command]
        self.until(action.isEnabled, f"{command} to make sense")
        action.trigger()

    def key(self, key: Qt.Key, command: str) -> None:
        self.until(self.window.actions_[command].isEnabled, f"{command} to make sense")
        QTest.keyClick(self.window, key)

    def until(self, ready: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + _WAIT_S
        while not ready():
            if time.monotonic() > end_s:
                page = self.window.page
                raise TimeoutError(f"waited for {what}; the page says: {page.notice.words if page else ''}")
            QTest.qWait(20)

    def sample(self) -> None:
        """What could leak."""
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        gc.collect()
        process = psutil.Process()
        self.files.append(open_files())
        self.samples.append(
            {
                "minutes": time.monotonic() / 60,
                "rss_mb": process.memory_info().rss / 1e6,
                "widgets": len(QApplication.allWidgets()),
                "threads": threading.active_count(),
                "files": process.num_fds(),
                **resident_mb(),
                **allocated_mb(),
            }
        )


def open_files() -> Counter[str]:
    """What this process has open, by kind: ids and numbers are left out."""
    kinds: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            kinds[sys.intern(re.sub(r"[0-9a-f]{12,}|\d+", "#", str(link.readlink())))] += 1
    return kinds


class Ears:
    """Everything that complained: Python's log from warnings on, Qt, and what the window showed as an error.

    That the background chores are ended by force is no complaint: they must bear it at any moment (see ``upkeep``).
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = self._hear  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)
        sys.excepthook = lambda kind, error, _trace: self.heard.append(f"raised: {kind.__name__}: {error}")
        threading.excepthook = lambda failed: self.heard.append(f"raised in a thread: {failed.exc_value!r}")
        qInstallMessageHandler(lambda _level, _context, words: self.heard.append(f"qt: {words}"))

    def _hear(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith("upkeep did not stop"):
            self.heard.append(f"{record.name}: {record.getMessage()}")

    def listen(self, window: Window) -> None:
        """What the window said in red."""
        self.heard += [f"{n.where}: {n.what}" for n in window.desk.notices.newest() if n.number and n.tone == "bad"]


def accounts(home: Path, ledger: Ledger) -> list[str]:
    """Takes that are not where and what they should be."""
    wrong = []
    with Library(home) as library:
        records = {record.id: record for record in library.episodes(trashed=None)}
        for take in ledger.sealed:
            record = records.get(take)
            if record is None:
                wrong.append(f"{take} was sealed and is gone")
                continue
            wanted = ledger.outcome.get(take)
            if wanted and str(record.outcome) != wanted:
                wrong.append(f"{take} is {record.outcome}, not {wanted}")
            if record.trashed != (take in ledger.trashed):
                wrong.append(f"{take} is {'' if record.trashed else 'not '}in the trash")
            with library.open(take) as view:
                wrong += [f"{take}: {problem}" for problem in view.verify()]
        for take in set(ledger.discarded) - ledger.practised:
            if take not in records or not records[take].trashed:
                wrong.append(f"{take} was thrown away and is not in the trash")
        wrong += [f"practice {take} was kept" for take in ledger.practised if take in records]
    return wrong + [f"left half done: {path.name}" for path in (home / "episodes").glob("*.partial")]


def leaks(samples: list[dict[str, float]]) -> tuple[dict[str, float], list[str]]:
    """Growth from after the warm-up to the end (medians of a quarter each), and what is too much."""
    later = samples[int(len(samples) * _WARM_UP) :]
    quarter = max(1, len(later) // 4)
    grown = {
        name: float(np.median([s[name] for s in later[-quarter:]]) - np.median([s[name] for s in later[:quarter]]))
        for name in samples[0]
        if name != "minutes"
    }
    minutes = later[-1]["minutes"] - later[0]["minutes"]
    too_much = [f"{grown[name]:.0f} more {name}" for name, most in _MOST_MORE.items() if grown[name] > most]
    if grown["rss_mb"] > _MOST_MB + _MOST_MB_A_MINUTE * minutes:
        too_much.append(f"{grown['rss_mb']:.1f} MB more memory in {minutes:.1f} min")
    return grown, too_much


def endure(home: Path, seconds: float, *, threads: bool, seed: int) -> dict[str, Any]:
    """The whole session; see the module."""
    ears = Ears()
    application = QApplication(["clap-workbench"])
    application.setQuitOnLastWindowClosed(False)
    bus = Bus()
    choices = Preferences(home / "choices.json")
    choices.keep("record.countdown_s", 0)
    settings = small_settings(home)
    station: list[Station] = []

    def make() -> Station:
        upkeep.start(settings)
        station.append(Station(home, settings, threads=threads, bus=bus))
        return station[-1]

    with Upkeep(home, bus, threads=threads) as upkeep:
        window = Window(home, bus, Theme(application, ThemeChoice.LIGHT), make, choices)
        window.show()
        window.start()
        window.activateWindow()
        operator: Operator | None = None
        trouble = ""
        try:
            wait(lambda: window.desk.running and window.desk.jobs is not None and len(window.pages) == len(PAGES))
            operator = Operator(window, bus, seed)
            operator.work(seconds)
        except Exception as error:  # the window is closed whatever happened
            trouble = f"{type(error).__name__}: {error}"
        ears.listen(window)
        closed: list[int] = []
        window.closed.connect(lambda: closed.append(1))
        window.close()
        wait(lambda: bool(closed))
    if operator is None or trouble:
        return {"problems": [trouble or "the station did not start"], "warnings": ears.heard}
    grown, too_much = leaks(operator.samples)
    return {
        "rounds": len(operator.samples),
        "did": operator.done,
        "takes": len(operator.ledger.sealed),
        "discarded": len(operator.ledger.discarded),
        "grown": {name: round(value, 1) for name, value in grown.items()},
        "last": {name: round(value, 1) for name, value in operator.samples[-1].items()},
        "more_files": dict((operator.files[-1] - operator.files[int(len(operator.files) * _WARM_UP)]).most_common(8)),
        "warnings": sorted(set(ears.heard)),
        "problems": too_much + accounts(home, operator.ledger),
        "seed": seed,
    }


def wait(ready: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    end_s = time.monotonic() + _WAIT_S
    while not ready():
        if time.monotonic() > end_s:
            raise TimeoutError("the window waited in vain")
        QTest.qWait(50)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--home", type=Path, help="a data folder to work in, with a model to drive; it gets more takes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clap-endurance-") as folder:
        home = options.home or Path(folder)
        told = endure(home, 60 * options.minutes, threads=options.threads, seed=options.seed)
    sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    return 1 if told["problems"] or told["warnings"] else 0


if __name__ == "__main__":
    sys.exit(main())
