"""An operator's day in fast motion: ``python -m tests.ui.endurance --minutes 30 [--threads] [--home HOME]``.

The real window on the real simulated station, without a screen. Takes are recorded, labelled, thrown away, brought
back, practised and played by the simulated operator; pages, themes and panels change; a policy drives, if the home has
one. Prints one JSON object; exit code 1 if something leaked, complained or a take is not accounted for.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
from PyQt6.QtCore import qInstallMessageHandler
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication

from tests.ui.conftest import small_settings
from tests.ui.day import WAIT_S, Ledger, Operator
from ui.preferences import Preferences
from ui.theme import Theme, ThemeChoice
from ui.window import PAGES, Window
from workbench.core.bus import Bus
from workbench.services.library import Library
from workbench.services.station import Station
from workbench.services.upkeep import Upkeep

_LEAST = 2  # samples that a growth is told from
_WARM_UP = 0.3  # of the samples: caches fill, fonts and pages load
_MOST_MORE = {"widgets": 12, "threads": 2, "files": 6}
_MOST_MB, _MOST_MB_A_MINUTE = 25.0, 0.6


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
    if operator is None or len(operator.samples) < _LEAST:
        return {"problems": [trouble or "the session was too short"], "warnings": ears.heard}
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
        "minutes": round(operator.samples[-1]["minutes"] - operator.samples[0]["minutes"], 1),
        "problems": ([trouble] if trouble else []) + too_much + accounts(home, operator.ledger),
        "seed": seed,
    }


def wait(ready: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    end_s = time.monotonic() + WAIT_S
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
