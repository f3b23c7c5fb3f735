"""Takes into the catalogue's tables, many at once: the row of each and all that hangs on it."""

from __future__ import annotations

import datetime
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import Table, delete
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from storage import marks
from storage.manifest import Manifest
from storage.records import TrialRecord, episode_values, key_of, key_of_set, storable, trial_values, words_of
from storage.tables import (
    Base,
    CalibrationRow,
    DeviceRow,
    EpisodeRow,
    FlagRow,
    OperatorRow,
    RolloutRow,
    SceneRow,
    StationRow,
    TagRow,
    TakeDeviceRow,
    TaskRow,
    TrialRow,
    WordsRow,
)

_log = logging.getLogger(__name__)
T = TypeVar("T")
BATCH = 1000  # of takes, and of ids in one query: databases limit the parameters of a statement
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """A take as it lies on disk. ``stamp`` identifies its manifest's file."""

    manifest: Manifest
    trashed: bool
    stamp: str


def enter(session: Session, takes: Iterable[Found]) -> None:
    """Write the takes' rows, instead of those that are there."""
    for part in in_batches(takes):
        _forget_rows(session, [take.manifest.id for take in part])
        _named(session, part)
        insert_rows(session, EpisodeRow, [_values(take) for take in part])
        insert_rows(session, TagRow, _sets(part, "tag", marks.tags_of), known=True)
        insert_rows(session, FlagRow, _sets(part, "flag", marks.flags_of), known=True)
        rollouts = [(take.manifest.id, marks.model_of(take.manifest.extra)) for take in part]
        insert_rows(session, RolloutRow, [{"episode_id": i, "model_id": model} for i, model in rollouts if model])
        _devices(session, part)
        _trials(session, part)


def forget(session: Session, episode_ids: Sequence[str]) -> None:
    """Remove takes that are no longer on disk. Trials stay: what a model achieved does not change."""
    for part in in_batches(episode_ids):
        _forget_rows(session, part)


def insert_rows(session: Session, table: type[Base], rows: Rows, *, known: bool = False) -> None:
    """Many rows in one statement; with ``known`` those whose key is there already are left as they are."""
    if not rows:
        return
    make = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    statement = make(cast(Table, table.__table__))
    session.execute(statement.on_conflict_do_nothing() if known else statement, rows)


def _forget_rows(session: Session, episode_ids: Sequence[str]) -> None:
    session.execute(delete(EpisodeRow).where(EpisodeRow.id.in_(episode_ids)))  # all that hangs on them goes too


def _values(take: Found) -> dict[str, Any]:
    return episode_values(take.manifest, trashed=take.trashed, stamp=take.stamp)


def _sets(part: Iterable[Found], column: str, read: Callable[[Mapping[str, Any]], tuple[str, ...]]) -> Rows:
    sets = {key_of_set(words): words for words in (read(take.manifest.extra) for take in part)}
    rows = ((key, storable(word)) for key, words in sorted(sets.items()) for word in words)
    return [{"key": key, column: word} for key, word in dict.fromkeys(rows)]


def _named(session: Session, part: Sequence[Found]) -> None:
    manifests = [take.manifest for take in part]
    columns: tuple[tuple[type[Base], Iterable[str]], ...] = (
        (TaskRow, (manifest.task for manifest in manifests)),
        (OperatorRow, (manifest.operator for manifest in manifests)),
        (SceneRow, (manifest.scene for manifest in manifests)),
        (StationRow, (manifest.station for manifest in manifests)),
        (WordsRow, (words_of(manifest) for manifest in manifests)),
    )
    for table, texts in columns:
        names = sorted({storable(text) for text in texts})
        insert_rows(session, table, [{"key": key_of(name), "name": name} for name in names], known=True)


def _devices(session: Session, part: Sequence[Found]) -> None:
    devices: dict[int, dict[str, Any]] = {}
    calibrations: dict[int, dict[str, Any]] = {}
    seen: Rows = []
    for take in part:
        for name, about in take.manifest.devices.items():
            if not isinstance(about, Mapping) or len(name) > 128:
                continue
            kind, serial = (storable(str(about.get(word) or "")) for word in ("kind", "serial"))
            device = key_of(f"{kind}\n{serial}")
            devices[device] = {"key": device, "kind": kind, "serial": serial}
            calibration = _calibration(device, about)
            if calibration is not None:
                calibrations[calibration["key"]] = calibration
            seen.append(
                {
                    "episode_id": take.manifest.id,
                    "name": storable(name),
                    "device_key": device,
                    "calibration_key": calibration and calibration["key"],
                }
            )
    insert_rows(session, DeviceRow, [devices[key] for key in sorted(devices)], known=True)
    insert_rows(session, CalibrationRow, [calibrations[key] for key in sorted(calibrations)], known=True)
    insert_rows(session, TakeDeviceRow, seen)


def _calibration(device: int, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of a device's calibration; None if the take says nothing of it."""
    intrinsics, pose = about.get("intrinsics"), about.get("pose")
    intrinsics = intrinsics if isinstance(intrinsics, dict) else {}
    pose = pose if isinstance(pose, list) else None
    if not intrinsics and pose is None:
        return None
    key = key_of(json.dumps([device, intrinsics, pose], sort_keys=True))
    return {"key": key, "device_key": device, "intrinsics": intrinsics, "pose": pose}


def _trials(session: Session, part: Sequence[Found]) -> None:
    """The trials that were written into takes; they survive a lost catalogue there."""
    noted = {take.manifest.id: take.manifest.extra[marks.TRIAL] for take in part if marks.TRIAL in take.manifest.extra}
    enter_trials(session, noted.items())


def enter_trials(session: Session, noted: Iterable[tuple[str, Any]]) -> None:
    """Write trials as they were noted on disk, by the name of the place, instead of those that are there."""
    rows: dict[str, dict[str, Any]] = {}
    for place, value in noted:
        try:
            values = trial_values(TrialRecord(**value))
            _check_trial(values)
        except (TypeError, ValueError, AttributeError) as error:
            _log.warning("the trial noted in %s is not readable (%s)", place, error)
            continue
        rows[values["id"]] = values
    for some in in_batches(rows):
        session.execute(delete(TrialRow).where(TrialRow.id.in_(some)))
    insert_rows(session, TrialRow, list(rows.values()))


def _check_trial(values: Mapping[str, Any]) -> None:
    """ValueError for what a database would refuse."""
    texts = ("id", "model_id", "task", "episode_id", "head", "note")
    good = all(isinstance(values[name], str) and "\0" not in values[name] for name in texts)
    good = good and len(values["id"]) <= 32 and max(len(values["episode_id"]), len(values["head"])) <= 64
    good = good and isinstance(values["success"], bool) and isinstance(values["extra"], dict)
    good = (
        good and isinstance(values["seed"], int) and abs(values["seed"]) < 1 << 31 and values["at"].tzinfo is not None
    )
    if not good or not all(isinstance(values[name], int | float) for name in ("seconds", "latency_ms")):
        raise ValueError("one of its values is of the wrong kind")


def in_batches(items: Iterable[T], size: int = BATCH) -> Iterator[tuple[T, ...]]:
    """The items in tuples of at most ``size``."""
    rest = iter(items)
    while part := tuple(itertools.islice(rest, size)):
        yield part


def now() -> datetime.datetime:
    """The present, UTC."""
    return datetime.datetime.now(datetime.UTC)
