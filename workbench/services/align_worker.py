"""The process behind an alignment: ``python -m workbench.services.align_worker RUN_FOLDER``. See ``aligning``.

Exit status: 0 done, 1 failed (the reason is in ``align.json``), 3 stopped on request (SIGTERM); it can go on later.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.core.errors import StateError, WorkbenchError
from workbench.core.priority import run_after
from workbench.core.states import JobState
from workbench.services.aligning import REPORT, TRAININGS, Plan
from workbench.services.alignment_report import explain_run
from workbench.services.jobs import Jobs
from workbench.services.report import write_run_report

DONE, FAILED, STOPPED = 0, 1, 3
_NICENESS = 5
_POLL_S = 0.25
_log = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818  (it is no error)
    """Somebody asked to end."""


def run(folder: Path, stop: Callable[[], bool] = lambda: False) -> int:
    """Do, or go on with, what the folder's ``align.json`` asks for; returns the exit status. Never raises."""
    try:
        plan = Plan.read(folder)
    except WorkbenchError as error:  # nothing is written over it: somebody may still mend it
        _log.error("%s", error)
        return FAILED
    try:
        _run(folder, plan, stop)
        return _end(folder, plan, JobState.DONE, "", DONE)
    except Stopped:
        return _end(folder, plan, JobState.CANCELLED, "cancelled; resume it to go on", STOPPED)
    except WorkbenchError as error:
        return _end(folder, plan, JobState.FAILED, str(error), FAILED)
    except Exception as error:
        _log.exception("aligning failed")
        words = f"aligning failed ({type(error).__name__}: {error}). See the log."
        return _end(folder, plan, JobState.FAILED, words, FAILED)


def _run(folder: Path, plan: Plan, stop: Callable[[], bool]) -> None:
    home = folder.parent.parent
    jobs = Jobs(home)
    models: dict[str, str] = {}
    for stage in TRAININGS:
        _enter(folder, plan, stage, "training")
        run_id = plan.runs.get(stage) or jobs.start(
            stage, plan.preset, episodes=plan.episodes[stage], base=dict(models), **plan.changes.get(stage, {})
        )
        plan.runs[stage] = run_id
        plan.write(folder)
        models[stage] = _finished(jobs, run_id, stop)
    _enter(folder, plan, REPORT, "measuring on held-out takes")
    try:
        explain_run(home, plan.runs[TRAININGS[-1]], stop)
    except WorkbenchError:
        if stop():
            raise Stopped from None
        raise
    for run_id in plan.runs.values():
        write_run_report(home, run_id)


def _finished(jobs: Jobs, run_id: str, stop: Callable[[], bool]) -> str:
    """The model of a training, which is waited for, and resumed if it was cancelled or failed before."""
    status = jobs.status(run_id)
    if status.state in (JobState.CANCELLED, JobState.FAILED):
        jobs.resume(run_id)
    asked = False
    while not (status := jobs.status(run_id)).ended:
        if stop() and not asked:
            asked = True
            _cancel(jobs, run_id)
        time.sleep(_POLL_S)
    if status.state is JobState.DONE:
        if stop():
            raise Stopped
        return status.model_id
    if asked or status.state is JobState.CANCELLED:
        raise Stopped
    raise WorkbenchError(f"the training {run_id} {status.state}: {status.message}", "Resume the alignment to try again")


def _cancel(jobs: Jobs, run_id: str) -> None:
    try:
        jobs.cancel(run_id)
    except StateError:
        _log.info("run %s ended by itself before it could be cancelled", run_id)


def _enter(folder: Path, plan: Plan, phase: str, message: str) -> None:
    plan.state, plan.phase, plan.message = str(JobState.RUNNING), phase, message
    plan.write(folder)


def _end(folder: Path, plan: Plan, state: JobState, message: str, code: int) -> int:
    plan.state, plan.message = str(state), message
    plan.write(folder)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Settle signals, run."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    logging.basicConfig(level=logging.INFO)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: asked.append(got))
    run_after(_NICENESS, own_session=True)
    return run(folder, stop=lambda: bool(asked))


if __name__ == "__main__":
    sys.exit(main())
