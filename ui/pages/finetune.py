"""Training: start a stage, watch it, stop it, go on with it, and put a model into use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PyQt6.QtCore import QTimer
from PyQt6.QtGui import QHideEvent, QShowEvent
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.page import PANEL_PX, Page, card, chooser, fill_chooser, label, row
from ui.records import ModelEntry, TakeRecord
from ui.widgets.button import CommandButton
from ui.widgets.chooser import Tick
from ui.widgets.plots import Plot
from ui.widgets.progress import curve_lines, jobs_model, models_model
from ui.widgets.rows import RowsTable
from workbench.core.errors import WorkbenchError
from workbench.core.events import LibraryChanged
from workbench.services.finetune import Material, gather
from workbench.services.finetune import start as start_finetuning
from workbench.services.jobs import JobStatus
from workbench.services.model_shelf import promote

_POLL_MS = 600
_POLL_HIDDEN_MS = 4000
_KINDS = ("teleop", "human", "imported")
Curve = Mapping[str, tuple[list[float], list[float]]]


@dataclass(frozen=True, slots=True)
class _News:
    """One look at the jobs."""

    jobs: tuple[JobStatus, ...]
    curve: Curve
    models: tuple[ModelEntry, ...]


class FinetunePage(Page):
    """New training on the left; trainings, curve and models on the right."""

    name = "finetune"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.stage = chooser("What to train")
        self.preset = chooser("How long to train")
        self.base = chooser("Model to start from")
        self.purpose = label("", "dim", wrap=True)
        self.summary = label("", wrap=True)
        self.ladder = label("", "dim", wrap=True)
        self.kinds = {kind: Tick(words.kind(kind)) for kind in _KINDS}
        self.jobs = jobs_model(desk.theme)
        self.jobs_table = RowsTable(self.jobs, desk.theme, "Trainings")
        self.models = models_model(desk.theme)
        self.models_table = RowsTable(self.models, desk.theme, "Models")
        self.plot = Plot(desk.theme, "Curves of the chosen training", "step")
        self.curves = chooser("Figure to draw")
        self.message = label("", "dim", wrap=True)
        self._takes: tuple[TakeRecord, ...] = ()
        self._material: Material | None = None
        self._curve: Curve = {}
        self._asking = False
        self._show_newest = True
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self.poll)
        self._build()
        self._bind()
        self.listeners.on(LibraryChanged, lambda _event: self._load_takes())

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        left = self._new_card()
        left.setFixedWidth(PANEL_PX)
        line.addWidget(left)
        right = QVBoxLayout()
        right.setSpacing(10)
        right.addWidget(self._jobs_card(), 1)
        right.addWidget(self._models_card())
        line.addLayout(right, 1)
        self.body.addLayout(line, 1)

    def _new_card(self) -> QFrame:
        frame, column = card(spacing=9)
        column.addWidget(label("New training", "title"))
        for words_, widget in (("What", self.stage), ("", self.purpose), ("How long", self.preset)):
            if words_:
                column.addWidget(label(words_, "heading"))
            column.addWidget(widget)
        self._base_heading = label("Starting from", "heading")
        column.addWidget(self._base_heading)
        column.addWidget(self.base)
        self._kinds_heading = label("Learn from takes of", "heading")
        column.addWidget(self._kinds_heading)
        for kind, box in self.kinds.items():
            box.setAccessibleName(f"Learn from takes of kind {words.kind(kind)}")
            column.addWidget(box)
        column.addWidget(self.summary)
        column.addStretch(1)
        column.addWidget(label("The way to a model that drives", "heading"))
        column.addWidget(self.ladder)
        column.addWidget(CommandButton(self.desk.actions, "finetune.start", tall="true"))
        return frame

    def _jobs_card(self) -> QFrame:
        frame, column = card()
        head = row(label("Trainings", "title"), self.message)
        head.setStretch(1, 1)
        head.addWidget(CommandButton(self.desk.actions, "finetune.cancel"))
        head.addWidget(CommandButton(self.desk.actions, "finetune.resume"))
        column.addLayout(head)
        hint = "No training yet.\n\nChoose a stage on the left and press Start training."
        self._jobs_stack = _stack(self.jobs_table, hint)
        self._jobs_stack.setFixedHeight(136)
        column.addWidget(self._jobs_stack)
        under = row(self.plot.legend, self.curves)
        under.setStretch(0, 1)
        self.curves.setFixedWidth(190)
        column.addLayout(under)
        column.addWidget(self.plot, 1)
        return frame

    def _models_card(self) -> QFrame:
        frame, column = card()
        head = row(label("Models", "title"))
        head.addStretch(1)
        head.addWidget(CommandButton(self.desk.actions, "finetune.promote", words="Put into use"))
        column.addLayout(head)
        self._models_stack = _stack(self.models_table, "No model yet. The first finished training makes one.")
        self._models_stack.setFixedHeight(132)
        column.addWidget(self._models_stack)
        return frame

    def _bind(self) -> None:
        stages = [(f"{place}.  {stage.title}", name) for place, (name, stage) in enumerate(words.STAGES.items(), 1)]
        fill_chooser(self.stage, [*stages, ("Fine-tune: learn a new task too", words.FINETUNE)])
        fill_chooser(
            self.preset, [(f"{name}: {what[0].lower()}{what[1:]}", name) for name, what in words.PRESETS.items()]
        )
        self.stage.currentIndexChanged.connect(self._stage_chosen)
        self.base.currentIndexChanged.connect(lambda _index: self._gather())
        for box in self.kinds.values():
            box.toggled.connect(lambda _on: self._summarise())
        self.jobs_table.on_chosen(self._job_chosen)
        self.curves.currentIndexChanged.connect(self._draw)
        bind = self.desk.actions.bind
        bind("finetune.start", self._start)
        bind("finetune.cancel", lambda: self._on_job("cancel", "It stops at the next checkpoint"))
        bind("finetune.resume", lambda: self._on_job("resume", "It goes on from its checkpoint"))
        bind("finetune.promote", self._promote)
        self._stage_chosen()

    # choosing -------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Jobs and library can be read."""
        self._load_takes()
        self.poll()

    def _stage_chosen(self) -> None:
        name = self.stage.currentData()
        tuning = name == words.FINETUNE
        only_tuning: tuple[QWidget, ...] = (self._base_heading, self.base)
        only_stages: tuple[QWidget, ...] = (self._kinds_heading, *self.kinds.values())
        for widget in (*only_tuning, *only_stages):
            widget.setVisible(tuning == (widget in only_tuning))
        if tuning:
            self.purpose.setText("Adds what the new takes show and keeps what the model knew (Knowledge Matching).")
            self._gather()
            return
        stage = words.STAGES[name]
        self.purpose.setText(stage.purpose)
        for kind, box in self.kinds.items():
            box.blockSignals(True)
            box.setEnabled(kind in stage.kinds)
            box.setChecked(kind in stage.kinds)
            box.blockSignals(False)
        self._summarise()

    def _load_takes(self) -> None:
        library = self.desk.library
        if library is not None:
            self.ask("shelf", library.episodes, self._show_takes)

    def _show_takes(self, takes: tuple[TakeRecord, ...]) -> None:
        self._takes = takes
        usable = Counter(take.kind for take in takes if take.outcome != "failure")
        for kind, box in self.kinds.items():
            box.setText(f"{words.kind(kind)}  ({usable.get(kind, 0)})")
        if self.stage.currentData() == words.FINETUNE:
            self._gather()
        else:
            self._summarise()

    def _chosen_takes(self) -> list[str]:
        kinds = {kind for kind, box in self.kinds.items() if box.isChecked() and box.isEnabled()}
        return [take.id for take in self._takes if take.kind in kinds and take.outcome != "failure"]

    def _summarise(self) -> None:
        if self.stage.currentData() == words.FINETUNE:
            return
        count = len(self._chosen_takes())
        if count:
            self.summary.setText(f"{count} takes to learn from; failures are left out.")
        else:
            self.summary.setText("▲ Nothing to learn from yet: record takes (Ctrl+1) or import some.")

    def _gather(self) -> None:
        """What fine-tuning would learn from, and what speaks against it."""
        base, home = self.base.currentData(), self.desk.home
        if self.stage.currentData() != words.FINETUNE or self.desk.library is None:
            return
        self._material = None
        self.summary.setText("◔ Looking for new takes")
        self.desk.bridge.run_in_background(lambda: gather(home, base), self._gathered, self._not_gathered, lane="jobs")

    def _gathered(self, material: Material) -> None:
        self._material = material
        lines = [f"{words.task(task)}: {n} new takes" for task, n in material.takes_per_task.items()]
        lines += [f"{len(material.replay)} old takes are rehearsed."]
        self.summary.setText("\n".join([*lines, *(f"▲ {words.task(warning)}" for warning in material.warnings)]))

    def _not_gathered(self, error: WorkbenchError) -> None:
        self._material = None
        self.summary.setText(f"▲ {error.what[0].upper()}{error.what[1:]}. {error.next_step}.")

    # doing ----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        jobs, stage, preset = self.desk.jobs, self.stage.currentData(), self.preset.currentData()
        takes, material = self._chosen_takes(), self._material
        if jobs is None:
            return

        def work() -> str:
            if stage == words.FINETUNE and material is not None:
                return start_finetuning(jobs, material, preset)
            return jobs.start(stage, preset, episodes=takes)

        self.notice.busy(f"Starting {words.stage(stage)}")
        self.ask("jobs", work, self._started)

    def _started(self, _run_id: str) -> None:
        self.notice.done("Training has started; it goes on even if you close the window")
        self._show_newest = True
        self.poll()

    def _on_job(self, verb: str, said: str) -> None:
        jobs, job = self.desk.jobs, self._job()
        if jobs is not None and job is not None:
            self.ask("jobs", lambda: getattr(jobs, verb)(job.run_id), lambda _none: self.notice.done(said))

    def _promote(self) -> None:
        chosen, home = self.models_table.chosen(), self.desk.home
        if chosen:
            model = self.models.records[chosen[0]]
            done = f"{words.stage(model.stage)} {model.id[:12]} is in use now"
            self.ask("jobs", lambda: promote(home, model.id), lambda _record: self._promoted(done))

    def _promoted(self, done: str) -> None:
        self.notice.done(done)
        self.poll()

    # watching -------------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Look at the run folders; never twice at the same time."""
        jobs, job = self.desk.jobs, self._job()
        if jobs is None or self._asking:
            return
        self._asking = True

        def look() -> _News:
            found = jobs.jobs()
            shown = job.run_id if job is not None else found[-1].run_id if found else ""
            return _News(tuple(reversed(found)), jobs.curve(shown) if shown else {}, tuple(reversed(jobs.models())))

        self.desk.bridge.run_in_background(look, self._show, self._not_looked, lane="jobs")

    def _not_looked(self, error: WorkbenchError) -> None:
        self._asking = False
        self.notice.error(error)

    def _show(self, news: _News) -> None:
        self._asking = False
        chosen = self._job()
        moved = self.jobs.replace(news.jobs)
        self._jobs_stack.setCurrentIndex(0 if news.jobs else 1)
        if news.jobs and (moved or not self.jobs_table.chosen()):
            keep = self.jobs.row_of(chosen.run_id) if chosen is not None and not self._show_newest else 0
            self.jobs_table.selectRow(max(0, keep))
            self._show_newest = False
        self._show_models(news.models)
        self._show_curve(news.curve)
        self._say_message()

    def _show_models(self, models: tuple[ModelEntry, ...]) -> None:
        self.models.replace(models)
        self._models_stack.setCurrentIndex(0 if models else 1)
        self.ladder.setText(_ladder(models))
        drivers = [m for m in models if m.stage == "rf"]
        entries: list[tuple[str, Any]] = [("The one in use, else the newest", None)]
        entries += [(f"{m.id[:12]} · {words.when(m.created_at)}", m.id) for m in drivers]
        fill_chooser(self.base, entries)

    def _job(self) -> JobStatus | None:
        chosen = self.jobs_table.chosen()
        return self.jobs.records[chosen[0]] if chosen and chosen[0] < len(self.jobs.records) else None

    def _job_chosen(self) -> None:
        self._say_message()
        self.poll()

    def _say_message(self) -> None:
        job = self._job()
        self.message.setText(job.message if job is not None else "")

    def _show_curve(self, curve: Curve) -> None:
        self._curve = curve
        names = [name for name in curve if name not in ("seconds", "lr")]
        losses = [name for name in names if "loss" in name]
        entries: list[tuple[str, Any]] = [("All losses", None)] if len(losses) > 1 else []
        fill_chooser(
            self.curves, entries + [(name.replace("_", " "), name) for name in (*losses, *names) if name in names]
        )
        self._draw()

    def _draw(self) -> None:
        chosen = self.curves.currentData()
        names = [chosen] if chosen else [name for name in self._curve if "loss" in name]
        self.plot.show_lines(curve_lines(self._curve, names), logarithmic=True)

    def situation(self, base: Situation) -> Situation:
        """What can be started, and what is chosen."""
        job = self._job()
        ready = self._material is not None if self.stage.currentData() == words.FINETUNE else bool(self._chosen_takes())
        return replace(
            base,
            jobs_ready=self.desk.jobs is not None and ready,
            job=str(job.state) if job is not None else "",
            model_chosen=bool(self.models_table.chosen()),
        )

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """On screen: look often."""
        super().showEvent(event)
        self._timer.start(_POLL_MS)
        self.poll()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Out of sight: look now and then, for the status bar."""
        super().hideEvent(event)
        self._timer.setInterval(_POLL_HIDDEN_MS)

    def close_page(self) -> None:
        """Stop looking."""
        self._timer.stop()
        super().close_page()


def _stack(table: QWidget, empty: str) -> QStackedWidget:
    """A table, or words while it is empty."""
    stack = QStackedWidget()
    stack.addWidget(table)
    note = label(empty, "dim", wrap=True)
    note.setAlignment(note.alignment().AlignCenter)
    stack.addWidget(note)
    stack.setCurrentIndex(1)
    return stack


def _ladder(models: tuple[ModelEntry, ...]) -> str:
    """Which stages have a model already."""
    trained = Counter(model.stage for model in models)
    lines = [
        f"{'✔' if trained[name] else '○'}  {stage.title}: {trained[name] or 'no'} model{'s' * (trained[name] != 1)}"
        for name, stage in words.STAGES.items()
    ]
    return "\n".join(lines)
