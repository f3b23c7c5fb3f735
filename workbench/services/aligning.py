"""Aligning as one thing: Act-VAE, then VD-VAE on its frozen codebook, then the report, in a process of its own.

``runs/<id>/align.json`` holds what was asked for and how it stands; the process at work is ``align_worker``, which
outlives the window. The two trainings are ordinary runs beside it, so each can be looked at alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from models.recipes import ActVaeRecipe
from models.recipes import preset as preset_recipe
from models.registry import read_record
from models.stages import RunSpec
from storage.layout import Home
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.files import new_id, read_json, write_json
from workbench.core.states import JobState
from workbench.services.hosting import start_detached
from workbench.services.jobs import Jobs, JobStatus
from workbench.services.library import Library
from workbench.services.machine import child_environment
from workbench.services.run_files import last_line
from workbench.services.runs import KINDS, suitable_episodes

FILE_NAME, PROCESS = "align.json", "process.json"
WORKER = "workbench.services.align_worker"
TRAININGS = ("act_vae", "vd_vae")
REPORT = "report"
PHASES = (*TRAININGS, REPORT)
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(slots=True)
class Plan:
    """What ``align.json`` says.

    Attributes:
        episodes: ids by training. changes: recipe fields by training.
        runs: run ids by training, once started. phase: one of ``PHASES``.
    """

    preset: str
    episodes: dict[str, list[str]]
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    state: str = str(JobState.QUEUED)
    phase: str = TRAININGS[0]
    message: str = "starting"

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """As last written; WorkbenchError if it is damaged."""
        try:
            return cls(**read_json(folder / FILE_NAME))
        except TypeError as error:
            raise WorkbenchError(f"{folder / FILE_NAME} is damaged ({error})", "Start the alignment anew") from error

    def write(self, folder: Path) -> None:
        """Keep it, whole or not at all."""
        write_json(folder / FILE_NAME, {name: getattr(self, name) for name in self.__slots__})


@dataclass(frozen=True, slots=True)
class Alignment:
    """How one alignment stands.

    Attributes:
        phase: one of ``PHASES``; ``job`` is the training of that phase, None while there is none.
        runs: run ids by training that has begun.
        message: what is going on, or why it ended.
        step, steps: of both trainings together.
    """

    id: str
    preset: str
    state: JobState
    phase: str
    runs: Mapping[str, str]
    job: JobStatus | None
    message: str
    step: int
    steps: int

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Aligning:
    """All alignments of a data folder. Any one thread at a time; nothing blocks but ``wait``."""

    def __init__(self, home: Path, jobs: Jobs | None = None) -> None:
        self._home = Home.open(home)
        self._jobs = jobs or Jobs(home)

    def start(
        self,
        preset: str = "station",
        episodes: Sequence[str] | None = None,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> str:
        """Start aligning; returns an id at once.

        Args:
            episodes: takes to learn from; default: all that suit. changes: recipe fields by training.

        Raises NotFoundError for an unknown preset or field, with the nearest right name, and WorkbenchError when there
        is no robot take to learn from.
        """
        wanted = {stage: dict((changes or {}).get(stage, {})) for stage in TRAININGS}
        for stage, fields in wanted.items():
            preset_recipe(preset, stage, **fields)
        chosen = self._choose(episodes)
        folder = self._home.runs / f"{new_id()[:12]}-align"
        folder.mkdir(parents=True)
        Plan(preset, chosen, wanted).write(folder)
        self._launch(folder)
        return folder.name

    def resume(self, align_id: str) -> None:
        """Go on where a failed, killed or cancelled alignment stood."""
        status = self.status(align_id)
        if status.state not in (JobState.FAILED, JobState.CANCELLED):
            raise StateError(f"alignment {align_id} is {status.state}", "Only a failed or cancelled one can be resumed")
        folder = self._folder(align_id)
        plan = Plan.read(folder)
        plan.state, plan.message = str(JobState.QUEUED), "starting again"
        (folder / PROCESS).unlink(missing_ok=True)
        plan.write(folder)
        self._launch(folder)

    def cancel(self, align_id: str) -> None:
        """Ask it to save a checkpoint and end; it can be resumed. Returns at once."""
        status = self.status(align_id)
        if status.ended:
            raise StateError(f"alignment {align_id} is {status.state} already", "There is nothing to cancel")
        pid = self._living_pid(align_id)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)

    def status(self, align_id: str) -> Alignment:
        """How one stands; NotFoundError with the nearest id. A process that died without a word is noticed."""
        folder = self._folder(align_id)
        plan = Plan.read(folder)
        state = JobState(plan.state)
        begun = (folder / PROCESS).exists()  # absent for the moment between the plan and its process
        if state not in ENDED and begun and self._living_pid(align_id) is None:
            plan = Plan.read(folder)  # it may have ended well between the two looks
            state = JobState(plan.state)
            if state not in ENDED:
                plan = self._found_dead(folder, plan)
                state = JobState.FAILED
        run_id = plan.runs.get(plan.phase, plan.runs.get(TRAININGS[-1], ""))
        job = self._jobs.status(run_id) if run_id else None
        steps = self._steps(plan)
        done = sum(self._jobs.status(run).step for run in plan.runs.values())
        return Alignment(
            align_id, plan.preset, state, plan.phase, dict(plan.runs), job, plan.message, min(done, steps), steps
        )

    def all(self) -> tuple[Alignment, ...]:
        """Every alignment, oldest first."""
        return tuple(self.status(path.parent.name) for path in sorted(self._home.runs.glob(f"*/{FILE_NAME}")))

    def latest(self) -> Alignment | None:
        """The newest one."""
        found = sorted(self._home.runs.glob(f"*/{FILE_NAME}"))
        return self.status(found[-1].parent.name) if found else None

    def wait(
        self, align_id: str, progress: Callable[[Alignment], None] = lambda status: None, poll_s: float = 0.25
    ) -> Alignment:
        """Block until it has ended; WorkbenchError with its message when it did not end well."""
        while True:
            status = self.status(align_id)
            progress(status)
            if status.state is JobState.DONE:
                return status
            if status.ended:
                raise WorkbenchError(f"the alignment {align_id} {status.state}: {status.message}", _go_on(align_id))
            time.sleep(poll_s)

    def follow(self, align_id: str, progress: Callable[[Alignment], None]) -> Alignment:
        """``wait`` for a person at a terminal: their Ctrl-C also ends it, at a checkpoint."""
        try:
            return self.wait(align_id, progress)
        except KeyboardInterrupt:
            with contextlib.suppress(StateError):  # it ended by itself in the meantime
                self.cancel(align_id)
            raise WorkbenchError(
                f"interrupted; alignment {align_id} saves a checkpoint and ends", _go_on(align_id)
            ) from None

    # parts ----------------------------------------------------------------------------------------------------------

    def _choose(self, episodes: Sequence[str] | None) -> dict[str, list[str]]:
        if episodes is None:
            chosen = {stage: list(suitable_episodes(self._home.path, stage)) for stage in TRAININGS}
        else:
            with Library(self._home.path) as library:
                kinds = {record.id: record.kind for record in library.episodes()}
            missing = [episode_id for episode_id in episodes if episode_id not in kinds]
            if missing:
                raise NotFoundError.of("take", missing[0], kinds)
            chosen = {stage: [i for i in episodes if kinds[i] in KINDS[stage]] for stage in TRAININGS}
        robots = set(chosen["act_vae"]) & set(chosen["vd_vae"])
        if not robots:
            raise WorkbenchError(
                "there is no robot take of this station that the alignment could learn from",
                "Record demonstrations of the robot first (Record, Ctrl+1)",
            )
        return chosen

    @staticmethod
    def _steps(plan: Plan) -> int:
        return sum(preset_recipe(plan.preset, stage, **plan.changes.get(stage, {})).steps for stage in TRAININGS)

    def _launch(self, folder: Path) -> None:
        arguments = [sys.executable, "-m", WORKER, str(folder)]
        pid = start_detached(arguments, str(folder / "log.txt"), child_environment())
        write_json(folder / PROCESS, {"pid": pid, "started_at": time.time()})

    def _folder(self, align_id: str) -> Path:
        folder = self._home.runs / align_id
        if not align_id or not (folder / FILE_NAME).exists():
            names = (path.parent.name for path in self._home.runs.glob(f"*/{FILE_NAME}"))
            raise NotFoundError.of("alignment", align_id, names)
        return folder

    def _living_pid(self, align_id: str) -> int | None:
        """The worker's process id while it lives. A recycled id is told by its command line."""
        path = self._home.runs / align_id / PROCESS
        if not path.exists():
            return None
        pid = int(read_json(path)["pid"])
        try:
            process = psutil.Process(pid)
            ours = any(Path(part).name == align_id for part in process.cmdline())
            return pid if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def _found_dead(self, folder: Path, plan: Plan) -> Plan:
        words = last_line(folder / "log.txt")
        message = "was killed; resume it" + (f" (its last words: {words})" if words else "")
        plan = replace(plan, state=str(JobState.FAILED), message=message)
        plan.write(folder)
        return plan


def book_size(home: Path, run_id: str) -> int:
    """How many codes the book of a run has; 1 where it cannot be told. Reads small files."""
    root = Home.open(home)
    try:
        spec = RunSpec.read(root.runs / run_id)
        if isinstance(spec.recipe, ActVaeRecipe):
            return spec.recipe.codes
        return int(read_record(root, spec.bases["act_vae"]).recipe["codes"])
    except (WorkbenchError, KeyError, TypeError, ValueError):
        return 1


def _go_on(align_id: str) -> str:
    return f"Go on with: python main.py align --resume {align_id}"
