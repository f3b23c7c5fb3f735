"""What the panels of import and export have in common: look first, then do it, with progress and a way to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ui.actions import Actions
from ui.bridge import Bridge
from ui.translate import t
from ui.widgets.button import CommandButton
from workbench.core.errors import WorkbenchError
from workbench.services.exchange import StopSwitch

T = TypeVar("T")
Progress = Callable[[int, int], None]
IDLE, LOOKING, PLANNED, WORKING, DONE = "idle", "looking", "planned", "working", "done"
LANE = "exchange"
_TELL_S = 0.1


class ExchangePanel(QWidget):
    """One thing at a time. Window's thread.

    Attributes:
        state: ``idle``, ``looking``, ``planned`` (it was looked and can be done), ``working`` or ``done``.
        changed: called when ``state`` changes, so that commands can follow.
        first: what gets the focus when the panel is opened.
    """

    def __init__(
        self, bridge: Bridge, actions: Actions, title: str, path_name: str, failed: Callable[[WorkbenchError], None]
    ) -> None:
        super().__init__()
        self._bridge = bridge
        self._failed = failed
        self._stop = StopSwitch()
        self._told_s = 0.0
        self.state = IDLE
        self.changed: Callable[[], None] = lambda: None
        self.title = QLabel(title)
        self.title.setProperty("title", True)
        self.path = QLineEdit()
        self.path.setAccessibleName(path_name)
        self.first: QWidget = self.path
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setAccessibleName(t("Progress"))
        self.bar.hide()
        self.form = QFormLayout()
        self.form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.form.addRow(path_name, self._path_row())
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(10)
        self.column.addWidget(self.title)
        self.column.addLayout(self.form)
        self._actions = actions
        self.path.textChanged.connect(lambda _: self.forget_plan())
        self.path.returnPressed.connect(lambda: actions["library.look"].trigger())

    def finish_layout(self, go: str) -> None:
        """Status, progress and the commands below what the panel has put into its column; ``go`` names the deed."""
        self.column.addWidget(self.status)
        self.column.addWidget(self.bar)
        for commands in ((("look", ""), ("go", go), ("stop", "")), (("show_result", ""), ("close_panel", ""))):
            line = QHBoxLayout()
            line.setSpacing(8)
            for command, words in commands:
                line.addWidget(CommandButton(self._actions, f"library.{command}", words=words))
            self.column.addLayout(line)

    @property
    def target(self) -> Path | None:
        """The path that was written, None for none."""
        text = self.path.text().strip()
        return Path(text).expanduser() if text else None

    @property
    def busy(self) -> bool:
        return self.state in (LOOKING, WORKING)

    def look(self) -> None:
        """Find out what would happen."""
        raise NotImplementedError

    def go(self) -> None:
        """Do what was looked at."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop what is going on; it says so itself when it has."""
        self._stop.stop()
        if self.busy:
            self.status.setText(t("Stopping …"))

    def forget_plan(self) -> None:
        """Something else is wanted now: what was found out before does not count."""
        if self.state in (PLANNED, DONE):
            self.enter(IDLE, "")

    def enter(self, state: str, words: str) -> None:
        """Take on a state and say something."""
        self.state = state
        self.bar.setVisible(self.busy)
        self.status.setText(words)
        self.path.setReadOnly(self.busy)  # disabled, it would lose the focus
        self.changed()

    def run(
        self,
        state: str,
        words: str,
        work: Callable[[Callable[[int, int], None], StopSwitch], T],
        done: Callable[[T], None],
    ) -> None:
        """Do ``work(progress, stop)`` in the background, in ``state``; failures return to ``idle`` and are told."""
        stop = self._stop = StopSwitch()
        self.bar.setRange(0, 0)
        self.enter(state, words)

        def progress(finished: int, total: int) -> None:
            now_s = time.monotonic()
            if finished == total or now_s - self._told_s > _TELL_S:
                self._told_s = now_s
                self._bridge.post(lambda: self._show(finished, total))

        def failed(error: WorkbenchError) -> None:
            self.enter(IDLE, str(error))
            self._failed(error)

        self._bridge.run_in_background(lambda: work(progress, stop), done, failed, lane=LANE)

    def _show(self, finished: int, total: int) -> None:
        if self.busy:
            self.bar.setRange(0, max(1, total))
            self.bar.setValue(finished)
            self.bar.setFormat(t("{n} of {all}", n=finished, all=total))

    def _path_row(self) -> QWidget:
        box = QWidget()
        line = QHBoxLayout(box)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.path, 1)
        browse = QPushButton(t("Browse …"))
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        line.addWidget(browse)
        return box

    def _browse(self) -> None:
        """Beside the window, which stays usable: an arm may be moving."""
        dialog = QFileDialog(self, self.path.accessibleName())
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setModal(False)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.browsed)
        dialog.show()

    def browsed(self, folder: str) -> None:
        """A folder was chosen with the mouse."""
        self.path.setText(folder)
