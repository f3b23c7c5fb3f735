"""The tables of the drive page: attempts, the guard's limits, and a trial series with its intervals."""

from __future__ import annotations

from dataclasses import dataclass

from ui import words
from ui.desk import Desk
from ui.translate import t
from ui.widgets.rows import Column, RowsModel
from workbench.services.trials import Line


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished attempt of this session."""

    number: int
    task: str
    success: bool
    episode_id: str


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit in words."""

    name: str
    value: str


def limit_rows(limits: dict[str, object]) -> tuple[Limit, ...]:
    """The guard's limits as a person reads them."""
    rows = tuple(Limit(name, value) for name, value in words.limits(limits))
    return rows or (Limit(t("This station has no limits"), t("the arm stays parked")),)


def limits_model(desk: Desk) -> RowsModel[Limit]:
    columns: tuple[Column[Limit], ...] = (
        Column(t("Limit"), lambda limit: limit.name, 0, lambda _limit: "dim"),
        Column(t("Value"), lambda limit: limit.value, 250),
    )
    return RowsModel(desk.theme, columns, lambda limit: limit.name, lambda limit: f"{limit.name}: {limit.value}")


def trials_model(desk: Desk) -> RowsModel[Trial]:
    def outcome(trial: Trial) -> words.StateWords:
        return words.outcome("success" if trial.success else "failure")

    columns: tuple[Column[Trial], ...] = (
        Column(t("No."), lambda t: f"{t.number}", 34, lambda _t: "dim"),
        Column(t("Task"), lambda t: words.task(t.task)),
        Column(t("Outcome"), lambda t: f"{outcome(t).symbol} {outcome(t).word}", 86, lambda t: outcome(t).colour),
    )
    return RowsModel(desk.theme, columns, lambda t: t.episode_id, lambda t: t.episode_id)


def series_model(desk: Desk) -> RowsModel[Line]:
    """One row per policy and task of a trial series."""

    def rate(line: Line) -> str:
        low, high = line.rate.interval
        if not line.rate.n:
            return "–"
        return f"{100 * line.rate.success:.0f} %  " + t(
            "({low} to {high})", low=f"{100 * low:.0f}", high=f"{100 * high:.0f}"
        )

    columns: tuple[Column[Line], ...] = (
        Column(t("Policy"), lambda line: f"{line.label} {line.model_id[:8]}".strip(), 120),
        Column("n", lambda line: f"{line.rate.n}", 34, lambda _line: "dim"),
        Column(t("Success, 95 %"), rate),
        Column(t("Time"), lambda line: f"{line.seconds:.1f} s" if line.seconds else "–", 56, lambda _line: "dim"),
    )
    return RowsModel(desk.theme, columns, lambda line: f"{line.label} {line.task}", lambda line: line.task)
