"""The queue: one at a time, the oldest first, a killed one holds up nobody, the slot outlives the change of program."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.core.file_lock import FileLock
from workbench.services.job_worker import FINETUNER, TRAINER, worker_of
from workbench.services.machine import PROJECT

LONGEST_S = 60.0
WORKER = (  # waits for its turn as a run does, becomes another program, and works until a file tells it to end
    "import os, sys; from pathlib import Path; from workbench.services.job_worker import Queue;"
    "folder = Path(sys.argv[1]); Queue(folder, int(sys.argv[2])).wait().keep_over_exec();"
    "os.execv(sys.executable, [sys.executable, '-c', "
    "'import sys, time; from pathlib import Path; f = Path(sys.argv[1]); (f / chr(98)).touch()\\n"
    "while not (f / chr(101)).exists(): time.sleep(0.02)', sys.argv[1]])"
)
Starter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts a run of this name in the queue; whatever is left is killed."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(name: str, slots: int = 1) -> subprocess.Popen[bytes]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "status.json").write_text(json.dumps({"state": "queued", "message": "starting"}))
        process = subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(slots)], cwd=PROJECT)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not met():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def at_work(folder: Path) -> bool:
    return (folder / "b").exists()


def message(folder: Path) -> str:
    return str(json.loads((folder / "status.json").read_text())["message"])


def test_one_at_a_time_the_oldest_first_and_a_killed_one_frees_its_slot(tmp_path: Path, start: Starter) -> None:
    first, second, third = (tmp_path / name for name in ("1", "2", "3"))
    working = start("1")
    until(lambda: at_work(first))
    start("3")
    until(lambda: "until another training has ended" in message(third))
    killed = start("2")
    until(lambda: (second / ".waiting").exists() and "waits for run 2" in message(third))
    assert not at_work(second) and not at_work(third)
    killed.kill()
    killed.wait()
    until(lambda: "until another training" in message(third))
    working.kill()
    working.wait()
    until(lambda: at_work(third))
    assert not at_work(second)


def test_several_slots_and_a_paused_one_lets_others_pass(tmp_path: Path, start: Starter) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "paused").touch()
    start("1", 2)
    until(lambda: "paused before its turn" in message(tmp_path / "1"))
    start("2", 2)
    start("3", 2)
    until(lambda: at_work(tmp_path / "2") and at_work(tmp_path / "3"))
    assert not at_work(tmp_path / "1")
    (tmp_path / "2" / "e").touch()
    (tmp_path / "1" / "paused").unlink()
    until(lambda: at_work(tmp_path / "1"))


def test_which_program_carries_a_run_out(tmp_path: Path) -> None:
    assert worker_of(tmp_path) == TRAINER
    (tmp_path / "finetune.json").touch()
    assert worker_of(tmp_path) == FINETUNER


def test_a_lock_is_had_once_and_waits_in_words(tmp_path: Path) -> None:
    from workbench.core.errors import WorkbenchError

    mine, other = FileLock(tmp_path / "lock", "busy", 0.1), FileLock(tmp_path / "lock", "it is busy", 0.1)
    assert mine.take() and mine.take() and not other.take()
    with pytest.raises(WorkbenchError, match="it is busy"), other:
        pass
    mine.release()
    mine.release()
    with other:
        assert not mine.take()
    assert mine.take()
    mine.keep_over_exec()
    assert os.get_inheritable(mine._handle)
    mine.release()
