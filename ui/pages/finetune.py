"""Fine-tuning by one click, its receipt, and all trainings; a stage can be trained from nothing here too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.fresh import GATHER_MS, Fresh
from ui.pages.page import Page, card, chooser, fill_chooser, label, row, side_panel
from ui.records import Brief, ModelEntry, briefs
from ui.run_watch import RunWatch
from ui.translate import t
from ui.widgets.button import CommandButton
from ui.widgets.plots import Plot
from ui.widgets.progress import curve_lines, job_told, jobs_model
from ui.widgets.receipt import ReceiptPanel
from ui.widgets.rows import RowsTable
from ui.widgets.stage_choice import StageChoice
from ui.widgets.tuning import TuningOptions, TuningSummary
from workbench.core.errors import WorkbenchError
from workbench.core.events import LibraryChanged
from workbench.services.finetune_plan import Offer, offer, one_click, retry
from workbench.services.finetune_time import receipt_of
from workbench.services.jobs import Jobs, JobStatus
from workbench.services.model_shelf import promote, rollback

_SETTLE_MS = 250
_CURVES, _RECEIPT, _OPTIONS = 0, 1, 2
_NOT_DRAWN = ("seconds", "lr")
Curve = Mapping[str, tuple[list[float], list[float]]]


@dataclass(frozen=True, slots=True)
class _News:
    """One look at the jobs; ``shown`` is the run that curve and receipt belong to."""

    jobs: tuple[JobStatus, ...]
    shown: str
    curve: Curve
    receipt: Mapping[str, Any] | None
    models: tuple[ModelEntry, ...]


class FinetunePage(Page):
    """What one click would do on the left; trainings, and curves, receipt or options, on the right."""

    name = "finetune"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.stage = chooser(t("What to do"))
        self.summary = TuningSummary()
        self.choice = StageChoice()
        self.options = TuningOptions(desk.theme, desk.actions, self._options_changed)
        self.jobs = jobs_model(desk.theme)
        self.jobs_table = RowsTable(self.jobs, desk.theme, t("Trainings"))
        self.plot = Plot(desk.theme, t("Curves of the chosen training"), t("step"))
        self.curves = chooser(t("Figure to draw"))
        self.receipt = ReceiptPanel(desk.theme, desk.actions)
        self.message = label("", "dim", wrap=True)
        self.offer: Offer | None = None
        self._asked = 0
        self._curve: Curve = {}
        self._receipt_of = ""
        self._show_newest = True
        self.watch = RunWatch(self, desk, self._question, self._show, self.notice.error)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._look)
        self._build()
        self._bind()
        self._fresh = Fresh(self, self._load_takes, GATHER_MS)
        self.listeners.on(LibraryChanged, lambda _event: self._fresh.changed())

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        left = QVBoxLayout()
        left.addWidget(self._new_card())
        line.addWidget(side_panel(left))
        right = QVBoxLayout()
        right.setSpacing(10)
        right.addWidget(self._jobs_card(), 1)
        self.below = QStackedWidget()
        self.below.addWidget(self._curves_card())
        frame, column = card()
        column.addWidget(self.receipt)
        self.below.addWidget(frame)
        self.below.addWidget(self.options)
        right.addWidget(self.below, 3)
        line.addLayout(right, 1)
        self.body.addLayout(line, 1)

    def _new_card(self) -> QFrame:
        frame, column = card(spacing=9)
        column.addWidget(self.stage)
        column.addWidget(CommandButton(self.desk.actions, "finetune.start", tall="true"))
        column.addWidget(self.summary)
        column.addWidget(self.choice)
        column.addStretch(1)
        self._options_button = CommandButton(self.desk.actions, "finetune.options")
        column.addWidget(self._options_button)
        return frame

    def _jobs_card(self) -> QFrame:
        frame, column = card()
        head = row(label(t("Trainings"), "title"))
        head.addStretch(1)
        for verb in ("pause", "cancel", "resume"):
            head.addWidget(CommandButton(self.desk.actions, f"finetune.{verb}"))
        column.addLayout(head)
        self._jobs_stack = _stack(self.jobs_table, t("No training yet.\n\nRecord takes, then press Fine-tune."))
        self._jobs_stack.setMinimumHeight(136)
        column.addWidget(self._jobs_stack)
        column.addWidget(self.message)
        return frame

    def _curves_card(self) -> QFrame:
        frame, column = card()
        under = row(self.plot.legend, self.curves)
        under.setStretch(0, 1)
        self.curves.setFixedWidth(190)
        column.addLayout(under)
        column.addWidget(self.plot, 1)
        return frame

    def _bind(self) -> None:
        entries = [(t("Fine-tune: learn what is new"), words.FINETUNE)]
        entries += [(t("Train {stage} from nothing", stage=words.stage(name)), name) for name in words.STAGES]
        fill_chooser(self.stage, entries)
        self.stage.currentIndexChanged.connect(lambda _index: self._stage_chosen())
        self.jobs_table.on_chosen(self._job_chosen)
        self.curves.currentIndexChanged.connect(self._draw)
        bind = self.desk.actions.bind
        bind("finetune.start", self._start)
        bind("finetune.options", self._show_below)
        bind("finetune.tick", self.options.tick)
        bind("finetune.pause", self._pause)
        bind("finetune.cancel", lambda: self._on_job("cancel", t("It stops at the next checkpoint")))
        bind("finetune.resume", lambda: self._on_job("resume", t("It goes on from its checkpoint")))
        bind("finetune.promote", self._promote)
        bind("finetune.retry", self._retry)
        bind("finetune.rollback", self._roll_back)
        self._stage_chosen()

    # what one click would do ----------------------------------------------------------------------------------------

    @property
    def tuning(self) -> bool:
        """One click fine-tunes; otherwise it trains a stage from nothing."""
        return bool(self.stage.currentData() == words.FINETUNE)

    def opened(self) -> None:
        """Jobs and library can be read."""
        self._fresh.changed()
        self.watch.look()

    def _stage_chosen(self) -> None:
        self.summary.setVisible(self.tuning)
        self.choice.setVisible(not self.tuning)
        self._options_button.setVisible(self.tuning)
        self.desk.actions["finetune.start"].setText(t("Fine-tune") if self.tuning else t("Start training"))
        if self.tuning:
            self._look()
        else:
            self.choice.show_stage(self.stage.currentData())
        self._show_below()

    def _load_takes(self) -> None:
        library = self.desk.library
        if library is not None:
            self.ask("shelf", lambda: briefs(library.episodes()), self._show_takes)

    def _show_takes(self, takes: tuple[Brief, ...]) -> None:
        self.choice.show_takes(takes)
        self._settle.start()

    def _options_changed(self) -> None:
        self._settle.start()  # typing a number is many changes

    def _look(self) -> None:
        """Ask, in the background, what one click would do; only the answer to the newest question counts."""
        jobs = self.desk.jobs
        if jobs is None or not self.tuning:
            return
        self._asked += 1
        asked, base, takes, options = (
            self._asked,
            self.options.base.currentData(),
            self.options.chosen(),
            self.options.options(),
        )
        self.offer = None
        self.summary.looking()
        if takes == ():
            self._refused(asked, WorkbenchError(t("no take is ticked"), t("Tick some in the options")))
            return
        self.desk.bridge.run_in_background(
            lambda: offer(jobs.home, base, takes, options),
            lambda found: self._offered(asked, found),
            lambda error: self._refused(asked, error),
            lane="jobs",
        )

    def _offered(self, asked: int, found: Offer) -> None:
        if asked == self._asked:
            self.offer = found
            self.summary.show_offer(found)
            self.options.show_takes(found.candidates)

    def _refused(self, asked: int, error: WorkbenchError) -> None:
        if asked == self._asked:
            self.offer = None
            self.summary.refused(error)

    # doing ----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        jobs, found, options = self.desk.jobs, self.offer, self.options.options()
        stage, takes, preset = self.stage.currentData(), self.choice.takes(), self.choice.preset.currentData()
        if jobs is None:
            return

        def work() -> str:
            if stage != words.FINETUNE:
                return jobs.start(stage, preset, episodes=takes)
            if found is None:
                raise WorkbenchError(t("nothing to learn is chosen"), t("Record takes of a new task"))
            return one_click(jobs, found.material, options)

        self.notice.busy(t("Starting {what}", what=words.stage(stage)))
        self.ask("jobs", work, self._started)

    def _started(self, _run_id: str) -> None:
        self.notice.done(t("It has started, and goes on even if you close the window"))
        self.desk.actions["finetune.options"].setChecked(False)
        self._show_newest = True
        self.watch.look()

    def _on_job(self, verb: str, said: str) -> None:
        jobs, job = self.desk.jobs, self._job()
        if jobs is not None and job is not None:
            self.ask("jobs", lambda: getattr(jobs, verb)(job.run_id), lambda _none: self._say_done(said))

    def _pause(self) -> None:
        job = self._job()
        if job is not None and job.pausing:
            self._on_job("go_on", t("It goes on"))
        else:
            self._on_job("pause", t("It rests after its present step"))

    def _retry(self) -> None:
        jobs, job = self.desk.jobs, self._job()
        if jobs is not None and job is not None:
            self.ask("jobs", lambda: retry(jobs, job.run_id), self._started)

    def _promote(self) -> None:
        job, home = self._job(), self.desk.home
        if job is not None and job.model_id:
            said = t("The new model is in use now")
            self.ask("jobs", lambda: promote(home, job.model_id), lambda _record: self._say_done(said))

    def _roll_back(self) -> None:
        home, said = self.desk.home, t("The model before is in use again")
        self.ask("jobs", lambda: rollback(home), lambda _record: self._say_done(said))

    def _say_done(self, said: str) -> None:
        self.notice.done(said)
        self.watch.look()

    # watching -------------------------------------------------------------------------------------------------------

    def _question(self, jobs: Jobs) -> Callable[[], _News]:
        """Read the run folders, and more of the chosen training."""
        job, home = self._job(), self.desk.home

        def look() -> _News:
            found = jobs.jobs()
            shown = job.run_id if job is not None else found[-1].run_id if found else ""
            tuned = any(each.run_id == shown and each.tuning and each.state == "done" for each in found)
            receipt = receipt_of(home, shown) if tuned else None
            curve = jobs.curve(shown) if shown else {}
            return _News(tuple(reversed(found)), shown, curve, receipt, tuple(reversed(jobs.models())))

        return look

    def _show(self, news: _News) -> None:
        chosen = self._job()
        moved = self.jobs.replace(news.jobs)
        self._jobs_stack.setCurrentIndex(0 if news.jobs else 1)
        if news.jobs and (moved or not self.jobs_table.chosen()):
            keep = self.jobs.row_of(chosen.run_id) if chosen is not None and not self._show_newest else 0
            self.jobs_table.selectRow(max(0, keep))
            self._show_newest = False
        self.options.show_models(news.models)
        job = self._job()
        if job is not None and job.run_id == news.shown:
            self._show_curve(news.curve)
            self._receipt_of = news.shown if news.receipt is not None else ""
            if news.receipt is not None:
                self.receipt.show_receipt(news.receipt)
        self._show_below()
        self._say_message()

    def _show_below(self) -> None:
        job = self._job()
        if self.tuning and self.desk.actions["finetune.options"].isChecked():
            self.below.setCurrentIndex(_OPTIONS)
        else:
            shown = job is not None and job.run_id == self._receipt_of
            self.below.setCurrentIndex(_RECEIPT if shown else _CURVES)

    def _job(self) -> JobStatus | None:
        chosen = self.jobs_table.chosen()
        return self.jobs.records[chosen[0]] if chosen and chosen[0] < len(self.jobs.records) else None

    def _job_chosen(self) -> None:
        self._say_message()
        self._show_below()
        self.watch.look()

    def _say_message(self) -> None:
        job = self._job()
        self.message.setText(job_told(job) if job is not None else "")

    def _show_curve(self, curve: Curve) -> None:
        self._curve = curve
        names = [name for name in curve if name not in _NOT_DRAWN]
        losses = [name for name in names if "loss" in name]
        entries: list[tuple[str, Any]] = [(t("All losses"), None)] if len(losses) > 1 else []
        fill_chooser(self.curves, entries + [(name.replace("_", " "), name) for name in (*losses, *names)])
        self._draw()

    def _draw(self) -> None:
        chosen = self.curves.currentData()
        names = [chosen] if chosen else [name for name in self._curve if "loss" in name]
        self.plot.show_lines(curve_lines(self._curve, names), logarithmic=True)

    def situation(self, base: Situation) -> Situation:
        """What can be started, and what is chosen."""
        job = self._job()
        ready = self.offer is not None if self.tuning else bool(self.choice.takes())
        refused = job is not None and job.run_id == self._receipt_of and not self.receipt.allowed
        self.desk.actions["finetune.pause"].setChecked(job is not None and job.pausing and not job.ended)
        return replace(
            base,
            jobs_ready=self.desk.jobs is not None and ready,
            job=str(job.state) if job is not None else "",
            tuned=job is not None and job.run_id == self._receipt_of,
            model_chosen=job is not None and bool(job.model_id) and not refused,
            listing=self.below.currentIndex() == _OPTIONS,
        )

    def close_page(self) -> None:
        """Stop looking."""
        self.watch.stop()
        self._settle.stop()
        super().close_page()


def _stack(table: QWidget, empty: str) -> QStackedWidget:
    """A table, or words while it is empty."""
    stack = QStackedWidget()
    note = label(empty, "dim", wrap=True)
    note.setAlignment(note.alignment().AlignCenter)
    for widget in (table, note):
        stack.addWidget(widget)
    stack.setCurrentIndex(1)
    return stack
