"""What a person chooses about the window's look and language, kept for the next start."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from PyQt6.QtCore import QLibraryInfo, QLocale, QTranslator
from PyQt6.QtWidgets import QApplication

from ui import translate
from ui.desk import Desk
from ui.enlarge import SizeCommands
from ui.preferences import Preferences
from ui.theme import ThemeChoice
from ui.translate import t

LANGUAGE, THEME = "view.language", "view.theme"
_LANGUAGES = {f"view.language_{name}": name for name in (translate.SYSTEM, *translate.LANGUAGES)}
_THEMES = {f"view.{choice}": choice for choice in ThemeChoice}


def theme_choice(preferences: Preferences) -> ThemeChoice:
    """Light, dark or as the system; the system's if nothing sensible was kept."""
    kept = preferences.get(THEME, str(ThemeChoice.SYSTEM))
    return ThemeChoice(kept) if kept in tuple(ThemeChoice) else ThemeChoice.SYSTEM


def language_choice(preferences: Preferences) -> str:
    """One of ``translate.LANGUAGES``, or ``translate.SYSTEM``."""
    kept = preferences.get(LANGUAGE, translate.SYSTEM)
    return kept if kept in translate.LANGUAGES else translate.SYSTEM


def language_wanted(preferences: Preferences) -> str:
    """The language that a window would speak if it started now."""
    return translate.wanted(language_choice(preferences), QLocale.system().uiLanguages())


def speak(application: QApplication, preferences: Preferences) -> None:
    """Speak the wanted language, Qt's own words (menus of text fields) included. Before the window is made."""
    translate.use(language_wanted(preferences))
    words = QTranslator(application)
    if words.load(f"qtbase_{translate.language()}", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        application.installTranslator(words)


class LookCommands:
    """Answers the View menu's commands for theme, language and size. Window's thread.

    Args:
        say: shows a sentence on the page that is open.
    """

    def __init__(self, desk: Desk, say: Callable[[str], None]) -> None:
        self._desk = desk
        self._say = say
        for command, choice in _THEMES.items():
            desk.actions.bind(command, partial(self._choose_theme, choice))
        for command, name in _LANGUAGES.items():
            desk.actions.bind(command, partial(self._choose_language, name))
        desk.actions.bind("view.next_theme", self._next_theme)
        self._size = SizeCommands(desk, say)
        self.show()

    def _choose_theme(self, choice: ThemeChoice) -> None:
        self._desk.preferences.keep(THEME, str(choice))
        self._desk.theme.choose(choice)

    def _next_theme(self) -> None:
        dark = self._desk.theme.colours.name == "dark"
        self._choose_theme(ThemeChoice.LIGHT if dark else ThemeChoice.DARK)

    def _choose_language(self, choice: str) -> None:
        self._desk.preferences.keep(LANGUAGE, choice)
        self.show()
        self._say(_from_when(self._desk.preferences))

    def show(self) -> None:
        """Tick what is chosen; called again when the theme has changed."""
        language = language_choice(self._desk.preferences)
        for command, name in _LANGUAGES.items():
            self._desk.actions[command].setChecked(name == language)
        for command, choice in _THEMES.items():
            self._desk.actions[command].setChecked(choice is self._desk.theme.choice)


def _from_when(preferences: Preferences) -> str:
    """A sentence about the language just chosen."""
    if translate.known(os.environ.get(translate.VARIABLE, "")):
        name = translate.VARIABLE
        return t("Kept, but the environment variable {name} decides as long as it is set", name=name)
    wanted = language_wanted(preferences)
    if wanted == translate.language():
        return t("The window goes on speaking {language}", language=translate.LANGUAGES[wanted])
    return t("The window speaks {language} from its next start on", language=translate.LANGUAGES[wanted])
