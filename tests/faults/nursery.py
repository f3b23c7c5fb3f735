"""Starts processes to be killed: imports once, then forks, so that a kill costs milliseconds instead of a second.

Run as a program it reads one JSON command per line: ``{"work": NAME, ...}`` forks a child that does it and answers its
process id; ``{"wait": PID}`` answers how the child ended. Everything a child does is written to its log *before* it is
asked of the program, by a plain unbuffered write, so that the log is an independent witness.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from storage.doctor import examine
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.manifest import Manifest
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo

PICTURE = StreamSpec("observation.images.front", (24, 32, 3), "uint8", rate_hz=100.0)
VECTOR = StreamSpec("observation.state", (4,), "float32", rate_hz=200.0)
SPECS = (PICTURE, VECTOR)
BLOCK_S = 0.1


def painted(spec: StreamSpec, token: int, index: int) -> np.ndarray:
    """An item that says which one it is: the take's token and its number, all over the picture."""
    number = token * 1_000_000 + index
    if spec is VECTOR:
        return np.array([token, index, number % 4093, 1], np.float32)
    digits = np.frombuffer(number.to_bytes(8, "little"), np.uint8)
    return np.resize(digits, spec.shape).copy()


class Log:
    """Lines that are on their way to the kernel when ``say`` returns."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(self, **words: Any) -> None:
        os.write(self._handle, (json.dumps({**words, "t": time.monotonic()}) + "\n").encode())


def record(home: str, log: str, seed: int, sync: bool, takes: int = 1_000_000, ticks: int = 60) -> None:
    """Record, seal and begin again, as fast as the pace allows."""
    chance, said = random.Random(seed), Log(log)
    settings = StoreSettings(color_codec="lossless", block_s=BLOCK_S, sync=sync, reserve_bytes=1 << 16)
    for _ in range(takes):
        token = chance.randrange(1, 4000)
        info = TakeInfo(EpisodeKind.TELEOP, "task", "do it", extra={"token": token})
        writer = EpisodeWriter.create(Home(Path(home)), info, SPECS, settings=settings)
        said.say(begun=writer.episode_id, token=token)
        for tick in range(chance.randrange(5, ticks)):
            for spec, every in ((PICTURE, 2), (VECTOR, 1)):
                if tick % every == 0:
                    index, t_ns = tick // every, time.monotonic_ns()
                    said.say(item=spec.name, index=index)
                    writer.append(spec.name, Frame(index, t_ns, t_ns, 0, painted(spec, token, index)))
            time.sleep(0.002)
        counts = dict(writer.counts)
        if chance.random() < 0.2:
            said.say(discarding=writer.episode_id)
            writer.discard()
        else:
            said.say(sealing=writer.episode_id, counts=counts)
            writer.seal(Outcome.SUCCESS)
        said.say(sealed=writer.episode_id, counts=counts)


def doctor(home: str, log: str, seed: int) -> None:
    """Treat what is there, again and again."""
    while True:
        examine(Home(Path(home)), fix=True)


def shelf(home: str, log: str, seed: int) -> None:
    """Label, trash, restore and undo at random."""
    from storage.catalog import Catalog

    chance, root = random.Random(seed), Home(Path(home))
    with Catalog(root) as catalog:
        catalog.rebuild()
        ids = [record.id for trashed in (False, True) for record in catalog.episodes(trashed=trashed)]
        Log(log).say(shelf=len(ids))
        while ids:
            chosen = chance.choice(ids)
            deed = chance.randrange(5)
            if deed == 0:
                catalog.trash([chosen])
            elif deed == 1:
                catalog.restore([chosen])
            elif deed == 2:
                catalog.label(chosen, chance.choice(list(Outcome)))
            elif deed == 3:
                catalog.note(chosen, f"note {chance.random()}")
            else:
                catalog.undo()


WORKS = {work.__name__: work for work in (record, doctor, shelf)}


def check_items(manifest: Manifest, read: Any) -> None:
    """Every kept item is the one that was recorded under this number: nothing invented, nothing moved."""
    for spec in SPECS:
        for index in range(manifest.counts[spec.name]):
            np.testing.assert_array_equal(read(spec.name, index), painted(spec, manifest.extra["token"], index))


class Nursery:
    """The test's handle on the program below."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, work: str, **arguments: Any) -> int:
        return int(self._ask({"work": work, **arguments}))

    def kill(self, pid: int) -> float:
        """SIGKILL; returns when (monotonic seconds). Fails if the child had ended by itself."""
        now = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        status = self._ask({"wait": pid})
        assert status == -signal.SIGKILL, f"the child ended by itself with {status}"
        return now

    def wait(self, pid: int) -> int:
        return int(self._ask({"wait": pid}))

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)

    def _ask(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


def _child(command: dict[str, Any]) -> None:
    """Does the work in a fork of its own and never returns."""
    code = 1
    try:
        WORKS[command.pop("work")](**command)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            answer = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
        else:
            if command["work"] == "shelf":
                importlib.import_module("storage.catalog")  # once, here, instead of in every child
            answer = os.fork()
            if answer == 0:
                _child(command)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
