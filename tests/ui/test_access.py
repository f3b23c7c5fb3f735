"""The window for every eye, every hand and every screen: contrast, colours, keyboard, room for words."""

from __future__ import annotations

import gettext
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QImage
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QTableView,
    QWidget,
)

from tests.ui.colours import EYES, contrast, difference
from tests.ui.fitting import cut_words
from tests.ui.material import write_take
from tests.ui.sentences import ROOT
from tests.ui.still import close_still, open_still, until
from ui import translate, words
from ui.pages.station import StationPage
from ui.preferences import Preferences
from ui.style import chosen_colour, mix
from ui.theme import DARK, LIGHT, Colours, Theme, ThemeChoice
from ui.window import PAGES, Window

THEMES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=lambda colours: colours.name)
LANGUAGES = list(translate.LANGUAGES)
STATES = ("good", "bad", "warn", "busy", "idle")
CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QAbstractSlider, QTableView, QAbstractSpinBox, QPlainTextEdit)
READABLE, VISIBLE = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11
APART = 12.0  # CIE 1976; two neighbours in a list are told apart at a glance

# colours --------------------------------------------------------------------------------------------------------------


@THEMES
def test_words_can_be_read(colours: Colours) -> None:
    grounds = {"chosen": chosen_colour(colours)} | {n: getattr(colours, n) for n in ("window", "surface", "raised")}
    for ink, (ground, paper) in itertools.product(("text", "dim", "accent", *STATES), grounds.items()):
        ratio = contrast(getattr(colours, ink), paper)
        assert ratio >= READABLE, f"{colours.name}: {ink} on {ground} is {ratio:.2f}"


@THEMES
def test_words_on_filled_states_and_notices_can_be_read(colours: Colours) -> None:
    assert contrast(colours.on_accent, colours.accent) >= READABLE
    for state in STATES:
        assert contrast(colours.on_state, getattr(colours, state)) >= READABLE, state
        assert contrast(colours.text, mix(getattr(colours, state), colours.surface, 0.86)) >= READABLE, state


@THEMES
def test_controls_and_lines_can_be_seen(colours: Colours) -> None:
    for ground in (colours.window, colours.surface, colours.raised):
        for name in ("edge", "accent", *STATES):
            assert contrast(getattr(colours, name), ground) >= VISIBLE, name
    for line in colours.series:
        assert contrast(line, colours.surface) >= VISIBLE, line


@THEMES
@pytest.mark.parametrize("eye", EYES)
def test_colours_stay_apart_for_every_eye(colours: Colours, eye: str) -> None:
    states = {name: getattr(colours, name) for name in STATES}
    series = {str(place): colour for place, colour in enumerate(colours.series)}
    for table in (states, series):
        for (a, first), (b, second) in itertools.combinations(table.items(), 2):
            found = difference(first, second, eye)
            assert found >= APART, f"{colours.name}: {a} and {b} are {found:.1f} apart"


def test_the_simulated_eyes_really_see_less() -> None:
    """Red and green of equal lightness, which is what the bound has to find."""
    assert difference("#c0392b", "#4f7a28", "common") > 60
    assert difference("#c0392b", "#4f7a28", "deuteranopia") < 20
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize(
    "table",
    ["_RECORDER", "_DRIVER", "_JOB", "_OUTCOME", "_CAMERA", "_LEVEL", "_PREFLIGHT", "_DEVICE"],
)
def test_states_differ_without_colours(table: str) -> None:
    looks = [words.StateWords(*look) for look in getattr(words, table).values()]
    assert len({look.word for look in looks}) == len(looks)
    by_colour = {look.colour: look.symbol for look in looks if look.symbol}
    assert len(set(by_colour.values())) == len(by_colour), "two colours share a symbol"


# one window in every language -----------------------------------------------------------------------------------------


