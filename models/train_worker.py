"""The trainer's process: ``python -m models.train_worker RUN_FOLDER [--resume] [--part]``.

Exit status: 0 done, 1 failed (the reason is in ``status.json``), 3 stopped on request (SIGTERM) with a checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import cast

import torch

from models.stages import DISPATCH, PAUSED, TITLES, RunSpec
from models.telling import heard_by
from models.train import Progress, Stage, Trainer, read_status, write_result
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.file_lock import FileLock
from workbench.core.priority import run_after
from workbench.core.states import JobState

_NICENESS = 10  # a recording and a drive go first

DONE, FAILED, STOPPED = 0, 1, 3
_SAY_S = 0.5
LOCK = ".trainer.lock"
_log = logging.getLogger(__name__)


def build_stage(spec: RunSpec, home: Home) -> Stage:
    """The stage a run asks for. WorkbenchError if it is not installed or its data cannot be used."""
    module_name, class_name = DISPATCH[spec.stage].split(":")
    stage = getattr(importlib.import_module(module_name), class_name)
    return cast(Stage, stage(spec, home))


class Stopped(Exception):  # noqa: N818  (no error)
    """Somebody wants the run to end before there is anything to keep."""


class Reading:
    """Tells twice a second how many takes were read, and lets reading be broken off between two of them."""

    def __init__(self, progress: Progress, stop: Callable[[], bool]) -> None:
        self._progress = progress
        self._stop = stop
        self._said_s = 0.0

    def __call__(self, done: int, of: int) -> None:
        if self._stop():
            raise Stopped
        if time.monotonic() - self._said_s > _SAY_S or done == of:
            self._said_s = time.monotonic()
            self._progress.status(JobState.RUNNING, 0, "reading takes", done=done, of=of)


def run(folder: Path, *, resume: bool, stop: Callable[[], bool] = lambda: False, part: bool = False) -> int:
    """Train, measure and save what the folder's ``run.json`` asks for; returns the exit status. Never raises.

    Args:
        part: the training is a part of a longer run, whose last word somebody else says.
    """
    progress = Progress(folder, 0)
    try:
        spec = RunSpec.read(folder)
        progress = Progress(folder, spec.recipe.steps, spec.model_id)
        return _run(spec, folder, progress, resume=resume, stop=stop, part=part)
    except Stopped:
        progress.status(JobState.CANCELLED, int(read_status(folder).get("step", 0)), "stopped; it can be resumed")
        return STOPPED
    except WorkbenchError as error:
        message = str(error)
    except MemoryError:
        message = "the training ran out of memory. Choose fewer takes or a smaller batch."
    except OSError as error:
        _log.exception("the disk refused")
        message = f"the disk refused ({error}). The last checkpoint is whole: free space, then resume the run."
    except Exception as error:
        _log.exception("training failed")
        message = f"training failed ({type(error).__name__}: {error}). See the log."
    print(message, file=sys.stderr)  # where nothing can be written, the log may still tell
    with contextlib.suppress(OSError):
        progress.status(JobState.FAILED, int(read_status(folder).get("step", 0)), message)
    return FAILED


def _run(spec: RunSpec, folder: Path, progress: Progress, *, resume: bool, stop: Callable[[], bool], part: bool) -> int:
    progress.status(JobState.RUNNING, 0, "reading takes")
    home = Home.open(spec.home)
    with heard_by(Reading(progress, stop)):
        stage = build_stage(spec, home)
    trainer = Trainer(stage, folder, model_id=spec.model_id)
    if resume:
        trainer.resume()
    else:
        (folder / "progress.jsonl").unlink(missing_ok=True)
    progress.status(JobState.RUNNING, trainer.step, f"training {TITLES[spec.stage]}")
    if not trainer.run(stop, (folder / PAUSED).exists):
        progress.status(JobState.CANCELLED, trainer.step, "stopped; it can be resumed")
        return STOPPED
    progress.status(JobState.RUNNING, trainer.step, "measuring on held-out takes")
    result = trainer.finish()
    stage.save(home.models / spec.model_id, result)
    write_result(folder, result)
    if part:
        progress.status(JobState.RUNNING, trainer.step, "trained")
    else:
        progress.status(JobState.DONE, trainer.step)
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, settle threads and signals, run."""
    parser = argparse.ArgumentParser(prog="python -m models.train_worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--part", action="store_true", help="end with the parent process, and without the last word")
    options = parser.parse_args(arguments)
    parent = os.getppid()
    logging.basicConfig(level=logging.INFO)
    run_after(_NICENESS, own_session=True)
    torch.set_num_threads(int(os.environ.get("WORKBENCH_TORCH_THREADS", "1")))
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)

    def stop() -> bool:
        return bool(asked) or (options.part and os.getppid() != parent)

    with FileLock(options.folder / LOCK, "a trainer of this run is still at work"):
        return run(options.folder, resume=options.resume, stop=stop, part=options.part)


if __name__ == "__main__":
    sys.exit(main())
