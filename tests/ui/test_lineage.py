"""The drawing of the lineage: in which order models stand, which lines lead where, and how it is gone through."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.ui.guard import LONGEST_MS, gui_thread_guard
from ui.theme import Theme
from ui.widgets.lineage import LineageView, sentence
from ui.widgets.lineage_rows import lineage_rows
from workbench.services.evaluation import Rate
from workbench.services.model_shelf import ShelvedModel


def model(name: str, parent: str = "", number: int = 0, **more: object) -> ShelvedModel:
    made = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
    return ShelvedModel(name, "rf", parent, created_at=made, **more)  # type: ignore[arg-type]


@st.composite
def families(draw: st.DrawFn) -> list[ShelvedModel]:
    """Models in the order in which they were made, each from any of those before it, from none or from one unknown."""
    count = draw(st.integers(0, 12))
    found = []
    for number in range(count):
        parent = draw(st.sampled_from(["", "gone", *(f"m{k}" for k in range(number))]))
        found.append(model(f"m{number}", parent, number))
    return found


@given(families())
def test_every_model_stands_once_below_its_parent_and_every_line_is_whole(family: list[ShelvedModel]) -> None:
    rows = lineage_rows(family)
    assert sorted(row.model.id for row in rows) == sorted(entry.id for entry in family)
    place = {row.model.id: at for at, row in enumerate(rows)}
    for at, row in enumerate(rows):
        parent = place.get(row.model.parent)
        if parent is None:
            assert (row.lane, row.from_lane, row.passing) == (0, -1, ())
            continue
        assert parent < at and row.from_lane == rows[parent].lane
        between = rows[parent + 1 : at]
        assert all(row.from_lane in line.passing for line in between), "the line from the parent is drawn in every row"
        assert all(line.lane > row.from_lane for line in between), "and no model stands on it"
    for row in rows:
        assert row.lane not in row.passing and row.goes_on == any(other.model.parent == row.model.id for other in rows)


def test_the_newest_line_stays_in_its_lane_and_comes_first() -> None:
    family = [model("a", "", 0), model("b", "a", 1), model("c", "a", 2), model("d", "b", 3), model("x", "", 1)]
    assert [(row.model.id, row.lane) for row in lineage_rows(family)] == [
        ("a", 0), ("c", 1), ("b", 0), ("d", 0), ("x", 0),
    ]  # fmt: skip


def test_circles_and_endless_lines_end() -> None:
    assert {row.model.id for row in lineage_rows([model("a", "b"), model("b", "a"), model("c", "c")])} == set("abc")
    chain = [model(f"m{k}", f"m{k - 1}", k) for k in range(3000)]
    assert [row.model.id for row in lineage_rows(chain)] == [f"m{k}" for k in range(3000)]


@pytest.fixture
def view(qtbot: QtBot, theme: Theme) -> LineageView:
    made = LineageView(theme)
    qtbot.addWidget(made)
    made.resize(600, 400)
    made.show()
    return made


def test_keys_follow_the_line_of_descent(view: LineageView, qtbot: QtBot) -> None:
    view.show_models([model("a", "", 0), model("b", "a", 1), model("c", "a", 2), model("d", "c", 3)])
    assert view.chosen is not None and view.chosen.id == "d", "the newest at first"

    def after(key: Qt.Key) -> str:
        qtbot.keyClick(view, key)
        return view.chosen.id if view.chosen is not None else ""

    assert [after(Qt.Key.Key_Left), after(Qt.Key.Key_Left), after(Qt.Key.Key_Left)] == ["c", "a", "a"]
    assert [after(Qt.Key.Key_Right), after(Qt.Key.Key_Up), after(Qt.Key.Key_Up)] == ["c", "b", "a"]
    assert after(Qt.Key.Key_End) == "d" and after(Qt.Key.Key_A) == "d", "letters are commands, not a search"


def test_a_refresh_keeps_the_choice_and_a_loss_moves_it(view: LineageView) -> None:
    family = [model(name, "", number) for number, name in enumerate("abc")]
    view.show_models(family)
    view.choose("b")
    view.show_models([*family, model("d", "", 9)])
    assert view.chosen is not None and view.chosen.id == "b"
    view.show_models([family[0], family[2]])
    assert view.chosen is not None and view.chosen.id == "c"
    assert not view.choose("nobody") and view.chosen.id == "c"


def test_every_row_says_in_words_what_it_shows() -> None:
    said = sentence(model("d" * 32, "c" * 32, takes=480, tasks=7, promoted=True, rollouts=94, trials=Rate.of(66, 93)))
    for part in ("d" * 12, "c" * 12, "in use", "480 takes of 7 tasks", "drove 94 takes", "71 %"):
        assert part in said
    assert "did not pass" in sentence(model("e", refused=True)) and "first of its line" in sentence(model("e"))


def test_clicking_the_drives_asks_for_them(view: LineageView, qtbot: QtBot) -> None:
    asked: list[int] = []
    view.drives_clicked = lambda: asked.append(1)
    view.show_models([model("a", rollouts=3)])
    box = view.visualRect(view.rows.index(0))
    viewport = view.viewport()
    assert viewport is not None
    left, right = box.center(), box.center()
    left.setX(box.left() + 200)
    right.setX(box.right() - 60)
    for at in (left, right):
        qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=at)
    assert asked == [1]


def test_three_hundred_models_are_drawn_within_a_frame(view: LineageView, qtbot: QtBot) -> None:
    family = [model("m0")]
    for number in range(1, 300):
        family.append(
            model(f"m{number}", f"m{number - 1 - number % 3 if number > 3 else 0}", number, rollouts=number % 2)
        )
    longest = []
    for _ in range(5):  # a busy machine may spoil one
        with gui_thread_guard() as stretches:
            view.show_models(family)
            for name in itertools.islice((f"m{k}" for k in range(0, 300, 11)), 20):
                view.choose(name)
                qtbot.wait(5)
            view.show_models(family[:-1])
            qtbot.wait(5)
        longest.append(stretches.longest_ms)
        if longest[-1] < LONGEST_MS:
            break
    assert min(longest) < LONGEST_MS
