"""Stops that outlive the program: who stopped the arm and why, and who said that it may move again."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "stops.jsonl"


@dataclass(frozen=True, slots=True)
class StopEntry:
    """``what`` is "stopped" or "cleared"; ``at`` is ISO 8601 in UTC; ``operator`` is who cleared it."""

    what: str
    at: str
    reason: str
    operator: str = ""


class StopLog:
    """``<home>/stops.jsonl``, one line per stop and per clearing, each on disk before the method returns.

    Not for the control tick: it waits for the disk.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME

    def entries(self) -> list[StopEntry]:
        """Oldest first. A line that cannot be read (a crash in the middle of it) counts as a stop."""
        if not self._path.exists():
            return []
        return [_entry(line) for line in self._path.read_text(errors="replace").splitlines() if line.strip()]

    def open_stop(self) -> StopEntry | None:
        """The stop that nobody has cleared yet."""
        entries = self.entries()
        return entries[-1] if entries and entries[-1].what == "stopped" else None

    def stopped(self, reason: str) -> None:
        self._append("stopped", reason, "")

    def cleared(self, operator: str) -> None:
        self._append("cleared", "", operator)

    def _append(self, what: str, reason: str, operator: str) -> None:
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = json.dumps({"what": what, "at": at, "reason": reason, "operator": operator}, ensure_ascii=False)
        with self._path.open("a") as file:
            file.write(f"\n{line}\n")  # a line of its own, even after one that a crash has cut short
            file.flush()
            os.fsync(file.fileno())


def _entry(line: str) -> StopEntry:
    try:
        value = json.loads(line)
        return StopEntry(str(value["what"]), str(value["at"]), str(value["reason"]), str(value["operator"]))
    except (ValueError, KeyError, TypeError):
        return StopEntry("stopped", "", "the record of a stop is damaged")
