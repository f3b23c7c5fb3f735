"""The forgetting receipt on screen: every task before and after, with arrows, and whether the model may be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui import words
from ui.actions import Actions
from ui.pages.page import label, row
from ui.theme import Theme
from ui.translate import mark, t, tn
from ui.widgets.button import CommandButton
from ui.widgets.rows import Column, RowsModel, RowsTable

_VERDICT = {
    "better": (mark("better"), "▲", "good"),
    "worse": (mark("worse"), "▼", "bad"),
    "no clear change": (mark("no clear change"), "=", "idle"),
    "not measured": (mark("not measured"), "?", "warn"),
}
_ERROR = "rf_mm"
Line = tuple[str, Mapping[str, Any]]  # a task and what the receipt says of it


def receipt_model(theme: Theme) -> RowsModel[Line]:
    """Earlier tasks first, as the receipt has them."""
    columns: tuple[Column[Line], ...] = (
        Column(t("Task"), _task),
        Column(t("Verdict"), _verdict, 152, lambda line: _words(line).colour),
        Column(t("It succeeds"), _driven, 226),
        Column(t("Error, mm"), _held_out, 172),
    )
    return RowsModel(theme, columns, lambda line: line[0], _tip)


class ReceiptPanel(QWidget):
    """Table, verdict and the three things that can be done now."""

    def __init__(self, theme: Theme, actions: Actions) -> None:
        super().__init__()
        self.lines = receipt_model(theme)
        self.table = RowsTable(self.lines, theme, t("What it did to every task"))
        self.verdict = label("", "title", wrap=True)
        self.reasons = label("", wrap=True)
        self.allowed = True
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.verdict)
        column.addWidget(self.reasons)
        column.addWidget(self.table, 1)
        column.addLayout(
            row(*(CommandButton(actions, f"finetune.{verb}") for verb in ("promote", "retry", "rollback")))
        )

    def show_receipt(self, receipt: Mapping[str, Any]) -> None:
        """Show another receipt."""
        gate = receipt["gate"]
        self.allowed = bool(gate["passed"])
        self.verdict.setText(
            t("✔ Nothing it knew was lost beyond the margin") if self.allowed else t("▼ It forgot: not put into use")
        )
        said = [f"▼ {words.task(reason)}" for reason in gate["reasons"]]
        said += [f"▲ {words.task(remark)}" for remark in gate["remarks"][:3]]
        self.reasons.setText("\n".join(said))
        self.reasons.setVisible(bool(said))
        self.lines.replace(tuple(receipt["tasks"].items()))


def _task(line: Line) -> str:
    name = words.task(line[0])
    return t("{task} (new)", task=name) if line[1]["new"] else name


def _words(line: Line) -> words.StateWords:
    word, symbol, colour = _VERDICT.get(line[1]["verdict"], (line[1]["verdict"], "?", "warn"))
    return words.StateWords(t(word), symbol, colour)


def _verdict(line: Line) -> str:
    found = _words(line)
    return f"{found.symbol} {found.word}"


def _driven(line: Line) -> str:
    before, after = line[1]["before"], line[1]["after"]
    if before is None or after is None:
        return t("not driven")
    return f"{_rate(before)} → {_rate(after)}"


def _rate(value: Mapping[str, Any]) -> str:
    low, high = (100 * edge for edge in value["interval"])
    return f"{100 * value['success']:.0f} % ({low:.0f}–{high:.0f})"


def _held_out(line: Line) -> str:
    figure = line[1]["held_out"].get(_ERROR)
    if figure is None:
        return t("not measured")
    return f"{_mean(figure['before'])} → {_mean(figure['after'])}"


def _mean(value: Mapping[str, Any]) -> str:
    if value["interval"] is None:
        return f"{value['mean']:.1f}"
    half = (value["interval"][1] - value["interval"][0]) / 2
    return f"{value['mean']:.1f} ± {half:.1f}"


def _tip(line: Line) -> str:
    task, value = line
    said = [words.task(task)]
    if value["before"] is None:
        said.append(t("not driven: {why}", why=value["why_not_driven"]))
    else:
        said.append(t("{n} attempts each", n=value["before"]["n"]))
    if not value["held_out"]:
        said.append(t("not measured: {why}", why=value["why_not_measured"]))
    elif _ERROR in value["held_out"]:
        said.append(tn("{n} held-out take", "{n} held-out takes", value["held_out"][_ERROR]["n"]))
    return "\n".join(said)
