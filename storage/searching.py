"""Questions to the catalogue: which takes there are, what they have in common, and what they were recorded with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from storage.devices import calibrations, devices
from storage.entering import in_batches
from storage.filters import MoreFilters, Page, TakeFilter, matching, ordered
from storage.lineage import pins
from storage.records import (
    EPISODE_COLUMNS,
    CalibrationRecord,
    DeviceRecord,
    EpisodeRecord,
    TrialRecord,
    episode_record,
    trial_record,
)
from storage.tables import EpisodeRow, FlagRow, OperatorRow, SceneRow, StationRow, TagRow, TaskRow, TrialRow
from workbench.core.errors import NotFoundError, WorkbenchError

_COLUMNS = tuple(getattr(EpisodeRow, name) for name in EPISODE_COLUMNS)
# By property: where its names lie, under which key, and the column of takes that holds the key or the name itself.
_COUNTED: Mapping[str, tuple[Any, Any, Any]] = {
    "task": (TaskRow.name, TaskRow.key, EpisodeRow.task_key),
    "operator": (OperatorRow.name, OperatorRow.key, EpisodeRow.operator_key),
    "scene": (SceneRow.name, SceneRow.key, EpisodeRow.scene_key),
    "station": (StationRow.name, StationRow.key, EpisodeRow.station_key),
    "tag": (TagRow.tag, TagRow.key, EpisodeRow.tags_key),
    "flag": (FlagRow.flag, FlagRow.key, EpisodeRow.flags_key),
    "kind": (None, None, EpisodeRow.kind),
    "outcome": (None, None, EpisodeRow.outcome),
}


class Searching:
    """The reading half of a catalogue. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def episodes(
        self,
        kind: str | None = None,
        task: str | None = None,
        outcome: str | None = None,
        text: str = "",
        trashed: bool | None = False,
        ids: Iterable[str] | None = None,
        **more: Unpack[MoreFilters],
    ) -> tuple[EpisodeRecord, ...]:
        """Takes that fit all given conditions (see ``TakeFilter``), newest first; of ``ids`` only, if given."""
        wanted = TakeFilter(kind, task, outcome, text, trashed, **more)
        query = ordered(matching(wanted, select(*_COLUMNS)), "newest")
        with Session(self._engine) as session:
            if ids is None:
                return _records(session, query)
            parts = [_records(session, query.where(EpisodeRow.id.in_(some))) for some in in_batches(sorted(set(ids)))]
        return tuple(record for part in reversed(parts) for record in part)

    def page(self, wanted: TakeFilter, offset: int = 0, limit: int = 100, order: str = "newest") -> Page:
        """``limit`` takes from ``offset`` on, of those that fit, and how many fit. Orders: see ``filters.ORDERS``."""
        with Session(self._engine) as session:
            if wanted.text:
                total, ids = _page_by_text(session, wanted, offset, limit, order)
            else:
                total = session.scalar(matching(wanted, select(func.count()).select_from(EpisodeRow))) or 0
                which = ordered(matching(wanted, select(EpisodeRow.id)), order)
                ids = session.scalars(which.offset(max(offset, 0)).limit(max(limit, 0))).all()
            records: dict[str, EpisodeRecord] = {}
            for some in in_batches(ids):
                found = _records(session, select(*_COLUMNS).where(EpisodeRow.id.in_(some)))
                records |= {record.id: record for record in found}
        return Page(tuple(records[episode_id] for episode_id in ids if episode_id in records), total)

    def ids(self, wanted: TakeFilter, order: str = "newest") -> tuple[str, ...]:
        """Ids of the takes that fit, in one of ``filters.ORDERS``."""
        with Session(self._engine) as session:
            return tuple(session.scalars(ordered(matching(wanted, select(EpisodeRow.id)), order)))

    def episode(self, episode_id: str) -> EpisodeRecord:
        """One take, trashed or not. NotFoundError names the nearest id."""
        with Session(self._engine) as session:
            found = _records(session, select(*_COLUMNS).where(EpisodeRow.id == episode_id))
            if not found:
                raise _unknown(session, episode_id)
            return found[0]

    def find(self, start: str) -> EpisodeRecord:
        """One take by its id or an unambiguous beginning of it, trashed or not."""
        query = select(EpisodeRow.id).where(EpisodeRow.id >= start, EpisodeRow.id < start + "g").limit(100)
        with Session(self._engine) as session:
            ids = session.scalars(query).all() if start and set(start) <= set("0123456789abcdef") else []
            if not ids:
                raise _unknown(session, start)
        if len(ids) > 1 and start not in ids:
            many = "100 or more" if len(ids) == 100 else len(ids)
            raise WorkbenchError(f"'{start}' is the beginning of {many} takes", "Give more of the id")
        return self.episode(start if start in ids else ids[0])

    def counts_by(self, what: str, *, trashed: bool | None = False) -> dict[str, int]:
        """How many takes have each ``kind``, ``outcome``, ``task``, ``operator``, ``scene``, ``station``, ``tag`` or
        ``flag``, in the order of the names."""
        if what not in _COUNTED:
            raise NotFoundError.of("property of takes", what, _COUNTED)
        name, key, column = _COUNTED[what]
        counted = matching(TakeFilter(trashed=trashed), select(column.label("key"), func.count().label("takes")))
        by_key = counted.group_by(column).subquery()
        query = select(by_key.c.key, by_key.c.takes)
        if name is not None:
            query = select(name, func.sum(by_key.c.takes)).join(by_key, by_key.c.key == key).group_by(name)
        with Session(self._engine) as session:
            return dict(sorted((str(value), int(takes)) for value, takes in session.execute(query)))

    def total_s(self, *, trashed: bool | None = False) -> float:
        """Seconds of all takes together."""
        query = matching(TakeFilter(trashed=trashed), select(func.sum(EpisodeRow.duration_s)))
        with Session(self._engine) as session:
            return float(session.scalar(query) or 0.0)

    def devices(self) -> tuple[DeviceRecord, ...]:
        """Every device that takes were recorded with, by kind and serial number."""
        with Session(self._engine) as session:
            return devices(session)

    def calibrations(self, serial: str | None = None) -> tuple[CalibrationRecord, ...]:
        """Every calibration that takes carry, of one device or of all, oldest first."""
        with Session(self._engine) as session:
            return calibrations(session, serial)

    def pinned(self, episode_ids: Sequence[str]) -> dict[str, list[str]]:
        """Which takes snapshots, models or unfinished runs need: their names, in words by take."""
        with Session(self._engine) as session:
            return pins(session, list(dict.fromkeys(episode_ids)))

    def trials(self, model_id: str | None = None, task: str | None = None) -> tuple[TrialRecord, ...]:
        """Trials, oldest first."""
        query = select(TrialRow).order_by(TrialRow.id)
        if model_id is not None:
            query = query.where(TrialRow.model_id == model_id)
        if task is not None:
            query = query.where(TrialRow.task == task)
        with Session(self._engine) as session:
            return tuple(trial_record(row) for row in session.scalars(query))


