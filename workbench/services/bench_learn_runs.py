"""Does what a comparison needs once: records takes, trains, drives, measures; all of it goes on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.states import JobState
from workbench.core.types import EpisodeKind
from workbench.services.bench_learn_notes import Notes
from workbench.services.bench_learn_plan import HUMAN_ONLY, LearnPlan
from workbench.services.demo import HUMAN_SEED, NEW_SEED, Teller, demonstration_jobs
from workbench.services.evaluation import TRIAL_SEED, evaluate, trial_jobs
from workbench.services.hosting import Host
from workbench.services.jobs import Jobs, JobStatus
from workbench.services.library import Library
from workbench.services.lockstep import LockstepJob, LockstepSettings, TakeResult
from workbench.services.lockstep_batch import run_batch
from workbench.services.runs import suitable_episodes

POLL_S = 0.5
ANSWER_S = 3600.0
SCENES_APART = 1000  # between the trial scenes of two training seeds


@dataclass(frozen=True, slots=True)
class Training:
    """One run to have: its name in the notes and how to start it."""

    name: str
    start: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Material:
    """Ids of the takes every arm shares.

    Attributes:
        demonstrations: robot takes of the old tasks. new: robot takes of the task for fine-tuning.
        human: clips of people, also of tasks that no robot take shows.
    """

    demonstrations: tuple[str, ...]
    human: tuple[str, ...]
    new: tuple[str, ...]


class Runner:
    """Carries out a comparison's work on one data folder. Blocks; use from one thread.

    Args:
        recorded: learn from the takes the folder has, instead of recording the plan's.
    """

    def __init__(
        self, home: Path, plan: LearnPlan, notes: Notes, teller: Teller, *, seed: int = 0, recorded: bool = False
    ) -> None:
        self.home = home
        self.plan = plan
        self.notes = notes
        self.teller = teller
        self.seed = seed
        self.jobs = Jobs(home, slots=2)
        self._recorded = recorded

    # takes ----------------------------------------------------------------------------------------------------------

    def material(self) -> Material:
        """The takes, made or found; WorkbenchError if there are none to learn from."""
        story = self.plan.story
        if self._recorded:
            return self._found()
        old = demonstration_jobs(story, self.seed)
        shown = (*story.tasks, *HUMAN_ONLY)
        count, first = story.human_clips, self.seed + HUMAN_SEED
        clips = [LockstepJob("human", shown[k % len(shown)], first + k) for k in range(count)]
        first = self.seed + NEW_SEED
        new = [LockstepJob("demonstration", story.new_task, first + k) for k in range(story.new_demonstrations)]
        self._record([*old, *clips, *new])
        made = self.notes.takes
        chapters = [tuple(made[_key(job)] for job in jobs if _key(job) in made) for jobs in (old, clips, new)]
        return Material(*chapters)

    def _record(self, jobs: Sequence[LockstepJob]) -> None:
        waiting = [job for job in jobs if _key(job) not in self.notes.takes]
        if not waiting:
            return
        with self.teller.progress("recording takes") as step:
            results = run_batch(
                self.home, waiting, workers=self.plan.story.workers, progress=step, made=self._remember_take
            )
        Library(self.home).close()  # brings the new takes into the catalogue
        lost = [result.message for result in results if not result.episode_id]
        if lost:
            self.teller.note(f"{len(lost)} of {len(jobs)} takes were not kept; the first: {lost[0]}")

    def _remember_take(self, result: TakeResult) -> None:
        if result.episode_id:
            self.notes.takes[_key(result.job)] = result.episode_id
            self.notes.save()

    def _found(self) -> Material:
        """What the folder has: new = the plan's new task; tasks only people show are left out of the robot's."""
        with Library(self.home) as library:
            records = {record.id: record for record in library.episodes()}
        robot = [i for i in suitable_episodes(self.home, "rf") if records[i].kind == EpisodeKind.TELEOP]
        new_task = self.plan.story.new_task
        apart = (new_task, *HUMAN_ONLY)
        old = tuple(i for i in robot if records[i].task not in apart)
        if not old:
            raise WorkbenchError(f"there is no demonstration in {self.home}", "Leave out --recorded to record some")
        human = tuple(sorted(i for i, record in records.items() if record.kind == EpisodeKind.HUMAN))
        return Material(old, human, tuple(i for i in robot if records[i].task == new_task))

    # training -------------------------------------------------------------------------------------------------------

    def train(self, wanted: Sequence[Training]) -> None:
        """Have all these runs done, a few at a time; those that were interrupted go on from their checkpoints.

        Raises WorkbenchError with the reason of the first that cannot be finished; the others' work is kept.
        """
        waiting = [training for training in wanted if "model" not in self.notes.runs.get(training.name, {})]
        running: dict[str, str] = {}
        if not waiting:
            return
        all_runs = len(waiting)
        title = f"training {waiting[0].name}" + (
            f" and {all_runs - 1} others, percent" if all_runs > 1 else ", percent"
        )
        with self.teller.progress(title) as step:
            while waiting or running:
                while waiting and len(running) < max(1, self.plan.story.workers):
                    training = waiting.pop(0)
                    running[training.name] = self._begin(training)
                statuses = {name: self.jobs.status(run_id) for name, run_id in running.items()}
                finished = 100 * (all_runs - len(waiting) - len(running))
                shares = [status.step / max(1, status.steps) for status in statuses.values()]
                step(round((finished + 100 * sum(shares)) / all_runs), 100)
                for name, status in statuses.items():
                    if status.ended:
                        self._end(name, self.jobs.wait(running.pop(name)))
                if running:
                    time.sleep(POLL_S)

    def model(self, name: str) -> str:
        """Id of the model of a finished training."""
        return str(self.notes.runs[name]["model"])

    def seconds(self, names: Sequence[str]) -> float:
        """Time that the training loops of these runs took together."""
        return sum(float(self.notes.runs[name]["seconds"]) for name in names if name in self.notes.runs)

    def _begin(self, training: Training) -> str:
        """Start a run, or pick up the one that an earlier attempt left."""
        known = self.notes.runs.get(training.name)
        if known is not None:
            run_id = str(known["run"])
            if self.jobs.status(run_id).state in (JobState.FAILED, JobState.CANCELLED):
                self.jobs.resume(run_id)
            return run_id
        run_id = training.start()
        self.notes.runs[training.name] = {"run": run_id}
        self.notes.save()
        return run_id

    def _end(self, name: str, status: JobStatus) -> None:
        spent = float(status.metrics.get("seconds", 0.0))
        self.notes.runs[name] = {"run": status.run_id, "model": status.model_id, "seconds": spent}
        self.notes.save()
        self.teller.note(f"{name}: {spent:.0f} s of training")

    # measuring ------------------------------------------------------------------------------------------------------

    def drive(
        self,
        name: str,
        model_id: str,
        head: str,
        trials: Mapping[str, int],
        round_: int,
        situation: str = "",
    ) -> dict[str, bool]:
        """Outcome of every trial by "<task> <seed>". All models of one round are asked the same scenes."""
        known = self.notes.trials.setdefault(name, {})
        jobs = trial_jobs(model_id, trials, head, TRIAL_SEED + SCENES_APART * round_)
        jobs = [replace(job, situation=situation) for job in jobs]
        waiting = [job for job in jobs if _trial(job) not in known]

        def remember(result: TakeResult) -> None:
            if result.episode_id:
                known[_trial(result.job)] = bool(result.success)
                self.notes.save()

        if waiting:
            settings = LockstepSettings(max_s=self.plan.story.trial_s)
            with self.teller.progress(f"driving {name}") as step:
                evaluate(
                    self.home,
                    waiting,
                    settings=settings,
                    workers=self.plan.story.workers,
                    progress=step,
                    made=remember,
                )
        return known

    def measure(self, name: str, verb: str, **arguments: Any) -> Any:
        """The answer of the measuring process (``models.controls``), asked once."""
        if name not in self.notes.measured:
            with self._measuring() as ask:
                self.notes.measured[name] = ask(verb, **arguments)
            self.notes.save()
        return self.notes.measured[name]

    @contextmanager
    def _measuring(self) -> Iterator[Callable[..., Any]]:
        with Host() as host:
            child = host.start("measuring", "models.controls:main", home=str(self.home))
            yield lambda verb, **arguments: child.call(verb, timeout_s=ANSWER_S, **arguments)


def notes_folder(home: Path, name: str) -> Path:
    """Where the notes of a comparison lie."""
    return Home.open(home).runs / f"bench-learn-{name}"


def _key(job: LockstepJob) -> str:
    return f"{job.kind} {job.task} {job.seed} {'random' if job.randomised else 'usual'}"


def _trial(job: LockstepJob) -> str:
    return f"{job.task} {job.seed}"
