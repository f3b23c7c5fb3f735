"""Looking through takes: filter, watch, label, throw away, bring back, undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PyQt6.QtCore import QItemSelectionModel, Qt, QTimer
from PyQt6.QtGui import QHideEvent
from PyQt6.QtWidgets import QAbstractItemView, QHBoxLayout, QLineEdit, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.page import Page, card, chooser, fill_chooser, label, row
from ui.records import TakeRecord
from ui.widgets.button import CommandButton
from ui.widgets.rows import RowsTable
from ui.widgets.takes import newest_first, takes_model
from ui.widgets.viewer import TakeViewer
from workbench.core.errors import WorkbenchError
from workbench.core.events import LibraryChanged, TakeSealed
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library, TakeView

_TYPING_MS = 250
_EMPTY = (
    "No takes yet.\n\nGo to Record (Ctrl+1) and record the first one,\n"
    "or import a data set:  python main.py import PATH"
)
_NO_MATCH = "No take fits these filters.\n\nWiden them, or clear the search."
_NO_TRASH = "The trash is empty."


class LibraryPage(Page):
    """Takes on the left, the chosen one on the right."""

    name = "library"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.model = takes_model(desk.theme)
        self.table = RowsTable(self.model, desk.theme, "Takes", many=True)
        self.viewer = TakeViewer(desk.bridge, desk.theme, self.notice.error)
        self.kind = chooser("Filter by who made the take")
        self.task = chooser("Filter by task")
        self.outcome = chooser("Filter by outcome")
        self.search = QLineEdit()
        self.note = QLineEdit()
        self.title = label("", "title")
        self.facts = label("", "dim", wrap=True)
        self.count = label("", "dim")
        self._empty = label(_EMPTY, "dim", wrap=True)
        self._pending = ""
        self._open_id = ""
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self.reload)
        self._build()
        self._bind()
        self.listeners.on(LibraryChanged, lambda _event: self.reload())
        self.listeners.on(TakeSealed, lambda _event: self._sync())

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(12)
        split.addWidget(self._list_side())
        split.addWidget(self._take_side())
        split.setSizes([570, 590])
        split.setStretchFactor(1, 1)
        self.body.addWidget(split, 1)

    def _list_side(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self.search.setPlaceholderText("Search tasks, notes, operators   (Ctrl+F)")
        self.search.setAccessibleName("Search takes")
        self.search.setClearButtonEnabled(True)
        column.addWidget(self.search)
        column.addLayout(row(self.kind, self.task, self.outcome))
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._list = QStackedWidget()
        self._list.addWidget(self.table)
        self._list.addWidget(self._empty)
        column.addWidget(self._list, 1)
        actions = self.desk.actions
        labels = ("library.success", "library.failure", "library.unlabel")
        column.addLayout(row(*(CommandButton(actions, name) for name in labels)))
        trash = CommandButton(actions, "library.trash")
        self._restore = CommandButton(actions, "library.restore")
        column.addLayout(row(trash, self._restore, CommandButton(actions, "library.undo")))
        foot = row(self.count)
        foot.addStretch(1)
        shown = CommandButton(actions, "library.show_trash", words="Show the trash")
        foot.addWidget(shown)
        column.addLayout(foot)
        return side

    def _take_side(self) -> QWidget:
        frame, column = card()
        head = row(self.title)
        head.addStretch(1)
        head.addWidget(CommandButton(self.desk.actions, "library.check", words="Check"))
        column.addLayout(head)
        column.addWidget(self.facts)
        column.addWidget(self.viewer, 1)
        actions = self.desk.actions
        play = CommandButton(actions, "library.play")
        back = CommandButton(actions, "library.back", words="◀")
        forward = CommandButton(actions, "library.forward", words="▶")
        line: QHBoxLayout = row(back, play, forward, self.viewer.groups)
        line.setStretch(3, 1)
        column.addLayout(line)
        self.note.setPlaceholderText("Note: what was special about this take? Enter saves it")
        self.note.setAccessibleName("Note of the take")
        column.addWidget(self.note)
        return frame

    def _bind(self) -> None:
        fill_chooser(self.kind, [("Everyone", None), *((words.kind(k), k) for k in EpisodeKind)])
        fill_chooser(self.task, [("All tasks", None)])
        outcomes = [("All outcomes", None), *((words.outcome(o).word.replace("–", "No label"), o) for o in Outcome)]
        fill_chooser(self.outcome, outcomes)
        for combo in (self.kind, self.task, self.outcome):
            combo.currentIndexChanged.connect(self.reload)
        self.search.textChanged.connect(lambda _text: self._typing.start())
        self.note.returnPressed.connect(self._save_note)
        self.table.on_chosen(self._chosen)
        bind = self.desk.actions.bind
        bind("library.play", self._play)
        bind("library.back", lambda: self.viewer.step(-1))
        bind("library.forward", lambda: self.viewer.step(1))
        bind("library.success", lambda: self._label(Outcome.SUCCESS))
        bind("library.failure", lambda: self._label(Outcome.FAILURE))
        bind("library.unlabel", lambda: self._label(Outcome.UNLABELLED))
        bind(
            "library.trash", lambda: self._change(lambda lib, ids: lib.trash(ids), "{n} in the trash; Ctrl+Z undoes it")
        )
        bind("library.restore", lambda: self._change(lambda lib, ids: lib.restore(ids), "{n} brought back"))
        bind("library.undo", self._undo)
        bind("library.show_trash", self.reload)
        bind("library.search", lambda: self.search.setFocus(Qt.FocusReason.ShortcutFocusReason))
        bind("library.check", self._check)
        self.viewer.finished = lambda: self.desk.actions["library.play"].setChecked(False)
        self._show_open(None)

    # the list -------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The library can be read."""
        self.reload()

    def handed(self, words: str) -> None:
        """Open this take."""
        self._pending = words
        if not self._choose_row(words):
            self.reload()

    def reload(self) -> None:
        """Fetch the list that fits the filters."""
        library = self.desk.library
        if library is None:
            return
        kind, task, outcome = self.kind.currentData(), self.task.currentData(), self.outcome.currentData()
        text, trashed = self.search.text().strip(), self._trash_shown()

        def fetch() -> tuple[tuple[TakeRecord, ...], list[str], bool]:
            records = library.episodes(kind, task, outcome, text, trashed)
            everything = library.episodes(trashed=trashed)
            return records, sorted({record.task for record in everything if record.task}), bool(everything)

        self.ask("shelf", fetch, lambda found: self._show_list(*found))

    def _sync(self) -> None:
        library = self.desk.library
        if library is not None:
            self.ask("shelf", library.sync)  # publishes LibraryChanged, which reloads

    def _show_list(self, records: tuple[TakeRecord, ...], tasks: list[str], anything: bool) -> None:
        keep = {self.model.records[i].id for i in self.table.chosen()}
        moved = self.model.replace(newest_first(records))
        present = self.task.currentData()
        self.task.blockSignals(True)
        fill_chooser(self.task, [("All tasks", None), *((words.task(name), name) for name in tasks)], present)
        self.task.blockSignals(False)
        self._empty.setText(_NO_MATCH if anything else _NO_TRASH if self._trash_shown() else _EMPTY)
        self._list.setCurrentIndex(0 if records else 1)
        total_s = sum(record.duration_s for record in records)
        self.count.setText(f"{len(records)} takes · {words.duration(total_s)}" if records else "")
        if moved or not records:
            self._select_again(keep)
        else:
            self._chosen()

    def _select_again(self, keep: set[str]) -> None:
        if self._pending and self._choose_row(self._pending):
            return
        selection = self.table.selectionModel()
        rows = [i for i, record in enumerate(self.model.records) if record.id in keep]
        if selection is not None and rows:
            flags = QItemSelectionModel.SelectionFlag
            for number in rows:
                selection.select(self.model.index(number, 0), flags.Select | flags.Rows)
            self.table.setCurrentIndex(self.model.index(rows[0], 0)) if len(rows) == 1 else None
        elif self.model.records:
            self.table.selectRow(0)
        else:
            self._chosen()

    def _choose_row(self, episode_id: str) -> bool:
        number = self.model.row_of(episode_id)
        if number < 0:
            return False
        self._pending = ""
        self.table.selectRow(number)
        self.table.scrollTo(self.model.index(number, 0), QAbstractItemView.ScrollHint.EnsureVisible)
        return True

    # the chosen take ------------------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        rows = self.table.chosen()
        record = self.model.records[rows[0]] if rows else None
        self._describe(record, len(rows))
        library = self.desk.library
        if record is None or library is None or self._trash_shown():
            self._show_open(None)
        elif record.id != self._open_id:
            self._open_id = record.id
            self.desk.bridge.run_in_background(
                lambda: library.open(record.id), self._opened_take, self._unreadable, lane="shelf"
            )

    def _opened_take(self, view: TakeView) -> None:
        if view.record.id == self._open_id:
            self._show_open(view)

    def _unreadable(self, error: WorkbenchError) -> None:
        self._show_open(None)
        self.notice.error(error)

    def _show_open(self, view: TakeView | None) -> None:
        if view is None:
            self._open_id = ""
        self.desk.actions["library.play"].setChecked(False)
        self.viewer.show_take(view)
        self.note.setEnabled(view is not None)

    def _describe(self, record: TakeRecord | None, count: int) -> None:
        if record is None:
            self.title.setText("No take chosen")
            self.facts.setText("Choose one in the list to see its pictures and signals.")
            self.note.clear()
            return
        more = f"  (+ {count - 1} more)" if count > 1 else ""
        self.title.setText(words.task(record.task).capitalize() + more)
        outcome = words.outcome(record.outcome)
        label_words = f"{outcome.symbol} {outcome.word}" if outcome.symbol else "not labelled"
        parts = (words.kind(record.kind), label_words, words.duration(record.duration_s))
        sentence = f"“{record.instruction}” · " if record.instruction else ""
        self.facts.setText(sentence + " · ".join(parts))
        if not self.note.hasFocus():
            self.note.setText(record.notes)

    # commands -------------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        if self.desk.actions["library.play"].isChecked():
            self.viewer.play()
        else:
            self.viewer.pause()

    def _ids(self) -> list[str]:
        return [self.model.records[i].id for i in self.table.chosen()]

    def _change(self, work: Callable[[Library, list[str]], object], said: str) -> None:
        library, ids = self.desk.library, self._ids()
        if library is not None and ids:
            count = "1 take" if len(ids) == 1 else f"{len(ids)} takes"
            self.ask("shelf", lambda: work(library, ids), lambda _none: self.notice.done(said.format(n=count)))

    def _label(self, outcome: Outcome) -> None:
        def work(library: Library, ids: list[str]) -> None:
            for episode_id in ids:
                library.label(episode_id, outcome)

        self._change(work, f"{{n}} labelled: {words.outcome(outcome).word.replace('–', 'no label').lower()}")

    def _undo(self) -> None:
        library = self.desk.library
        if library is not None:
            self.ask(
                "shelf", library.undo, lambda done: self.notice.done(f"Undone: {done}" if done else "Nothing to undo")
            )

    def _save_note(self) -> None:
        library, episode_id, text = self.desk.library, self._open_id, self.note.text()
        if library is not None and episode_id:
            self.table.setFocus()
            self.ask("shelf", lambda: library.note(episode_id, text), lambda _none: self.notice.done("Note saved"))

    def _check(self) -> None:
        view = self.viewer.view
        if view is not None:
            self.notice.busy("Comparing every picture with the take's fingerprint")
            self.ask("pictures", view.verify, self._checked)

    def _checked(self, problems: tuple[str, ...]) -> None:
        if problems:
            self.notice.error(
                WorkbenchError("; ".join(problems[:3]), "Restore it from a copy or run `python main.py doctor`")
            )
        else:
            self.notice.done("The take is bit for bit what was recorded")

    def _trash_shown(self) -> bool:
        return self.desk.actions["library.show_trash"].isChecked()

    def situation(self, base: Situation) -> Situation:
        """How many takes are chosen, and from where."""
        chosen = len(self.table.chosen())
        return replace(base, takes=chosen, trash=self._trash_shown(), open_take=self.viewer.view is not None)

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Another page: stop playing."""
        self.viewer.pause()
        self.desk.actions["library.play"].setChecked(False)
        super().hideEvent(event)

    def close_page(self) -> None:
        """Stop reading."""
        self._typing.stop()
        self.viewer.pause()
        super().close_page()
