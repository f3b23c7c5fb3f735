"""The whole story on the simulated station, unattended: record, align, train, drive, learn something new, drive again.

It only strings together what a person would do through the other services; nothing in it has its own way to record,
train or score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import new_id, write_json
from workbench.core.types import EpisodeKind
from workbench.services import finetune
from workbench.services.demo_plan import DemoPlan
from workbench.services.evaluation import Evaluation, Rate, evaluate
from workbench.services.jobs import Jobs, JobStatus
from workbench.services.library import Library
from workbench.services.lockstep import LockstepJob, run_batch
from workbench.services.machine import PROJECT, command_line, machine, versions

HUMAN_SEED, NEW_SEED = 200_000, 400_000
IMPORTED_SIDE_PX = 320  # their pictures are only looked at here; the actions are what is learned from
SHARED_DATA = PROJECT.parent / "shared" / "data"


class Teller(Protocol):
    """Whoever hears how it goes; the command line's ``Output`` is one."""

    def note(self, text: str) -> None: ...

    def progress(self, title: str) -> AbstractContextManager[Callable[[int, int], None]]: ...


@dataclass(slots=True)
class Story:
    """What has happened so far; kept in ``story.json`` after every step.

    Attributes:
        episodes: ids by chapter: ``demonstrations``, ``human``, ``imported``, ``new``.
        runs, models: run and model ids by stage (and ``finetune``).
        metrics: held-out figures by stage.
        before, after, ntp: rate by task.
        trials: ids of rollout takes by chapter: ``before``, ``after``, ``ntp``.
        latency_ms: median inference time by head.
        seconds: time by step, in the order of the steps.
    """

    plan: DemoPlan
    seed: int
    home: str
    episodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: dict[str, Rate] = field(default_factory=dict)
    after: dict[str, Rate] = field(default_factory=dict)
    ntp: dict[str, Rate] = field(default_factory=dict)
    trials: dict[str, tuple[str, ...]] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plan = {entry.name: getattr(self.plan, entry.name) for entry in fields(self.plan)}
        value["plan"] = {**plan, "changes": {stage: dict(change) for stage, change in self.plan.changes.items()}}
        for chapter in ("before", "after", "ntp"):
            value[chapter] = {task: rate.to_json() for task, rate in getattr(self, chapter).items()}
        return value