def known_takes(session: Session, episode_ids: Sequence[str]) -> dict[str, bool]:
    """Whether each take is in the trash, in the given order. NotFoundError for one that the catalogue does not know."""
    found: dict[str, bool] = {}
    wanted = list(dict.fromkeys(episode_ids))
    for some in in_batches(wanted):
        rows = session.execute(select(EpisodeRow.id, EpisodeRow.trashed).where(EpisodeRow.id.in_(some)))
        found.update((episode_id, trashed) for episode_id, trashed in rows)
    for episode_id in wanted:
        if episode_id not in found:
            raise _unknown(session, episode_id)
    return {episode_id: found[episode_id] for episode_id in wanted}


def _page_by_text(
    session: Session, wanted: TakeFilter, offset: int, limit: int, order: str
) -> tuple[int, Sequence[str]]:
    """How many takes fit and the ids of a page of them; the words are compared only once."""
    fits = matching(wanted, select(EpisodeRow.id)).cte("fits").prefix_with("MATERIALIZED")
    count = select(func.count()).select_from(fits).scalar_subquery()
    if order == "newest":
        query = select(count, fits.c.id).order_by(fits.c.id.desc())
    else:
        query = ordered(select(count, EpisodeRow.id).join(fits, fits.c.id == EpisodeRow.id), order)
    rows = session.execute(query.offset(max(offset, 0)).limit(max(limit, 0))).all()
    if rows:
        return rows[0][0], [row[1] for row in rows]
    return (session.scalar(select(count)) or 0) if offset > 0 or limit <= 0 else 0, []


def _unknown(session: Session, episode_id: str) -> NotFoundError:
    newest = select(EpisodeRow.id).order_by(EpisodeRow.id.desc()).limit(1000)
    return NotFoundError.of("take", episode_id, session.scalars(newest))


def _records(session: Session, query: Select[Any]) -> tuple[EpisodeRecord, ...]:
    return tuple(episode_record(row._asdict()) for row in session.execute(query))
