"""The forgetting receipt: what a fine-tuning did to every task, and whether the new model may be used.

Two looks are taken at both models, the one before and the one after: at takes neither learned from (errors of the
heads, one value per take) and, on the simulated station, at attempts in closed loop. What the arm does outranks what an
error says: where a task was driven, driving decides; elsewhere the error of the flow head does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.services.evaluation import Rate, change_interval, pooled

FIGURES: Mapping[str, str] = {"rf_mm": "flow head, mm", "ntp_mm": "token head, mm", "token_ce": "token loss, nats"}
DECIDES = "rf_mm"
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


@dataclass(frozen=True, slots=True)
class Margins:
    """How far an earlier task may fall. A fall counts only where its 95 % interval does not reach zero.

    Attributes:
        success: share of attempts, 0.15 = fifteen of a hundred.
        error: share by which the flow head's error on held-out takes may grow.
    """

    success: float = 0.15
    error: float = 0.25

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one task before and after, over the same takes; lower is better.

    Attributes:
        before, after: means over takes. change: mean of after - before.
        intervals: 95 % of ``before``, ``after`` and ``change`` (Student's t over takes); None with only one take.
        takes: how many.
    """

    before: float
    after: float
    change: float
    intervals: tuple[tuple[float, float] | None, tuple[float, float] | None, tuple[float, float] | None]
    takes: int

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> Figure:
        """From one value per take; both in the same order, at least one."""
        change = [b - a for a, b in zip(before, after, strict=True)]
        three = [_mean_interval(values) for values in (before, after, change)]
        means = [mean for mean, _ in three]
        return cls(means[0], means[1], means[2], (three[0][1], three[1][1], three[2][1]), len(change))

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval of the change does not reach zero."""
        interval = self.intervals[2]
        if interval is None or interval[0] <= 0.0 <= interval[1]:
            return "no clear change"
        return "worse" if self.change > 0 else "better"

    def to_json(self) -> dict[str, Any]:
        names = ("before", "after", "change")
        values = zip(names, (self.before, self.after, self.change), self.intervals, strict=True)
        found: dict[str, Any] = {
            name: {"mean": round(mean, 4), "interval": [round(edge, 4) for edge in interval] if interval else None}
            for name, mean, interval in values
        }
        return {**found, "n": self.takes, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class TaskLine:
    """What happened to one task.

    Attributes:
        new: the model before was not shown it by a robot.
        before, after: success in closed loop, None if it was not driven. why_not_driven, why_not_measured: reasons.
        held_out: figures by name of ``FIGURES``.
    """

    task: str
    new: bool
    before: Rate | None = None
    after: Rate | None = None
    held_out: Mapping[str, Figure] | None = None
    why_not_driven: str = ""
    why_not_measured: str = ""

    @property
    def verdict(self) -> str:
        """Driving decides; where nothing was driven, the error of the flow head."""
        if self.before is not None and self.after is not None:
            low, high = change_interval(self.before, self.after)
            return "better" if low > 0 else "worse" if high < 0 else "no clear change"
        figure = (self.held_out or {}).get(DECIDES)
        return figure.verdict if figure is not None else "not measured"

    def to_json(self) -> dict[str, Any]:
        return {
            "new": self.new,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json() if self.after else None,
            "verdict": self.verdict,
            "why_not_driven": self.why_not_driven,
            "held_out": {name: figure.to_json() for name, figure in (self.held_out or {}).items()},
            "why_not_measured": self.why_not_measured,
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a model may be used.

    Attributes:
        reasons: why not; empty if it passed. remarks: what a person should know either way.
    """

    reasons: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons

    def to_json(self, margins: Margins) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "reasons": list(self.reasons),
            "remarks": list(self.remarks),
            "margins": margins.to_json(),
        }


def task_figures(measured: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Figures of one task from the lines of its held-out takes; empty without a take that has windows."""
    usable = [line for line in measured if line.get("windows")]
    found = {}
    for name in FIGURES:
        pairs = [(line["before"].get(name), line["after"].get(name)) for line in usable]
        whole = [(float(a), float(b)) for a, b in pairs if a is not None and b is not None]
        if whole:
            found[name] = Figure.of([a for a, _ in whole], [b for _, b in whole])
    return found


def judge(lines: Sequence[TaskLine], margins: Margins) -> Gate:
    """Refuse when an earlier task clearly fell beyond a margin, or all earlier tasks together did."""
    reasons: list[str] = []
    remarks: list[str] = []
    old = [line for line in lines if not line.new]
    for line in old:
        _judge_task(line, margins, reasons, remarks)
    driven = [(line.before, line.after) for line in old if line.before is not None and line.after is not None]
    if len(driven) > 1 and not reasons:
        before, after = pooled([a for a, _ in driven]), pooled([b for _, b in driven])
        if _fell(before, after, margins):
            reasons.append(f"the {len(driven)} earlier tasks together fell from {before} to {after}")
    if old and not any(line.verdict != "not measured" for line in old):
        remarks.append("no earlier task could be measured, so nothing is known about forgetting")
    if not old:
        remarks.append("the model knew no earlier task")
    return Gate(tuple(reasons), tuple(remarks))


def _judge_task(line: TaskLine, margins: Margins, reasons: list[str], remarks: list[str]) -> None:
    name = line.task.replace("_", " ")
    figure = (line.held_out or {}).get(DECIDES)
    if line.before is not None and line.after is not None:
        if _fell(line.before, line.after, margins):
            reasons.append(f"{name} fell from {line.before} to {line.after}")
        elif line.before.success - line.after.success > margins.success:
            remarks.append(f"{name} may have fallen ({line.before} to {line.after}); too few trials to be sure")
    if figure is not None and figure.change > margins.error * figure.before:
        grew = f"grew from {figure.before:.1f} to {figure.after:.1f} mm"
        said = f"the error of {name} on {figure.takes} held-out takes {grew}"
        clear = figure.verdict == "worse"
        (reasons if clear and line.before is None else remarks).append(said if clear else f"{said}; too few to be sure")


def _fell(before: Rate, after: Rate, margins: Margins) -> bool:
    return before.success - after.success > margins.success and change_interval(before, after)[1] < 0.0


def _mean_interval(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Mean and its 95 % interval by Student's t; None for the interval of a single value."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _t_975(n - 1) * spread / math.sqrt(n)
    return mean, (mean - half, mean + half)


def _t_975(freedom: int) -> float:
    """The 97.5 % point of Student's t; beyond the table the first terms of its expansion (within 0.002)."""
    z = 1.959964
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
