"""Aligning: bring people's video and robot actions into one vocabulary, watch it, and see how well it went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from PyQt6.QtWidgets import QFrame, QHBoxLayout, QProgressBar

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.fresh import GATHER_MS, Fresh
from ui.pages.align_report import ReportPart
from ui.pages.page import PANEL_PX, Page, card, chooser, fill_chooser, label, row
from ui.records import Brief, briefs
from ui.run_watch import RunWatch
from ui.translate import mark, t
from ui.widgets.align_views import VIEWS, AlignViews, Curve
from ui.widgets.button import CommandButton
from ui.widgets.chooser import Tick
from workbench.core.errors import WorkbenchError
from workbench.core.events import LibraryChanged
from workbench.core.states import JobState
from workbench.services.align_time import Estimate, estimate
from workbench.services.aligning import PHASES, Aligning, Alignment, book_size
from workbench.services.jobs import Jobs, JobStatus

_KINDS = ("teleop", "human", "imported")
_PHASES = {"act_vae": mark("Act-VAE"), "vd_vae": mark("Alignment"), "report": mark("Report")}


@dataclass(frozen=True, slots=True)
class _News:
    """One look at the alignments.

    Attributes:
        job, curve, codes: the training that is drawn, and the size of its book.
        runs: finished alignments, newest first.
    """

    latest: Alignment | None
    job: JobStatus | None
    curve: Curve
    codes: int
    runs: tuple[JobStatus, ...]


class AlignPage(Page):
    """What to learn from on the left; training, figures, clips and map on the right."""

    name = "align"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.preset = chooser(t("How long to train"))
        self.kinds = {kind: Tick(words.kind(kind)) for kind in _KINDS}
        self.summary, self.time = label("", wrap=True), label("", "dim", wrap=True)
        self.phase, self.bar = label("", wrap=True), QProgressBar()
        self.views = AlignViews(desk.theme)
        self.report = ReportPart(self, self.views, self._say)
        self._takes: tuple[Brief, ...] | None = None
        self._latest: Alignment | None = None
        self._view = VIEWS[0]
        self._drawn = False
        self.watch = RunWatch(self, desk, lambda jobs: lambda: _look(desk.home, jobs), self._show, self.notice.error)
        self._build()
        self._bind()
        self._fresh = Fresh(self, self._load_takes, GATHER_MS)
        self.listeners.on(LibraryChanged, lambda _event: self._fresh.changed())

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        left = self._new_card()
        left.setFixedWidth(PANEL_PX)
        line.addWidget(left)
        line.addWidget(self._result_card(), 1)
        self.body.addLayout(line, 1)

    def _new_card(self) -> QFrame:
        frame, column = card(spacing=9)
        column.addWidget(label(t("New alignment"), "title"))
        purpose = t(
            "Finds one vocabulary of movements for robot actions and for what is seen, people's hands included."
        )
        column.addWidget(label(purpose, "dim", wrap=True))
        column.addWidget(label(t("How long"), "heading"))
        column.addWidget(self.preset)
        column.addWidget(label(t("Learn from takes of"), "heading"))
        for kind, box in self.kinds.items():
            box.setChecked(True)
            box.setAccessibleName(t("Learn from takes of kind {kind}", kind=words.kind(kind)))
            column.addWidget(box)
        column.addWidget(self.summary)
        column.addWidget(self.time)
        column.addStretch(1)
        column.addWidget(self.phase)
        self.bar.setTextVisible(True)
        self.bar.setAccessibleName(t("Progress of the alignment"))
        column.addWidget(self.bar)
        buttons = row(
            CommandButton(self.desk.actions, "align.cancel"), CommandButton(self.desk.actions, "align.resume")
        )
        column.addLayout(buttons)
        column.addWidget(CommandButton(self.desk.actions, "align.start", tall="true"))
        return frame

    def _result_card(self) -> QFrame:
        frame, column = card()
        head = row(*(CommandButton(self.desk.actions, f"align.{name}") for name in VIEWS))
        column.addLayout(head)
        column.addWidget(self.views, 1)
        under = QHBoxLayout()
        under.setSpacing(8)
        self.report.runs.setFixedWidth(222)
        under.addWidget(self.report.runs)
        under.addStretch(1)
        for name in ("colour", "explain", "copy", "open"):
            under.addWidget(CommandButton(self.desk.actions, f"align.{name}"))
        column.addLayout(under)
        return frame

    def _bind(self) -> None:
        fill_chooser(self.preset, [(t(said), name) for name, said in words.PRESETS.items()])
        self.preset.currentIndexChanged.connect(lambda _index: self._estimate())
        for box in self.kinds.values():
            box.toggled.connect(lambda _on: self._summarise())
        bind = self.desk.actions.bind
        bind("align.start", self._start)
        said = t("It stops at the next checkpoint")
        bind("align.cancel", lambda: self._on_latest(lambda all_, one: all_.cancel(one), said))
        goes_on = t("It goes on where it stood")
        bind("align.resume", lambda: self._on_latest(lambda all_, one: all_.resume(one), goes_on))
        for name in VIEWS:
            bind(f"align.{name}", lambda name=name: self.show_view(name))  # type: ignore[misc]
        self.show_view(VIEWS[0])
        self._show_progress()

    # choosing -------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Jobs and library can be read."""
        self._fresh.changed()
        self._estimate()
        self.watch.look()

    def _load_takes(self) -> None:
        library = self.desk.library
        if library is not None:
            self.ask("shelf", lambda: briefs(library.episodes()), self._show_takes)

    def _show_takes(self, takes: tuple[Brief, ...]) -> None:
        self._takes = takes
        usable = Counter(take.kind for take in takes if take.outcome != "failure")
        for kind, box in self.kinds.items():
            box.setText(f"{words.kind(kind)}  ({usable.get(kind, 0)})")
            box.setEnabled(usable.get(kind, 0) > 0)
        self._summarise()

    def chosen(self) -> list[str]:
        """Ids of the takes that the next alignment would learn from."""
        kinds = {kind for kind, box in self.kinds.items() if box.isChecked() and box.isEnabled()}
        return [take.id for take in self._takes or () if take.kind in kinds and take.outcome != "failure"]

    def _counts(self) -> Counter[str]:
        chosen = set(self.chosen())
        return Counter(take.kind for take in self._takes or () if take.id in chosen)

    def _summarise(self) -> None:
        counts = self._counts()
        if self._takes is None:
            said = t("◔ Reading the takes")
        elif not counts["teleop"]:
            said = t(
                "▲ No robot takes: record demonstrations first (Record, Ctrl+1). The vocabulary is made from them."
            )
        elif not counts["human"]:
            said = t(
                "▲ No people's takes: it will read robots only. Record some (Record, then “A person's hand”) or import "
                "video (Library)."
            )
        else:
            values = {"robot": counts["teleop"] + counts["imported"], "human": counts["human"]}
            said = t("{robot} robot takes and {human} of people; failures are left out.", **values)
        self.summary.setText(said)

    def _estimate(self) -> None:
        home, preset = self.desk.home, self.preset.currentData()
        if self.desk.jobs is None or preset is None:
            return
        self.ask("jobs", lambda: estimate(home, preset), self._show_estimate)

    def _show_estimate(self, found: Estimate) -> None:
        about = words.duration(found.seconds) if found.seconds < 60 else t("{n} min", n=round(found.seconds / 60))
        self.time.setText(
            t("Takes about {time}, by the pace of earlier trainings here.", time=about)
            if found.measured
            else t("Takes very roughly {time}; the first time will tell.", time=about)
        )

    # doing ----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        jobs, home, preset, takes = self.desk.jobs, self.desk.home, self.preset.currentData(), self.chosen()
        if jobs is None:
            return
        self.notice.busy(t("Starting the alignment"))
        self.ask("jobs", lambda: Aligning(home, jobs).start(preset, takes), self._started)

    def _started(self, _align_id: str) -> None:
        self.notice.done(t("The alignment has started; it goes on even if you close the window"))
        self.show_view("training")
        self.watch.look()

    def _on_latest(self, work: Any, said: str) -> None:
        jobs, home, latest = self.desk.jobs, self.desk.home, self._latest
        if jobs is None or latest is None:
            return

        def done(_none: object) -> None:
            self.notice.done(said)
            self.watch.look()

        self.ask("jobs", lambda: work(Aligning(home, jobs), latest.id), done)

    # watching -------------------------------------------------------------------------------------------------------

    def _show(self, news: _News) -> None:
        before = self._latest
        self._latest = news.latest
        if news.job is not None:
            self.views.training.show_training(news.job, news.curve, news.codes)
        else:
            self.views.training.show_nothing()
        self._drawn = news.job is not None
        self.report.show_runs(news.runs)
        if before is not None and not before.ended and news.latest is not None and news.latest.ended:
            self._ended(news.latest)
        self._show_progress()
        self._say()

    def _ended(self, latest: Alignment) -> None:
        if latest.state is JobState.DONE:
            self.notice.done(t("The alignment is finished; its figures are on this page"))
            self.report.look_again()
            self.show_view("figures")
            self._estimate()
        elif latest.state is JobState.FAILED:
            next_ = t("Resume goes on where it stood")
            self.notice.error(WorkbenchError(latest.message or t("the alignment failed"), next_))

    def _show_progress(self) -> None:
        latest = self._latest
        self.bar.setVisible(latest is not None and latest.state is not JobState.DONE)
        if latest is None or latest.state is JobState.DONE:
            self.phase.setText("")
            return
        place = PHASES.index(latest.phase) + 1
        words_ = t("Part {n} of {count}: {phase}", n=place, count=len(PHASES), phase=t(_PHASES[latest.phase]))
        state, job = words.job_state(str(latest.state)), latest.job
        if latest.state is JobState.RUNNING and job is not None and latest.phase != PHASES[-1]:
            step = t("step {step} of {steps}", step=job.step, steps=job.steps)
            loss = job.metrics.get("loss")
            known = [step, t("loss {value}", value=words.figure(loss))] if isinstance(loss, float) else [step]
            self.phase.setText("\n".join([words_, ", ".join(known), words.left(job.eta_s)]))
        else:
            self.phase.setText(f"{words_}\n{state.symbol} {state.word}: {latest.message}".rstrip(": "))
        self.bar.setMaximum(max(1, latest.steps))
        self.bar.setValue(latest.step)

    def show_view(self, name: str) -> None:
        """One of ``VIEWS``."""
        self._view = name
        for other in VIEWS:
            self.desk.actions[f"align.{other}"].setChecked(other == name)
        self._say()

    def _say(self) -> None:
        """The chosen view, or why there is nothing in it."""
        if self._view == VIEWS[0]:
            nothing = t("Nothing was aligned yet.\n\nChoose takes on the left and press Start aligning.")
            empty = "" if self._drawn else nothing
        else:
            empty = self.report.why_empty()
        self.views.show_view(self._view, empty)

    def situation(self, base: Situation) -> Situation:
        """What can be started, and what there is to see."""
        latest = self._latest
        working = latest is not None and not latest.ended
        ready = self.desk.jobs is not None and self._counts()["teleop"] > 0 and not working
        return replace(
            base,
            jobs_ready=ready,
            job=str(latest.state) if latest is not None else "",
            model_chosen=self.report.can_measure and not working,
            report=self.report.shown is not None,
            clips=self.report.clips > 0 and self._view == "clips",
        )

    def close_page(self) -> None:
        """Stop looking, and measuring."""
        self.watch.stop()
        self.report.close()
        super().close_page()


def _look(home: Any, jobs: Jobs) -> _News:
    """Read the run folders: the newest alignment, what it trains now, and all that finished."""
    latest = Aligning(home, jobs).latest()
    every = jobs.jobs()
    mine = [run for run in every if run.stage in ("act_vae", "vd_vae")]
    job = latest.job if latest is not None and latest.job is not None else mine[-1] if mine else None
    finished = tuple(run for run in reversed(every) if run.stage == "vd_vae" and run.state is JobState.DONE)
    curve = jobs.curve(job.run_id) if job is not None else {}
    return _News(latest, job, curve, book_size(home, job.run_id) if job is not None else 1, finished)
