"""Everything the window ever said, kept: the newest in memory, the same as lines of JSON in ``<home>/logs``.

A person who looked away reads it afterwards; a report of a crash quotes it. Writing happens in a thread of its own, so
that a slow or full disk holds up nobody.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.core.files import write_atomic

FOLDER, FILE_NAME = "logs", "notices.jsonl"
ALARMING = frozenset({"bad", "warn", "hint"})  # tones that count as unread; the others tell what went well
_KEPT = 400
_MOST_BYTES = 1_000_000
_SAME_S = 3.0  # one event is often told twice: on the bus, and by the page that asked
_SAME_AMONG = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that was said.

    Attributes:
        number: rises by one; unique within a session.
        when: UTC, ISO 8601.
        tone: ``bad``, ``warn``, ``hint`` (something looks unusual), ``good`` or ``busy``.
        where: the page, or the part of the station that told it.
        what, next_step: as on screen.
        times: how often it was said within seconds.
    """

    number: int
    when: str
    tone: str
    where: str
    what: str
    next_step: str = ""
    times: int = 1

    def words(self) -> str:
        """All of it as lines for the clipboard."""
        again = f" ({self.times} times)" if self.times > 1 else ""
        lines = (f"{self.when}  {self.tone}  {self.where}{again}", self.what, self.next_step)
        return "\n".join(line for line in lines if line)


class NoticeLog:
    """Bounded in memory and on disk. Any thread may add; ``close`` waits until all is written.

    Args:
        home: the data root; earlier sessions' notices are read from it in the background.
    """

    def __init__(self, home: Path, *, kept: int = _KEPT, most_bytes: int = _MOST_BYTES) -> None:
        self.path = home / FOLDER / FILE_NAME
        self._most_bytes = most_bytes
        self._notices: deque[Notice] = deque(maxlen=kept)
        self._earlier: tuple[Notice, ...] = ()
        self._heard_s: deque[tuple[float, int]] = deque(maxlen=_SAME_AMONG)
        self._number = self._read_up_to = 0
        self._changes = 0
        self._complained = False
        self._lock = threading.Lock()
        self._lines: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="notices", daemon=True)
        self._thread.start()

    @property
    def changes(self) -> int:
        """Rises whenever there is something new to show."""
        return self._changes

    @property
    def unread(self) -> int:
        """Alarming notices since somebody last looked."""
        with self._lock:
            return sum(n.number > self._read_up_to and n.tone in ALARMING for n in self._notices)

    def newest(self) -> tuple[Notice, ...]:
        """Newest first, those of earlier sessions last."""
        with self._lock:
            return (*reversed(self._notices), *reversed(self._earlier))

    def add(self, tone: str, where: str, what: str, next_step: str = "") -> Notice:
        """Keep one; what was just said in the same words is only counted."""
        now_s = time.monotonic()
        with self._lock:
            self._changes += 1
            again = self._said_just_now(tone, what, now_s)
            if again is not None:
                return self._count(again, next_step)
            self._number += 1
            notice = Notice(self._number, _now(), tone, where, what.strip(), next_step.strip())
            self._notices.append(notice)
            self._heard_s.append((now_s, notice.number))
        self._lines.put(notice)
        return notice

    def mark_read(self) -> None:
        """Somebody has looked."""
        with self._lock:
            self._read_up_to = self._number
            self._changes += 1

    def close(self) -> None:
        """Write what is left; safe to call twice. What is added later stays in memory."""
        self._lines.put(None)
        self._thread.join(5.0)

    def _said_just_now(self, tone: str, what: str, now_s: float) -> Notice | None:
        recent = {number for heard_s, number in self._heard_s if now_s - heard_s < _SAME_S}
        wanted = _plain(what)
        found = (n for n in self._notices if n.number in recent and n.tone == tone and _plain(n.what) == wanted)
        return next(found, None)

    def _count(self, notice: Notice, next_step: str) -> Notice:
        counted = replace(notice, times=notice.times + 1, next_step=notice.next_step or next_step.strip())
        self._notices[self._notices.index(notice)] = counted
        return counted

    # on disk, in the writing thread -----------------------------------------------------------------------------------

    def _write_all(self) -> None:
        earlier = read_notices(self.path, self._notices.maxlen or _KEPT)
        with self._lock:
            self._earlier = earlier
            self._changes += 1
        while (notice := self._lines.get()) is not None:
            try:
                self._append(notice)
            except OSError as error:
                if not self._complained:
                    _log.warning("notices are no longer written to %s: %s", self.path, error)
                self._complained = True

    def _append(self, notice: Notice) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(notice))
            size = file.tell()
        if size > self._most_bytes:
            lines = self.path.read_bytes().splitlines(keepends=True)
            write_atomic(self.path, b"".join(lines[len(lines) // 2 :]))


def read_notices(path: Path, most: int = _KEPT) -> tuple[Notice, ...]:
    """The last notices of a file, oldest first; lines that a crash or a stranger left are passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-most:]
    except OSError:
        return ()
    return tuple(_parsed(lines))


def _parsed(lines: Iterable[str]) -> Iterable[Notice]:
    names = {field.name for field in fields(Notice)} - {"number"}
    for line in lines:
        try:
            values: Any = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(values, dict) and {"when", "tone", "where", "what"} <= set(values):
            kept = {name: value for name, value in values.items() if name in names and name != "times"}
            if all(isinstance(value, str) for value in kept.values()):
                yield Notice(0, **kept)


def _line(notice: Notice) -> str:
    values = {name: value for name, value in asdict(notice).items() if name not in ("number", "times")}
    return json.dumps(values, ensure_ascii=False) + "\n"


def _plain(words: str) -> str:
    return words.strip().rstrip(".").casefold()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
