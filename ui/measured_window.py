"""What the window costs, without a person or a screen: ``python -m ui.measured_window HOME SECONDS``.

Runs the program's own start on a data folder with a ``station.toml``, looks at live pictures for so many seconds while
a take is recorded, then visits every page, and prints one JSON object. All times are processor time of this process:
cameras, arm and simulation are processes of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QTimer

from ui.app import run
from ui.pages.record import RecordPage
from ui.stretches import measured_stretches
from ui.theme import ThemeChoice
from ui.window import PAGES, Window
from workbench.core.errors import WorkbenchError

_LOOK_MS, _SETTLE_S, _VISIT_S, _WAIT_S = 5, 1.5, 0.8, 120.0


class Session:
    """Goes through its steps by a timer, so that Qt's own loop runs as it does with a person."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._rest = ExitStack()
        self._steps: Iterator[Callable[[], bool]] = iter(())
        self._waits: Callable[[], bool] = lambda: True
        self._until_s = 0.0
        self._window: Window | None = None
        self.result: dict[str, Any] = {}
        self.error = ""

    def opened(self, window: Window) -> None:
        """The window is on screen."""
        self._window = window
        window.desk.theme.choose(ThemeChoice.DARK)
        self._steps = self._go(window)
        self._until_s = time.monotonic() + _WAIT_S
        self._timer.start(_LOOK_MS)

    def _look(self) -> None:
        try:
            if self._waits():
                self._waits = next(self._steps)
                self._until_s = time.monotonic() + _WAIT_S + self._seconds
            elif time.monotonic() > self._until_s:
                raise WorkbenchError("the measured window waited in vain", "Measure on a machine with less load")
        except StopIteration:
            self._end()
        except Exception as error:  # whatever it is, the window closes and the bench says it
            self.error = f"{type(error).__name__}: {error}"
            self._end()

    def _end(self) -> None:
        self._timer.stop()
        self._rest.close()
        if self._window is not None:
            self._window.close()

    def _go(self, window: Window) -> Iterator[Callable[[], bool]]:
        """The steps; each yields what to wait for next."""
        start = self._rest.enter_context(measured_stretches())
        page = window.pages["record"]
        if not isinstance(page, RecordPage):
            raise WorkbenchError("the first page is not the one to record on", "Measure the program as it is delivered")
        yield lambda: _shown(page) > 0
        self.result["first_picture_cpu_s"] = round(time.process_time(), 3)
        yield lambda: len(window.pages) == len(PAGES) and len(page.wall.tiles) > 0 and _all_shown(page)
        yield _after(_SETTLE_S)
        self.result["startup_block_ms"] = round(start.longest_ms, 1)
        yield from self._watch(window, page)
        yield from self._visit(window)

    def _watch(self, window: Window, page: RecordPage) -> Iterator[Callable[[], bool]]:
        """Live pictures and plots while a take is recorded."""
        page.takes.count_down(False)
        with measured_stretches() as stretches:
            cpu_s, at_s, shown = time.process_time(), time.monotonic(), _shown(page)
            window.actions_["record.start"].trigger()
            yield _after(self._seconds)
            cpu_s, at_s, shown = time.process_time() - cpu_s, time.monotonic() - at_s, _shown(page) - shown
            window.actions_["record.discard"].trigger()
        yield lambda: not page.takes.recording
        self.result |= {
            "cpu_ms_per_shown_frame": round(1000 * cpu_s / max(1, shown), 3),
            "longest_gui_block_ms": round(stretches.longest_ms, 2),
            "blocks_over_16_ms": sum(ms > 16 for ms in stretches.found),
            "share_of_a_core": round(cpu_s / at_s, 3),
            "shown": shown,
            "shown_hz": round(shown / at_s / len(page.wall.tiles), 2),
            "tiles": len(page.wall.tiles),
            "plots_painted": page.signals.painted,
            "seconds": round(at_s, 2),
        }

    def _visit(self, window: Window) -> Iterator[Callable[[], bool]]:
        """Every page once more: how long it keeps the thread."""
        longest: dict[str, float] = {}
        for name, _ in (*PAGES, PAGES[0]):
            with measured_stretches() as stretches:
                window.go(name)
                yield _after(_VISIT_S)
            longest[name] = round(stretches.longest_ms, 1)
        self.result["page_block_ms"] = longest


def _shown(page: RecordPage) -> int:
    return sum(tile.shown for tile in page.wall.tiles.values())


def _all_shown(page: RecordPage) -> bool:
    return all(tile.shown > 2 for tile in page.wall.tiles.values())


def _after(seconds: float) -> Callable[[], bool]:
    until_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= until_s


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    session = Session(float(arguments[1]))
    code = run(Path(arguments[0]), opened=session.opened)
    if session.error or code:
        sys.stderr.write((session.error or f"the window ended with {code}") + "\n")
        return 1
    sys.stdout.write(json.dumps(session.result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
