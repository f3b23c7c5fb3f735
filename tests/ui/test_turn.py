"""A page that appears is painted once, part by part, and whole in the end whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PyQt6.QtGui import QPaintEvent
from PyQt6.QtWidgets import QMainWindow, QStackedWidget, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from ui.bridge import Bridge
from ui.turn import PageTurner

PARTS = 4


class Part(QWidget):
    """Remembers when it was painted."""

    def __init__(self, name: str, told: list[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.told = name, told

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        self.told.append(self.name)


class Leaf(Part):
    """A page of parts."""

    def __init__(self, name: str, told: list[str]) -> None:
        super().__init__(name, told)
        column = QVBoxLayout(self)
        self.parts = [Part(f"{name}{k}", told) for k in range(PARTS)]
        for part in self.parts:
            column.addWidget(part)


@pytest.fixture
def book(qtbot: QtBot) -> Iterator[tuple[QStackedWidget, Leaf, Leaf, list[str]]]:
    """Two pages in a stack that is on screen; the first is open."""
    window, stack, told = QMainWindow(), QStackedWidget(), list[str]()
    qtbot.addWidget(window)
    window.setCentralWidget(stack)
    pages = Leaf("a", told), Leaf("b", told)
    for page in pages:
        stack.addWidget(page)
    window.resize(300, 300)
    window.show()
    for page in (pages[1], pages[0]):  # the first sight of a page lays it out, too
        told.clear()
        stack.setCurrentWidget(page)
        qtbot.waitUntil(lambda page=page: f"{page.name}{PARTS - 1}" in told)
        qtbot.wait(50)
    told.clear()
    yield stack, *pages, told


def test_every_part_is_painted_once_and_the_late_ones_last(
    book: tuple[QStackedWidget, Leaf, Leaf, list[str]], bridge: Bridge, qtbot: QtBot
) -> None:
    stack, first, second, told = book
    turner = PageTurner(stack, bridge.post)
    turner.show(second, (second.parts[1], second.parts[0]))
    qtbot.waitUntil(lambda: "b0" in told)
    qtbot.wait(400)
    painted = [name for name in told if name != "b"]  # the ground below every part is the page's
    assert painted == ["b2", "b3", "b1", "b0"] and told[0] == "b"
    assert all(part.updatesEnabled() for part in (second, *second.parts))
    told.clear()
    turner.show(second, second.parts)
    qtbot.wait(50)
    assert told == [], "it is there already"
    turner.show(first, first.parts[:1])
    qtbot.waitUntil(lambda: "a0" in told)


def test_a_part_that_cannot_be_seen_holds_up_no_other(
    book: tuple[QStackedWidget, Leaf, Leaf, list[str]], bridge: Bridge, qtbot: QtBot
) -> None:
    stack, _first, second, told = book
    second.parts[0].hide()
    PageTurner(stack, bridge.post).show(second, second.parts)
    qtbot.waitUntil(lambda: {"b1", "b2", "b3"} <= set(told))
    second.parts[0].show()
    qtbot.waitUntil(lambda: "b0" in told)


def test_leafing_quickly_leaves_every_page_whole(
    book: tuple[QStackedWidget, Leaf, Leaf, list[str]], bridge: Bridge, qtbot: QtBot
) -> None:
    stack, first, second, told = book
    turner = PageTurner(stack, bridge.post)
    for page in (second, first, second, first, second):
        turner.show(page, page.parts)
    qtbot.waitUntil(lambda: {"b", *(f"b{k}" for k in range(PARTS))} <= set(told))
    assert all(part.updatesEnabled() for page in (first, second) for part in (page, *page.parts))
    turner.show(first, first.parts)
    qtbot.waitUntil(lambda: {"a", *(f"a{k}" for k in range(PARTS))} <= set(told))
