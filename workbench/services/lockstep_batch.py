"""Many takes of the simulated station at once: lockstep sessions in worker processes."""

from __future__ import annotations

import multiprocessing as mp
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.services.lockstep import LockstepJob, LockstepSession, LockstepSettings, TakeResult

Progress = Callable[[int, int], None]
Made = Callable[[TakeResult], None]
_session: LockstepSession | None = None


def _start_worker(home: str, settings: LockstepSettings) -> None:
    global _session
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    _session = LockstepSession(Path(home), settings)


def _end_with_parent(parent: int) -> None:
    """A batch whose process was killed must not go on recording: nobody would hear of its takes."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _run_job(job: LockstepJob) -> TakeResult:
    if _session is None:
        raise WorkbenchError("the lockstep worker was not started")
    return _session.run(job)


def _end_worker() -> None:
    global _session
    if _session is not None:
        _session.close()
        _session = None


def run_batch(
    home: Path,
    jobs: Sequence[LockstepJob],
    *,
    settings: LockstepSettings = LockstepSettings(),  # noqa: B008  (frozen)
    workers: int = 2,
    progress: Progress | None = None,
    made: Made = lambda _result: None,
) -> list[TakeResult]:
    """Make all takes, in ``workers`` processes (0: in this one). Results come in the order of ``jobs``.

    ``made`` hears of every result as soon as it is there, in any order, so that an interrupted batch can go on; what it
    raises ends the batch after the takes that have begun.
    """
    if workers <= 0 or len(jobs) <= 1:
        return _run_here(home, jobs, settings, progress, made)
    results: dict[int, TakeResult] = {}
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp.get_context("spawn"), initializer=_start_worker, initargs=(str(home), settings)
    ) as pool:
        pending: dict[Future[TakeResult], int] = {pool.submit(_run_job, job): i for i, job in enumerate(jobs)}
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    results[pending.pop(future)] = result
                    made(result)
                if progress is not None:
                    progress(len(results), len(jobs))
        finally:  # whoever listens may break it off: what has begun is finished, nothing else is begun
            for future in pending:
                future.cancel()
            for _ in range(workers):
                pool.submit(_end_worker)
    return [results[i] for i in range(len(jobs))]


def _run_here(
    home: Path, jobs: Sequence[LockstepJob], settings: LockstepSettings, progress: Progress | None, made: Made
) -> list[TakeResult]:
    session = LockstepSession(home, settings)
    try:
        results = []
        for job in jobs:
            results.append(session.run(job))
            made(results[-1])
            if progress is not None:
                progress(len(results), len(jobs))
        return results
    finally:
        session.close()
