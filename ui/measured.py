"""The real window without a person or a screen, for measurements: ``python -m ui.measured HOME SECONDS TASK [MODEL]``.

Opens the window, which starts the station; waits until the cameras live; records one take while the window shows them,
with the model driving if one is named; prints one JSON object; closes the window.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QApplication

from ui.theme import Theme
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services.settings import simulated_settings
from workbench.services.station import Station
from workbench.services.unattended import wait_live

_WAIT_S = 120.0
_LOOK_MS = 50


class Measured:
    """One measured session; ``work`` runs beside Qt's loop."""

    def __init__(self, home: Path, seconds: float, task: str, model_id: str) -> None:
        self._home, self._seconds, self._task, self._model_id = home, seconds, task, model_id
        self.made: list[Station] = []
        self.result: dict[str, Any] = {}
        self.error = ""
        self.done = threading.Event()

    def make_station(self, bus: Bus) -> Station:
        self.made.append(Station(self._home, simulated_settings(), bus=bus))
        return self.made[-1]

    def work(self) -> None:
        """Record and drive; any failure is kept for the exit."""
        try:
            self._measure(self._live_station())
        except WorkbenchError as error:
            self.error = str(error)
        finally:
            self.done.set()

    def _live_station(self) -> Station:
        until_s = time.monotonic() + _WAIT_S
        while not (self.made and self.made[0].streams):
            if time.monotonic() > until_s:
                raise WorkbenchError("the station did not start")
            time.sleep(0.05)
        wait_live(self.made[0])
        return self.made[0]

    def _measure(self, station: Station) -> None:
        if self._model_id:
            station.load_policy(self._model_id)
            station.drive(self._task, record=False)
        episode_id = station.start_take(self._task, EpisodeKind.ROLLOUT if self._model_id else EpisodeKind.TELEOP)
        held = 0
        until_s = time.monotonic() + self._seconds
        while time.monotonic() < until_s:
            time.sleep(0.25)
            if self._model_id and station.status().driver.state == "holding":
                held += 1
                station.resume()
        driver = station.status().driver
        station.stop_take()
        self.result = {"episode": episode_id, "timing": driver.timing, "held": held}


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    home, seconds, task = Path(arguments[0]), float(arguments[1]), arguments[2]
    session = Measured(home, seconds, task, arguments[3] if len(arguments) > 3 else "")
    application = QApplication(["clap-workbench"])
    application.setQuitOnLastWindowClosed(False)
    bus = Bus()
    window = Window(home, bus, Theme(application), lambda: session.make_station(bus))
    window.closed.connect(application.quit)
    window.resize(1280, 800)
    window.show()
    window.start()
    timer = QTimer()

    def look() -> None:
        if session.done.is_set():
            timer.stop()
            window.close()

    timer.timeout.connect(look)
    timer.start(_LOOK_MS)
    thread = threading.Thread(target=session.work, name="measured", daemon=True)
    thread.start()
    application.exec()
    thread.join(5)
    if session.error:
        sys.stderr.write(session.error + "\n")
        return 1
    sys.stdout.write(json.dumps(session.result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
