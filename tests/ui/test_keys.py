"""The page of keys tells what the window really does."""

from __future__ import annotations

from pathlib import Path

from tests.ui.keys import TITLES, render
from ui.actions import COMMANDS


def test_the_page_of_keys_is_that_of_the_commands() -> None:
    page = Path(__file__).parents[2] / "docs" / "keys.md"
    assert page.read_text() == render(), "write it anew: python -m tests.ui.keys > docs/keys.md"


def test_every_page_of_the_window_has_its_table() -> None:
    assert {command.page for command in COMMANDS} == set(TITLES)
