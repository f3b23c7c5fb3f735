"""Bringing in recordings of other systems: where, as what, what would come, and what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PyQt6.QtWidgets import QLineEdit, QWidget

from ui import words
from ui.actions import Actions
from ui.bridge import Bridge
from ui.theme import Theme
from ui.translate import mark, t, tn
from ui.widgets.chooser import Chooser, fill_chooser
from ui.widgets.exchange_panel import DONE, IDLE, LOOKING, PLANNED, WORKING, ExchangePanel
from ui.widgets.rows import Column, RowsModel, RowsTable
from workbench.core.errors import WorkbenchError
from workbench.services.exchange import ImportPlan, ImportReport, ImportSettings, Preview
from workbench.services.library import Library

_SIDES = (640, 480, 320)
_HINT = mark("A folder of videos of people, of a LeRobot or RLDS data set, or of takes from another station")


class ImportPanel(ExchangePanel):
    """Nothing is written before a person has seen what would come."""

    def __init__(
        self,
        bridge: Bridge,
        theme: Theme,
        actions: Actions,
        library: Callable[[], Library | None],
        failed: Callable[[WorkbenchError], None],
    ) -> None:
        super().__init__(bridge, actions, t("Import recordings"), t("From"), failed)
        self._library = library
        self.plan: ImportPlan | None = None
        self.report: ImportReport | None = None
        self.path.setPlaceholderText(t(_HINT))
        self.format, self.side = Chooser(), Chooser()
        self.camera, self.rate = QLineEdit("front"), QLineEdit()
        self.rate.setPlaceholderText(t("as the source says"))
        self.show_formats({})
        sides = [(t("at most {n} pixels wide or high", n=side), side) for side in _SIDES]
        fill_chooser(self.side, [(t("as they are"), None), *sides])
        for name, widget in self._fields():
            widget.setAccessibleName(name)
            self.form.addRow(name, widget)
        for chooser in (self.format, self.side):
            chooser.currentIndexChanged.connect(lambda _: self.forget_plan())
        for line in (self.camera, self.rate):
            line.textChanged.connect(lambda _: self.forget_plan())
        self.model = RowsModel(theme, _columns(), lambda take: take.name, _tip)
        self.table = RowsTable(self.model, theme, t("What would come"))
        self.column.addWidget(self.table, 1)
        self.finish_layout(t("Import"))
        self.enter(IDLE, "")

    def _fields(self) -> tuple[tuple[str, QWidget], ...]:
        return (
            (t("Format"), self.format),
            (t("Pictures"), self.side),
            (t("Camera of videos"), self.camera),
            (t("Steps a second"), self.rate),
        )

    def show_formats(self, formats: Mapping[str, str]) -> None:
        """Titles of the formats by name; to find them out takes longer than a window may wait."""
        fill_chooser(self.format, [(t("Find it out"), ""), *((title, kind) for kind, title in formats.items())])

    def browsed(self, folder: str) -> None:
        """Looking costs nothing: do it at once."""
        super().browsed(folder)
        self.look()

    def look(self) -> None:
        """Find out what would come."""
        path, library, settings = self.target, self._library(), self._settings()
        if path is None or library is None or settings is None or self.busy:
            self.path.setFocus()
            return
        kind = str(self.format.currentData())
        self.run(
            LOOKING,
            t("Looking at what is there …"),
            lambda progress, stop: library.plan_import(path, kind, progress, settings=settings, stop=stop),
            self._planned,
        )

    def go(self) -> None:
        """Bring it in."""
        path, library, settings, plan = self.target, self._library(), self._settings(), self.plan
        if path is None or library is None or settings is None or plan is None or self.state != PLANNED:
            return
        self.run(
            WORKING,
            t("Copying …"),
            lambda progress, stop: library.import_from(path, plan.format, progress, settings=settings, stop=stop),
            self._came,
        )

    def forget_plan(self) -> None:
        """Other settings: look again."""
        super().forget_plan()
        if self.state == IDLE:
            self.plan = None
            self.model.replace(())

    def _settings(self) -> ImportSettings | None:
        text = self.rate.text().strip().replace(",", ".")
        try:
            rate_hz = float(text) if text else None
            if rate_hz is not None and not 0 < rate_hz < 1000:
                raise ValueError
        except ValueError:
            self.enter(self.state, t("{text} is no number of steps a second", text=text))
            return None
        return ImportSettings(self.side.currentData(), self.camera.text().strip() or "front", rate_hz)

    def _planned(self, plan: ImportPlan) -> None:
        self.plan = plan
        self.model.replace(plan.takes)
        parts = [plan.title, tn("{n} take would come", "{n} takes would come", len(plan.new))]
        if plan.known:
            parts.append(tn("{n} is here already", "{n} are here already", len(plan.known)))
        if plan.broken:
            parts.append(tn("▲ {n} cannot be read", "▲ {n} cannot be read", len(plan.broken)))
        parts.append(
            t("about {size} of {free} free", size=words.size(plan.bytes_needed), free=words.size(plan.free_bytes))
        )
        if not plan.fits:
            parts.append(t("▲ the disk has too little room: reduce the pictures or free some space"))
        self.enter(PLANNED if plan.new and plan.fits else IDLE, " · ".join(parts))

    def _came(self, report: ImportReport) -> None:
        self.report = report
        parts = [tn("✔ {n} take came", "✔ {n} takes came", len(report.ids))]
        if report.stopped:
            parts.insert(0, t("Stopped"))
        if report.known:
            parts.append(tn("{n} was here already", "{n} were here already", len(report.known)))
        parts += [f"▲ {name}: {reason}" for name, reason in report.skipped[:3]]
        if len(report.skipped) > 3:
            parts.append(tn("{n} more was left out", "{n} more were left out", len(report.skipped) - 3))
        self.enter(DONE, " · ".join(parts))


def _columns() -> tuple[Column[Preview], ...]:
    return (
        Column(t("Source"), lambda take: take.name),
        Column(t("What happens"), _state, 138, lambda take: "bad" if take.problem else "dim" if take.known else "good"),
        Column(t("Task"), lambda take: words.task(take.task), 120),
        Column(t("Length"), lambda take: words.duration(take.seconds) if take.seconds else "", 78),
    )


def _state(take: Preview) -> str:
    if take.problem:
        return t("▲ cannot be read")
    return t("is here already") if take.known else t("✔ would come")


def _tip(take: Preview) -> str:
    streams = ", ".join(words.stream(spec.name) for spec in take.streams)
    return "\n".join(line for line in (take.problem, take.instruction, streams) if line)
