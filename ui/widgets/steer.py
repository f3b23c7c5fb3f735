"""Steering by keyboard: which keys are down, shown on screen and handed on, released whenever attention goes away."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QEvent, QRect, QSize, Qt
from PyQt6.QtGui import QColor, QFocusEvent, QHideEvent, QKeyEvent, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ui.theme import Theme, base_font
from ui.translate import mark, t

KEYS: dict[int, str] = {
    **{getattr(Qt.Key, f"Key_{letter.upper()}").value: letter for letter in "wasdqerfijkl"},
    Qt.Key.Key_Space.value: "space",
    Qt.Key.Key_Shift.value: "shift",
}
_ROWS: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("q", mark("turn")),
        ("w", mark("away")),
        ("e", mark("turn")),
        ("r", mark("up")),
        ("i", mark("tilt")),
        ("j", mark("roll")),
    ),
    (
        ("a", mark("left")),
        ("s", mark("near")),
        ("d", mark("right")),
        ("f", mark("down")),
        ("k", mark("tilt")),
        ("l", mark("roll")),
    ),
)


class SteerPad(QWidget):
    """Takes the keys while it has the keyboard. Losing it, or being switched off, releases every key.

    Args:
        changed: told the set of keys now held.
        gripper_key: the key shown and taken for the gripper (on the drive page Space means hold).
        layout_rows: what each key does, as drawn.
    """

    def __init__(
        self,
        theme: Theme,
        changed: Callable[[frozenset[str]], None],
        gripper_key: str = "space",
        layout_rows: tuple[tuple[tuple[str, str], ...], ...] = _ROWS,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._changed = changed
        self._rows = layout_rows
        self._gripper_key = gripper_key
        self._names = dict(KEYS)
        if gripper_key != "space":
            self._names.pop(Qt.Key.Key_Space.value)
            self._names[getattr(Qt.Key, f"Key_{gripper_key.upper()}").value] = "space"
        self._held: frozenset[str] = frozenset()
        self._on = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(t("Keyboard steering"))
        theme.changed.connect(self.update)

    @property
    def held(self) -> frozenset[str]:
        return self._held

    def sizeHint(self) -> QSize:  # noqa: N802
        """Two rows of keys and a line of words."""
        return QSize(300, 112)

    def switch(self, on: bool) -> None:
        """Take keys from now on, or let go of them all."""
        self._on = on
        if on:
            self.setFocus(Qt.FocusReason.OtherFocusReason)
        self._hold(frozenset())
        self.update()

    def event(self, event: QEvent | None) -> bool:
        """While steering, its keys are its own and never a shortcut."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() is QEvent.Type.ShortcutOverride
            and self._on
            and self._name(event)
        ):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """One more key down."""
        self._key(event, down=True)

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """One key up."""
        self._key(event, down=False)

    def focusOutEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802
        """Attention elsewhere: let go."""
        super().focusOutEvent(event)
        self._hold(frozenset())
        self.update()

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802
        """Attention here."""
        super().focusInEvent(event)
        self.update()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Out of sight: let go."""
        super().hideEvent(event)
        self._hold(frozenset())

    def _key(self, event: QKeyEvent | None, *, down: bool) -> None:
        name = self._name(event) if event is not None else ""
        if event is None or not (self._on and name):
            if event is not None:
                event.ignore()
            return
        if not event.isAutoRepeat():
            self._hold(self._held | {name} if down else self._held - {name})

    def _name(self, event: QKeyEvent) -> str:
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier)
        return self._names.get(event.key(), "") if plain else ""

    def _hold(self, keys: frozenset[str]) -> None:
        if keys != self._held:
            self._held = keys
            self._changed(keys)
            self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """The keys, lit while held, and what to do."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        live = self._on and self.hasFocus()
        painter.setOpacity(1.0 if self._on else 0.55)
        gripper_width = 72
        columns = max(len(row) for row in self._rows)
        width = (self.width() - gripper_width) // columns
        for y, row in enumerate(self._rows):
            for x, (name, meaning) in enumerate(row):
                self._paint_key(painter, QRect(x * width, y * 42, width - 5, 37), name, meaning, live)
        box = QRect(self.width() - gripper_width + 2, 0, gripper_width - 2, 79)
        self._paint_key(painter, box, "space", mark("gripper"), live, shown=self._gripper_key)
        painter.setPen(QColor(self._theme.colours.accent if live else self._theme.colours.dim))
        painter.setFont(base_font(0.85))
        line = QRect(0, 86, self.width(), 24)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._words(live))

    def _words(self, live: bool) -> str:
        if live:
            return t("Hold a key to move, Shift for slow; let go to stay.")
        return t("Click here to steer again.") if self._on else t("Switch steering on to move the arm with these keys.")

    def _paint_key(
        self, painter: QPainter, box: QRect, name: str, meaning: str, live: bool, *, shown: str = ""
    ) -> None:
        colours = self._theme.colours
        down = name in self._held
        painter.setBrush(QColor(colours.accent if down else colours.raised))
        painter.setPen(QColor(colours.accent if live else colours.line))
        painter.drawRoundedRect(box, 6, 6)
        painter.setPen(QColor(colours.on_accent if down else colours.text))
        painter.setFont(base_font(0.95, bold=True))
        top = QRect(box.left(), box.top() + 1, box.width(), box.height() // 2 + 2)
        painter.drawText(
            top, Qt.AlignmentFlag.AlignCenter, (shown or name).upper() if name != "space" or shown else "Space"
        )
        painter.setFont(base_font(0.75))
        painter.setPen(QColor(colours.on_accent if down else colours.dim))
        bottom = QRect(box.left(), box.top() + box.height() // 2, box.width(), box.height() // 2 - 1)
        painter.drawText(bottom, Qt.AlignmentFlag.AlignCenter, t(meaning))
