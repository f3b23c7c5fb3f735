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
        station: words about the station; running: it runs. simulated: it is the simulated one.
        task: one is chosen.
    """

    station: str
    running: bool
    simulated: bool
    task: bool


class FirstSteps(QFrame):
    """Shown until there is a take or somebody hides it; nothing waits for it."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.setAccessibleName(t("First steps"))
        line = QHBoxLayout(self)
        line.setContentsMargins(14, 8, 12, 8)
        line.setSpacing(16)
        self.steps = QLabel()
        self.steps.setWordWrap(True)
        line.addWidget(self.steps, 1)
        column = QVBoxLayout()
        column.setSpacing(6)
        column.addWidget(CommandButton(actions, "record.setup"))
        column.addWidget(CommandButton(actions, "record.hide_steps"))
        line.addLayout(column)

    def show_progress(self, progress: Progress) -> None:
        """Tick what is done."""
        choose = t("Choose a task and who does it: Robot or Person")
        record = t("Press ⏎ to record the first take; → ends it as a success")
        own = t("use your own devices, or stay here to try everything") if progress.simulated else ""
        first = " – ".join(part for part in (progress.station, own) if part)
        lines = ((progress.running, first), (progress.task, choose), (False, record))
        self.steps.setText("\n".join(f"{_DONE if done else _OPEN}  {n}. {s}" for n, (done, s) in enumerate(lines, 1)))
