"""The append-only truth about a take: after each durable block, how many items of each stream are on disk.

One JSON object per line, each with a crc32c of the rest, so that a line torn by a crash is recognised. A line also
carries the checksums of the block's rows of numbers, and repeats the gaps of the line before, so that one damaged line
loses nothing that another does not know. The writer holds a lock on the file while it lives; the doctor uses it to
tell a take being recorded from a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c

from storage.disk import write_all
from workbench.core.errors import CorruptTakeError

_LONGEST_LINE = 1 << 20
_BEGINNING = b'{"counts":'
_DOCTOR = "Run `python main.py doctor`"
Gap = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class BlockSum:
    """crc32c of the rows ``first`` .. ``stop`` - 1 of one column."""

    first: int
    stop: int
    crc32c: int


@dataclass(slots=True)
class JournalState:
    """What the valid lines say.

    Attributes:
        counts: of the last line; gaps: (index, missing) per stream, of all lines.
        sums: checksums per column (its path below the take), in order; takes of older versions have none.
        history: counts of every valid line, oldest first.
        torn: the end is not a whole line, as a crash leaves it.
        damaged: numbers, from 1, of damaged lines that have a valid one behind them.
    """

    counts: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    sums: dict[str, list[BlockSum]] = field(default_factory=dict)
    history: list[dict[str, int]] = field(default_factory=list)
    torn: bool = False
    damaged: list[int] = field(default_factory=list)

    @property
    def blocks(self) -> int:
        """How many valid lines there are."""
        return len(self.history)


class JournalWriter:
    """Appends blocks. One thread."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._sync = sync
        self._end = 0
        self._last: list[Gap] = []

    def append(self, counts: dict[str, int], gaps: list[Gap], sums: dict[str, tuple[int, int]] | None = None) -> None:
        """Promise that this many items of each stream are on disk.

        Args:
            counts: items per stream, all of them.
            gaps: (stream, index, missing), new since the last block.
            sums: per column with new rows the first new row and the crc32c of the new ones.
        """
        body = {"counts": counts, "gaps": gaps, "again": self._last, "sums": sums or {}}
        text = json.dumps(body, separators=(",", ":"))
        line = f'{text[:-1]},"crc32c":{google_crc32c.value(text.encode())}}}\n'.encode()
        write_all(self._handle, line, self._end)
        os.ftruncate(self._handle, self._end + len(line))  # an earlier try that failed half-way may have been longer
        if self._sync:
            os.fsync(self._handle)
        self._end += len(line)
        self._last = list(gaps)

    def close(self) -> None:
        """Release the lock; safe to call twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_journal(path: Path) -> JournalState:
    """The state after the last valid line; CorruptTakeError if the file is missing or a line contradicts an earlier."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CorruptTakeError(f"the journal cannot be read ({error.strerror})", _DOCTOR) from error
    state, lost = JournalState(), False
    flawed: list[int] = []
    last = 0
    for number, line in enumerate(raw.split(b"\n"), 1):
        bodies = _bodies(line) if line else []
        for body in bodies:
            _apply(state, body, lost_before=lost)
            lost, last = False, number
        if line and not bodies:
            lost = True
        if line and _valid(line) is None:
            flawed.append(number)
    state.torn = lost
    state.damaged = [number for number in flawed if number <= last]
    return state


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the journal as a writer does, so that nobody else treats the take meanwhile. False if somebody has it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # without a journal nobody can be writing
        yield True
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def is_being_written(path: Path) -> bool:
    """True while a living writer holds the journal."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _valid(line: bytes) -> dict[str, Any] | None:
    """The line's content if it is whole and its checksum holds."""
    head, mark, tail = line.rpartition(b',"crc32c":')
    if not mark or len(line) > _LONGEST_LINE or not tail[:-1].isdigit() or tail[-1:] != b"}":
        return None
    text = head + b"}"
    if google_crc32c.value(text) != int(tail[:-1]):
        return None
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _bodies(line: bytes) -> list[dict[str, Any]]:
    """The valid content of a line: one object, or two where the line feed between them was damaged."""
    whole = _valid(line)
    if whole is not None:
        return [whole]
    starts = [0]
    while (at := line.find(_BEGINNING, starts[-1] + 1)) > 0:
        starts.append(at)
    stops = [*starts[1:], len(line)]
    pieces = [line[start : stop - 1] for start, stop in zip(starts, stops, strict=True)] + [line[starts[-1] :]]
    return [body for body in map(_valid, pieces) if body is not None]


def _apply(state: JournalState, body: dict[str, Any], *, lost_before: bool) -> None:
    try:
        counts = {str(name): int(count) for name, count in body["counts"].items()}
        new = [*(body.get("again", []) if lost_before else []), *body["gaps"]]
        gaps = [(str(name), int(index), int(missing)) for name, index, missing in new]
        sums = {str(name): (int(first), int(crc)) for name, (first, crc) in body.get("sums", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptTakeError(f"the journal holds a strange line ({error})") from error
    if any(count < state.counts.get(name, 0) for name, count in counts.items()) or set(state.counts) - set(counts):
        raise CorruptTakeError("the journal takes back what it had promised")
    state.counts = counts
    state.history.append(counts)
    for name, index, missing in gaps:
        state.gaps.setdefault(name, []).append((index, missing))
    for column, (first, crc) in sums.items():
        stream = column if column in counts else stream_of(column)
        state.sums.setdefault(column, []).append(BlockSum(first, counts.get(stream, first), crc))


def stream_of(column: str) -> str:
    """The stream that a column of times belongs to."""
    return column.removesuffix(".t_device_ns").removesuffix(".t_host_ns")
