"""The window speaks other languages: no sentence is forgotten, none is missing, and what is chosen is kept."""

from __future__ import annotations

import ast
import gettext
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PyQt6.QtCore import QTranslator
from PyQt6.QtWidgets import QApplication

from tests.ui import catalogue
from tests.ui.catalogue import Entry, compiled, compiled_path, languages, loaded, merged, read, template, written
from tests.ui.sentences import ROOT, Sentence, collect, forgotten, forgotten_among, nodes, sources
from ui import look, translate, words
from ui.actions import COMMANDS, MENUS
from ui.preferences import Preferences
from ui.theme import ThemeChoice
from ui.translate import t, tn

# Said before a window can speak, to a log or to another program; or names that are the same everywhere.
KEPT_ENGLISH = {
    "ui/app.py": {
        "CLAP Workbench",
        "there is no screen to open the window on",
        "Start it in a desktop session, or give a verb to work without a window (python main.py --help)",
        "another kind of Qt application runs in this process",
        "Start the window by itself",
    },
    "ui/bridge.py": {"unexpected failure", "background work failed: %s", "ui-"},
    "ui/crash.py": {"unexpected failure in thread %s\n%s", "Thread ", "Qt gave up: ", "\nQt said\n\n"},
    "ui/measured.py": {"the station did not start"},
    "ui/measured_window.py": {
        "the first page is not the one to record on",
        "Measure the program as it is delivered",
        "the measured window waited in vain",
        "Measure on a machine with less load",
        "the window ended with ",
    },
    "ui/preferences.py": {"it is no table of choices"},
    "ui/stretches.py": {"there is no event loop in this thread", "Measure in the window's own thread"},
    "ui/theme.py": {
        "Noto Sans CJK SC",
        "Source Han Sans SC",
        "PingFang SC",
        "Microsoft YaHei",
        "WenQuanYi Micro Hei",
        "Fusion",
    },
    "ui/translate.py": {"English"},
    "ui/widgets/button.py": {"Del"},
    "ui/widgets/steer.py": {"Space"},
    "ui/window.py": {"CLAP Workbench"},
}


@pytest.fixture
def speak() -> Iterator[Callable[[str], None]]:
    yield lambda language: _used(language)
    translate.use("en")


def _used(language: str) -> None:
    assert translate.use(language)


# sources --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sentence_goes_through_the_translator(path: Path) -> None:
    kept = KEPT_ENGLISH.get(str(path.relative_to(ROOT)), set())
    assert [(line, text) for line, text in forgotten(path) if text not in kept] == []


@pytest.mark.parametrize(
    "line",
    [
        'label.setText("No takes yet")',
        'notice.done(f"{n} takes are in the trash")',
        'Column("Where it stands", text)',
        'box = QLabel("Looking")',
        'WorkbenchError("the arm is off", "Switch it on")',
        'said = "to the trash" if gone else ""',
        'chooser("Model")',
        'self.title = f"Page {number}"',
        'TABLE = {"done": ("Finished", 1)}',
    ],
)
def test_a_forgotten_sentence_is_found(line: str) -> None:
    assert list(forgotten_among(list(ast.walk(ast.parse(line)))))


@pytest.mark.parametrize(
    "line",
    [
        'label.setText(t("No takes yet"))',
        'notice.done(t("{n} takes are in the trash", n=f"{count:,}"))',
        'TABLE = {"done": (mark("Finished"), 1)}',
        'stream = f"observation.images.{camera}"',
        'raise ValueError("sizes do not fit")',
        '_log.warning("the file is gone: %s", path)',
        'widget.setStyleSheet("QTableView { border: none; }")',
        'def f():\n    """Says what it does."""',
        'text = f"{value:.1f} ms"',
    ],
)
def test_what_people_do_not_read_is_let_be(line: str) -> None:
    assert not list(forgotten_among(list(ast.walk(ast.parse(line)))))


