"""How large everything is drawn: an operator may stand two metres away. Chosen in the View menu, kept per person.

Qt reads the factor once, when its application is made, so a choice counts from the next start on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from PyQt6 import sip
from PyQt6.QtCore import QSize
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QApplication

from ui.desk import Desk
from ui.preferences import Preferences
from ui.translate import t

VARIABLE = "QT_SCALE_FACTOR"
SIZE, HINTED = "view.size", "view.size_hinted"
SIZES = (100, 125, 150, 200)
_LEAST = QSize(1280, 720)  # what the pages need
_HINT = 150  # a screen with room for this one shows small letters at 100 %
_COMMANDS = {f"view.size_{percent}": percent for percent in SIZES}
_given = VARIABLE in os.environ  # by the person or the desktop: it goes before any choice
_drawn_at = 100


def size_choice(preferences: Preferences) -> int:
    """Percent of the usual size, one of ``SIZES``."""
    kept = preferences.get(SIZE, SIZES[0])
    return kept if kept in SIZES else SIZES[0]


def make_application(preferences: Preferences) -> QApplication:
    """Qt's application, at the chosen size if the screen has room for it. Main thread, once per process."""
    global _drawn_at
    wanted = size_choice(preferences)
    if _given or wanted == SIZES[0]:
        return QApplication(["clap-workbench"])
    _drawn_at = wanted
    os.environ[VARIABLE] = f"{wanted / 100:g}"
    application = QApplication(["clap-workbench"])
    if not fits(wanted):  # it was chosen on a larger screen
        sip.delete(application)
        _drawn_at = SIZES[0]
        del os.environ[VARIABLE]
        application = QApplication(["clap-workbench"])
    return application


def fits(percent: int) -> bool:
    """Whether the first screen has room for all pages at this size. Window's thread."""
    screen = QGuiApplication.primaryScreen()
    if screen is None:
        return percent == SIZES[0]
    room = screen.size() * (_drawn_at / percent)
    return percent == SIZES[0] or (room.width() >= _LEAST.width() and room.height() >= _LEAST.height())


class SizeCommands:
    """Answers the View menu's commands for the size. Window's thread.

    Args:
        say: shows a sentence on the page that is open.
    """

    def __init__(self, desk: Desk, say: Callable[[str], None]) -> None:
        self._desk = desk
        self._say = say
        for command, percent in _COMMANDS.items():
            desk.actions.bind(command, partial(self._choose, percent))
        self._tick()
        desk.bridge.post(self._hint)  # when a page is on screen

    def _hint(self) -> None:
        """Say once that letters may be larger, where a screen has room and nobody has chosen."""
        preferences = self._desk.preferences
        chosen = _given or preferences.get(SIZE, 0) in SIZES
        if not chosen and fits(_HINT) and not preferences.get(HINTED, False):
            preferences.keep(HINTED, True)
            self._say(t("This screen has room for larger letters: View > Size"))

    def _choose(self, percent: int) -> None:
        if fits(percent):
            self._desk.preferences.keep(SIZE, percent)
            self._say(_from_when(percent))
        else:
            self._say(t("This screen has no room for {n} %", n=percent))
        self._tick()

    def _tick(self) -> None:
        chosen = size_choice(self._desk.preferences)
        for command, percent in _COMMANDS.items():
            self._desk.actions[command].setChecked(percent == chosen)


def _from_when(percent: int) -> str:
    """A sentence about the size just chosen."""
    if _given:
        return t("Kept, but the environment variable {name} decides as long as it is set", name=VARIABLE)
    if percent == _drawn_at:
        return t("Everything stays as large as it is")
    return t("Everything is drawn at {n} % from the next start on", n=percent)
