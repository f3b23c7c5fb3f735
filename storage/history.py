"""What happened to the station: one JSON line per event in ``events.jsonl``, which the catalogue reads in.

Appending is one write to a file, so any thread of any process may do it without waiting for the catalogue.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.entering import in_batches, insert_rows, now
from storage.filters import moment
from storage.layout import Home
from storage.records import StationEvent, storable
from storage.tables import EventRow
from workbench.core.errors import NotFoundError

EVENTS = "events.jsonl"
SEVERITIES = ("info", "warning", "error")
_LONGEST = 2000


def append_event(home: Home, source: str, words: str, severity: str = "info") -> None:
    """Write an event down, now. NotFoundError for an unknown severity."""
    if severity not in SEVERITIES:
        raise NotFoundError.of("severity", severity, SEVERITIES)
    value = {"at": now().isoformat(), "source": source[:64], "severity": severity, "words": words[:_LONGEST]}
    handle = os.open(home.path / EVENTS, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # somebody died while writing
        os.write(handle, b"\n" * torn + json.dumps(value).encode() + b"\n")
    finally:
        os.close(handle)


def enter_events(session: Session, home: Home) -> None:
    """Bring the catalogue up to the end of the file; all of it again if the file is not the one it knows."""
    path = home.path / EVENTS
    newest = session.scalar(select(func.max(EventRow.id)))
    start = -1 if newest is None else newest
    if not path.exists() or path.stat().st_size <= start:
        session.query(EventRow).delete()
        start = -1
    if path.exists():
        for some in in_batches(_lines(path, start)):
            insert_rows(session, EventRow, list(some), known=True)


def events(
    session: Session, *, since: str | None = None, severity: str | None = None, limit: int = 200
) -> tuple[StationEvent, ...]:
    """The newest events, newest first."""
    query = select(EventRow).order_by(EventRow.id.desc()).limit(limit)
    if since:
        query = query.where(EventRow.at >= moment(since))
    if severity:
        query = query.where(EventRow.severity == severity)
    rows = session.scalars(query)
    return tuple(StationEvent(row.at.isoformat(), row.source, row.severity, row.words) for row in rows)


def _lines(path: Path, after: int) -> Iterator[dict[str, Any]]:
    """The rows of the whole lines that begin beyond ``after``; a broken one is passed over."""
    with open(path, "rb") as file:
        file.seek(max(after, 0))
        place = file.tell()
        for line in file:
            begin, place = place, place + len(line)
            row = _parse(begin, line) if begin > after and line.endswith(b"\n") else None
            if row is not None:
                yield row


def _parse(begin: int, line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
        at = datetime.datetime.fromisoformat(value["at"])
        texts = {name: storable(str(value[name])) for name in ("source", "severity", "words")}
    except (ValueError, TypeError, KeyError):
        return None
    if at.tzinfo is None or texts["severity"] not in SEVERITIES or len(texts["source"]) > 64:
        return None
    return {"id": begin, "at": at, **texts}
