"""About this station: versions, machine, devices, settings as text, for a report."""

from __future__ import annotations

from PyQt6.QtWidgets import QApplication, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from ui.actions import Actions
from ui.theme import number_font
from ui.translate import t
from ui.widgets.button import CommandButton

_HEIGHT_PX = 240


class AboutPanel(QWidget):
    """The text, and two buttons. Nothing secret is in it."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setFont(number_font(0.9))
        self.text.setAccessibleName(t("About this station"))
        self.setFixedHeight(_HEIGHT_PX)
        line = QHBoxLayout(self)
        line.setContentsMargins(12, 8, 12, 10)
        line.setSpacing(12)
        line.addWidget(self.text, 1)
        side = QVBoxLayout()
        side.addStretch(1)
        side.addWidget(CommandButton(actions, "app.about_copy"))
        side.addWidget(CommandButton(actions, "app.about", words=t("Close")))
        line.addLayout(side)

    def show_text(self, text: str) -> None:
        """Replace the text."""
        self.text.setPlainText(text or t("Looking …"))

    def copy(self) -> None:
        """All of it to the clipboard."""
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.text.toPlainText())