class Demo:
    """Runs one story. Blocks for minutes; use from a thread of its own or the command line."""

    def __init__(self, home: Path | None, plan: DemoPlan, teller: Teller, *, seed: int = 0, data: Path | None = None):
        self._home = Home.open(home)
        self._teller = teller
        self._plan = plan
        self._data = data
        self._jobs = Jobs(self._home.path)
        self.folder = self._home.runs / f"{new_id()[:12]}-demo"
        self.story = Story(plan, seed, str(self._home.path))

    def run(self) -> Story:
        """Tell the whole story. Raises WorkbenchError at the first step that cannot be done; what was made is kept."""
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("record demonstrations", self._record_demonstrations),
            ("record human clips", self._record_human),
            ("import real recordings", self._import_real),
            ("train act_vae", lambda: self._train("act_vae", ("demonstrations", "imported"))),
            ("train vd_vae", lambda: self._train("vd_vae", ("demonstrations", "human"))),
            ("train ntp", lambda: self._train("ntp", ("demonstrations", "human"))),
            ("train rf", lambda: self._train("rf", ("demonstrations", "human"))),
            ("drive before", lambda: self._drive("before", "rf")),
            ("drive with tokens", self._drive_tokens),
            ("record new task", self._record_new),
            ("fine-tune", self._finetune),
            ("drive after", lambda: self._drive("after", "finetune")),
        )
        self.folder.mkdir(parents=True)
        for name, step in steps:
            with self._timed(name):
                step()
        return self.story

    # steps ----------------------------------------------------------------------------------------------------------

    def _record_demonstrations(self) -> None:
        self._record("demonstrations", demonstration_jobs(self._plan, self.story.seed))

    def _record_human(self) -> None:
        tasks = (*self._plan.tasks, self._plan.new_task)
        first = self.story.seed + HUMAN_SEED
        self._record(
            "human", [LockstepJob("human", tasks[k % len(tasks)], first + k) for k in range(self._plan.human_clips)]
        )

    def _record_new(self) -> None:
        first = self.story.seed + NEW_SEED
        count = self._plan.new_demonstrations
        self._record("new", [LockstepJob("demonstration", self._plan.new_task, first + k) for k in range(count)])

    def _record(self, chapter: str, jobs: Sequence[LockstepJob]) -> None:
        with self._teller.progress(f"recording {chapter}") as step:
            results = run_batch(self._home.path, jobs, workers=self._plan.workers, progress=step)
        kept = tuple(result.episode_id for result in results if result.episode_id)
        lost = [result.message for result in results if not result.episode_id]
        if not kept:
            raise WorkbenchError(
                f"none of the {len(jobs)} takes was recorded ({lost[0] if lost else 'none was asked'})"
            )
        if lost:
            self._note(f"{len(lost)} of {len(jobs)} takes were not kept; the first: {lost[0]}")
        self.story.episodes[chapter] = kept
        self._teller.note(f"{chapter}: {len(kept)} takes")

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
            status = self._jobs.wait(run_id, lambda now: _show(step, now))
        self.story.models[name] = status.model_id
        self.story.metrics[name] = self._jobs.metrics(run_id)

    def _drive(self, chapter: str, model: str) -> None:
        old = self._evaluate(model, self._plan.tasks, self._plan.trials, f"driving {chapter}")
        new = self._evaluate(model, (self._plan.new_task,), self._plan.new_trials, f"driving the new task {chapter}")
        setattr(self.story, chapter, {**old.per_task, **new.per_task})
        self.story.trials[chapter] = tuple(t.episode_id for t in (*old.trials, *new.trials) if t.episode_id)
        if old.latency_ms is not None:
            self.story.latency_ms["rf"] = old.latency_ms
        self._teller.note(f"{chapter}: old tasks {old.overall}, new task {new.overall}")

    def _drive_tokens(self) -> None:
        if not self._plan.ntp_trials:
            return
        result = self._evaluate("rf", self._plan.tasks, self._plan.ntp_trials, "driving with tokens", head="ntp")
        self.story.ntp = dict(result.per_task)
        self.story.trials["ntp"] = tuple(trial.episode_id for trial in result.trials if trial.episode_id)
        if result.latency_ms is not None:
            self.story.latency_ms["ntp"] = result.latency_ms
        self._teller.note(f"token head: {result.overall}")

    def _evaluate(self, model: str, tasks: Sequence[str], trials: int, title: str, head: str = "rf") -> Evaluation:
        with self._teller.progress(title) as step:
            return evaluate(
                self._home.path,
                self.story.models[model],
                tasks,
                trials,
                head=head,
                workers=self._plan.workers,
                progress=step,
            )

    # parts ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.story.seconds[name] = round(time.monotonic() - started, 2)
            write_json(self.folder / "story.json", self.story.to_json())
        self._teller.note(f"{name}: {self.story.seconds[name]:.1f} s")

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


def _show(step: Callable[[int, int], None], status: JobStatus) -> None:
    if status.steps:
        step(status.step, status.steps)


def summary(story: Story) -> dict[str, Any]:
    """The JSON object that `demo --json` prints."""
    codec, aligned = story.metrics.get("act_vae", {}), story.metrics.get("vd_vae", {})
    chapters = {
        EpisodeKind.HUMAN: ("human",),
        EpisodeKind.TELEOP: ("demonstrations", "new"),
        EpisodeKind.IMPORTED: ("imported",),
    }
    counts = {str(kind): sum(len(story.episodes.get(c, ())) for c in names) for kind, names in chapters.items()}
    counts[str(EpisodeKind.ROLLOUT)] = sum(len(ids) for ids in story.trials.values())
    success = {
        receipt.task: receipt.to_json()
        for receipt in finetune.receipts(story.before, story.after, (story.plan.new_task,))
    }
    return {
        "episodes": counts,
        "act_vae": {name: codec.get(name) for name in ("rmse_mm", "perplexity", "used")},
        "alignment": {name: aligned.get(name) for name in ("retrieval_top1", "retrieval_top5", "chance", "n")},
        "success": success,
        "success_ntp": {task: rate.to_json() for task, rate in story.ntp.items()},
        "latency_ms": story.latency_ms,
        "seconds": {**story.seconds, "total": round(sum(story.seconds.values()), 1)},
        "home": story.home,
        "models": story.models,
        "runs": story.runs,
        "notes": story.notes,
        "plan": story.plan.name,
        "seed": story.seed,
        "machine": machine(),
        "versions": versions(),
        "command": command_line(),
    }
