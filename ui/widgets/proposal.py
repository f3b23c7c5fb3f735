"""A proposed station.toml to read before anything is written."""

from __future__ import annotations

from PyQt6.QtWidgets import QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from ui.actions import Actions
from ui.theme import number_font
from ui.translate import t
from ui.widgets.button import CommandButton
from workbench.services.station_setup import Proposal


class ProposalPanel(QWidget):
    """The text, what was found, and the two ways on."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self._proposal: Proposal | None = None
        self.title = QLabel(t("Proposed settings"))
        self.title.setProperty("title", True)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setFont(number_font(0.95))
        self.text.setAccessibleName(t("Proposed station.toml"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        for widget in (self.title, self.notes, self.text):
            column.addWidget(widget, 1 if widget is self.text else 0)
        for command in ("station.agree", "station.leave"):
            column.addWidget(CommandButton(actions, command))

    @property
    def proposal(self) -> Proposal | None:
        return self._proposal

    @property
    def state(self) -> str:
        """``new`` or ``same`` settings are on show, "" for none."""
        return "" if self._proposal is None else "new" if self._proposal.changed else "same"

    def show_proposal(self, proposal: Proposal | None) -> None:
        """Show it, or forget the one that was shown."""
        self._proposal = proposal
        if proposal is not None:
            self.notes.setText("\n".join(f"•  {note[:1].upper()}{note[1:]}." for note in proposal.notes))
            self.text.setPlainText(proposal.text)
