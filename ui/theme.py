"""How the window looks: a light and a dark palette, and the colours that states are drawn in.

State colours follow the Okabe-Ito set, moved apart in lightness so that they stay different for every common kind of
colour vision, and are never the only sign: a state always carries a word and a symbol too.
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
        window, surface, raised: backgrounds from back to front. line: hairlines. edge: borders of what can be used.
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
    edge: str
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
    edge="#7a8593",
    text="#16202c",
    dim="#566374",
    accent="#0b63a5",
    on_accent="#ffffff",
    good="#005c46",
    bad="#8f1a12",
    warn="#8a5f00",
    busy="#0b63a5",
    idle="#616575",
    on_state="#ffffff",
    series=("#005fa8", "#a83f00", "#00936b", "#a8559a", "#c28800", "#4a9bd8", "#3b4652"),
)
DARK = Colours(
    name="dark",
    window="#10151c",
    surface="#18202a",
    raised="#212b37",
    line="#33404f",
    edge="#6b7c92",
    text="#eef3f8",
    dim="#9dabbb",
    accent="#58b1ee",
    on_accent="#06121c",
    good="#3ad6a6",
    bad="#ff7f5c",
    warn="#ffce52",
    busy="#58b1ee",
    idle="#a3adba",
    on_state="#0b1118",
    series=("#5aa9f0", "#ff7a45", "#2cd49a", "#c977b8", "#ffd84f", "#bfe6ff", "#aab4be"),
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
