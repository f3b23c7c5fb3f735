"""Teaching the record page a foot pedal: press the key of the command, then the pedal."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtGui import QKeySequence

from ui.pages.page import Page, label
from ui.pedal import Pedal, PedalKey
from ui.translate import t

_HERE = ("", "record")


class PedalTeacher:
    """Owns the pedal and the words about it.

    Args:
        start: begins or ends a take; success: ends it as one.
    """

    def __init__(self, page: Page, start: Callable[[], None], success: Callable[[], None]) -> None:
        self._page = page
        self.words = label("", "dim", wrap=True)
        self.pedal = Pedal(page.desk.preferences, {"start": start, "success": success}, self._is_taken, page)
        bind = page.desk.actions.bind
        bind("record.pedal", lambda: self._learn("start", t("Press the pedal that starts and stops takes; Esc: none")))
        bind("record.pedal_success", lambda: self._learn("success", t("Press the pedal for success; Esc: none")))
        bind("record.pedal_forget", self._forget)
        self._tell()

    def _is_taken(self, key: PedalKey) -> bool:
        """Whether the key is a command's or one of those that steer."""
        actions = self._page.desk.actions
        mine = [action for action in actions if actions.command(action.objectName()).page in _HERE]
        known = {sequence.toString() for action in mine for sequence in action.shortcuts()}
        return QKeySequence(key.code).toString() in known or key.steers()

    def _learn(self, use: str, words: str) -> None:
        notice = self._page.notice
        notice.busy(words)

        def learned(key: PedalKey | None) -> None:
            if key is None:
                what = t("that key means something here already")
                notice.warn(what, t("Make the pedal type another key, F13 for example"))
            else:
                notice.done(t("The pedal is {key}", key=key.words()))
            self._tell()

        self.pedal.learn(use, learned, notice.clear_busy)

    def _forget(self) -> None:
        self.pedal.forget()
        self._tell()

    def _tell(self) -> None:
        keys = {use: key.words() for use, key in self.pedal.keys.items()}
        start = t("Pedal {key}: start, stop", key=keys["start"]) if "start" in keys else ""
        success = t("Pedal {key}: success", key=keys["success"]) if "success" in keys else ""
        self.words.setText(" · ".join(part for part in (start, success) if part))
        self.words.setVisible(bool(keys))
