"""Trial series: one policy or two, the same scenes for both, in an order that nobody can guess, until enough is known.

A series lies in ``<home>/series/<id>``: ``plan.json``, written once, and ``results.jsonl``, one durable line per trial
that is done. Order and blind names follow from the seed, so a series goes on after a crash where it was. Two policies
are compared in pairs: both get the same task and scene, in random order within the pair.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hardware.sim.tasks import sim_task
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import new_id, write_atomic
from workbench.services.evaluation import TRIAL_SEED, Rate

FOLDER, PLAN, RESULTS = "series", "plan.json", "results.jsonl"
EVIDENCE = 20.0  # 1 / 0.05: how much evidence decides between two policies
COMPLETE, GIVEN_UP, DECIDED = "all trials are done", "failed {n} times in a row", "it is decided"


@dataclass(frozen=True, slots=True)
class Entrant:
    """A policy that takes part."""

    model_id: str
    head: str = "rf"


@dataclass(frozen=True, slots=True)
class Rules:
    """When a series ends before all trials are done.

    Attributes:
        failures: after so many failures of one policy in a row, 0: never.
        decide: two policies: as soon as one is better beyond reasonable doubt, see ``evidence``.
        width: one policy: as soon as every task's Wilson interval is at most this wide, 0: never.
    """

    failures: int = 0
    decide: bool = False
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried: every entrant does every task ``trials`` times."""

    id: str
    entrants: tuple[Entrant, ...]
    tasks: tuple[str, ...]
    trials: int
    seed: int
    blind: bool
    rules: Rules
    scene_seed: int = TRIAL_SEED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """Invert ``to_json``."""
        entrants = tuple(Entrant(**entrant) for entrant in value["entrants"])
        rest = {**value, "entrants": entrants, "tasks": tuple(value["tasks"]), "rules": Rules(**value["rules"])}
        return cls(**rest)


@dataclass(frozen=True, slots=True)
class Trial:
    """One try that is due. ``label`` is all that a person is told about who drives while the series is blind."""

    number: int
    entrant: Entrant
    label: str
    task: str
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a trial; ``success`` is None where it says nothing about the policy: it is tried again."""

    number: int
    success: bool | None
    episode_id: str = ""
    seconds: float = 0.0
    message: str = ""
    latency_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    label: str
    task: str
    rate: Rate
    seconds: float
    model_id: str = ""

    def to_json(self) -> dict[str, Any]:
        values = {"policy": self.label, "task": self.task, **self.rate.to_json(), "seconds": round(self.seconds, 2)}
        return values | ({"model": self.model_id} if self.model_id else {})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two policies on the same scenes: how often only one of them succeeded, and how much that says."""

    only_first: int
    only_second: int
    both_alike: int
    evidence: float
    verdict: str
    labels: tuple[str, str] = field(default=("policy 1", "policy 2"))

    def to_json(self) -> dict[str, Any]:
        only = {self.labels[0]: self.only_first, self.labels[1]: self.only_second}
        return {"only": only, "alike": self.both_alike, "evidence": round(self.evidence, 3), "verdict": self.verdict}


