"""What large arrays leave behind, asked of the real allocator in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHURN = """
import sys, threading
import numpy as np, psutil
if sys.argv[1] == "yes":
    from ui.memory import give_back_large_blocks
    give_back_large_blocks()
process, small = psutil.Process(), []
def work():
    for _ in range(40):
        pictures = [np.ones(921_600, np.uint8) for _ in range(8)]
        small.append(np.ones(60_000, np.uint8))  # lies between them and stays
        del pictures
threads = [threading.Thread(target=work) for _ in range(6)]
before = process.memory_info().rss
[t.start() for t in threads]; [t.join() for t in threads]
print(process.memory_info().rss - before - sum(a.nbytes for a in small))
"""


def left_behind(given_back: str) -> int:
    command = [sys.executable, "-c", CHURN, given_back]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other allocators")
def test_pictures_leave_nothing_behind() -> None:
    assert left_behind("yes") < 8_000_000
    assert left_behind("yes") <= left_behind("no")
