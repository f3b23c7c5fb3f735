"""Drives the simulated station with a model, task by task, and says how often it succeeds and how sure that is.

Every trial goes through the ordinary lockstep session (cameras, recorder, guard, policy process) and is kept as a
rollout episode. Seeds are fixed per trial, so two models are asked the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.sim.tasks import sim_task
from storage.catalog import Catalog
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.library import Library
from workbench.services.lockstep import LockstepJob, LockstepSettings, TakeResult
from workbench.services.lockstep_batch import run_batch

TRIAL_SEED = 900_000  # far from the seeds of demonstrations, so that no trial repeats a demonstrated scene
Z_95 = 1.959963984540054
Progress = Callable[[int, int], None]


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a rate (E. B. Wilson, JASA 22, 1927): (low, high), (0, 1) when nothing was tried."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials")
    if n == 0:
        return 0.0, 1.0
    rate, spread = successes / n, z * z / n
    middle = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    return low, 1.0 if successes == n else min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something succeeded.

    Attributes:
        success: share of successes, 0..1.
        n: trials that count (trials that could not be carried out do not).
        interval: 95 % Wilson interval.
    """

    success: float
    n: int
    interval: tuple[float, float]

    @classmethod
    def of(cls, successes: int, n: int) -> Rate:
        return cls(successes / n if n else 0.0, n, wilson(successes, n))

    def to_json(self) -> dict[str, Any]:
        return {"success": round(self.success, 4), "n": self.n, "interval": [round(edge, 4) for edge in self.interval]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rate:
        """Invert ``to_json``; the counts are whole numbers, so nothing is lost."""
        return cls.of(round(value["success"] * value["n"]), int(value["n"]))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.success:.0f} % (n={self.n}, {100 * low:.0f} to {100 * high:.0f} %)"


def pooled(rates: Sequence[Rate]) -> Rate:
    """All trials of several rates together."""
    return Rate.of(sum(round(rate.success * rate.n) for rate in rates), sum(rate.n for rate in rates))


def change_interval(before: Rate, after: Rate) -> tuple[float, float]:
    """95 % interval of the change of a rate, after - before: the hybrid score interval of two independent rates.

    R. G. Newcombe, Statistics in Medicine 17, 1998, method 10. (-1, 1) if either was never tried.
    """
    if not (before.n and after.n):
        return -1.0, 1.0
    change = after.success - before.success
    down = math.hypot(after.success - after.interval[0], before.interval[1] - before.success)
    up = math.hypot(after.interval[1] - after.success, before.success - before.interval[0])
    return max(-1.0, change - down), min(1.0, change + up)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome of one head's trials.

    Attributes:
        per_task: rate by task name.
        trials: every trial that was asked for.
        latency_ms: median inference time over the trials that measured one, else None.
    """

    model_id: str
    head: str
    per_task: dict[str, Rate]
    trials: tuple[TakeResult, ...]
    latency_ms: float | None

    @property
    def overall(self) -> Rate:
        return pooled(tuple(self.per_task.values()))


def trial_jobs(model_id: str, trials: Mapping[str, int], head: str = "rf", seed: int = TRIAL_SEED) -> list[LockstepJob]:
    """Jobs that drive each task so often (``trials`` by task name), tasks in turn.

    NotFoundError for an unknown task, with the nearest name.
    """
    for task in trials:
        sim_task(task)
    laps = range(max(trials.values(), default=0))
    return [LockstepJob("rollout", task, seed + k, model_id, head) for k in laps for task, n in trials.items() if k < n]


def evaluate(
    home: Path,
    jobs: Sequence[LockstepJob],
    *,
    settings: LockstepSettings = LockstepSettings(),  # noqa: B008  (frozen)
    workers: int = 2,
    progress: Progress | None = None,
    made: Callable[[TakeResult], None] = lambda _result: None,
) -> dict[str, Evaluation]:
    """Carry out trials of one model; returns an evaluation by head. Blocks. ``made`` hears of each as it ends.

    A trial that broke for a technical reason (its message says which) is kept out of the rates; WorkbenchError tells
    the reason when every trial of a head broke.
    """
    results = run_batch(home, jobs, settings=settings, workers=workers, progress=progress, made=made)
    counted = [result for result in results if result.episode_id]
    remember(home, counted)
    return {head: _judged(head, results) for head in dict.fromkeys(job.head for job in jobs)}


def _judged(head: str, results: Sequence[TakeResult]) -> Evaluation:
    mine = [result for result in results if result.job.head == head]
    counted = [result for result in mine if result.episode_id]
    if not counted:
        why = mine[0].message.rstrip(".") if mine else "there was nothing to do"
        raise WorkbenchError(f"no trial with the {head} head could be carried out ({why})", "Run `main.py doctor`")
    rates = {}
    for task in dict.fromkeys(result.job.task for result in counted):
        outcomes = [bool(result.success) for result in counted if result.job.task == task]
        rates[task] = Rate.of(sum(outcomes), len(outcomes))
    return Evaluation(mine[0].job.model_id, head, rates, tuple(mine), _median_latency(counted))


def _median_latency(results: Sequence[TakeResult]) -> float | None:
    values = sorted(result.latency_ms for result in results if result.latency_ms)
    return round(values[len(values) // 2], 3) if values else None


def remember(home: Path, results: Sequence[TakeResult]) -> None:
    """Store the trials in the catalogue, beside the episodes they are."""
    Library(home).close()  # brings the new takes into the catalogue
    with Catalog(Home.open(home)) as catalog:
        for result in results:
            catalog.add_trial(
                result.job.model_id,
                result.job.task,
                bool(result.success),
                episode_id=result.episode_id,
                head=result.job.head,
                seed=result.job.seed,
                seconds=round(result.seconds, 3),
                latency_ms=result.latency_ms,
                note=result.message,
            )
