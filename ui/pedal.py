"""A foot pedal, or any other thing that types a key: which key it types is learned by pressing it.

Pedals are keyboards of one to three keys to the system, and many can be told which key they type. The key works inside
the window only, on the page that asked, and takes precedence over whatever has the keyboard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtCore import QEvent, QKeyCombination, QObject, Qt
from PyQt6.QtGui import QKeyEvent, QKeySequence
from PyQt6.QtWidgets import QApplication, QWidget

from ui.preferences import Preferences
from ui.widgets.steer import KEYS

_MODIFIERS = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta, Qt.Key.Key_AltGr)
_PREFIX = "pedal."


@dataclass(frozen=True, slots=True)
class PedalKey:
    """A key with its modifiers, as Qt counts them (``QKeyCombination.toCombined``)."""

    code: int

    @staticmethod
    def of(event: QKeyEvent) -> PedalKey | None:
        """The key of an event; None for a modifier alone or a key that Qt does not know."""
        if event.key() in (0, Qt.Key.Key_unknown, *_MODIFIERS):
            return None
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        return PedalKey(QKeyCombination(modifiers, Qt.Key(event.key())).toCombined())

    def steers(self) -> bool:
        """Whether the key steers the arm while the keyboard does."""
        return self.code in KEYS

    def words(self) -> str:
        """``F13`` or ``Ctrl+B``, as on keyboards."""
        return QKeySequence(self.code).toString(QKeySequence.SequenceFormat.NativeText) or f"#{self.code:x}"


class Pedal(QObject):
    """Watches the keys of the application while switched on. The window's thread only.

    Args:
        uses: what a pedal may do: name of the use and what to call.
        taken: whether a key means something already (then it is refused when it is learned).
    """

    def __init__(
        self,
        preferences: Preferences,
        uses: dict[str, Callable[[], None]],
        taken: Callable[[PedalKey], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._preferences, self._uses, self._taken = preferences, uses, taken
        self._learning = ""
        self._learned: Callable[[PedalKey | None], None] = lambda _key: None
        self._left: Callable[[], None] = lambda: None
        self._on = self._watching = False
        self.keys: dict[str, PedalKey] = {}
        for use in uses:
            code = preferences.get(_PREFIX + use, 0)
            if code > 0:
                self.keys[use] = PedalKey(code)

    @property
    def learning(self) -> str:
        """The use whose key is awaited, "" if none."""
        return self._learning

    def switch(self, on: bool) -> None:
        """Watch keys, or let them pass; learning ends."""
        self._on = on
        self.stop_learning()
        self._watch()

    def learn(self, use: str, learned: Callable[[PedalKey | None], None], left: Callable[[], None]) -> None:
        """The next key pressed is for ``use``; Esc leaves everything as it is.

        Args:
            learned: told the key, or None if it means something already.
            left: called if it was Esc.
        """
        self._learning, self._learned, self._left = use, learned, left
        self._watch()

    def stop_learning(self) -> None:
        """Await no key any more."""
        if self._learning:
            self._learning = ""
            self._left()

    def forget(self) -> None:
        """No key is a pedal's any more."""
        for use in self._uses:
            self._preferences.keep(_PREFIX + use, None)
        self.keys.clear()
        self._watch()

    def _watch(self) -> None:
        """See every event of the application only where a key could mean something: that costs time."""
        wanted, application = self._on and bool(self.keys or self._learning), QApplication.instance()
        if application is None or wanted == self._watching:
            return
        self._watching = wanted
        if wanted:
            application.installEventFilter(self)
        else:
            application.removeEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Take the pedal's keys; while learning, take the next key whatever it is but Esc."""
        if not isinstance(event, QKeyEvent) or not isinstance(watched, QWidget):
            return False
        key = PedalKey.of(event)
        if key is None:
            return False
        if event.key() == Qt.Key.Key_Escape:  # it stops the arm, whatever else it does
            self.stop_learning()
            return False
        use = next((use for use, known in self.keys.items() if known == key), "")
        if not (use or self._learning):
            return False
        if event.type() is QEvent.Type.ShortcutOverride:
            event.accept()  # no shortcut: the press comes next
        elif event.type() is QEvent.Type.KeyPress and not event.isAutoRepeat():
            self._pressed(key, use)
        return event.type() in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress, QEvent.Type.KeyRelease)

    def _pressed(self, key: PedalKey, use: str) -> None:
        wanted, self._learning = self._learning, ""  # not stop_learning: that would say it was left
        if not wanted:
            self._uses[use]()
        elif self._taken(key):
            self._learned(None)
        else:
            for other in [name for name, known in self.keys.items() if known == key]:
                del self.keys[other]  # one key, one meaning
                self._preferences.keep(_PREFIX + other, None)
            self.keys[wanted] = key
            self._preferences.keep(_PREFIX + wanted, key.code)
            self._learned(key)
