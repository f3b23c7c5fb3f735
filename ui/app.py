"""Starts the window and ends it cleanly, whoever asks: the user, Ctrl-C or a service manager."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PyQt6 import sip
from PyQt6.QtCore import QSocketNotifier
from PyQt6.QtWidgets import QApplication

from ui.crash import CrashHooks, kept_log
from ui.enlarge import make_application
from ui.look import speak, theme_choice
from ui.preferences import Preferences
from ui.theme import Theme
from ui.window import Window
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.services.crash import CrashReports
from workbench.services.settings import load_settings
from workbench.services.station import Station
from workbench.services.upkeep import Upkeep

_log = logging.getLogger(__name__)


def check_display() -> None:
    """Raise WorkbenchError where no window can appear; Qt itself would end the program without an error to catch."""
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0]
    if sys.platform != "linux" or platform in ("offscreen", "minimal", "vnc"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise WorkbenchError(
            "there is no screen to open the window on",
            "Start it in a desktop session, or give a verb to work without a window (python main.py --help)",
        )


def run(home: Path, threads: bool = False, opened: Callable[[Window], None] | None = None) -> int:
    """Open the window and return when it has closed and nothing is left running. The main thread's job.

    Args:
        home: the data root.
        threads: run the station's parts as threads of this process.
        opened: called with the window when it is on screen, for measurements.
    """
    check_display()
    preferences = Preferences()
    application = QApplication.instance() or make_application(preferences)
    if not isinstance(application, QApplication):
        raise WorkbenchError("another kind of Qt application runs in this process", "Start the window by itself")
    application.setApplicationName("CLAP Workbench")
    application.setDesktopFileName("clap-workbench")
    application.setQuitOnLastWindowClosed(False)
    bus = Bus()
    upkeep = Upkeep(home, bus, threads=threads)

    def make_station() -> Station:
        reports.settings = settings = load_settings(home, None)
        upkeep.start(settings)
        return Station(home, settings, threads=threads, bus=bus)

    speak(application, preferences)
    window = Window(home, bus, Theme(application, theme_choice(preferences)), make_station, preferences)
    window.closed.connect(application.quit)
    reports = CrashReports(home, window.desk.notices)
    hooks = CrashHooks(reports, window.unexpected)
    with hooks, kept_log(window.desk.notices), upkeep, _signals_close(window):
        window.show()
        window.start()
        window.bridge.run_in_background(hooks.look_back, lane="look")
        if opened is not None:
            opened(window)
        return application.exec()


@contextmanager
def _signals_close(window: Window) -> Iterator[None]:
    """SIGINT and SIGTERM close the window as a click would. Python runs handlers only between bytecodes, so a socket
    wakes Qt's loop when one has arrived."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    before_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    notifier = QSocketNotifier(sip.voidptr(ours.fileno()), QSocketNotifier.Type.Read)
    notifier.activated.connect(lambda *_: ours.recv(64))
    before = {number: signal.signal(number, lambda *_: _close(window)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        notifier.setEnabled(False)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        ours.close()
        theirs.close()


def _close(window: Window) -> None:
    window.close()
