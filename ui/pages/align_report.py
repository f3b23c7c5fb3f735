"""The report half of the Align page: which alignment, its figures, clips and map; measuring, opening and copying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PyQt6.QtCore import QUrl
from PyQt6.QtGui import QDesktopServices, QGuiApplication

from ui import words
from ui.pages.page import Page, chooser, fill_chooser
from ui.translate import t
from ui.widgets.align_views import AlignViews
from ui.widgets.alignment_table import as_text
from workbench.core.errors import WorkbenchError
from workbench.core.types import Image
from workbench.services.alignment_pictures import Exhibits, LatentMap, Neighbours
from workbench.services.alignment_report import AlignmentReport, explain_run, has_report, matrix_of, read_report
from workbench.services.jobs import JobStatus
from workbench.services.report import write_run_report


@dataclass(frozen=True, slots=True)
class Shown:
    """The report on screen and what its pictures are read with."""

    run_id: str
    report: AlignmentReport
    exhibits: Exhibits
    latent: LatentMap
    matrix: Image | None


class ReportPart:
    """Used in the window's thread; reads and measures in the background.

    Args:
        changed: called when there is something else to see.
    """

    def __init__(self, page: Page, views: AlignViews, changed: Callable[[], None]) -> None:
        self._page, self._views, self._changed = page, views, changed
        self.desk = page.desk
        self.runs = chooser(t("Which alignment to look at"))
        self.shown: Shown | None = None
        self._asked = ""  # the run whose report is being read
        self._missing = ""  # the run that has none
        self._measuring = self._closed = False
        self._clip, self._reading_clip = 0, False
        self.runs.currentIndexChanged.connect(lambda _index: self.load())
        bind = self.desk.actions.bind
        bind("align.previous", lambda: self._step(-1))
        bind("align.next", lambda: self._step(1))
        bind("align.colour", lambda: views.map.colour_by_person(self.desk.actions["align.colour"].isChecked()))
        bind("align.explain", self._measure)
        bind("align.open", self._open)
        bind("align.copy", self._copy)

    @property
    def can_measure(self) -> bool:
        """An alignment is chosen and none is being measured."""
        return self.runs.currentData() is not None and not self._measuring

    @property
    def clips(self) -> int:
        """How many clips of people there are to look through."""
        return self.shown.exhibits.humans if self.shown is not None else 0

    @property
    def clip(self) -> int:
        """The one that is wanted, from 0."""
        return self._clip

    def close(self) -> None:
        """Stop measuring."""
        self._closed = True

    def show_runs(self, runs: tuple[JobStatus, ...]) -> None:
        """Offer these, newest first; one that is new is shown at once."""
        newest_before = self.runs.itemData(0) if self.runs.count() else None
        newest = runs[0].run_id if runs else None
        if newest != newest_before:
            self._missing = ""
        fill_chooser(
            self.runs, [(_words(run), run.run_id) for run in runs], newest if newest != newest_before else None
        )
        self.load()

    def look_again(self) -> None:
        """Read a report that was missing a moment ago: the model is there before its figures are."""
        self._missing = ""
        self.load()

    def why_empty(self) -> str:
        """Why there is nothing to see, "" if there is."""
        if self.shown is not None:
            return ""
        if self._measuring:
            return t("Measuring on held-out takes.\n\nIt takes up to a minute.")
        if self._missing:
            return t("This alignment has no report yet.\n\nPress Measure: it looks at held-out takes, up to a minute.")
        return t("No alignment is finished yet.\n\nIts figures and pictures will be here.")

    def load(self) -> None:
        """Read the report of the chosen run, unless it is on screen, being read or known to be missing."""
        run_id, home = self.runs.currentData(), self.desk.home
        on_screen = self.shown.run_id if self.shown is not None else ""
        if run_id is None or self._measuring or run_id in (on_screen, self._asked, self._missing):
            return
        self._asked = run_id

        def failed(error: WorkbenchError) -> None:
            self._asked, self._missing, self.shown = "", run_id, None
            self._page.notice.error(error)
            self._changed()

        self.desk.bridge.run_in_background(
            lambda: _read(home, run_id), lambda shown: self._show(run_id, shown), failed, lane="jobs"
        )

    def _show(self, run_id: str, shown: Shown | None) -> None:
        self._asked = ""
        if run_id != self.runs.currentData():
            self.load()  # another one was chosen in the meantime
            return
        self.shown = shown
        self._missing = "" if shown is not None else run_id
        if shown is not None:
            self._views.figures.show_report(shown.report, shown.matrix)
            self._views.map.show_map(shown.latent)
            self._views.explain_map(sum(shown.latent.share))
            self._clip = 0
            self._load_clip()
        self._changed()

    # clips ----------------------------------------------------------------------------------------------------------

    def _step(self, by: int) -> None:
        if self.clips:
            self._clip = (self._clip + by) % self.clips
            self._load_clip()

    def _load_clip(self) -> None:
        """Ask for the pictures of the wanted clip; while some are read, only the newest wish is remembered."""
        library, shown, number = self.desk.library, self.shown, self._clip
        if shown is None or library is None or self._reading_clip:
            return
        if not shown.exhibits.humans:
            self._views.clips.show_nothing(t("No clip of a person was held out: align with people's takes to see any."))
            return
        self._reading_clip = True

        def failed(error: WorkbenchError) -> None:
            self._reading_clip = False
            self._page.notice.error(error)

        self.desk.bridge.run_in_background(
            lambda: shown.exhibits.neighbours(library, number),
            lambda near: self._show_clip(shown, number, near),
            failed,
            lane="pictures",
        )

    def _show_clip(self, shown: Shown, number: int, near: Neighbours | None) -> None:
        self._reading_clip = False
        if shown is not self.shown or number != self._clip:
            self._load_clip()
        elif near is None:
            gone = t("The take of clip {n} cannot be read any more; the arrow keys lead on.", n=number + 1)
            self._views.clips.show_nothing(gone)
        else:
            self._views.clips.show_neighbours(near, number, self.clips)

    # doing ----------------------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        """Measure the chosen alignment again, or at last if it was trained without a report."""
        home, run_id = self.desk.home, self.runs.currentData()
        if run_id is None or self._measuring:
            return
        self._measuring = True
        self._page.notice.busy(t("Measuring on held-out takes; this takes up to a minute"))

        def work() -> None:
            explain_run(home, run_id, stop=lambda: self._closed)
            write_run_report(home, run_id)

        def failed(error: WorkbenchError) -> None:
            self._measuring = False
            self._page.notice.error(error)
            self._changed()

        self.desk.bridge.run_in_background(work, self._measured, failed, lane="look")
        self._changed()

    def _measured(self, _none: None) -> None:
        self._measuring = False
        self._page.notice.done(t("The report is ready"))
        self.shown, self._missing = None, ""
        self.load()

    def _open(self) -> None:
        run_id = self.runs.currentData()
        page = self.desk.home / "runs" / str(run_id) / "report.html"
        if run_id is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(page))):
            self._page.notice.error(
                WorkbenchError(t("no browser could be opened"), t("Open {page} yourself", page=page))
            )

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and self.shown is not None:
            clipboard.setText(as_text(self._views.figures.rows))
            self._page.notice.done(t("The figures are in the clipboard"))


def _read(home: Path, run_id: str) -> Shown | None:
    """None for a run that was not measured."""
    if not has_report(home, run_id):
        return None
    exhibits = Exhibits(home / "runs" / run_id)
    return Shown(run_id, read_report(home, run_id), exhibits, exhibits.map(), matrix_of(home, run_id))


def _words(run: JobStatus) -> str:
    began = words.when(datetime.fromtimestamp(run.started_at, UTC).isoformat()) if run.started_at else ""
    return f"{began} · {run.run_id[:8]}".removeprefix(" · ")
