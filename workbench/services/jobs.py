"""Training runs: detached processes that outlive the window, watched through small files in their run folders.

``runs/<id>/status.json`` and ``progress.jsonl`` are written by the trainer; this service starts, watches, cancels and
resumes. A trainer that died without a word is noticed by its process id and reported as failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from models.registry import ModelRecord, list_models
from storage.layout import Home
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.events import JobProgressed
from workbench.core.files import read_json, write_json
from workbench.core.states import JobState
from workbench.services.hosting import start_detached
from workbench.services.machine import child_environment
from workbench.services.run_files import (
    CANCELLED,
    PAUSED,
    JobStatus,
    last_line,
    read_lines,
    read_status,
    read_tail,
    run_stamp,
)
from workbench.services.runs import plan_run

__all__ = ["JobStatus", "Jobs"]

LEAVE_S = 20.0
WORKER = "workbench.services.job_worker"
Progress = Callable[[JobStatus], None]


class Jobs:
    """All training runs of a data folder. Methods may be called from any one thread at a time; only ``wait`` blocks.

    Args:
        slots: how many runs that are started here may be at work at the same time; the others wait in a queue.
    """

    def __init__(self, home: Path, bus: Bus | None = None, slots: int = 1) -> None:
        self._home = Home.open(home)
        self._bus = bus or Bus()
        self._slots = slots
        self._seen: dict[str, tuple[tuple[int, ...], JobStatus]] = {}

    @property
    def home(self) -> Home:
        """The data folder."""
        return self._home

    def start(self, stage: str, preset: str = "station", **choices: Any) -> str:
        """Start training a stage in its own process. Returns the run's id at once.

        Args:
            choices: ``episodes`` (ids; default: all that suit the stage), ``base`` (model id by stage; default: the
                promoted or newest ones), and any field of the stage's recipe.
        """
        spec = plan_run(self._home, stage, preset, **choices)
        spec.write()
        self.launch(spec.run_id, steps=spec.recipe.steps)
        return spec.run_id

    def resume(self, run_id: str) -> None:
        """Go on from the last checkpoint of a run that failed, was killed or was cancelled."""
        status = self.status(run_id)
        if status.state not in (JobState.FAILED, JobState.CANCELLED):
            raise StateError(f"run {run_id} is {status.state}", "Only a failed or cancelled run can be resumed")
        (self._folder(run_id) / PAUSED).unlink(missing_ok=True)
        self.launch(run_id, step=status.step, steps=status.steps, started_at=status.started_at, resume=True)

    def cancel(self, run_id: str) -> None:
        """Ask a run to checkpoint and end; it can be resumed. Returns at once."""
        status = self.status(run_id)
        if status.ended:
            raise StateError(f"run {run_id} is {status.state} already", "There is nothing to cancel")
        (self._folder(run_id) / CANCELLED).touch()
        pid = self._living_pid(run_id)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)

    def pause(self, run_id: str) -> None:
        """Ask a run to rest at its next step; it stays in memory and keeps its place. Returns at once."""
        status = self.status(run_id)
        if status.ended:
            raise StateError(f"run {run_id} is {status.state} already", "There is nothing to pause")
        (self._folder(run_id) / PAUSED).touch()

    def go_on(self, run_id: str) -> None:
        """Let a paused run go on."""
        (self._folder(run_id) / PAUSED).unlink(missing_ok=True)

    def jobs(self) -> tuple[JobStatus, ...]:
        """Every run, oldest first; publishes JobProgressed for those that moved. Cheap enough for 2 Hz."""
        folders = sorted(path.parent for path in self._home.runs.glob("*/run.json"))
        return tuple(self.status(folder.name) for folder in folders)

    def status(self, run_id: str) -> JobStatus:
        """One run; NotFoundError with the nearest id."""
        folder = self._folder(run_id)
        stamp = run_stamp(folder)
        seen = self._seen.get(run_id)
        if seen is not None and seen[0] == stamp and (seen[1].ended or self._living_pid(run_id) is not None):
            return seen[1]
        status = self._judged(folder, read_status(folder))
        self._seen[run_id] = (run_stamp(folder), status)
        if seen is None or seen[1] != status:
            values = (status.run_id, status.stage, str(status.state), status.step, status.steps, status.metrics)
            self._bus.publish(JobProgressed(*values))
        return status

    def curve(self, run_id: str) -> dict[str, tuple[list[float], list[float]]]:
        """Every reported number over steps: by name (steps, values)."""
        found: dict[str, tuple[list[float], list[float]]] = {}
        for line in read_lines(self._folder(run_id) / "progress.jsonl"):
            for name, value in line.items():
                if name not in ("step", "steps", "time") and isinstance(value, int | float):
                    steps, values = found.setdefault(name, ([], []))
                    steps.append(float(line["step"]))
                    values.append(float(value))
        return found

    def metrics(self, run_id: str) -> dict[str, Any]:
        """The held-out figures a finished run wrote; empty before."""
        path = self._folder(run_id) / "metrics.json"
        return dict(read_json(path)) if path.exists() else {}

    def wait(self, run_id: str, progress: Progress = lambda status: None, poll_s: float = 0.25) -> JobStatus:
        """Block until a run and its process have ended; WorkbenchError with its message when it did not end well."""
        while True:
            status = self.status(run_id)
            progress(status)
            if status.ended:
                self._let_go(run_id)
            if status.state is JobState.DONE:
                return status
            if status.ended:
                raise WorkbenchError(
                    f"the {status.stage} run {run_id} {status.state}: {status.message}", _advice(run_id)
                )
            time.sleep(poll_s)

    def follow(self, run_id: str, progress: Progress = lambda status: None) -> JobStatus:
        """``wait`` for a person at a terminal: their Ctrl-C also ends the run, at its checkpoint."""
        try:
            return self.wait(run_id, progress)
        except KeyboardInterrupt:
            with contextlib.suppress(StateError):  # it ended by itself in the meantime
                self.cancel(run_id)
            raise WorkbenchError(f"interrupted; run {run_id} saves a checkpoint and ends", _advice(run_id)) from None

    def log(self, run_id: str, most_bytes: int = 20_000) -> str:
        """The end of what the trainer printed."""
        return read_tail(self._folder(run_id) / "log.txt", most_bytes).decode(errors="replace")

    def models(self) -> tuple[ModelRecord, ...]:
        """Every model of the data folder, oldest first."""
        return list_models(self._home)

    def launch(
        self, run_id: str, *, step: int = 0, steps: int = 0, started_at: float | None = None, resume: bool = False
    ) -> None:
        """Start the process of a run whose folder is written. For services that write their own."""
        folder = self._home.runs / run_id
        (folder / CANCELLED).unlink(missing_ok=True)
        begun = {"state": str(JobState.QUEUED), "step": step, "steps": steps, "message": "starting", "model_id": ""}
        write_json(folder / "status.json", {**begun, "pid": None, "updated_at": time.time()})
        more = ["--slots", str(self._slots), *(["--resume"] if resume else [])]
        arguments = [sys.executable, "-m", WORKER, str(folder), *more]
        pid = start_detached(arguments, str(folder / "log.txt"), child_environment())
        started = started_at if started_at is not None else time.time()
        write_json(folder / "process.json", {"pid": pid, "started_at": started})

    # parts ----------------------------------------------------------------------------------------------------------

    def _folder(self, run_id: str) -> Path:
        folder = self._home.runs / run_id
        if not run_id or not (folder / "run.json").exists():
            raise NotFoundError.of("run", run_id, (path.parent.name for path in self._home.runs.glob("*/run.json")))
        return folder

    def _living_pid(self, run_id: str) -> int | None:
        """The trainer's process id while it lives. A recycled id is told by its command line."""
        path = self._home.runs / run_id / "process.json"
        if not path.exists():
            return None
        pid = int(read_json(path)["pid"])
        try:
            process = psutil.Process(pid)
            ours = any(Path(part).name == run_id for part in process.cmdline())
            ours = ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return pid if ours else None

    def _let_go(self, run_id: str) -> None:
        """Wait for a trainer that has said its last word to leave; it holds the run's folder until then."""
        deadline = time.monotonic() + LEAVE_S
        while self._living_pid(run_id) is not None and time.monotonic() < deadline:
            time.sleep(0.02)

    def _judged(self, folder: Path, status: JobStatus) -> JobStatus:
        """The state as written, unless the process that should be at it is gone."""
        if status.ended or self._living_pid(folder.name) is not None or not (folder / "process.json").exists():
            return status
        status = read_status(folder)  # it may have ended well between the two looks
        if status.ended:
            return status
        if (folder / CANCELLED).exists():
            state, message = JobState.CANCELLED, "cancelled; resume it to go on"
        else:
            state, message = JobState.FAILED, f"was killed at step {status.step}; resume it"
            last = last_line(folder / "log.txt")
            message += f" (its last words: {last})" if last else ""
        written = read_json(folder / "status.json")
        with contextlib.suppress(OSError):  # a full disk; it is told all the same
            write_json(folder / "status.json", {**written, "state": str(state), "message": message})
        return replace(status, state=state, message=message, eta_s=None)


def _advice(run_id: str) -> str:
    return f"See its log.txt, then go on with: python main.py train --resume {run_id}"
