"""Looking through takes: filter, watch, read what is known of them. What changes them is in ``library_edits``."""

from __future__ import annotations

from dataclasses import replace

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QHideEvent
from PyQt6.QtWidgets import QLineEdit, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.fresh import Fresh
from ui.pages.library_edits import LibraryEdits
from ui.pages.library_panels import COMPARE, LibraryPanels
from ui.pages.page import Page, card, label, row
from ui.records import ShelvedTake
from ui.translate import mark, t
from ui.widgets.ask_line import AskLine
from ui.widgets.button import CommandButton
from ui.widgets.player import Player
from ui.widgets.take_details import TakeDetails, summary
from ui.widgets.take_filters import Choices, TakeFilters
from ui.widgets.take_list import TakeList
from ui.widgets.viewer import TakeViewer
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import LibraryChanged, TakeSealed
from workbench.services.library import TakeView
from workbench.services.take_facts import TakeFacts, take_facts

_OPEN_AFTER_MS = 60  # who runs down the list with an arrow key does not want every take opened
_EMPTY = mark(
    "No takes yet.\n\nGo to Record (Ctrl+1) and record the first one,\nor import videos and data sets (Ctrl+I)."
)
_NO_MATCH = mark("No take fits these filters.\n\nWiden them, or show all with Ctrl+0.")
_NO_TRASH = mark("The trash is empty.")


