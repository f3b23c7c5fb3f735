"""Comparing models on the drive page: the second model, how many trials, and the table as far as it may be known."""

from __future__ import annotations

from PyQt6.QtWidgets import QFrame, QSpinBox, QVBoxLayout, QWidget

from ui.desk import Desk
from ui.pages.drive_tables import series_model
from ui.pages.page import card, chooser, fill_chooser, label, row
from ui.translate import t
from ui.widgets.button import CommandButton
from ui.widgets.rows import RowsTable
from workbench.core.events import SeriesChanged
from workbench.services.station import Station
from workbench.services.trial_runs import SeriesRun
from workbench.services.trials import Entrant, Rules, Series


class SeriesPanel(QWidget):
    """Lives on the drive page. With a second model the series is blind; with one it is a plain one."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.run: SeriesRun | None = None
        self.other = chooser(t("Model to compare with"))
        self.count = QSpinBox()
        self.count.setRange(1, 200)
        self.count.setValue(10)
        self.count.setAccessibleName(t("Trials of each model"))
        self.lines = series_model(desk)
        self.words = label("", "dim", wrap=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._card())

    def _card(self) -> QFrame:
        frame, column = card(padding=8, spacing=4)
        self.other.setMinimumWidth(60)
        column.addLayout(
            row(self.other, self.count, CommandButton(self.desk.actions, "drive.series", words=t("Trial series")))
        )
        column.addWidget(self.words)
        self.table = RowsTable(self.lines, self.desk.theme, t("Trial series"))
        column.addWidget(self.table, 1)
        column.addStretch()
        self.table.hide()
        return frame

    def show_models(self, models: list[tuple[str, str]]) -> None:
        """What may be compared with."""
        fill_chooser(self.other, [(t("nothing: one model alone"), ""), *models], self.other.currentData())

    @property
    def running(self) -> bool:
        """True while trials are carried out."""
        return self.run is not None

    def begin(self, station: Station, model: str, head: str, task: str) -> None:
        """Plan a series and start it. In the orders' thread; the panel hears of it by ``changed``."""
        models = [model, *([other] if (other := self.other.currentData()) and other != model else [])]
        entrants = [Entrant(model_id, head) for model_id in models]
        rules = Rules(decide=len(entrants) == 2)
        series = Series.create(
            station.home, entrants, [task], self.count.value(), blind=len(entrants) == 2, rules=rules
        )
        self.run = SeriesRun(station, series)
        self.run.start()

    def laid(self) -> bool:
        """The table is laid for the trial that waits for it; False if none does."""
        return self.run is not None and self.run.laid()

    def end(self) -> None:
        """Stop; not in the window's thread."""
        if self.run is not None:
            self.run.stop()

    def changed(self, event: SeriesChanged) -> None:
        """A trial begins or the series is over: show what may be known."""
        run = self.run
        if run is None or run.series.plan.id != event.series_id:
            return
        found = run.series.comparison() if event.over else None
        self.words.setText(f"{event.words}; {found.verdict}" if found is not None else event.words)
        self.lines.replace(run.series.table())
        self.table.show()
        if event.over:
            self.run = None
            self.desk.actions["drive.series"].setChecked(False)
