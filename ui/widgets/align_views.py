"""The four ways to look at an alignment: its training, its figures, clips beside robot takes, the map of latents."""

from __future__ import annotations

from collections.abc import Mapping

from PyQt6.QtGui import QPixmap
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from ui.images import to_image
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.alignment_table import FigureRow, figure_rows, figures_model
from ui.widgets.code_bars import CodeBars
from ui.widgets.latent_map import LatentMapView
from ui.widgets.neighbours import NeighboursView
from ui.widgets.plots import Plot
from ui.widgets.progress import curve_lines
from ui.widgets.rows import RowsTable
from workbench.core.types import Image
from workbench.services.alignment_report import AlignmentReport
from workbench.services.collapse import ADVICE, Alarm, collapse, positions
from workbench.services.jobs import JobStatus

VIEWS = ("training", "figures", "clips", "map")
Curve = Mapping[str, tuple[list[float], list[float]]]
_LOSSES = {"act_vae": ("error", "commit"), "vd_vae": ("contrast", "decode", "forward", "commit")}
_MATRIX_PX = 150
_FEW = mark("Collapse: only {share} of the codes are in use.")
_FEW_HUMAN = mark("Collapse: only {share} of the codes are in use for people's clips.")
_FALLING = mark("Collapse: the variety of codes fell from {before} to {value}.")
_FALLING_HUMAN = mark("Collapse: the variety of codes for people's clips fell from {before} to {value}.")
_ADVICE = mark(ADVICE)


class TrainingView(QWidget):
    """Curves of the training at work, how many codes it uses, and the alarm when they become few."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.plot = Plot(theme, t("Curves of the training"), t("step"))
        self.bars = CodeBars(theme)
        self.alarm = QLabel()
        self.alarm.setWordWrap(True)
        self.alarm.setVisible(False)
        self.heading = QLabel(t("Variety of codes by position (perplexity)"))
        self.heading.setProperty("heading", True)
        self.heading.setVisible(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.alarm)
        column.addWidget(self.plot, 1)
        column.addWidget(self.heading)
        column.addWidget(self.bars)

    def show_training(self, job: JobStatus, curve: Curve, codes: int) -> Alarm | None:
        """Draw one training; returns the alarm that is shown, if any."""
        names = [name for name in _LOSSES.get(job.stage, ()) if name in curve]
        names += ["loss"] if "loss" in curve else []
        self.plot.show_lines(curve_lines(curve, names), logarithmic=True)
        alarm, values = collapse(curve, job.steps), positions(curve)
        self.heading.setVisible(bool(values))
        self.bars.show_values(values, codes, low=alarm is not None)
        self.alarm.setVisible(alarm is not None)
        if alarm is not None:
            self.alarm.setText(f"▲ {alarm_words(alarm)} {t(_ADVICE)}.")
            self.alarm.setStyleSheet(f"color: {self._theme.colours.warn}; font-weight: bold;")
        return alarm

    def show_nothing(self) -> None:
        """No training to draw."""
        self.plot.show_lines(())
        self.bars.show_values((), 1, low=False)
        self.heading.setVisible(False)
        self.alarm.setVisible(False)


def alarm_words(alarm: Alarm) -> str:
    """What is wrong, as a sentence."""
    if alarm.kind == "few":
        return t(_FEW_HUMAN if alarm.human else _FEW, share=f"{100 * alarm.value:.0f} %")
    values = {"before": f"{alarm.before:.0f}", "value": f"{alarm.value:.0f}"}
    return t(_FALLING_HUMAN if alarm.human else _FALLING, **values)


class FiguresView(QWidget):
    """The table of figures and the matrix of who finds whom."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.model = figures_model(theme)
        self.table = RowsTable(self.model, theme, t("Figures of the alignment"))
        self.matrix = QLabel()
        self.matrix.setScaledContents(True)
        self.matrix.setAccessibleName(t("Pictures against actions"))
        self.matrix.setFixedSize(_MATRIX_PX, _MATRIX_PX)
        self.where = QLabel()
        self.where.setProperty("dim", True)
        self.where.setWordWrap(True)
        explained = QLabel(
            t("On the left, rows are pictures and columns actions; a dark diagonal means that each finds its own.")
        )
        explained.setProperty("dim", True)
        explained.setWordWrap(True)
        said = QVBoxLayout()
        said.addWidget(self.where)
        said.addWidget(explained)
        said.addStretch(1)
        under = QHBoxLayout()
        under.setSpacing(12)
        under.addWidget(self.matrix)
        under.addLayout(said, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.table, 1)
        column.addLayout(under)

    @property
    def rows(self) -> tuple[FigureRow, ...]:
        return self.model.records

    def show_report(self, report: AlignmentReport, matrix: Image | None) -> None:
        """All figures of a report."""
        self.model.replace(figure_rows(report))
        self.matrix.setVisible(matrix is not None)
        if matrix is not None:
            self.matrix.setPixmap(QPixmap.fromImage(to_image(matrix)))
        values = {"windows": report.found["windows"], "takes": report.found["takes"]}
        where = (
            t("Measured on {windows} windows of {takes} held-out robot takes.", **values)
            if report.found["held_out"]
            else t("Measured on the training takes: there are too few to hold any out.")
        )
        left_out = sum(report.found["skipped"].values())
        where += " " + t("{n} takes were left out.", n=left_out) if left_out else ""
        self.where.setText(where)


class AlignViews(QFrame):
    """One of the four at a time, or words while there is nothing to show."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.training, self.figures = TrainingView(theme), FiguresView(theme)
        self.clips, self.map = NeighboursView(theme), LatentMapView(theme)
        self.empty = QLabel()
        self.empty.setProperty("dim", True)
        self.empty.setWordWrap(True)
        self.empty.setAlignment(self.empty.alignment().AlignCenter)
        self.explained = QLabel()
        self.explained.setProperty("dim", True)
        self.explained.setWordWrap(True)
        under_map = QWidget()
        column = QVBoxLayout(under_map)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.map, 1)
        column.addWidget(self.explained)
        self._stack = QStackedWidget()
        for widget in (self.training, self.figures, self.clips, under_map, self.empty):
            self._stack.addWidget(widget)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._stack)

    @property
    def shown(self) -> str:
        """Name of the view on screen, "" while words stand in its place."""
        place = self._stack.currentIndex()
        return VIEWS[place] if place < len(VIEWS) else ""

    def show_view(self, name: str, empty: str) -> None:
        """Show a view; or, where ``empty`` says why there is nothing, those words."""
        self.empty.setText(empty)
        self._stack.setCurrentIndex(len(VIEWS) if empty else VIEWS.index(name))

    def explain_map(self, share: float) -> None:
        """What the map is."""
        self.explained.setText(
            t(
                "The two main components of the latents of held-out windows; they hold {share} of the variance. "
                "Motions in one direction should lie together, and people's among the robot's.",
                share=f"{100 * share:.0f} %",
            )
        )
