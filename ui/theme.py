"""How the window looks: a light and a dark palette, and the colours that states are drawn in.

State colours come from the Okabe-Ito set, which stays apart for every common kind of colour vision, and are never the
only sign: a state always carries a word and a symbol too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QFont, QGuiApplication, QPalette
from PyQt6.QtWidgets import QApplication

from ui.style import sheet

BASE_POINT_SIZE = 11
_CHINESE = ("Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei")


class ThemeChoice(StrEnum):
    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Colours:
    """One palette; every value is ``#rrggbb``.

    Attributes:
        window, surface, raised, line: backgrounds from back to front, and hairlines.
        text, dim: words that matter, words that explain.
        accent, on_accent: the one thing to do next.
        good, bad, warn, busy, idle: states (also as fills below white or black words: ``on_state``).
        series: lines of plots, distinguishable without colour vision by their lightness too.
    """

    name: str
    window: str
    surface: str
    raised: str
    line: str
    text: str
    dim: str
    accent: str
    on_accent: str
    good: str
    bad: str
    warn: str
    busy: str
    idle: str
    on_state: str
    series: tuple[str, ...]


LIGHT = Colours(
    name="light",
    window="#eef1f5",
    surface="#ffffff",
    raised="#f4f6f9",
    line="#d3d9e2",
    text="#16202c",
    dim="#566374",
    accent="#0b63a5",
    on_accent="#ffffff",
    good="#00745a",
    bad="#bd3c06",
    warn="#8a5a00",
    busy="#0b63a5",
    idle="#5b6877",
    on_state="#ffffff",
    series=("#0072b2", "#d55e00", "#009e73", "#a3478a", "#b07d00", "#3f9bd0", "#444f5c"),
)
DARK = Colours(
    name="dark",
    window="#10151c",
    surface="#18202a",
    raised="#212b37",
    line="#33404f",
    text="#eef3f8",
    dim="#9dabbb",
    accent="#58b1ee",
    on_accent="#06121c",
    good="#2cc295",
    bad="#ff7d52",
    warn="#f2b63c",
    busy="#58b1ee",
    idle="#93a1b1",
    on_state="#0b1118",
    series=("#58b1ee", "#ff8a4c", "#2cc295", "#e08ac4", "#f2d24a", "#a8dcff", "#c3ccd6"),
)


class Theme(QObject):
    """The palette in force. Follows the system unless the user chose; ``changed`` tells self-painting widgets."""

    changed = pyqtSignal()

    def __init__(self, application: QApplication, choice: ThemeChoice = ThemeChoice.SYSTEM) -> None:
        super().__init__()
        self._application = application
        self._choice = choice
        self.colours = LIGHT
        application.setStyle("Fusion")
        hints = QGuiApplication.styleHints()
        if hints is not None:
            hints.colorSchemeChanged.connect(self._apply)
        self._apply()

    @property
    def choice(self) -> ThemeChoice:
        return self._choice

    def choose(self, choice: ThemeChoice) -> None:
        """Switch palettes; everything on screen follows."""
        self._choice = choice
        self._apply()

    def _apply(self, *_: object) -> None:
        self.colours = DARK if self._wants_dark() else LIGHT
        self._application.setPalette(_palette(self.colours))
        self._application.setFont(base_font())
        self._application.setStyleSheet(sheet(self.colours))
        self.changed.emit()

    def _wants_dark(self) -> bool:
        if self._choice is not ThemeChoice.SYSTEM:
            return self._choice is ThemeChoice.DARK
        hints = QGuiApplication.styleHints()
        return hints is not None and hints.colorScheme() is Qt.ColorScheme.Dark


def base_font(scale: float = 1.0, *, bold: bool = False) -> QFont:
    """The application's font at ``scale`` times its base size."""
    font = QFont()
    font.setFamilies(["Inter", "Segoe UI", "Cantarell", "Noto Sans", "DejaVu Sans", *_CHINESE])
    font.setPointSizeF(BASE_POINT_SIZE * scale)
    font.setBold(bold)
    return font


def number_font(scale: float = 1.0, *, bold: bool = False) -> QFont:
    """Like ``base_font`` with digits of equal width, so that running numbers do not tremble."""
    font = base_font(scale, bold=bold)
    font.setFamilies(["JetBrains Mono", "Cascadia Mono", "DejaVu Sans Mono", *_CHINESE])
    return font


def _palette(c: Colours) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    pairs = {
        role.Window: c.window,
        role.WindowText: c.text,
        role.Base: c.surface,
        role.AlternateBase: c.raised,
        role.Text: c.text,
        role.Button: c.raised,
        role.ButtonText: c.text,
        role.BrightText: c.bad,
        role.Highlight: c.accent,
        role.HighlightedText: c.on_accent,
        role.ToolTipBase: c.raised,
        role.ToolTipText: c.text,
        role.PlaceholderText: c.dim,
        role.Link: c.accent,
        role.Mid: c.line,
    }
    for name, value in pairs.items():
        palette.setColor(name, QColor(value))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, name, QColor(c.dim))
    return palette
