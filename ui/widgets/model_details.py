"""The pane beside the lineage: what is known of a model, or of two; and the takes that it drove."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QHeaderView

from ui import words
from ui.records import TakeRecord
from ui.theme import Theme
from ui.translate import t
from ui.widgets.model_words import WIDE, Line, comparison_lines, facts_lines
from ui.widgets.rows import Column, RowsModel, RowsTable
from workbench.services.model_compare import ModelComparison
from workbench.services.model_facts import ModelFacts

_ROW_PX, _LETTER_PX, _WIDEST_PX, _NAMES_PX, _LEAST_PX = 27, 8.2, 178, 520, 120


class ModelDetails(RowsTable):
    """One table of headings, rows and sentences: only what is on screen is painted, however much is known."""

    def __init__(self, theme: Theme) -> None:
        columns = [Column("", _cell(place), 0 if not place else 100, _ink(place)) for place in range(WIDE)]
        self.lines: RowsModel[Line] = RowsModel(theme, columns, str, lambda line: "  ".join(filter(None, line.cells)))
        self._values_px = 0
        super().__init__(self.lines, theme, t("What is known of the model"))
        columns_header, rows = self.horizontalHeader(), self.verticalHeader()
        if columns_header is not None:
            columns_header.hide()
            columns_header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
            columns_header.setStretchLastSection(True)
        if rows is not None:
            rows.setDefaultSectionSize(_ROW_PX)

    @property
    def text(self) -> str:
        """Everything, as lines of words."""
        return "\n".join("  ".join(filter(None, line.cells)) for line in self.lines.records)

    def show_facts(self, facts: ModelFacts | None) -> None:
        """One model; None for none."""
        self._show(facts_lines(facts) if facts is not None else ())

    def show_comparison(self, found: ModelComparison) -> None:
        """Two side by side."""
        self._show(comparison_lines(found))

    def _show(self, lines: tuple[Line, ...]) -> None:
        self.clearSpans()
        self.lines.replace(lines)
        for row, line in enumerate(lines):
            if line.sentence:
                self.setSpan(row, 0, 1, WIDE)
        self._values_px = 0
        for place in range(1, WIDE):
            longest = max((len(line.cells[place]) for line in lines), default=0)
            self.setColumnHidden(place, not longest)
            width = min(_WIDEST_PX, round(longest * _LETTER_PX) + 18) if longest else 0
            self.setColumnWidth(place, width)
            self._values_px += width
        self._divide()
        self.scrollToTop()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """More room for the names, up to where the eye would lose the row."""
        super().resizeEvent(event)
        self._divide()

    def _divide(self) -> None:
        view = self.viewport()
        if view is not None:
            self.setColumnWidth(0, max(_LEAST_PX, min(_NAMES_PX, view.width() - self._values_px)))


def _cell(place: int) -> Callable[[Line], str]:
    return lambda line: line.cells[place]


def _ink(place: int) -> Callable[[Line], str]:
    return lambda line: line.colours[place]


def rollouts_model(theme: Theme) -> RowsModel[TakeRecord]:
    """The takes that a model drove, newest first."""

    def ended(take: TakeRecord) -> words.StateWords:
        return words.outcome(take.outcome)

    columns: tuple[Column[TakeRecord], ...] = (
        Column(t("When"), lambda take: words.when(take.started_at), 134),
        Column(t("Task"), lambda take: words.task(take.task)),
        Column(t("Ended"), lambda take: _said(ended(take)), 110, lambda take: ended(take).colour),
        Column(t("Length"), lambda take: words.duration(take.duration_s), 80),
    )
    return RowsModel(theme, columns, lambda take: take.id, lambda take: take.id)


def _said(state: words.StateWords) -> str:
    return f"{state.symbol} {state.word}".strip()