class _Marked(gettext.NullTranslations):
    """Brackets around everything that went through the translator."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for seed in range(3):
        write_take(folder, seed)
    return folder


@pytest.fixture(scope="module", params=LANGUAGES)
def window(
    request: pytest.FixtureRequest, qapp: QApplication, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Window]:
    """One window for all tests of a language: they only look and go from page to page."""
    translate.use(request.param)
    choices = Preferences(tmp_path_factory.mktemp("config") / "window.json")
    made = open_still(home, Theme(qapp, ThemeChoice.LIGHT), choices)
    yield made
    close_still(made)
    translate.use("en")


def test_nothing_is_cut_off(window: Window) -> None:
    """On every page at the smallest size that is promised."""
    window.resize(1280, 720)
    found = []
    for name in _pages(window):
        found += [f"{name}: {words}" for words in cut_words(window)]
    assert (window.width(), window.height()) == (1280, 720)
    assert not found, "\n".join(found)


def test_every_control_is_named_and_reached_by_tab_and_shows_that_it_is(window: Window) -> None:
    wrong = []
    for name in _pages(window):
        reached = _tab_chain(window)
        for control in _controls(window):
            called = f"{name}: {control.objectName() or type(control).__name__} {control.accessibleName()!r}"
            if not control.accessibleName():
                wrong.append(f"{called} has no name")
            if control.isEnabled() and control not in reached:
                wrong.append(f"{called} is not reached by Tab")
            elif control.isEnabled() and not _shows_focus(control):
                wrong.append(f"{called} does not show that it has the focus")
    assert not wrong, "\n".join(wrong)


def _pages(window: Window) -> Iterator[str]:
    """Every page in turn, laid out and painted."""
    for name, _ in PAGES:
        window.go(name)
        page = window.pages[name]
        until(page.isVisible)
        for _ in range(3):
            QApplication.sendPostedEvents()
            QApplication.processEvents()
        yield name


def _controls(window: Window) -> list[QWidget]:
    inside = (QScrollBar, QTabBar)  # parts of other controls
    found = [w for w in window.findChildren(QWidget) if isinstance(w, CONTROLS) and w.isVisible()]
    return [w for w in found if not isinstance(w, inside) and w.objectName() not in ("qt_toolbar_ext_button",
            "qt_spinbox_lineedit") and not isinstance(w.parent(), QLineEdit | QTableView | QTabBar)]  # fmt: skip


def _tab_chain(window: Window) -> set[QWidget]:
    """Everything that Tab comes by."""
    reached: set[QWidget] = set()
    widget: QWidget | None = window
    while widget is not None and widget not in reached:
        reached.add(widget)
        widget = widget.nextInFocusChain()
    return {w for w in reached if w.focusPolicy() & Qt.FocusPolicy.TabFocus and w.isVisible() and w.isEnabled()}


def _shows_focus(control: QWidget) -> bool:
    window = control.window()
    assert window is not None
    window.setFocus(Qt.FocusReason.OtherFocusReason)
    before = control.grab().toImage()
    control.setFocus(Qt.FocusReason.TabFocusReason)
    if not control.hasFocus():
        return False
    return bool(control.grab().toImage() != before)


def test_every_sentence_on_screen_went_through_the_translator(
    home: Path, theme: Theme, choices: Preferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translate, "_catalogue", _Marked())
    window = open_still(home, theme, choices)
    try:
        raw = set()
        for name in _pages(window):
            raw |= {f"{name}: {text}" for text in _texts(window) if _is_sentence(text)}
        raw |= {
            f"menu: {text}" for menu in window.findChildren(QMenu) for text in _menu_texts(menu) if _is_sentence(text)
        }
    finally:
        close_still(window)
    assert not raw, "\n".join(sorted(raw))


_DATA = re.compile(
    r"⟦.*⟧"  # went through the translator
    r"|CLAP Workbench|English|简体中文|Space"
    r"|red cube.*|Red cube.*|.*put the red cube on the white plate.*|operator \d.*"  # of the takes
    r"|.*There is no trained \w+ model yet.*"  # said by a service
    , re.DOTALL,
)  # fmt: skip


def _is_sentence(text: str) -> bool:
    plain = re.sub(r"<[^>]*>|&\w+;", "", text)
    return bool(re.search(r"[A-Za-z]{3,}", plain)) and not _DATA.search(plain)


def _texts(window: Window) -> Iterator[str]:
    """What is said on screen, in tool tips and to screen readers. What stands in tables comes from services."""
    for widget in window.findChildren(QWidget):
        if not widget.isVisible() or _is_told_by_a_service(widget, window):
            continue
        yield from (widget.accessibleName(), widget.toolTip())
        if isinstance(widget, QLabel | QAbstractButton):
            yield widget.text()
        elif isinstance(widget, QLineEdit):
            yield widget.placeholderText()
        elif isinstance(widget, QComboBox):
            yield from (widget.itemText(place) for place in range(widget.count()))
        elif isinstance(widget, QTabBar):
            yield from (widget.tabText(place) for place in range(widget.count()))
        elif isinstance(widget, QTableView):
            yield from _heads(widget)


def _heads(table: QTableView) -> Iterator[str]:
    model = table.model()
    assert model is not None
    for place in range(model.columnCount()):
        yield str(model.headerData(place, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole) or "")


def _is_told_by_a_service(widget: QWidget, window: Window) -> bool:
    """Notices, and what was found about this machine: said in English by the services."""
    station = window.pages["station"]
    assert isinstance(station, StationPage)
    notices = [page.notice for page in window.pages.values()]
    return any(told is widget or told.isAncestorOf(widget) for told in (*notices, station.fix, station.badge))


def _menu_texts(menu: QMenu) -> list[str]:
    return [text for action in menu.actions() for text in (action.text(), action.toolTip()) if text] + [menu.title()]


# every screen ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pictures_of_every_size_language_and_scale_are_whole(home: Path, tmp_path: Path) -> None:
    """Nothing is cut on any page, at any promised size, language and scale of the screen; both themes differ."""
    sizes, scales = ((1280, 720), (2560, 1440)), (1.0, 1.5, 2.0)
    command = [sys.executable, "-m", "tests.ui.pictures", str(tmp_path / "made"), "--still", "--home", str(home)]
    command += ["--sizes", *(f"{w}x{h}" for w, h in sizes), "--languages", *LANGUAGES, "--scales", *map(str, scales)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    pages = [name for name, _ in PAGES]
    for page, language, size, scale in itertools.product(pages, LANGUAGES, sizes, scales):
        suffix = ("" if language == "en" else f"-{language}") + ("" if size == sizes[0] else f"-{size[0]}x{size[1]}")
        suffix += "" if scale == 1 else f"@{scale:g}"
        light, dark = (QImage(str(tmp_path / "made" / f"{page}{theme}{suffix}.png")) for theme in ("", "-dark"))
        assert (light.width(), light.height()) == (round(size[0] * scale), round(size[1] * scale)), f"{page}{suffix}"
        assert light.size() == dark.size()
        assert _lightness(light) > 140 > 90 > _lightness(dark)


def _lightness(image: QImage) -> float:
    """Mean, 0..255."""
    small = image.scaled(64, 36, transformMode=Qt.TransformationMode.SmoothTransformation)
    return sum(small.pixelColor(x, y).lightness() for x in range(64) for y in range(36)) / (64 * 36)
