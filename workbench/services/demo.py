"""The whole story on the simulated station, unattended: record, align, train, drive, learn something new, drive again.

It only strings together what a person would do through the other services; nothing in it has its own way to record,
train or score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services import finetune
from workbench.services.demo_plan import DemoPlan
from workbench.services.evaluation import evaluate, trial_jobs
from workbench.services.jobs import Jobs, JobStatus
from workbench.services.library import Library
from workbench.services.lockstep import LockstepJob, LockstepSettings, TakeResult
from workbench.services.lockstep_batch import run_batch
from workbench.services.machine import PROJECT
from workbench.services.story import Story

HUMAN_SEED, NEW_SEED = 200_000, 400_000
REMEMBER_EVERY = 10  # takes between two savings of the story while recording
IMPORTED_SIDE_PX = 320  # their pictures are only looked at here; the actions are what is learned from
SHARED_DATA = PROJECT.parent / "shared" / "data"


class Teller(Protocol):
    """Whoever hears how it goes; the command line's ``Output`` is one."""

    def note(self, text: str) -> None: ...

    def progress(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]: ...


class Demo:
    """Runs one story. Blocks for minutes; use from a thread of its own or the command line.

    Args:
        story: a new one, or one that was interrupted: the steps it has finished are not done again.
        data: real recordings to import; None takes those beside the project, if there are any.
    """

    def __init__(self, story: Story, teller: Teller, *, data: Path | None = None) -> None:
        self.story = story
        self._home = Home.open(Path(story.home))
        self._plan = story.plan
        self._teller = teller
        self._data = data
        self._jobs = Jobs(self._home.path)

    def run(self) -> Story:
        """Tell the whole story. Raises WorkbenchError at the first step that cannot be done; what was made is kept."""
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("record", self._record),
            ("import", self._import_real),
            ("train act_vae", lambda: self._train("act_vae", ("demonstrations", "imported"))),
            ("train vd_vae", lambda: self._train("vd_vae", ("demonstrations", "human"))),
            ("train ntp", lambda: self._train("ntp", ("demonstrations", "human"))),
            ("train rf", lambda: self._train("rf", ("demonstrations", "human"))),
            ("drive before", lambda: self._drive("before", "rf")),
            ("record new task", self._record_new),
            ("fine-tune", self._finetune),
            ("drive after", lambda: self._drive("after", "finetune")),
        )
        for name, step in steps:
            if name in self.story.seconds:
                self._teller.note(f"{name}: done before")
                continue
            started = time.monotonic()
            step()
            self.story.seconds[name] = round(time.monotonic() - started, 2)
            self.story.save()
            self._teller.note(f"{name}: {self.story.seconds[name]:.1f} s")
        return self.story

    # steps ----------------------------------------------------------------------------------------------------------

    def _record(self) -> None:
        plan, seed = self._plan, self.story.seed
        tasks = (*plan.tasks, plan.new_task)
        clips = [LockstepJob("human", tasks[k % len(tasks)], seed + HUMAN_SEED + k) for k in range(plan.human_clips)]
        self._make("demonstrations and human clips", [*demonstration_jobs(plan, seed), *clips])

    def _record_new(self) -> None:
        first, count = self.story.seed + NEW_SEED, self._plan.new_demonstrations
        self._make("new", [LockstepJob("demonstration", self._plan.new_task, first + k) for k in range(count)])

    def _make(self, title: str, jobs: Sequence[LockstepJob]) -> None:
        """Make the takes that an earlier, interrupted attempt has not made yet, and keep their ids by chapter."""
        made = self.story.made
        waiting = [job for job in jobs if _key(job) not in made]
        with self._teller.progress(f"recording {title}") as step:
            results = run_batch(
                self._home.path, waiting, workers=self._plan.workers, progress=step, made=self._remember
            )
        kept = [job for job in jobs if _key(job) in made]
        lost = [result.message for result in results if not result.episode_id]
        if not kept:
            raise WorkbenchError(f"none of the {len(jobs)} takes was recorded ({lost[0].rstrip('.')})")
        if lost:
            self._note(f"{len(lost)} of {len(jobs)} takes were not kept; the first: {lost[0]}")
        for job in kept:
            chapter = _chapter(job, self._plan)
            self.story.episodes[chapter] = (*self.story.episodes.get(chapter, ()), made[_key(job)])
        self._teller.note(f"{title}: {len(kept)} takes")

    def _remember(self, result: TakeResult) -> None:
        """Keep a take's id, on disk every few takes: what a kill can cost is then recorded once more."""
        if result.episode_id:
            self.story.made[_key(result.job)] = result.episode_id
            if len(self.story.made) % REMEMBER_EVERY == 0:
                self.story.save()

    def _import_real(self) -> None:
        for path in self._real_sources():
            with self._teller.progress(f"importing {path.name}") as step, Library(self._home.path) as library:
                try:
                    report = library.import_from(path, progress=step, max_side_px=IMPORTED_SIDE_PX)
                except WorkbenchError as error:
                    self._note(f"{path.name} was not imported: {error}")
                    continue
            for name, reason in report.skipped:
                self._note(f"{path.name}, {name} was left out: {reason}")
        with Library(self._home.path) as library:
            imported = tuple(sorted(record.id for record in library.episodes(kind=EpisodeKind.IMPORTED)))
        self.story.episodes["imported"] = imported
        self._teller.note(f"imported: {len(imported)} takes")

    def _real_sources(self) -> list[Path]:
        """The path that was given, or the robot recordings that lie beside the project, if any."""
        if self._data is not None:
            return [self._data]
        names = ("astribot_lerobot_openclap", "droid_ctrlworld")
        return [SHARED_DATA / name for name in names if (SHARED_DATA / name).is_dir()]

    def _train(self, stage: str, chapters: Sequence[str]) -> None:
        episodes = tuple(i for chapter in chapters for i in self.story.episodes.get(chapter, ()))
        base = {older: self.story.models[older] for older in _NEEDED[stage]}
        changes = self._plan.changes.get(stage, {})
        run_id = self._jobs.start(
            stage, self._plan.preset, episodes=episodes, base=base, seed=self.story.seed, **changes
        )
        self._finish(stage, run_id)

    def _finetune(self) -> None:
        material = finetune.gather(self._home.path, self.story.models["rf"], self.story.episodes["new"])
        for warning in material.warnings:
            self._note(warning)
        changes = {"seed": self.story.seed, **self._plan.changes.get("finetune", {})}
        self._finish("finetune", finetune.start(self._jobs, material, self._plan.preset, **changes))

    def _finish(self, name: str, run_id: str) -> None:
        """Wait for a run and keep what it made."""
        self.story.runs[name] = run_id
        with self._teller.progress(f"training {name}") as step:
            status = self._jobs.follow(run_id, lambda now: _show(step, now))
        self.story.models[name] = status.model_id
        self.story.metrics[name] = self._jobs.metrics(run_id)

    def _drive(self, chapter: str, model: str) -> None:
        plan, model_id = self._plan, self.story.models[model]
        trials = {**dict.fromkeys(plan.tasks, plan.trials), plan.new_task: plan.new_trials}
        jobs = trial_jobs(model_id, trials)
        if chapter == "before" and plan.ntp_trials:
            jobs += trial_jobs(model_id, dict.fromkeys(plan.tasks, plan.ntp_trials), "ntp")
        with self._teller.progress(f"driving {chapter}") as step:
            settings = LockstepSettings(max_s=plan.trial_s)
            found = evaluate(self._home.path, jobs, settings=settings, workers=plan.workers, progress=step)
        setattr(self.story, chapter, dict(found["rf"].per_task))
        if "ntp" in found:
            self.story.ntp = dict(found["ntp"].per_task)
        for head, result in found.items():
            ids = tuple(trial.episode_id for trial in result.trials if trial.episode_id)
            for trial in result.trials:
                if not trial.episode_id:
                    self._note(f"one trial of {trial.job.task} ({head} head) does not count: {trial.message}")
            self.story.trials["ntp" if head == "ntp" else chapter] = ids
            if result.latency_ms is not None:
                self.story.latency_ms[head] = result.latency_ms
            self._teller.note(f"{chapter}, {head} head: {result.overall}")

    # parts ----------------------------------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self.story.notes.append(text)
        self._teller.note(text)


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "act_vae": (),
    "vd_vae": ("act_vae",),
    "ntp": ("act_vae", "vd_vae"),
    "rf": ("act_vae", "vd_vae", "ntp"),
}


def demonstration_jobs(plan: DemoPlan, seed: int) -> list[LockstepJob]:
    """Demonstrations of all old tasks in turn, looks changed at the plan's share, the same for every task."""
    jobs = []
    for k in range(plan.demonstrations):
        lap, share = k // len(plan.tasks), plan.randomised_share
        changed = int((lap + 1) * share) > int(lap * share)
        jobs.append(LockstepJob("demonstration", plan.tasks[k % len(plan.tasks)], seed + k, randomised=changed))
    return jobs


def _key(job: LockstepJob) -> str:
    return f"{job.kind} {job.task} {job.seed}"


def _chapter(job: LockstepJob, plan: DemoPlan) -> str:
    if job.kind == "human":
        return "human"
    return "new" if job.task == plan.new_task else "demonstrations"


def _show(step: Callable[[int, int], None], status: JobStatus) -> None:
    if status.steps:
        step(status.step, status.steps)
