"""The commands of the window as actions: what menus and buttons are made of. For the table itself see ``commands``.

A page only says what a command does (``Actions.bind``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtWidgets import QMenu, QWidget

from ui.commands import COMMANDS, MENUS
from ui.situation import Command, Situation
from ui.translate import t
from workbench.core.errors import NotFoundError

__all__ = ["COMMANDS", "MENUS", "Actions", "Command", "Situation"]


class Actions:
    """The Qt side of the table: one QAction per command, enabled according to the situation."""

    def __init__(self, window: QWidget) -> None:
        self.situation = Situation()
        self._window = window
        self._commands = {command.id: command for command in COMMANDS}
        self._actions = {command.id: self._make(command) for command in COMMANDS}
        self._bound: set[str] = set()

    def __getitem__(self, command_id: str) -> QAction:
        if command_id not in self._actions:
            raise NotFoundError.of("command", command_id, self._actions)
        return self._actions[command_id]

    def __iter__(self) -> Iterator[QAction]:
        return iter(self._actions.values())

    def command(self, command_id: str) -> Command:
        """The declaration behind an action."""
        return self._commands[command_id]

    def bind(self, command_id: str, handler: Callable[[], None]) -> None:
        """Say what a command does."""
        action = self[command_id]
        self._bound.add(command_id)
        action.triggered.connect(lambda _checked=False: handler())

    def unbound(self) -> set[str]:
        """Commands nobody answers; empty once every page was made."""
        return set(self._actions) - self._bound

    def refresh(self, situation: Situation) -> None:
        """Enable and disable according to what is going on."""
        self.situation = situation
        for command in COMMANDS:
            wanted = command.enabled(situation)
            action = self._actions[command.id]
            if action.isEnabled() != wanted:
                action.setEnabled(wanted)

    def fill(self, menu: QMenu, ids: tuple[str, ...]) -> None:
        """Add commands to a menu; "-" is a line."""
        for command_id in ids:
            if command_id == "-":
                menu.addSeparator()
            else:
                menu.addAction(self[command_id])

    def _make(self, command: Command) -> QAction:
        action, hint = QAction(t(command.text), self._window), t(command.hint)
        action.setObjectName(command.id)
        action.setShortcuts([QKeySequence(key) for key in command.keys])
        action.setToolTip(f"{hint} ({' / '.join(command.keys)})" if command.keys else hint)
        action.setStatusTip(hint)
        action.setCheckable(command.checkable)
        context = Qt.ShortcutContext
        action.setShortcutContext(context.ApplicationShortcut if command.urgent else context.WindowShortcut)
        action.setEnabled(False)
        self._window.addAction(action)
        return action