class Series:
    """A series on disk. One thread. Make it with ``create`` or ``open``."""

    def __init__(self, folder: Path, plan: Plan, results: Sequence[Result]) -> None:
        self.plan = plan
        self.results = list(results)
        self._path = folder / RESULTS
        self._order = tuple(order(plan))
        self._labels = labels(plan)

    @classmethod
    def create(
        cls,
        home: Home,
        entrants: Sequence[Entrant],
        tasks: Sequence[str],
        trials: int,
        *,
        blind: bool = False,
        rules: Rules = Rules(),
        seed: int | None = None,
    ) -> Series:
        """Plan a series and write the plan down. WorkbenchError for something that cannot be compared."""
        if not 1 <= len(entrants) <= 2 or len(set(entrants)) != len(entrants):
            raise WorkbenchError("a series is about one policy, or two different ones", "Name one or two models")
        if not tasks or trials < 1:
            raise WorkbenchError("a series needs a task and at least one trial of it")
        chosen = int.from_bytes(os.urandom(4), "little") if seed is None else seed
        plan = Plan(new_id(), tuple(entrants), tuple(tasks), trials, chosen, blind, rules)
        folder = home.path / FOLDER / plan.id
        folder.mkdir(parents=True)
        write_atomic(folder / PLAN, json.dumps(plan.to_json(), indent=1).encode())
        return cls(folder, plan, ())

    @classmethod
    def open(cls, home: Home, series_id: str) -> Series:
        """Go on with a series; NotFoundError with the nearest id. A line that a crash cut off is left out."""
        folders = {folder.name: folder for folder in (home.path / FOLDER).glob("*") if (folder / PLAN).exists()}
        matches = [name for name in folders if series_id and name.startswith(series_id)]
        if len(matches) != 1:
            raise NotFoundError.of("trial series", series_id, folders)
        folder = folders[matches[0]]
        try:
            plan = Plan.from_json(json.loads((folder / PLAN).read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkbenchError(f"the plan of the series {folder.name} cannot be read ({error})") from error
        return cls(folder, plan, tuple(_read(folder / RESULTS)))

    def next(self) -> Trial | None:
        """The trial that is due, or None once the series is over (see ``stopped_by``)."""
        if self.stopped_by():
            return None
        done = {result.number for result in self.results if result.success is not None}
        return next((trial for trial in self._order if trial.number not in done), None)

    def laying(self, trial: Trial, instruction: str) -> str:
        """What a person is asked to put on the table before a trial: both policies of a pair get the same scene."""
        last = next((t for t in self._order if self.results and t.number == self.results[-1].number), None)
        if last is not None and (last.task, last.seed) == (trial.task, trial.seed):
            return "put everything back where it was before the last trial"
        return f"lay the table anew for: {instruction}"

    def add(self, result: Result) -> None:
        """Write a result down, durably, before anything else is tried."""
        line = json.dumps(asdict(result)).encode() + b"\n"
        with open(self._path, "ab") as file:
            if file.tell() and not _ends_a_line(self._path):
                file.write(b"\n")  # what a crash cut off stays a line of its own
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.results.append(result)

    def stopped_by(self) -> str:
        """Why nothing more is tried, or ""."""
        judged = self._judged()
        row = self._failures_in_a_row(judged)
        if row:
            return row
        found = self.comparison()
        if self.plan.rules.decide and found is not None and found.evidence >= EVIDENCE:
            return DECIDED
        if self._narrow():
            return DECIDED
        return COMPLETE if len(judged) >= len(self._order) else ""

    def table(self, *, reveal: bool = False) -> tuple[Line, ...]:
        """One row per policy and task. Models are named once the series is over, or when it is not blind."""
        named = reveal or not self.plan.blind or bool(self.stopped_by())
        lines = []
        for entrant in sorted(self.plan.entrants, key=self._labels.__getitem__):
            for task in self.plan.tasks:
                mine = [r for t, r in self._judged() if t.entrant == entrant and t.task == task]
                seconds = [result.seconds for result in mine if result.success]
                lines.append(
                    Line(
                        self._labels[entrant],
                        task,
                        Rate.of(sum(bool(result.success) for result in mine), len(mine)),
                        sum(seconds) / len(seconds) if seconds else 0.0,
                        entrant.model_id if named else "",
                    )
                )
        return tuple(lines)

    def comparison(self) -> Comparison | None:
        """Both policies on the scenes that both have tried; None for a series of one."""
        if len(self.plan.entrants) != 2:
            return None
        first, second = sorted(self.plan.entrants, key=self._labels.__getitem__)
        said = {(t.entrant, t.task, t.seed): bool(r.success) for t, r in self._judged()}
        pairs = [(won, said.get((second, task, seed))) for (who, task, seed), won in said.items() if who == first]
        only_first = sum(a and b is False for a, b in pairs)
        only_second = sum(not a and b is True for a, b in pairs)
        alike = sum(b is not None and a == b for a, b in pairs)
        found = evidence(only_first, only_second)
        names = self._labels[first], self._labels[second]
        verdict = "no clear difference"
        if found >= EVIDENCE:
            verdict = f"{names[0] if only_first > only_second else names[1]} is better"
        return Comparison(only_first, only_second, alike, found, verdict, names)

    def to_json(self) -> dict[str, Any]:
        """All there is to know; models stay hidden while a blind series goes on."""
        found, stopped = self.comparison(), self.stopped_by()
        trials = []
        for trial, result in self._judged():
            trials.append({"policy": trial.label, "task": trial.task, "seed": trial.seed, **asdict(result)})
        return {
            "series": self.plan.id,
            "blind": self.plan.blind,
            "stopped_by": stopped,
            "table": [line.to_json() for line in self.table()],
            "comparison": found.to_json() if found is not None else None,
            "trials": trials,
        }

    def _judged(self) -> list[tuple[Trial, Result]]:
        """Trials with a result that counts, in the order in which they were tried; the first one of each counts."""
        trials = {trial.number: trial for trial in self._order}
        found: dict[int, Result] = {}
        for result in self.results:
            if result.success is not None and result.number in trials:
                found.setdefault(result.number, result)
        return [(trials[number], result) for number, result in found.items()]

    def _failures_in_a_row(self, judged: Sequence[tuple[Trial, Result]]) -> str:
        most = self.plan.rules.failures
        for entrant in self.plan.entrants if most else ():
            mine = [bool(result.success) for trial, result in judged if trial.entrant == entrant]
            if len(mine) >= most and not any(mine[-most:]):
                return f"{self._labels[entrant]} {GIVEN_UP.format(n=most)}"
        return ""

    def _narrow(self) -> bool:
        width = self.plan.rules.width
        if len(self.plan.entrants) != 1 or not width:
            return False
        rates = []
        for task in self.plan.tasks:
            mine = [bool(result.success) for trial, result in self._judged() if trial.task == task]
            rates.append(Rate.of(sum(mine), len(mine)))
        return all(rate.n and rate.interval[1] - rate.interval[0] <= width for rate in rates)


def order(plan: Plan) -> Iterator[Trial]:
    """All trials: pairs (one per task and scene) shuffled, and who begins within each pair drawn by lot."""
    names = labels(plan)
    lot = random.Random(f"{plan.seed} order")
    pairs = [(task, plan.scene_seed + k) for k in range(plan.trials) for task in plan.tasks]
    lot.shuffle(pairs)
    number = 0
    for task, seed in pairs:
        entrants = list(plan.entrants)
        lot.shuffle(entrants)
        for entrant in entrants:
            yield Trial(number, entrant, names[entrant], task, seed)
            number += 1


def labels(plan: Plan) -> dict[Entrant, str]:
    """What each policy is called: drawn by lot in a blind series, in the order given otherwise."""
    entrants = list(plan.entrants)
    if plan.blind:
        random.Random(f"{plan.seed} names").shuffle(entrants)
    return {entrant: f"policy {k + 1}" for k, entrant in enumerate(entrants)}


def evidence(only_first: int, only_second: int) -> float:
    """How strongly unequal pairs speak against "both are equally good": a mixture likelihood ratio.

    2^n B(a + 1, b + 1): the chance of these wins if the share of wins could be anything, over their chance if it is one
    half. It is a martingale when there is no difference, so it exceeds 1/q with probability at most q however often one
    looks (J. Ville 1939; H. Robbins, Ann. Math. Stat. 41, 1970): stopping as soon as it does is no cheating.
    """
    a, b = only_first, only_second
    return math.exp((a + b) * math.log(2.0) + math.lgamma(a + 1) + math.lgamma(b + 1) - math.lgamma(a + b + 2))


def run(series: Series, attempt: Callable[[Trial], Result], again: int = 3) -> None:
    """Try what is due until the series is over. A trial that says nothing is tried again, at most ``again`` times.

    WorkbenchError with the last reason when a trial cannot be carried out at all.
    """
    broken = 0
    while (trial := series.next()) is not None:
        result = attempt(trial)
        series.add(result)
        broken = broken + 1 if result.success is None else 0
        if broken > again:
            raise WorkbenchError(
                f"trial {trial.number + 1} could not be carried out ({result.message})",
                f"Put it right and go on: rollout --series {series.plan.id[:8]}",
            )


def check_tasks(tasks: Sequence[str]) -> None:
    """NotFoundError for a task that the simulated station does not know, with the nearest name."""
    for task in tasks:
        sim_task(task)


def _read(path: Path) -> Iterator[Result]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield Result(**json.loads(line))
        except (ValueError, TypeError):
            continue  # cut off by a crash: that trial is tried again


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
