"""A run's process before its turn: ``python -m workbench.services.job_worker RUN_FOLDER --slots N``.

One run trains at a time (or N). Who waits is a small process that holds nothing but a lock on its own place in the
queue; the oldest goes first. Then it becomes the worker: same process, other program, and the slot stays its own until
that program ends, however it ends.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from workbench.core.errors import WorkbenchError
from workbench.core.file_lock import FileLock
from workbench.core.files import read_json, write_json
from workbench.services.run_files import CHAIN, PAUSED, WAITING

TRAINER, FINETUNER = "models.train_worker", "workbench.services.finetune_worker"
_LOOK_S = 0.2
_SLOT = ".slot-{}.lock"


def worker_of(folder: Path) -> str:
    """The program that carries a run out."""
    return FINETUNER if (folder / CHAIN).exists() else TRAINER


class Queue:
    """A run's place in the queue of its data folder. Single thread.

    Args:
        slots: how many runs may be at work at the same time.
    """

    def __init__(self, folder: Path, slots: int = 1) -> None:
        self._folder = folder
        self._slots = [FileLock(folder.parent / _SLOT.format(k), "") for k in range(max(1, slots))]
        self._place = FileLock(folder / WAITING, "")

    def wait(self) -> FileLock:
        """Block until it is this run's turn; returns the slot, taken."""
        self._place.take()
        said = ""
        while (slot := self._turn()) is None:
            words = self._why()
            if words != said:
                said = words
                self._say(words)
            time.sleep(_LOOK_S)
        (self._folder / WAITING).unlink(missing_ok=True)
        self._place.release()
        return slot

    def _turn(self) -> FileLock | None:
        if (self._folder / PAUSED).exists() or self._older():
            return None
        return next((slot for slot in self._slots if slot.take()), None)

    def _older(self) -> str:
        """Name of a run that was made before this one and is waiting too, "" if none."""
        for path in sorted(self._folder.parent.glob(f"*/{WAITING}")):
            if path.parent.name >= self._folder.name:
                break
            place = FileLock(path, "")
            if place.take():  # nobody holds it: whoever waited there was killed
                place.release()
            elif not (path.parent / PAUSED).exists():
                return path.parent.name
        return ""

    def _why(self) -> str:
        if (self._folder / PAUSED).exists():
            return "paused before its turn"
        older = self._older()
        return f"waits for run {older}, which is queued before" if older else "waits until another training has ended"

    def _say(self, words: str) -> None:
        path = self._folder / "status.json"
        write_json(path, {**read_json(path), "message": words, "updated_at": time.time()})


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Wait for the turn, then become the worker; SystemExit 1 with a sentence if the folder cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m workbench.services.job_worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(arguments)
    try:
        slot = Queue(options.folder, options.slots).wait()
    except (WorkbenchError, OSError) as error:
        sys.exit(str(error))
    slot.keep_over_exec()
    resume = ["--resume"] if options.resume else []
    os.execv(sys.executable, [sys.executable, "-m", worker_of(options.folder), str(options.folder), *resume])


if __name__ == "__main__":
    main()