def test_keys_are_told_apart_from_what_is_filled_in() -> None:
    """A key is looked up as it stands in the source: an f-string would never be found."""
    for path in sources():
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("t", "tn", "mark"):
                assert not any(isinstance(part, ast.JoinedStr) for part in node.args[:1]), f"{path}:{node.lineno}"


# catalogues -----------------------------------------------------------------------------------------------------------


def test_the_template_has_every_sentence() -> None:
    assert catalogue.TEMPLATE.read_text(encoding="utf-8") == written(template(collect())), (
        "bring it up to date: python -m tests.ui.catalogue"
    )


def test_there_is_a_catalogue_of_every_language_on_offer() -> None:
    assert {path.parents[1].name for path in languages()} == set(translate.LANGUAGES) - {"en"}


@pytest.mark.parametrize("path", languages(), ids=lambda path: path.parents[1].name)
class TestCatalogue:
    def test_nothing_is_missing_and_nothing_is_left_over(self, path: Path) -> None:
        entries, found = read(path)[1:], collect()
        assert {entry.one for entry in entries} ^ set(found) == set(), "python -m tests.ui.catalogue"
        assert [entry.one for entry in entries if not entry.done] == []
        assert [entry.one for entry in entries if entry.fuzzy] == []

    def test_the_same_things_are_filled_in(self, path: Path) -> None:
        for entry in read(path)[1:]:
            for text in entry.texts:
                assert _names(text) == _names(entry.many or entry.one), entry.one

    def test_shape_and_signs_are_kept(self, path: Path) -> None:
        """Lines, symbols, keys and commands say the same in every language."""
        for entry in read(path)[1:]:
            for text in entry.texts:
                assert text.count("\n") == entry.one.count("\n"), entry.one
                assert (text == text.strip()) is (entry.one == entry.one.strip()), entry.one
                for sign in ("▲", "✔", "✘", "★", "◔", "⏎", "Ctrl+", "F5", "F8", "station.toml", "python main.py"):
                    assert text.count(sign) == entry.one.count(sign), f"{sign} in {entry.one}"

    def test_what_is_compiled_is_what_is_written(self, path: Path) -> None:
        entries = read(path)
        assert compiled_path(path).read_bytes() == compiled(entries)
        spoken = loaded(compiled_path(path))
        for entry in entries[1:]:
            if entry.many:
                assert spoken.ngettext(entry.one, entry.many, 2) == entry.texts[-1]
            else:
                assert spoken.gettext(entry.one) == entry.texts[0]

    def test_the_menus_have_a_letter_each(self, path: Path) -> None:
        spoken = loaded(compiled_path(path))
        for say in (str, spoken.gettext):
            bars = [say(title) for title, _ in MENUS if ">" not in title]
            letters = [title[title.index("&") + 1].upper() for title in bars]
            assert len(letters) == len(set(letters))

    def test_commands_of_one_page_are_told_apart(self, path: Path) -> None:
        spoken = loaded(compiled_path(path))
        for page in {command.page for command in COMMANDS}:
            hints = [spoken.gettext(command.hint) + command.text for command in COMMANDS if command.page == page]
            assert len(hints) == len(set(hints))


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)