class LibraryPage(Page):
    """Takes on the left, the chosen one on the right."""

    name = "library"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.table = TakeList(desk.bridge, desk.theme, lambda: desk.library, self.notice.error)
        self.model = self.table.model_
        self.filters = TakeFilters(self.reload)
        self.search, self.kind, self.task = self.filters.search, self.filters.kind, self.filters.task
        self.viewer = TakeViewer(desk.bridge, desk.theme, self.notice.error, self._gone)
        self.details = TakeDetails(desk.theme)
        self.ask_line = AskLine(desk.actions, "library.agree", "library.leave", self.enable, self._answered)
        self.note = QLineEdit()
        self.title, self.count = label("", "title"), label("", "dim")
        self.facts_line = label("", "dim", wrap=True)
        self._empty = label(t(_EMPTY), "dim", wrap=True)
        self._choices: Choices | None = None
        self._choosing = self._choose_again = False
        self._open: tuple[str, str] = ("", "")
        self._facts: TakeFacts | None = None
        self._opening = QTimer(self)
        self._opening.setSingleShot(True)
        self._opening.setInterval(_OPEN_AFTER_MS)
        self._opening.timeout.connect(self._open_take)
        self._build()
        self.late = (self.table, self.panels)
        self.edits = LibraryEdits(self)
        self._bind()
        self._fresh = Fresh(self, self.opened)
        self.listeners.on(LibraryChanged, self._changed)
        self.listeners.on(TakeSealed, lambda _event: self._sync())

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(12)
        split.addWidget(self._list_side())
        self.panels = LibraryPanels(self, self._take_side())
        split.addWidget(self.panels)
        split.setSizes([610, 540])
        split.setStretchFactor(0, 1)  # a wide screen shows whole names of tasks, too
        split.setStretchFactor(1, 2)
        self.body.addWidget(split, 1)

    def _list_side(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.filters)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._list = QStackedWidget()
        self._list.addWidget(self.table)
        self._list.addWidget(self._empty)
        column.addWidget(self._list, 1)
        self._in_use = self._buttons("library.success", "library.failure", "library.unlabel")
        self._sorting = self._buttons("library.tag", "library.collect", "library.freeze")
        self._trashed = self._buttons("library.restore", "library.purge")
        for box in (self._in_use, self._sorting, self._trashed):
            column.addWidget(box)
        column.addLayout(
            row(*(CommandButton(self.desk.actions, f"library.{name}") for name in ("trash", "undo", "redo")))
        )
        column.addWidget(self._buttons("library.import", "library.export", "library.compare", "library.blur"))
        column.addWidget(self.ask_line)
        foot = row(self.count)
        foot.addStretch(1)
        foot.addWidget(CommandButton(self.desk.actions, "library.clear"))
        foot.addWidget(CommandButton(self.desk.actions, "library.show_trash", words=t("Show the trash")))
        column.addLayout(foot)
        return side

    def _buttons(self, *ids: str) -> QWidget:
        box = QWidget()
        line = row(*(CommandButton(self.desk.actions, name) for name in ids))
        line.setContentsMargins(0, 0, 0, 0)
        box.setLayout(line)
        return box

    def _take_side(self) -> QWidget:
        frame, column = card(spacing=6)
        actions = self.desk.actions
        head = row(self.title)
        head.addStretch(1)
        head.addWidget(CommandButton(actions, "library.check", words=t("Check")))
        column.addLayout(head)
        column.addWidget(self.facts_line)
        column.addWidget(self.viewer, 1)
        below = self.viewer.layout()
        if isinstance(below, QVBoxLayout):
            below.addWidget(self.details, 3)
        self.details.hide()
        back = CommandButton(actions, "library.back", words="◀")
        forward = CommandButton(actions, "library.forward", words="▶")
        details = CommandButton(actions, "library.details")
        line = row(back, CommandButton(actions, "library.play"), forward, details, self.viewer.groups)
        line.setStretch(4, 1)
        column.addLayout(line)
        column.addWidget(self._buttons("library.mark_in", "library.mark_out", "library.unmark", "library.split"))
        self.note.setPlaceholderText(t("Note: what was special about this take? Enter saves it"))
        self.note.setAccessibleName(t("Note of the take"))
        column.addWidget(self.note)
        return frame

    def _bind(self) -> None:
        self.table.changed = self._list_came
        self.table.on_chosen(self._chosen)
        self.model.dataChanged.connect(lambda *_: self._describe())
        bind = self.desk.actions.bind
        bind("library.play", self._play)
        bind("library.back", lambda: self.player.step(-1))
        bind("library.forward", lambda: self.player.step(1))
        bind("library.details", self._show_details)
        bind("library.show_trash", self._switch_trash)
        bind("library.search", lambda: self.search.setFocus(Qt.FocusReason.ShortcutFocusReason))
        bind("library.clear", self.filters.clear)
        bind("library.models", self._show_models)
        self.viewer.player.finished = self.played
        self._show_trash_buttons()
        self._show_open(None)
        self._describe()

    # the list -------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The library can be read, or has changed."""
        self.reload()
        self._load_choices()

    def handed(self, words: str) -> None:
        """Open this take."""
        if not self.table.open_take(words):
            self.reload()

    def reload(self) -> None:
        """Fetch the list that fits the filters."""
        self.table.search(self.filters.wanted(self.trash_shown), self.filters.ordered())

    def _changed(self, event: LibraryChanged) -> None:
        self._fresh.changed()
        if not event.episode_ids or self._open[0] in event.episode_ids:
            self._load_facts()

    def _sync(self) -> None:
        library = self.desk.library
        if library is not None:
            self.ask("edits", library.sync)  # publishes LibraryChanged, which reloads

    def _load_choices(self) -> None:
        """What the filters offer; asked for again if something changes meanwhile."""
        library, trashed = self.desk.library, self.trash_shown
        if library is None or self._choosing:
            self._choose_again = self._choosing
            return
        self._choosing = True

        def come(choices: Choices) -> None:
            self._choosing = False
            self._choices = choices
            self.filters.show_choices(choices)
            self._list_came()
            if self._choose_again:
                self._choose_again = False
                self._load_choices()

        self.ask("shelf", lambda: Choices.of(library, trashed), come)

    def _list_came(self) -> None:
        shown, choices = self.model.rowCount(), self._choices
        everything = choices.takes if choices is not None else shown
        self._empty.setText(t(_NO_MATCH if everything else _NO_TRASH if self.trash_shown else _EMPTY))
        self._list.setCurrentIndex(0 if shown else 1)
        takes, of_all = words.count(shown, "take"), words.count(everything, "take")
        if everything > shown:
            takes = t("{takes} of {all}", takes=takes, all=of_all)
        self.count.setText(takes if shown else "")
        if not shown:
            self._chosen()

    def _switch_trash(self) -> None:
        self.ask_line.back()
        self._show_trash_buttons()
        self.opened()

    def _show_trash_buttons(self) -> None:
        self._in_use.setVisible(not self.trash_shown)
        self._sorting.setVisible(not self.trash_shown)
        self._trashed.setVisible(self.trash_shown)

    @property
    def trash_shown(self) -> bool:
        return self.desk.actions["library.show_trash"].isChecked()

    # the chosen take ------------------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        if self.table.first_chosen() != self._open[0]:
            self._facts = None
        self._describe()
        self._opening.start()

    def _open_take(self) -> None:
        """Open the first chosen take, unless it is open with these contents already."""
        library, record = self.desk.library, self._record()
        wanted = (record.id, record.content_hash) if record is not None else ("", "")
        if wanted == self._open:
            return
        self._open = wanted
        if record is None or library is None:
            self._show_open(None)
            return
        episode_id = record.id
        self.desk.bridge.run_in_background(
            lambda: library.open(episode_id), self._opened_take, self._unreadable, lane="pictures"
        )
        self._load_facts()

    def _load_facts(self) -> None:
        library, episode_id = self.desk.library, self._open[0]
        if library is None or not episode_id:
            return

        def come(facts: TakeFacts) -> None:
            if episode_id == self._open[0]:
                self._facts = facts
                self.viewer.show_still(facts.still)
                self._describe()

        self.desk.bridge.run_in_background(lambda: take_facts(library, episode_id), come, self._complain, lane="shelf")

    def _show_models(self) -> None:
        """To the model that drove the open take, else to the newest that learnt from it."""
        facts = self._facts
        learnt = [model_id for model_id, _stage in facts.models] if facts is not None else []
        wanted = (facts.driven_by if facts is not None else "") or next(reversed(learnt), "")
        if wanted:
            self.desk.go("models", wanted)
        else:
            self.notice.warn(t("No model has learnt from this take or driven it"))

    def _complain(self, error: WorkbenchError) -> None:
        """A take that was removed meanwhile is no failure; the list is about to say so."""
        if not isinstance(error, NotFoundError):
            self.notice.error(error)

    def _opened_take(self, view: TakeView) -> None:
        if view.record.id == self._open[0]:
            self._show_open(view)
            self._describe()

    def _unreadable(self, error: WorkbenchError) -> None:
        self._show_open(None)
        self._complain(error)

    def _gone(self) -> None:
        """The open take was thrown away while it was read; if it comes back, it is opened again."""
        self._open = ("", "")
        self._show_open(None)

    def _show_open(self, view: TakeView | None) -> None:
        self.desk.actions["library.play"].setChecked(False)
        self.viewer.show_take(view)
        if view is not None and self._facts is not None:
            self.viewer.show_still(self._facts.still)
        self.note.setEnabled(view is not None)

    def _record(self) -> ShelvedTake | None:
        return self.table.record(self.table.first_chosen())

    def _describe(self) -> None:
        """Title, facts and marks of the first chosen take, by its newest record."""
        self.panels.show_counts(self.table.chosen_count(), self.model.rowCount())
        record = self._record()
        self.details.show_facts(self._facts if record is not None else None)
        if record is None:
            self.title.setText(t("No take chosen"))
            self.facts_line.setText(t("Choose one in the list to see its pictures and signals."))
            self.note.clear()
            return
        if record.id != self._open[0]:
            self._opening.start()  # its record has come later than the choice
        count = self.table.chosen_count()
        more = "  " + t("(+ {n} more)", n=count - 1) if count > 1 else ""
        self.title.setText(words.task(record.task).capitalize() + more)
        self.facts_line.setText(self._facts_words(record))
        trim = record.trim
        self.viewer.show_used((trim.start_ns, trim.end_ns) if trim is not None else None)
        if not self.note.hasFocus():
            self.note.setText(record.notes)

    def _facts_words(self, record: ShelvedTake) -> str:
        outcome = words.outcome(record.outcome)
        label_words = f"{outcome.symbol} {outcome.word}" if outcome.symbol else t("not labelled")
        length = words.duration(record.duration_s)
        if record.used_s < record.duration_s - 1e-3:
            length = t("✂ {used} of {whole}", used=words.duration(record.used_s), whole=length)
        sentence = f"“{record.instruction}” · " if record.instruction else ""
        short = summary(self._facts) if self._facts is not None else ""
        return sentence + " · ".join((words.kind(record.kind), label_words, length)) + (f"\n{short}" if short else "")

    def _show_details(self) -> None:
        """The sentences in place of the signals, or back."""
        shown = self.desk.actions["library.details"].isChecked()
        self.details.setVisible(shown)
        self.viewer.plot.setVisible(not shown)

    def _play(self) -> None:
        wanted = self.desk.actions["library.play"].isChecked()
        (self.player.play if wanted else self.player.pause)()

    @property
    def player(self) -> Player:
        """What the commands of playing move: the open take, or two that are compared."""
        return self.panels.comparing.player if self.panels.shown == COMPARE else self.viewer.player

    def played(self) -> None:
        """The end is reached."""
        self.desk.actions["library.play"].setChecked(False)

    def pause(self) -> None:
        """Stop playing."""
        self.viewer.pause()
        self.panels.pause()
        self.played()

    def enable(self) -> None:
        """At once, not with the next tick: a button that is not enabled cannot get the focus."""
        self.desk.actions.refresh(self.situation(self.desk.actions.situation))

    def _answered(self) -> None:
        """The question is gone: the keys are the table's again."""
        self.enable()
        self.table.setFocus(Qt.FocusReason.OtherFocusReason)

    def situation(self, base: Situation) -> Situation:
        """How many takes are chosen, and from where."""
        return replace(
            self.panels.situation(base),
            takes=self.table.chosen_count(),
            trash=self.trash_shown,
            open_take=self.viewer.view is not None,
            asking=self.ask_line.asking,
        )

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Another page: stop playing."""
        self.pause()
        super().hideEvent(event)

    def close_page(self) -> None:
        """Stop reading."""
        self.filters.stop()
        self._opening.stop()
        self.viewer.pause()
        self.panels.close()
        super().close_page()
