"""The window as a person left it: where it stood, which page was open, how its parts shared the room."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from PyQt6.QtCore import QByteArray
from PyQt6.QtWidgets import QMainWindow, QSplitter, QWidget

from ui.preferences import Preferences

GEOMETRY, PAGE, SPLITS = "layout.geometry", "layout.page", "layout.splits"


class Layout:
    """Puts a window back and keeps how it stands. Window's thread.

    What was kept may be of another version or another screen: what does not fit is left as it is by design.
    """

    def __init__(self, window: QMainWindow, preferences: Preferences) -> None:
        self._window = window
        self._preferences = preferences
        self._splits: dict[str, Any] = dict(preferences.get(SPLITS, {}))

    def restore(self) -> str:
        """Size and place of the window as kept, if a screen has room for it. Returns the page that was open, or ""."""
        try:
            kept = base64.b64decode(self._preferences.get(GEOMETRY, ""), validate=True)
        except (binascii.Error, ValueError):
            kept = b""
        if kept:
            self._window.restoreGeometry(QByteArray(kept))
        return self._preferences.get(PAGE, "")

    def divide(self, name: str, page: QWidget) -> None:
        """Divide a new page as kept."""
        for key, splitter in _splitters(name, page):
            sizes = self._splits.get(key)
            if isinstance(sizes, list) and len(sizes) == splitter.count() and all(_is_size(size) for size in sizes):
                splitter.setSizes(sizes)

    def keep(self, open_page: str, pages: dict[str, QWidget]) -> None:
        """Remember how everything stands now. ``pages`` are those that were made, by name."""
        for name, page in pages.items():
            self._splits |= {key: splitter.sizes() for key, splitter in _splitters(name, page) if any(splitter.sizes())}
        self._preferences.keep(GEOMETRY, base64.b64encode(self._window.saveGeometry().data()).decode())
        self._preferences.keep(PAGE, open_page)
        self._preferences.keep(SPLITS, dict(self._splits))


def _splitters(name: str, page: QWidget) -> list[tuple[str, QSplitter]]:
    return [
        (splitter.objectName() or f"{name}.{number}", splitter)
        for number, splitter in enumerate(page.findChildren(QSplitter))
    ]


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 100_000
