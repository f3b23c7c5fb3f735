"""The first minutes at a station: three steps that say what to do, in the place where the first takes will lie."""

from __future__ import annotations

from dataclasses import dataclass

from PyQt6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout

from ui.actions import Actions
from ui.translate import t
from ui.widgets.button import CommandButton

_DONE, _OPEN = "✔", "○"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far somebody has come.

    Attributes:
        station: words about the station; running: it runs.
        task: one is chosen.
    """

    station: str
    running: bool
    task: bool


class FirstSteps(QFrame):
    """Shown until there is a take or somebody hides it; nothing waits for it."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.setAccessibleName(t("First steps"))
        line = QHBoxLayout(self)
        line.setContentsMargins(12, 5, 10, 5)
        line.setSpacing(10)
        self.steps = QLabel()
        line.addWidget(self.steps, 1)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addWidget(CommandButton(actions, "record.setup", words=t("Devices")))
        column.addWidget(CommandButton(actions, "record.hide_steps", words=t("Hide")))
        line.addLayout(column)

    def show_progress(self, progress: Progress) -> None:
        """Tick what is done."""
        choose = t("Choose a task, then Robot or Person")
        record = t("Press ⏎ to record the first take")
        lines = ((progress.running, progress.station), (progress.task, choose), (False, record))
        self.steps.setText("\n".join(f"{_DONE if done else _OPEN}  {n}. {s}" for n, (done, s) in enumerate(lines, 1)))
