"""Priorities, asked of the real system in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BEFORE = """
import os, threading
from workbench.core.priority import Rank, run_before
said = run_before(Rank.CAPTURE)
seen = []
thread = threading.Thread(target=lambda: seen.append((os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)))
thread.start(); thread.join()
print(said, "|", *seen[0], "|", os.getpriority(os.PRIO_PROCESS, 0))
"""
AFTER = """
import os
from pathlib import Path
from workbench.core.priority import run_after
run_after(10, own_session=True)
group = Path("/proc/self/autogroup")  # absent, or empty in a session that the system made no group for
words = group.read_text().split() if group.exists() else []
print(os.getpriority(os.PRIO_PROCESS, 0), words[-1] if words else 10)
"""


def run(program: str, **more: object) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=60, check=True, **more
    )
    return done.stdout.strip()


def test_what_is_said_to_be_granted_holds_for_threads_started_later() -> None:
    said, real, nice = (part.strip() for part in run(BEFORE).split("|"))
    if said.startswith("real time"):
        assert real == f"{os.SCHED_FIFO} 5"
    elif said.startswith("raised"):
        assert nice == "-15"
    else:
        assert real.startswith(str(os.SCHED_OTHER)) and int(nice) >= 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights up")
def test_without_the_right_nothing_changes_and_it_says_so() -> None:
    limited = BEFORE.replace("said =", "os.setuid(65534)\nsaid =", 1)
    said = run(limited).split("|")[0]
    assert "not permitted" in said


def test_a_session_of_its_own_becomes_nice_as_a_whole() -> None:
    assert run(AFTER, start_new_session=True) == "10 10"


def test_a_session_that_is_shared_is_left_alone() -> None:
    alone = AFTER.replace(
        "run_after(10, own_session=True)",
        "before = Path('/proc/self/autogroup').read_text() if "
        "Path('/proc/self/autogroup').exists() else ''\nrun_after(10, own_session=True)\n"
        "assert not before or Path('/proc/self/autogroup').read_text() == before",
    )
    assert run(alone).startswith("10")
