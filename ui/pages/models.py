"""The shelf of models: where each came from, how good it is, two side by side, into use, out of the house, away."""

from __future__ import annotations

from dataclasses import replace

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QShowEvent
from PyQt6.QtWidgets import QProgressBar, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.models_edits import ModelEdits
from ui.pages.page import Page, card, label, row
from ui.translate import t, tn
from ui.widgets.ask_line import AskLine
from ui.widgets.button import CommandButton
from ui.widgets.lineage import LineageView
from ui.widgets.model_details import ModelDetails, rollouts_model
from ui.widgets.rows import RowsTable
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import JobProgressed, LibraryChanged
from workbench.services.model_compare import ModelComparison, compare_with
from workbench.services.model_facts import ModelFacts, model_facts
from workbench.services.model_shelf import Shelf, ShelvedModel, look

_LANE = "jobs"
_ROLLOUTS_PX = 150


class ModelsPage(Page):
    """The lineage on the left, the chosen model on the right."""

    name = "models"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.lineage = LineageView(desk.theme)
        self.details = ModelDetails(desk.theme)
        self.rollouts = rollouts_model(desk.theme)
        self.rollouts_table = RowsTable(self.rollouts, desk.theme, t("Takes it drove"))
        self.ask_line = AskLine(desk.actions, "models.agree", "models.leave", self._enable, self._answered)
        self.title = label("", "title")
        self.about = label("", "dim", wrap=True)
        self.count = label("", "dim", wrap=True)
        self.progress = QProgressBar()
        self.shelf = Shelf()
        self.facts: ModelFacts | None = None
        self.comparison: ModelComparison | None = None
        self.marked = ""
        self._wanted = ""
        self._looking = self._look_again = False
        self._build()
        self.edits = ModelEdits(self)
        self._bind()
        self.listeners.on(LibraryChanged, lambda _event: self.reload())
        self.listeners.on(JobProgressed, self._job_moved)

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(12)
        split.addWidget(self._lineage_side())
        split.addWidget(self._model_side())
        split.setSizes([440, 710])
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 5)
        self.body.addWidget(split, 1)

    def _lineage_side(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        head = row(label(t("Takes → models → drives"), "heading"), self.count)
        head.setStretch(1, 1)
        self.count.setAlignment(Qt.AlignmentFlag.AlignRight)
        column.addLayout(head)
        empty = label(
            t(
                "No model yet.\n\nRecord takes (Ctrl+1), align people's video with the robot (Ctrl+3)\n"
                "and train a model (Ctrl+4). It appears here with all it came from."
            ),
            "dim",
            wrap=True,
        )
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.lineage)
        self._stack.addWidget(empty)
        self._stack.setCurrentIndex(1)
        column.addWidget(self._stack, 1)
        actions = self.desk.actions
        for names in (("promote", "rollback"), ("mark", "compare"), ("delete", "undo")):
            column.addLayout(row(*(CommandButton(actions, f"models.{name}") for name in names)))
        return side

    def _model_side(self) -> QWidget:
        frame, column = card(spacing=6)
        actions = self.desk.actions
        head = row(self.title)
        head.addStretch(1)
        back = CommandButton(actions, "models.leave", words=t("Back"))
        head.addWidget(back)
        self._back = back
        column.addLayout(head)
        column.addWidget(self.about)
        column.addWidget(self.details, 1)
        self._rollouts_title = label(t("Takes it drove"), "heading")
        column.addWidget(self._rollouts_title)
        self.rollouts_table.setFixedHeight(_ROLLOUTS_PX)
        column.addWidget(self.rollouts_table)
        self.progress.setAccessibleName(t("Progress of the export"))
        self.progress.hide()
        column.addWidget(self.progress)
        column.addWidget(self.ask_line)
        names = ("open", "export", "export_onnx", "cancel")
        column.addLayout(row(*(CommandButton(actions, f"models.{name}") for name in names)))
        return frame

    def _bind(self) -> None:
        self.lineage.chosen_changed = self._chosen
        self.lineage.drives_clicked = lambda: self.rollouts_table.setFocus()
        self.rollouts_table.doubleClicked.connect(lambda _index: self._open())
        bind = self.desk.actions.bind
        bind("models.open", self._open)
        bind("models.mark", self._mark)
        bind("models.compare", self._compare)
        bind("models.leave", self._leave)
        self._show_facts(None)

    # the shelf ------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Library and jobs can be read."""
        self.reload()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """On screen: what may have changed elsewhere is read again."""
        super().showEvent(event)
        self.reload()

    def handed(self, words: str) -> None:
        """Show this model."""
        self._wanted = words
        self._choose_wanted()

    def _job_moved(self, event: JobProgressed) -> None:
        if event.state == "done":
            self.reload()

    def reload(self) -> None:
        """Read the shelf; asked for again if something changes meanwhile."""
        library, home = self.desk.library, self.desk.home
        if library is None or not self.isVisible():
            return
        if self._looking:
            self._look_again = True
            return
        self._looking, self._look_again = True, False

        def failed(error: WorkbenchError) -> None:
            self._looking = False
            self.notice.error(error)

        self.desk.bridge.run_in_background(lambda: look(library, home), self._show, failed, lane=_LANE)

    def _show(self, shelf: Shelf) -> None:
        self._looking = False
        changed, self.shelf = shelf != self.shelf, shelf
        self._stack.setCurrentIndex(0 if shelf.models else 1)
        self.lineage.show_models(shelf.models)
        parts = [tn("{n} model", "{n} models", len(shelf.models))] if shelf.models else []
        if shelf.broken:
            parts.append(tn("▲ {n} cannot be read", "▲ {n} cannot be read", len(shelf.broken)))
        if shelf.trashed:
            parts.append(tn("{n} in the trash", "{n} in the trash", len(shelf.trashed)))
        self.count.setText(" · ".join(parts))
        self.count.setToolTip("\n".join(f"{name}: {why}" for name, why in shelf.broken.items()))
        self._choose_wanted()
        if changed or not shelf.models:
            self._chosen()
        if self._look_again:
            self.reload()

    def _choose_wanted(self) -> None:
        if self._wanted and self.lineage.choose(self._wanted):
            self._wanted = ""
            self.lineage.setFocus()

    # the chosen model -----------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> ShelvedModel | None:
        """The chosen model."""
        return self.lineage.chosen

    def _chosen(self) -> None:
        """Read what is known of the model that is chosen now."""
        library, home, chosen = self.desk.library, self.desk.home, self.chosen
        if library is None or chosen is None:
            self._show_facts(None)
            return
        if self.comparison is not None:
            self._compare()
            return
        model_id = chosen.id

        def come(facts: ModelFacts) -> None:
            if self.chosen is not None and self.chosen.id == model_id and self.comparison is None:
                self._show_facts(facts)

        self.desk.bridge.run_in_background(
            lambda: model_facts(library, home, model_id), come, self._no_facts, lane="shelf"
        )

    def _no_facts(self, error: WorkbenchError) -> None:
        """A model that was thrown away meanwhile has none; the list is about to say so."""
        if not isinstance(error, NotFoundError):
            self.notice.error(error)

    def _show_facts(self, facts: ModelFacts | None) -> None:
        self.facts, self.comparison = facts, None
        self._back.setVisible(False)
        self.details.show_facts(facts)
        rollouts = facts.rollouts if facts is not None else ()
        if self.rollouts.replace(rollouts) and rollouts:
            self.rollouts_table.selectRow(0)
        for widget in (self._rollouts_title, self.rollouts_table):
            widget.setVisible(bool(rollouts))
        if facts is None:
            self.title.setText(t("No model chosen"))
            self.about.setText("")
            return
        record = facts.record
        used = f"   {t('★ in use')}" if record.promoted else ""
        self.title.setText(f"{words.stage(record.stage)}  {record.id[:12]}{used}")
        parts = [words.when(record.created_at), t("preset {name}", name=record.preset) if record.preset else ""]
        parts.append(t("from {model}", model=record.parent[:12]) if record.parent else "")
        self.about.setText(" · ".join(part for part in parts if part))

    def _open(self) -> None:
        chosen = self.rollouts_table.chosen()
        if chosen:
            self.desk.go("library", self.rollouts.records[chosen[0]].id)

    # two side by side -----------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        """The chosen model is A from now on; once more: no model is."""
        chosen = self.chosen
        if chosen is not None:
            self.marked = "" if self.marked == chosen.id else chosen.id
            self.lineage.mark(self.marked)
            if self.marked:
                self.notice.done(t("Choose another model and press C to compare it with this one"))

    def _compare(self) -> None:
        """A against the chosen model."""
        library, home, first, chosen = self.desk.library, self.desk.home, self.marked, self.chosen
        if library is None or chosen is None or not first or first == chosen.id:
            self.comparison = None
            self._chosen()
            return
        second = chosen.id

        def come(found: ModelComparison) -> None:
            if self.chosen is not None and self.chosen.id == second:
                self._show_comparison(found)

        self.desk.bridge.run_in_background(
            lambda: compare_with(library, home, first, second), come, self.notice.error, lane="shelf"
        )

    def _show_comparison(self, found: ModelComparison) -> None:
        self.comparison = found
        for widget in (self._rollouts_title, self.rollouts_table):
            widget.setVisible(False)
        self._back.setVisible(True)
        self.title.setText(t("A and B side by side"))
        sides = (("A", found.a), ("B", found.b))
        self.about.setText(" · ".join(f"{side}: {words.stage(r.stage)} {r.id[:12]}" for side, r in sides))
        self.details.show_comparison(found)

    def _leave(self) -> None:
        """Forget the question, else the comparison."""
        if self.ask_line.asking:
            self.ask_line.back()
        else:
            self.comparison = None
            self._chosen()

    # commands -------------------------------------------------------------------------------------------------------

    def _enable(self) -> None:
        """At once, not with the next tick: a button that is not enabled cannot get the focus."""
        self.desk.actions.refresh(self.situation(self.desk.actions.situation))

    def _answered(self) -> None:
        """The question is gone: the keys are the lineage's again."""
        self._enable()
        self.lineage.setFocus(Qt.FocusReason.OtherFocusReason)

    def situation(self, base: Situation) -> Situation:
        """What is chosen, marked, compared and being written."""
        chosen = self.chosen
        return replace(
            base,
            model_chosen=chosen is not None,
            marked=bool(self.marked) and chosen is not None and chosen.id != self.marked,
            comparing=self.comparison is not None,
            asking=self.ask_line.asking,
            rollout=bool(self.rollouts_table.chosen()) and not self.rollouts_table.isHidden(),
            exporting=self.edits.exporting,
            undoable=bool(self.edits.deleted),
        )

    def close_page(self) -> None:
        """An export that goes on is ended; nothing of it is left behind."""
        self.edits.close()
        super().close_page()
