"""What is known of a model, and of two side by side, as the lines of one table: headings, rows and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ui import words
from ui.translate import mark, t
from workbench.services.evaluation import Rate
from workbench.services.model_compare import A_BETTER, B_BETTER, ModelComparison
from workbench.services.model_facts import GONE, ModelFacts
from workbench.services.model_figures import Figure
from workbench.services.track_record import SeriesLine

_LONG_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20}\b")
Cell = str | tuple[str, str]  # words, or words and the name of a colour
WIDE = 4


@dataclass(frozen=True, slots=True)
class Line:
    """One row: up to ``WIDE`` cells with the names of their colours; ``sentence``: the first one takes all the room."""

    cells: tuple[str, ...]
    colours: tuple[str, ...]
    sentence: bool = False

    @classmethod
    def of(cls, cells: Sequence[Cell], colour: str = "text", *, sentence: bool = False) -> Line:
        """From cells; those without a colour of their own get ``colour``."""
        pairs = [cell if isinstance(cell, tuple) else (cell, colour) for cell in cells]
        filled = [*pairs, *[("", "text")] * (WIDE - len(pairs))]
        return cls(tuple(text for text, _ in filled), tuple(ink for _, ink in filled), sentence)


_FIGURES = {
    "token_accuracy": mark("tokens right"),
    "gripper_accuracy": mark("gripper right"),
    "retrieval_top1": mark("finds its own action"),
    "retrieval_top5": mark("finds its own action among five"),
    "rmse_mm": mark("error (mm)"),
    "errors_mm": mark("error (mm)"),
    "used_share": mark("codes used"),
    "chance": mark("chance"),
    "token_ce": mark("token loss (nats)"),
    "keyframe_mm": mark("next grasp or release (mm)"),
    "codec_mm": mark("error of the codec (mm)"),
}
_HEADS = {"reg": mark("regression"), "ntp": mark("tokens"), "rf": mark("flow")}
_VERDICTS = {
    A_BETTER: (mark("A is better"), "good"),
    B_BETTER: (mark("B is better"), "good"),
    "better": (mark("▲ better"), "good"),
    "worse": (mark("▼ worse"), "bad"),
    "no clear change": (mark("= not clear"), "dim"),
    "not measured": (mark("not measured"), "dim"),
    "no clear difference": (mark("= not clear"), "dim"),
    "measured on other takes": (mark("other takes"), "dim"),
    "not tried by both": (mark("not both"), "dim"),
}


def facts_lines(facts: ModelFacts) -> tuple[Line, ...]:
    """The pane beside a model, the most telling first."""
    page = _Page()
    _say_gate(page, facts)
    trials = [(words.task(task), rate_words(rate)) for task, rate in facts.done.trials.items()]
    if trials:
        page.table(
            t("How it drove"), (t("task"), t("success")), [*trials, (t("all together"), rate_words(facts.done.all))]
        )
    _say_series(page, facts.done.series)
    if facts.receipt:
        rows = [
            (words.task(line.task) + (f" ({t('new')})" if line.new else ""), _or_not(line.before), _or_not(line.after),
             verdict_cell(line.verdict))
            for line in facts.receipt
        ]  # fmt: skip
        page.table(t("What fine-tuning did to every task"), (t("task"), t("before"), t("after"), ""), rows)
    shown = [figure for figure in facts.figures if _is_telling(figure)]
    page.table(
        t("On held-out takes"), (t("figure"), t("value")), [(figure_name(f.name), figure_words(f)) for f in shown]
    )
    groups = [(words.task(task), kind_words(kind), str(n)) for (task, kind), n in facts.groups.items()]
    page.table(t("What it learnt from"), (t("task"), t("kind"), t("takes")), groups)
    recipe = [(name.replace("_", " "), _value(value)) for name, value in facts.record.recipe.items()]
    page.table(t("Recipe"), (t("setting"), t("value")), recipe)
    return tuple(page.lines)


def comparison_lines(found: ModelComparison) -> tuple[Line, ...]:
    """Two models side by side, the most telling first."""
    page = _Page()
    trials = [
        (words.task(line.task), rate_words(line.a), rate_words(line.b), verdict_cell(line.verdict))
        for line in found.trials
    ]
    page.table(t("How they drove"), (t("task"), "A", "B", ""), trials)
    _say_series(page, found.series)
    metrics = [
        (figure_name(line.name), _figure(line.a), _figure(line.b), verdict_cell(line.verdict))
        for line in found.metrics
        if any(figure is not None and _is_telling(figure) for figure in (line.a, line.b))
    ]
    page.table(t("On held-out takes"), (t("figure"), "A", "B", ""), metrics)
    groups = [
        (words.task(task), kind_words(kind), *map(str, counts)) for (task, kind), counts in found.data.groups.items()
    ]
    page.table(t("What they learnt from"), (t("task"), t("kind"), t("only A"), t("only B"), t("both")), groups)
    if found.data.changed:
        page.line(t("{n} takes had other contents for B than for A.", n=len(found.data.changed)), "warn")
    recipe = [(name.replace("_", " "), _value(a), _value(b)) for name, (a, b) in found.recipe.items()]
    page.table(t("Settings that differ"), (t("setting"), "A", "B"), recipe)
    if not recipe:
        page.line(t("Both were trained with the same settings."), "dim")
    return tuple(page.lines)


def rate_words(rate: Rate) -> str:
    """``71 % of 93 (61–79)``: the rate, how many trials, the interval."""
    low, high = (f"{100 * edge:.0f}" for edge in rate.interval)
    return (
        t("{rate} % of {n} ({low}–{high})", rate=f"{100 * rate.success:.0f}", n=rate.n, low=low, high=high)
        if rate.n
        else "–"
    )


def figure_words(figure: Figure) -> str:
    """The value, and its interval where it is a rate."""
    if figure.interval is None:
        return words.figure(figure.value)
    low, high = figure.interval
    return f"{100 * figure.value:.1f} % ({100 * low:.0f}–{100 * high:.0f})"


def figure_name(name: str) -> str:
    """``errors_mm.rf.4`` as a person would say it."""
    first, *rest = name.split(".")
    said = [t(_FIGURES[first]) if first in _FIGURES else first.replace("_", " ")]
    said += [t(_HEADS[part]) if part in _HEADS else t("step {n}", n=part) if part.isdigit() else part for part in rest]
    return ", ".join(said)


def kind_words(kind: str) -> str:
    """Where takes came from, or that nobody knows them any more."""
    return t("no longer here") if kind == GONE else words.kind(kind)


def verdict_cell(verdict: str) -> Cell:
    """A verdict in its colour."""
    said, colour = _VERDICTS.get(verdict, (verdict, "dim"))
    return (t(said), colour)


def _say_gate(page: _Page, facts: ModelFacts) -> None:
    gate = facts.record.gate
    if not gate:
        return
    reasons = [str(reason) for reason in gate.get("reasons", ())]
    if not facts.record.refused:
        page.line(t("✔ It passed the check for forgetting."), "good")
    for reason in reasons:
        page.line(f"▲ {reason[:1].upper()}{reason[1:]}.", "warn")
    for reason in facts.forced:
        page.line(t("It was used all the same: {reason}", reason=reason), "warn")


def _say_series(page: _Page, series: Sequence[SeriesLine]) -> None:
    rows = [
        (words.task(task), rate_words(rate), _LONG_ID.sub(r"\1", line.verdict) or t("alone"))
        for line in series
        for task, rate in line.rates.items()
    ]
    if rows:
        page.table(t("Trial series, the same scenes for both"), (t("task"), t("success"), t("verdict")), rows)


def _is_telling(figure: Figure) -> bool:
    """Not every single number: those by task and of the middle of a chunk are in the report."""
    return figure.name.split(".")[0] in _FIGURES and not figure.name.endswith((".1", ".8"))


def _figure(figure: Figure | None) -> str:
    return figure_words(figure) if figure is not None else "–"


def _or_not(rate: Rate | None) -> str:
    return rate_words(rate) if rate is not None else "–"


def _value(value: object) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else words.figure(value)


class _Page:
    """Lines, one below the other."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def line(self, text: str, colour: str = "text") -> None:
        """A sentence."""
        self.lines.append(Line.of((text,), colour, sentence=True))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Rows below a heading that also names the columns but the first; nothing without rows."""
        filled = [Line.of(row) for row in rows]
        if filled:
            self.lines += [Line.of((f"▾  {title}", *columns[1:]), "accent"), *filled]
