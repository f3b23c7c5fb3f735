"""What was said today, to read afterwards: a list, and the chosen message whole with what to do next."""

from __future__ import annotations

from datetime import datetime

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QApplication, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from ui.actions import Actions
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.button import CommandButton
from ui.widgets.rows import Column, RowsModel, RowsTable
from workbench.services.notices import Notice, NoticeLog

_SIGNS = {"bad": "▲", "warn": "▲", "hint": "◆", "good": "✔", "busy": "◔"}
_COLOURS = {"hint": "warn"}
_WHERE = {
    "record": mark("Record"),
    "library": mark("Library"),
    "align": mark("Align"),
    "finetune": mark("Fine-tune"),
    "drive": mark("Drive"),
    "models": mark("Models"),
    "station": mark("Station"),
}
_HEIGHT_PX = 214


class UnreadButton(QToolButton):
    """How many messages nobody has read yet; a click shows them."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.clicked.connect(lambda: actions["app.notices"].trigger())

    def show_count(self, unread: int) -> None:
        """Only touched when the words change."""
        text = unread_words(unread)
        if self.text() != text:
            self.setText(text)
            self.setAccessibleName(text)


def notices_model(theme: Theme) -> RowsModel[Notice]:
    """Newest first."""
    columns: tuple[Column[Notice], ...] = (
        Column(t("When"), _when, 150),
        Column(t("Where"), _where, 120),
        Column(t("What"), _what, 0, lambda notice: _COLOURS.get(notice.tone, notice.tone)),
    )
    return RowsModel(theme, columns, lambda notice: f"{notice.number} {notice.when} {notice.what}", Notice.words)


class NoticePanel(QWidget):
    """Reads the log while it is on show; what is on show counts as read."""

    def __init__(self, theme: Theme, actions: Actions, log: NoticeLog) -> None:
        super().__init__()
        self._log = log
        self._shown = -1
        self.rows = notices_model(theme)
        self.table = RowsTable(self.rows, theme, t("Messages"))
        self.table.on_chosen(self._show_whole)
        self.whole = QLabel()
        self.whole.setWordWrap(True)
        self.whole.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.whole.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.whole.setAccessibleName(t("The chosen message"))
        self.setFixedHeight(_HEIGHT_PX)
        line = QHBoxLayout(self)
        line.setContentsMargins(12, 8, 12, 10)
        line.setSpacing(12)
        line.addWidget(self.table, 5)
        side = QVBoxLayout()
        side.addWidget(self.whole, 1)
        side.addWidget(CommandButton(actions, "app.notices_copy"))
        side.addWidget(CommandButton(actions, "app.notices", words=t("Close")))
        line.addLayout(side, 3)

    def refresh(self) -> None:
        """Show what is new; cheap when nothing is."""
        if self._log.unread:
            self._log.mark_read()
        if self._log.changes == self._shown:
            return
        self._shown = self._log.changes
        if self.rows.replace(self._log.newest()) and self.rows.records:
            self.table.selectRow(0)
        self._show_whole()

    def copy(self) -> None:
        """The chosen message to the clipboard."""
        chosen, clipboard = self._chosen(), QApplication.clipboard()
        if chosen is not None and clipboard is not None:
            clipboard.setText(chosen.words())

    def _chosen(self) -> Notice | None:
        rows = self.table.chosen()
        return self.rows.records[rows[0]] if rows and rows[0] < len(self.rows.records) else None

    def _show_whole(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            self.whole.setText(t("Nothing was said yet. Errors, warnings and hints are kept here."))
            return
        again = t("Said {n} times.", n=chosen.times) if chosen.times > 1 else ""
        words = (f"{_SIGNS.get(chosen.tone, '')} {chosen.what}", chosen.next_step, again)
        self.whole.setText("\n\n".join(part for part in words if part))


def unread_words(count: int) -> str:
    """For the status bar: ``▲ 3 (F8)``."""
    return t("▲ {n} unread (F8)", n=count) if count else t("Messages (F8)")


def _when(notice: Notice) -> str:
    try:
        return datetime.fromisoformat(notice.when).astimezone().strftime("%d.%m. %H:%M:%S")
    except ValueError:
        return notice.when


def _where(notice: Notice) -> str:
    return t(_WHERE.get(notice.where, notice.where))


def _what(notice: Notice) -> str:
    again = f" ×{notice.times}" if notice.times > 1 else ""
    return f"{_SIGNS.get(notice.tone, '')} {notice.what}{again}".strip()