@given(st.dictionaries(texts, st.tuples(texts, st.booleans()), max_size=8))
def test_any_catalogue_survives_being_written_and_compiled(pairs: dict[str, tuple[str, bool]]) -> None:
    header = Entry("", texts=["Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=1; plural=0;\n"])
    entries = [header]
    for one, (text, plural) in pairs.items():
        entries.append(Entry(one, one + "s" if plural else "", [text], ["# a remark"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "window.po"
        path.write_text(written(entries), encoding="utf-8")
        assert read(path) == entries
    spoken = gettext.GNUTranslations(io.BytesIO(compiled(entries)))  # type: ignore[arg-type]
    for one, (text, plural) in pairs.items():
        assert (spoken.ngettext(one, one + "s", 5) if plural else spoken.gettext(one)) == text


def test_bringing_up_to_date_keeps_translations_and_drops_what_is_gone() -> None:
    header = Entry("", texts=["Plural-Forms: nplurals=1; plural=0;\n"])
    old = [header, Entry("Stop", "", ["停"], ["# urgent", "#: a.py"]), Entry("Gone", "", ["没有了"])]
    found = {"Stop": Sentence("Stop", "", ["b.py"]), "{n} take": Sentence("{n} take", "{n} takes", ["b.py"])}
    assert merged(old, found) == [
        header,
        Entry("Stop", "", ["停"], ["# urgent", "#: b.py"]),
        Entry("{n} take", "{n} takes", [""], ["#: b.py"]),
    ]


def test_a_fuzzy_entry_is_not_spoken() -> None:
    header = Entry("", texts=["Content-Type: text/plain; charset=UTF-8\n"])
    spoken = gettext.GNUTranslations(  # type: ignore[arg-type]
        io.BytesIO(compiled([header, Entry("Stop", "", ["走"], ["#, fuzzy"]), Entry("Hold", "", [""])]))
    )
    assert (spoken.gettext("Stop"), spoken.gettext("Hold")) == ("Stop", "Hold")


# speaking -------------------------------------------------------------------------------------------------------------


def test_words_are_filled_in_and_counted(speak: Callable[[str], None]) -> None:
    assert tn("{n} take", "{n} takes", 1) == "1 take"
    assert words.count(1200, "take") == "1\u2009200 takes"
    assert t("{n} of {all}", n=3, all=7) == "3 of 7"
    speak("zh_CN")
    assert words.count(1200, "take") == "1\u2009200 个片段"
    assert words.driver_state("stopped").word == "已急停"
    assert words.driver_state("stopped").symbol == "■"
    assert words.when("2026-11-03T14:03:00+00:00").startswith("11月0")


def test_braces_that_come_with_a_name_do_no_harm() -> None:
    assert t("{takes} tagged {name}", takes="1 take", name="{evil} {0}") == "1 take tagged {evil} {0}"


def test_an_unknown_language_is_english() -> None:
    assert not translate.use("xx")
    assert (translate.language(), t("Stop")) == ("en", "Stop")


@pytest.mark.parametrize(
    ("variable", "kept", "system", "spoken"),
    [
        ("", "system", ["de-DE", "zh-Hans-CN", "en"], "zh_CN"),
        ("", "system", ["de-DE"], "en"),
        ("", "system", [], "en"),
        ("", "en", ["zh_CN.UTF-8"], "en"),
        ("", "zh_CN", ["en-GB"], "zh_CN"),
        ("zh", "en", ["en-GB"], "zh_CN"),
        ("en_US.UTF-8", "zh_CN", ["zh"], "en"),
        ("klingon", "zh_CN", ["en"], "zh_CN"),
        ("", "nonsense", ["zh-CN"], "zh_CN"),
    ],
)
def test_who_decides_the_language(
    variable: str, kept: str, system: list[str], spoken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(translate.VARIABLE, variable)
    assert translate.wanted(kept, system) == spoken


def test_choices_of_another_version_are_no_trouble(choices: Preferences) -> None:
    choices.keep(look.LANGUAGE, "tlh")
    choices.keep(look.THEME, "sepia")
    assert look.language_choice(choices) == translate.SYSTEM
    assert look.theme_choice(choices) is ThemeChoice.SYSTEM


def test_qt_itself_speaks_the_language(
    qapp: QApplication, choices: Preferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(translate.VARIABLE, "zh_CN")
    look.speak(qapp, choices)
    try:
        assert translate.language() == "zh_CN"
        assert qapp.translate("QWidgetTextControl", "&Copy") != "&Copy"
    finally:
        for made in qapp.findChildren(QTranslator):
            qapp.removeTranslator(made)
        translate.use("en")
