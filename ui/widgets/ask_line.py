"""One line that asks for a name, or whether something is really meant. It blocks nothing: the rest stays usable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QCompleter, QHBoxLayout, QLabel, QLineEdit, QStackedWidget, QWidget

from ui.actions import Actions
from ui.translate import t
from ui.widgets.button import CommandButton


class AskLine(QStackedWidget):
    """Hidden while nothing is asked. Enter answers, the command ``back`` takes the question away.

    Args:
        agree, back: the commands that answer a question of yes or no.
        asked: called when a question has appeared, so that the commands that answer it can be enabled.
        done: called when the question is gone, answered or not.
    """

    def __init__(
        self, actions: Actions, agree: str, back: str, asked: Callable[[], None], done: Callable[[], None]
    ) -> None:
        super().__init__()
        self._asked = asked
        self._done = done
        self._answer: Callable[[str], None] | None = None
        self._agreed: Callable[[], None] | None = None
        self.question = QLabel()
        self.name = QLineEdit()
        self.warning = QLabel()
        self.warning.setWordWrap(True)
        self.addWidget(_row(self.question, self.name, CommandButton(actions, back)))
        self._keep = CommandButton(actions, back, words=t("Keep"))
        self.addWidget(_row(self.warning, CommandButton(actions, agree), self._keep))
        self.name.returnPressed.connect(self._answered)
        self.hide()

    @property
    def asking(self) -> str:
        """``name``, ``really`` or "" while nothing is asked."""
        return "" if self.isHidden() else ("name", "really")[self.currentIndex()]

    def ask_name(self, question: str, answer: Callable[[str], None]) -> None:
        """Ask for a name; ``answer`` gets it without blanks around it."""
        self._answer, self._agreed = answer, None
        self.question.setText(question)
        self.name.setAccessibleName(question)
        self.name.clear()
        self.offer(question, ())
        self._show(0)
        self.name.setFocus(Qt.FocusReason.OtherFocusReason)

    def offer(self, question: str, known: Sequence[str]) -> None:
        """Names to choose from while typing, if ``question`` is still the one that is asked."""
        if self.question.text() != question:
            return
        completer = QCompleter(sorted(known), self.name)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.name.setCompleter(completer)
        self.name.setPlaceholderText(", ".join(sorted(known)[:6]))

    def ask_really(self, question: str, agreed: Callable[[], None]) -> None:
        """Ask whether it is really meant; the way back has the focus."""
        self._answer, self._agreed = None, agreed
        self.warning.setText(f"<b>▲&nbsp; {question}</b>")
        self.setAccessibleName(question)
        self._show(1)
        self._keep.setFocus(Qt.FocusReason.OtherFocusReason)

    def agree(self) -> None:
        """Yes."""
        agreed = self._agreed if self.asking == "really" else None
        self.back()
        if agreed is not None:
            agreed()

    def back(self) -> None:
        """Forget the question."""
        self._answer = self._agreed = None
        if not self.isHidden():
            self.hide()
            self._done()

    def _answered(self) -> None:
        answer, name = self._answer, self.name.text().strip()
        if answer is not None and name:
            self.back()
            answer(name)

    def _show(self, place: int) -> None:
        self.setCurrentIndex(place)
        self.show()
        self._asked()


def _row(*widgets: QWidget) -> QWidget:
    box = QWidget()
    line = QHBoxLayout(box)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(8)
    for place, widget in enumerate(widgets):
        line.addWidget(widget, 1 if isinstance(widget, QLineEdit) or (place == 0 and len(widgets) == 3) else 0)
    return box
