"""The one place that starts processes: capture, arm, policy, simulation; or runs any of them as threads.

A child is a function ``main(link, **plain_values)`` named by dotted path ("models.policy_worker:main"), so starting
one never imports its room here. Parent and child speak over a pipe: requests with answers, and events. A child whose
parent disappears sees its link close and ends by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import multiprocessing as mp
import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import ChildEnded, Failed
from workbench.core.link import Link

_log = logging.getLogger(__name__)
_LAST_WORDS_S = 5.0


def _run_child(target: str, connection: Connection, values: dict[str, Any], own_process: bool) -> None:
    """Entry point of every child."""
    if own_process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    link = Link(connection)
    module, _, function = target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(link, **values)
    except WorkbenchError as error:
        link.publish(Failed(target, str(error)))
    except Exception as error:
        _log.error("%s failed\n%s", target, traceback.format_exc())
        link.publish(Failed(target, f"{type(error).__name__}: {error}"))
    finally:
        connection.close()


class Child:
    """The parent's handle on one child."""

    def __init__(self, name: str, connection: Connection, runner: mp.process.BaseProcess | threading.Thread, bus: Bus):
        self.name = name
        self._connection = connection
        self._runner = runner
        self._bus = bus
        self._answers: dict[int, tuple[str, Any]] = {}
        self._arrived = threading.Condition()
        self._next = 0
        self._gone = self._dismissed = False
        self._failure = ""
        self._reader = threading.Thread(target=self._read, name=f"{name}-reader", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        return self._runner.is_alive() and not self._gone

    @property
    def stopped(self) -> bool:
        """True once ``stop`` was called and nothing runs any more."""
        return self._dismissed and not self._runner.is_alive()

    @property
    def pid(self) -> int | None:
        """The process id, or None in threads mode."""
        return self._runner.pid if isinstance(self._runner, mp.process.BaseProcess) else None

    def call(self, verb: str, /, timeout_s: float = 30.0, **arguments: Any) -> Any:
        """Ask the child and wait for its answer. Raises what it raised, or WorkbenchError if it is gone or silent."""
        with self._arrived:
            self._next += 1
            request = self._next
            try:
                self._connection.send((verb, request, arguments))
            except OSError:  # what it said before it ended may still be on its way
                self._arrived.wait_for(lambda: self._gone, _LAST_WORDS_S)
                raise self._ended() from None
            deadline = time.monotonic() + timeout_s
            while request not in self._answers:
                left = deadline - time.monotonic()
                if self._gone:
                    raise self._ended()
                if left <= 0:
                    raise WorkbenchError(
                        f"the {self.name} process did not answer '{verb}' in {timeout_s:.0f} s", "Look at its log"
                    )
                self._arrived.wait(left)
            kind, value = self._answers.pop(request)
        if kind == "error":
            raise WorkbenchError(*value)
        return value

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask the child to end, wait, then insist."""
        self._dismissed = True
        with contextlib.suppress(OSError):  # already gone is what we want
            self._connection.send(("stop", 0, {}))
        self._runner.join(timeout_s)
        if isinstance(self._runner, mp.process.BaseProcess) and self._runner.is_alive():
            _log.warning("%s did not stop in %.0f s and is ended", self.name, timeout_s)
            self._runner.kill()
            self._runner.join(5)
        self._reader.join(5)
        self._connection.close()

    def _ended(self) -> WorkbenchError:
        cause = f": {self._failure.rstrip('.')}" if self._failure else ""
        return WorkbenchError(f"the {self.name} process has ended{cause}", "Restart the station")

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # the child has ended; callers are told below
            while True:
                kind, request, value = self._connection.recv()
                if kind == "event":
                    if isinstance(value, Failed):
                        self._failure = value.message
                    self._bus.publish(value)
                else:
                    with self._arrived:
                        self._answers[request] = (kind, value)
                        self._arrived.notify_all()
        with self._arrived:
            self._gone = True
            self._arrived.notify_all()
        if not self._dismissed:
            self._bus.publish(ChildEnded(self.name, self._failure))


class Host:
    """Starts children and ends them all on ``close``. ``threads=True`` runs them inside this process."""

    def __init__(self, bus: Bus | None = None, *, threads: bool = False) -> None:
        self.bus = bus or Bus()
        self.threads = threads
        self._children: list[Child] = []
        atexit.register(self.close)  # else a program that forgets to close waits for its children for ever
        self._context = mp.get_context("spawn")

    def start(self, name: str, target: str, /, **values: Any) -> Child:
        """Run ``target`` ("module:function") with plain keyword values."""
        ours, theirs = self._context.Pipe()
        runner: mp.process.BaseProcess | threading.Thread
        if self.threads:
            runner = threading.Thread(target=_run_child, args=(target, theirs, values, False), name=name, daemon=True)
            runner.start()
        else:
            runner = self._context.Process(target=_run_child, args=(target, theirs, values, True), name=name)
            runner.start()
            theirs.close()
        child = Child(name, ours, runner, self.bus)
        self._children = [old for old in self._children if not old.stopped] + [child]  # an old one keeps files open
        return child

    def close(self) -> None:
        """Stop every child, last started first."""
        atexit.unregister(self.close)
        while self._children:
            self._children.pop().stop()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_detached(arguments: list[str], log_file: str, environment: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives this one (a training job); output goes to ``log_file``. Returns its pid."""
    with open(log_file, "ab") as log:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    return process.pid
