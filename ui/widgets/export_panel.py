"""Writing takes for other programs and other stations: which, where, as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ui import words
from ui.actions import Actions
from ui.bridge import Bridge
from ui.translate import t, tn
from ui.widgets.chooser import Chooser, fill_chooser
from ui.widgets.exchange_panel import DONE, IDLE, LOOKING, PLANNED, WORKING, ExchangePanel
from workbench.core.errors import WorkbenchError
from workbench.services.exchange import ExportPlan, ExportReport, free_at
from workbench.services.library import Library

CHOSEN, LISTED = "chosen", "listed"
_NEW_FOLDER = "takes"
_FIRST = "lerobot_v3"


class ExportPanel(ExchangePanel):
    """A folder that appears whole, or not at all.

    Args:
        takes: asked for the ids of the ``chosen`` or the ``listed`` takes when it begins.
    """

    def __init__(
        self,
        bridge: Bridge,
        actions: Actions,
        library: Callable[[], Library | None],
        takes: Callable[[str], list[str]],
        failed: Callable[[WorkbenchError], None],
    ) -> None:
        super().__init__(bridge, actions, t("Export takes"), t("To a new folder"), failed)
        self._library = library
        self._takes = takes
        self._ids: list[str] = []
        self.report: ExportReport | None = None
        self.which, self.format = Chooser(), Chooser()
        for name, chooser in ((t("Which"), self.which), (t("Format"), self.format)):
            chooser.setAccessibleName(name)
            self.form.addRow(name, chooser)
            chooser.currentIndexChanged.connect(lambda _: self.forget_plan())
        self.finish_layout(t("Export"))
        self.column.addStretch(1)
        self.enter(IDLE, "")

    def show_counts(self, chosen: int, listed: int) -> None:
        """Say how many takes each answer to "which" means; another choice makes an old plan worthless."""
        entries = [
            (tn("the chosen take", "the {n} chosen takes", chosen), CHOSEN),
            (tn("the one listed take", "all {n} listed takes", listed), LISTED),
        ]
        told = [(self.which.itemText(i), self.which.itemData(i)) for i in range(self.which.count())]
        if told != entries and not self.busy:
            fill_chooser(self.which, entries, self.which.currentData() or CHOSEN)
            self.forget_plan()

    def show_formats(self, formats: Mapping[str, str]) -> None:
        """Titles of the formats by name; to find them out takes longer than a window may wait."""
        fill_chooser(self.format, [(title, kind) for kind, title in formats.items()], _FIRST)

    def browsed(self, folder: str) -> None:
        """The new folder goes into the one that was chosen."""
        super().browsed(str(Path(folder) / _NEW_FOLDER))

    def look(self) -> None:
        """Find out what would be written."""
        target, library, kind = self.target, self._library(), str(self.format.currentData())
        ids = self._takes(str(self.which.currentData()))
        if target is None or library is None or self.busy or not self.format.count():
            self.path.setFocus()
            return
        self._ids = ids
        self.run(
            LOOKING,
            t("Looking at the takes …"),
            lambda progress, stop: (library.plan_export(ids, target, kind), free_at(target)),
            self._planned,
        )

    def go(self) -> None:
        """Write them."""
        target, library, kind, ids = self.target, self._library(), str(self.format.currentData()), self._ids
        if target is None or library is None or self.state != PLANNED:
            return
        self.run(
            WORKING,
            t("Writing …"),
            lambda progress, stop: library.export_to(ids, target, kind, progress, stop),
            self._written,
        )

    def _planned(self, found: tuple[ExportPlan, int]) -> None:
        plan, free = found
        if plan.problem:
            self.enter(IDLE, f"▲ {plan.problem}")
            return
        length_s = sum(manifest.duration_s for manifest in plan.manifests)
        count = words.count(len(plan.manifests), "take")
        needed = t("at most about {size} of {free} free", size=words.size(plan.bytes_needed), free=words.size(free))
        parts = [count, words.duration(length_s), needed]
        if plan.left_out:
            names = ", ".join(words.stream(name) for name in plan.left_out)
            parts.append(t("the format has no place for {names}", names=names))
        fits = plan.bytes_needed < free
        if not fits:
            parts.append(t("▲ the disk has too little room: choose another one, or fewer takes"))
        self.enter(PLANNED if fits else IDLE, " · ".join(parts))

    def _written(self, report: ExportReport) -> None:
        self.report = report
        parts = [t("✔ {takes} in {path}", takes=words.count(report.episodes, "take"), path=report.path)]
        parts.append(words.size(report.bytes))
        parts += [t("▲ {id} was left out: {reason}", id=name[:8], reason=reason) for name, reason in report.skipped[:3]]
        self.enter(DONE, " · ".join(parts))
