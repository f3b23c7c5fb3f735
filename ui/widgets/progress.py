"""Trainings and models as tables, and their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ui import words
from ui.records import ModelEntry
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.plots import Line
from ui.widgets.rows import Column, RowsModel
from workbench.services.jobs import JobStatus

_FIGURES: dict[str, tuple[tuple[str, str, str], ...]] = {  # words, path into the metrics, unit
    "act_vae": ((mark("error"), "rmse_mm", "mm"), (mark("codes used"), "used_share", "%")),
    "vd_vae": ((mark("match"), "retrieval_top1", "%"), (mark("chance"), "chance", "%")),
    "ntp": ((mark("tokens right"), "token_accuracy", "%"), (mark("error"), "errors_mm.ntp.4", "mm")),
    "rf": ((mark("error"), "errors_mm.rf.4", "mm"), (mark("thinks"), "latency_ms.rf", "ms")),
}


_PHASES = {
    "train": mark("training"),
    "measure": mark("comparing"),
    "drive": mark("driving both"),
    "judge": mark("judging"),
}


def jobs_model(theme: Theme) -> RowsModel[JobStatus]:
    """Trainings, newest first."""

    def state(job: JobStatus) -> words.StateWords:
        return words.job_state(job.state)

    columns: tuple[Column[JobStatus], ...] = (
        Column(t("Stage"), lambda j: words.stage(words.FINETUNE if j.tuning else j.stage), 110),
        Column(t("State"), lambda j: f"{state(j).symbol} {state(j).word}", 112, lambda j: state(j).colour),
        Column(t("Progress"), _progress_words, 0, None, _share),
        Column(t("Time left"), lambda j: words.left(j.eta_s) if j.state == "running" else "", 142),
        Column(t("Started"), _started, 134),
    )
    return RowsModel(theme, columns, lambda j: j.run_id, lambda j: f"{j.run_id}\n{j.message}")


def models_model(theme: Theme) -> RowsModel[ModelEntry]:
    """Models, newest first."""
    columns: tuple[Column[ModelEntry], ...] = (
        Column(t("In use"), lambda m: t("★ in use") if m.promoted else "", 96, lambda m: "good"),
        Column(t("Stage"), lambda m: words.stage(m.stage), 110),
        Column(t("Model"), lambda m: m.id[:12], 122),
        Column(t("Takes"), lambda m: f"{len(m.data)}", 72),
        Column(t("Held-out figures"), _figures),
        Column(t("Made"), lambda m: words.when(m.created_at), 134),
    )
    return RowsModel(
        theme,
        columns,
        lambda m: m.id,
        lambda m: f"{m.id}\n{words.count(len(m.tasks), 'task')}: " + ", ".join(map(words.task, m.tasks)),
    )


def curve_lines(curve: Mapping[str, tuple[Sequence[float], Sequence[float]]], names: Sequence[str]) -> tuple[Line, ...]:
    """The named figures over steps; what was never a finite number is left out."""
    lines = []
    for place, name in enumerate(names):
        steps, values = (np.asarray(part, np.float64) for part in curve.get(name, ((), ())))
        if np.isfinite(values).any():
            lines.append(Line(name.replace("_", " "), steps, values, place))
    return tuple(lines)


def phase(job: JobStatus) -> str:
    """What a fine-tuning with its check is doing, "" for other runs and ended ones."""
    return t(_PHASES.get(job.phase, job.phase)) if job.phase and not job.ended else ""


def _share(job: JobStatus) -> float:
    if phase(job) and job.of:
        return job.done / job.of
    return job.step / job.steps if job.steps else 0.0


def _progress_words(job: JobStatus) -> str:
    if phase(job) and job.of:
        return f"{phase(job)} {job.done}/{job.of}"
    return t("{n} of {all}", n=job.step, all=job.steps) if job.steps else ""


def _started(job: JobStatus) -> str:
    if not job.started_at:
        return ""
    return words.when(datetime.fromtimestamp(job.started_at, UTC).isoformat())


def _figures(model: ModelEntry) -> str:
    """The two or three held-out figures that say most about a stage; what is not there is left out."""
    said = []
    for name, path, unit in _FIGURES.get(model.stage, ()):
        value = _look_up(model.metrics, path)
        if value is not None:
            said.append(f"{t(name)} {words.figure(100 * value if unit == '%' else value)} {unit}")
    return ", ".join(said)


def _look_up(metrics: Mapping[str, Any], path: str) -> float | None:
    """A number at a dotted path, None if there is none."""
    found: Any = metrics
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def job_told(job: JobStatus) -> str:
    """One line about a run: its phase, its pace, its message."""
    said = [words.task(job.message)] if job.message else []
    if job.pausing and not job.ended and job.state != "paused":
        said.append(t("rests after its present step"))
    if job.state == "running" and job.samples_per_s:
        said.append(t("{n} rows a second", n=f"{job.samples_per_s:.0f}"))
    if not job.ended and job.memory_mb:
        said.append(t("{n} MB in use", n=job.memory_mb))
    return " · ".join(said)
