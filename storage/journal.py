"""The append-only truth about a take: after each durable block, how many items of each stream are on disk.

One JSON object per line, each with a crc32c of the rest, so that a line torn by a crash is recognised. The writer holds
a lock on the file while it lives; the doctor uses it to tell a take being recorded from a leftover.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c

from storage.disk import write_all
from workbench.core.errors import CorruptTakeError

_LONGEST_LINE = 1 << 20
_DOCTOR = "Run `python main.py doctor`"


@dataclass(slots=True)
class JournalState:
    """What the valid lines say: counts of the last one, gaps (index, missing) of all."""

    counts: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    blocks: int = 0
    torn: bool = False


class JournalWriter:
    """Appends blocks. One thread."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._sync = sync
        self._end = 0

    def append(self, counts: dict[str, int], gaps: list[tuple[str, int, int]]) -> None:
        """Promise that this many items of each stream are on disk; ``gaps`` are those new since the last block."""
        body = {"counts": counts, "gaps": gaps}
        text = json.dumps(body, separators=(",", ":"))
        line = f'{text[:-1]},"crc32c":{google_crc32c.value(text.encode())}}}\n'.encode()
        write_all(self._handle, line, self._end)
        self._end += len(line)
        if self._sync:
            os.fsync(self._handle)

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
    state = JournalState()
    for line in raw.split(b"\n"):
        if not line:
            continue
        body = _valid(line)
        if body is None:
            state.torn = True
            break
        _apply(state, body)
    return state


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


def _apply(state: JournalState, body: dict[str, Any]) -> None:
    try:
        counts = {str(name): int(count) for name, count in body["counts"].items()}
        gaps = [(str(name), int(index), int(missing)) for name, index, missing in body["gaps"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptTakeError(f"the journal holds a strange line ({error})") from error
    if any(count < state.counts.get(name, 0) for name, count in counts.items()) or set(state.counts) - set(counts):
        raise CorruptTakeError("the journal takes back what it had promised")
    state.counts = counts
    state.blocks += 1
    for name, index, missing in gaps:
        state.gaps.setdefault(name, []).append((index, missing))
