"""A button that is one command of the table and shows its key."""

from __future__ import annotations

from PyQt6.QtCore import QRect, QSize, Qt
from PyQt6.QtGui import QAction, QColor, QFontMetrics, QKeySequence, QPaintEvent
from PyQt6.QtWidgets import QPushButton, QSizePolicy, QStyle, QStyleOptionButton, QStylePainter, QWidget

from ui.actions import Actions
from ui.theme import base_font

_ARROWS = {"Right": "→", "Left": "←", "Up": "↑", "Down": "↓", "Return": "⏎", "Backspace": "⌫", "Del": "Del"}


class CommandButton(QPushButton):
    """Follows its QAction: words, enabled, checked. Never takes a default Return of its own.

    Args:
        words: shorter words than the command's own, where space is short.
        tall: "true" for buttons that are hit without looking, "huge" for the one that must never be missed.
    """

    def __init__(
        self, actions: Actions, command_id: str, parent: QWidget | None = None, *, words: str = "", tall: str = ""
    ) -> None:
        super().__init__(parent)
        self._action = actions[command_id]
        command = actions.command(command_id)
        self._words = words
        self._keys = QKeySequence(command.keys[0]).toString() if command.keys else ""
        self.setObjectName(f"button:{command_id}")
        self.setAutoDefault(False)
        self.setCheckable(command.checkable)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        if tall:
            self.setProperty("tall", tall)
        if command.role:
            self.setProperty("role", command.role)
        self._action.changed.connect(self._follow)
        self.clicked.connect(self._pressed)
        self._follow()

    @property
    def action_behind(self) -> QAction:
        return self._action

    @property
    def key_px(self) -> int:
        """Room that the key needs beside the words, in pixels."""
        return QFontMetrics(base_font(0.8)).horizontalAdvance(self._key_words()) + 6 if self._keys else 0

    def sizeHint(self) -> QSize:  # noqa: N802
        """The words, and room for the key."""
        return super().sizeHint() + QSize(self.key_px, 0)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Words and key stay readable."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        """The style's button; words to the left of the key."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = ""
        painter = QStylePainter(self)
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        key_width = self.key_px
        inside = self.rect().adjusted(9, 0, -9, 0)
        words = QRect(inside.left(), inside.top(), inside.width() - key_width, inside.height())
        painter.setPen(self._ink(option))
        painter.setFont(self.font())
        painter.drawText(words, Qt.AlignmentFlag.AlignCenter, self.text())
        painter.setFont(base_font(0.8))
        painter.setOpacity(0.75)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(inside, right, self._key_words())

    def _ink(self, option: QStyleOptionButton) -> QColor:
        if self.isChecked() and self.isEnabled():  # style sheets do not tell the palette of checked buttons
            return option.palette.highlightedText().color()
        return option.palette.buttonText().color()

    def _key_words(self) -> str:
        return _ARROWS.get(self._keys, self._keys)

    def _pressed(self) -> None:
        self.setChecked(self._action.isChecked())  # the action decides, not the click
        self._action.trigger()

    def _follow(self) -> None:
        action = self._action
        self.setText(self._words or action.text())
        self.setToolTip(action.toolTip())
        self.setAccessibleName(action.text())
        self.setAccessibleDescription(action.statusTip())
        if self.isEnabled() != action.isEnabled():
            self.setEnabled(action.isEnabled())
        self.setChecked(action.isChecked())
