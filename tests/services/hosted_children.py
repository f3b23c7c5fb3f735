"""Children that the hosting tests start by dotted name."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import RecorderChanged
from workbench.core.link import Link


def serve(link: Link, greeting: str = "hello", pid_file: str = "") -> None:
    """Answers every request a test can think of, until told to stop."""
    if pid_file:
        Path(pid_file).write_text(str(os.getpid()))

    def complain() -> None:
        raise NotFoundError.of("task", "red_cub", ["red_cube"])

    def crash() -> None:
        raise ZeroDivisionError("oops")

    def announce(count: int) -> int:
        for number in range(count):
            link.publish(RecorderChanged("armed", str(number)))
        return count

    def sleep(seconds: float) -> str:
        time.sleep(seconds)
        return "awake"

    def announce_from_threads(count: int) -> None:
        threads = [threading.Thread(target=announce, args=(count,)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]

    handlers = {
        "greet": lambda name: f"{greeting} {name}",
        "pid": os.getpid,
        "echo": lambda value: value,
        "complain": complain,
        "crash": crash,
        "announce": announce,
        "announce_from_threads": announce_from_threads,
        "sleep": sleep,
        "unpicklable": lambda: threading.Lock(),
    }
    while link.serve_pending(handlers, timeout_s=0.05):
        pass


def fail(link: Link) -> None:
    raise WorkbenchError("the camera is not there", "Plug it in")


def crash(link: Link) -> None:
    raise ZeroDivisionError("oops")


def end(link: Link) -> None:
    link.publish(RecorderChanged("idle"))


def deaf(link: Link) -> None:
    """Never looks at its link."""
    time.sleep(60)
