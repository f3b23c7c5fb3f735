"""What corrections are worth: a model drives where it fails, a scripted operator takes over, the model learns from it.

Compared on the same scenes: the model as it was, after fine-tuning on its corrected attempts, and after fine-tuning
with the same recipe on as many plain demonstrations. All takes are made in lockstep and lie in the data folder like
any others; what is done is kept in the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardware.sim.situations import SITUATIONS
from workbench.core.errors import WorkbenchError
from workbench.services import bench_learn_numbers as numbers
from workbench.services import finetune
from workbench.services.bench_learn_plan import CORRECTIONS, LEARN_FROM, SITUATION
from workbench.services.bench_learn_runs import Runner, Training
from workbench.services.library import Library
from workbench.services.lockstep import LockstepJob, LockstepSettings, TakeResult
from workbench.services.lockstep_batch import run_batch

CORRECTED_SEED, PLAIN_SEED, APART = 700_000, 760_000, 1000
NOT_NEEDED = "-"
Enter = Callable[[str, str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Attempts:
    """Takes of one round: ``corrected`` ones that the operator finished, and how the others came out."""

    corrected: tuple[str, ...]
    asked: int
    alone: int
    lost: int


class Corrections:
    """Fills the section ``corrections``. Blocks; use from one thread.

    Args:
        enter: writes an entry of the table: section, name, values.
    """

    def __init__(self, runner: Runner, enter: Enter) -> None:
        self._runner, self._plan, self._enter = runner, runner.plan, enter

    def fill(self, k: int, base: str, arms: Sequence[str]) -> None:
        """One round: collect corrections of the model ``base``, fine-tune every arm, drive all of them."""
        attempts = self._collect(k, base)
        self._enter("corrections", "takes", self._about(k, base, attempts))
        self._drive(k, "before", base)
        for arm in arms:
            takes = self._takes(k, arm, base, attempts)
            self._runner.train([self._tuning(k, arm, base, takes)])
            self._drive(k, arm, self._runner.model(f"{k}/corrections/{arm}"))
            self._enter("corrections", arm, self._receipt(k, arm))

    # takes ----------------------------------------------------------------------------------------------------------

    def _collect(self, k: int, base: str) -> Attempts:
        """Attempts in the situation under the eyes of an onlooker, made once."""
        tasks, first = self._plan.story.tasks, self._runner.seed + CORRECTED_SEED + APART * k
        count = self._plan.attempts
        jobs = [
            LockstepJob("rollout", tasks[n % len(tasks)], first + n, base, situation=SITUATION, corrected=True)
            for n in range(count)
        ]
        found = self._make(f"{k} corrected", jobs, _corrected)
        kept = tuple(take for take in found if take not in ("", NOT_NEEDED))
        self._refuse_none(kept, base)
        return Attempts(kept, count, found.count(NOT_NEEDED), found.count(""))

    def _takes(self, k: int, arm: str, base: str, attempts: Attempts) -> tuple[str, ...]:
        """What an arm learns from: the corrected attempts, or as many demonstrations of the same tasks."""
        source, _ = CORRECTIONS[arm]
        if source == "corrected":
            offered = {found.episode_id for found in finetune.candidates(self._runner.home, base) if found.corrected_s}
            return tuple(take for take in attempts.corrected if take in offered)
        tasks, first = self._plan.story.tasks, self._runner.seed + PLAIN_SEED + APART * k
        place = SITUATION if source == "shown" else ""
        count = len(attempts.corrected)
        jobs = [LockstepJob("demonstration", tasks[n % len(tasks)], first + n, situation=place) for n in range(count)]
        return tuple(take for take in self._make(f"{k} {source}", jobs, lambda result: result.episode_id) if take)

    def _make(self, name: str, jobs: Sequence[LockstepJob], keep: Callable[[TakeResult], str]) -> list[str]:
        """What is kept of every job, by the notes or made now."""
        notes, story = self._runner.notes, self._plan.story

        def key(job: LockstepJob) -> str:
            return f"{name} {job.task} {job.seed}"

        def remember(result: TakeResult) -> None:
            notes.takes[key(result.job)] = keep(result)
            notes.save()

        waiting = [job for job in jobs if key(job) not in notes.takes]
        if waiting:
            settings = LockstepSettings(max_s=story.trial_s)
            with self._runner.teller.progress(f"recording takes: {name}") as step:
                run_batch(
                    self._runner.home,
                    waiting,
                    settings=settings,
                    workers=story.workers,
                    progress=step,
                    made=remember,
                )
            Library(self._runner.home).close()  # brings the new takes into the catalogue
        return [notes.takes[key(job)] for job in jobs]

    def _refuse_none(self, kept: Sequence[str], base: str) -> None:
        if not kept:
            raise WorkbenchError(
                f"no attempt of the model {base} had to be corrected, so there is nothing to learn from",
                "Use another model with --base",
            )

    # training and driving -------------------------------------------------------------------------------------------

    def _tuning(self, k: int, arm: str, base: str, takes: Sequence[str]) -> Training:
        def start() -> str:
            found = finetune.gather(self._runner.home, base, takes)
            story = self._plan.story
            changes = {**story.changes.get("finetune", {}), **CORRECTIONS[arm][1]}
            return finetune.start(self._runner.jobs, found, story.preset, seed=self._runner.seed + k, **changes)

        return Training(f"{k}/corrections/{arm}", start)

    def _drive(self, k: int, name: str, model: str) -> None:
        trials = dict.fromkeys(self._plan.story.tasks, self._plan.correction_trials)
        for place, where in (("", "usual"), (SITUATION, "situation")):
            self._runner.drive(f"{k}/corrections/{name}/{where}", model, "rf", trials, k, situation=place)

    # figures --------------------------------------------------------------------------------------------------------

    def _about(self, k: int, base: str, attempts: Attempts) -> dict[str, Any]:
        return {
            "base": base,
            "situation": SITUATIONS[SITUATION].words,
            "round": k,
            "attempts": attempts.asked,
            "corrected": len(attempts.corrected),
            "needed_no_correction": attempts.alone,
            "not_finished_by_the_operator": attempts.lost,
        }

    def _receipt(self, k: int, arm: str) -> dict[str, Any]:
        """Both kinds of starts before and after, over the rounds so far."""
        rounds = range(k + 1)
        names = [f"{r}/corrections/{arm}" for r in rounds]
        entry: dict[str, Any] = {"learned_from": LEARN_FROM[CORRECTIONS[arm][0]]}
        for when, name in (("before", "before"), ("after", arm)):
            for where in ("usual", "situation"):
                trials = [self._runner.notes.trials[f"{r}/corrections/{name}/{where}"] for r in rounds]
                entry[f"{where}_{when}"] = numbers.rate_entry(trials)
        return entry | {"seconds": round(self._runner.seconds(names), 1), "seeds": k + 1}


def _corrected(result: TakeResult) -> str:
    """The take, if the operator finished it; "-": the policy needed nobody; "": nothing came of it."""
    if not result.success:
        return ""
    return result.episode_id if result.corrected_s > 0 else NOT_NEEDED
