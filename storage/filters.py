"""Which takes are meant: conditions by name, and the queries that they make."""

from __future__ import annotations

import datetime
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Integer, Select, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from storage.records import EpisodeRecord, key_of, storable
from storage.tables import (
    CollectionRow,
    CollectionTakeRow,
    DeviceRow,
    EpisodeRow,
    FlagRow,
    RolloutRow,
    TagRow,
    TakeDeviceRow,
    TaskRow,
    WordsRow,
)
from workbench.core.errors import NotFoundError, WorkbenchError

ORDERS = ("newest", "oldest", "longest", "shortest", "task", "outcome")
_HEX = frozenset(string.hexdigits.lower())
_LEAST_OF_ID = 4  # shorter words are rather words than pieces of an id


@dataclass(frozen=True, slots=True)
class TakeFilter:
    """Takes that fit all that is given; None, "" and () ask for nothing.

    Attributes:
        text: every word must occur in the id (from 4 digits on), task, instruction, notes, operator, scene or station.
        trashed: False for those in use, True for those in the trash, None for both.
        tags: all of them; without_tags: none of them. flags: any of these quality flags; without_flags: none of them.
        checked: whether a quality check looked at the take.
        collection: name of a collection or snapshot. model: id of the model that drove the take.
        serial: serial number of a device that took part.
        since, until: when the take began; ISO 8601, a date alone means its beginning; no zone means UTC.
        min_s, max_s: length, trimmed or not.
    """

    kind: str | None = None
    task: str | None = None
    outcome: str | None = None
    text: str = ""
    trashed: bool | None = False
    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    collection: str | None = None
    operator: str | None = None
    scene: str | None = None
    station: str | None = None
    flags: tuple[str, ...] = ()
    without_flags: tuple[str, ...] = ()
    checked: bool | None = None
    rate_ok: bool | None = None
    model: str | None = None
    serial: str | None = None
    since: str | None = None
    until: str | None = None
    min_s: float | None = None
    max_s: float | None = None


class MoreFilters(TypedDict, total=False):
    """The conditions of ``TakeFilter`` beside the first ones, as keyword arguments."""

    tags: tuple[str, ...]
    without_tags: tuple[str, ...]
    collection: str | None
    operator: str | None
    scene: str | None
    station: str | None
    flags: tuple[str, ...]
    without_flags: tuple[str, ...]
    checked: bool | None
    rate_ok: bool | None
    model: str | None
    serial: str | None
    since: str | None
    until: str | None
    min_s: float | None
    max_s: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the takes that fit, and how many fit in all."""

    records: tuple[EpisodeRecord, ...]
    total: int


def matching(wanted: TakeFilter, query: Select[Any]) -> Select[Any]:
    """``query`` over takes, narrowed to those that fit. WorkbenchError for a time that is none."""
    return query.where(*_plain(wanted), *_texts(wanted.text), *_related(wanted))


def ordered(query: Select[Any], order: str) -> Select[Any]:
    """``query`` over takes in one of ``ORDERS``; equals are newest first. NotFoundError names the nearest order."""
    newest = EpisodeRow.id.desc()
    choices: dict[str, tuple[Any, ...]] = {
        "newest": (newest,),
        "oldest": (EpisodeRow.id,),
        "longest": (EpisodeRow.duration_s.desc(), newest),
        "shortest": (EpisodeRow.duration_s, newest),
        "task": (TaskRow.name, newest),
        "outcome": (EpisodeRow.outcome, newest),
    }
    if order not in choices:
        raise NotFoundError.of("order", order, ORDERS)
    if order == "task":
        query = query.join(TaskRow, TaskRow.key == EpisodeRow.task_key)
    return query.order_by(*choices[order])


def moment(text: str) -> datetime.datetime:
    """A time as people write it: ISO 8601, UTC unless it says otherwise."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise WorkbenchError(f"{text!r} is not a time", "Write it like 2026-05-31 or 2026-05-31T14:30+02:00") from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


class _Place(FunctionElement[int]):
    """Where a text first occurs in another, from 1; 0 = nowhere. Several times quicker than LIKE."""

    type = Integer()
    inherit_cache = True


@compiles(_Place)
def _place(element: _Place, compiler: Any, **more: Any) -> str:
    name = "strpos" if compiler.dialect.name == "postgresql" else "instr"
    return f"{name}({compiler.process(element.clauses, **more)})"


def _holds(column: Any, word: str) -> ColumnElement[bool]:
    return _Place(column, literal(word)) > 0


def _plain(wanted: TakeFilter) -> list[ColumnElement[bool]]:
    row = EpisodeRow
    found: list[ColumnElement[bool]] = []
    # Both values are named where both are meant, so that the one index on takes serves all the same.
    found.append(row.trashed.in_((False, True)) if wanted.trashed is None else row.trashed == wanted.trashed)
    if wanted.kind is not None:
        found.append(row.kind == str(wanted.kind))
    if wanted.outcome is not None:
        found.append(row.outcome == str(wanted.outcome))
    if wanted.rate_ok is not None:
        found.append(row.rate_ok == wanted.rate_ok)
    for key, name in (
        (row.task_key, wanted.task),
        (row.operator_key, wanted.operator),
        (row.scene_key, wanted.scene),
        (row.station_key, wanted.station),
    ):
        if name is not None:
            found.append(key == key_of(name))
    if wanted.since:
        found.append(row.started_at >= moment(wanted.since))
    if wanted.until:
        found.append(row.started_at < moment(wanted.until))
    if wanted.min_s is not None:
        found.append(row.duration_s >= wanted.min_s)
    if wanted.max_s is not None:
        found.append(row.duration_s <= wanted.max_s)
    if wanted.checked is not None:
        found.append(row.quality_version.is_not(None) if wanted.checked else row.quality_version.is_(None))
    return found


def _texts(text: str) -> Iterable[ColumnElement[bool]]:
    words = storable(text).lower().split()
    said = [_holds(WordsRow.name, word) for word in words]
    ids = [len(word) >= _LEAST_OF_ID and _HEX.issuperset(word) for word in words]
    plain = [condition for condition, of_id in zip(said, ids, strict=True) if not of_id]
    if plain:
        yield EpisodeRow.words_key.in_(select(WordsRow.key).where(*plain))
    for word, condition, of_id in zip(words, said, ids, strict=True):
        if of_id:
            by_words = EpisodeRow.words_key.in_(select(WordsRow.key).where(condition))
            yield or_(_holds(EpisodeRow.id, word), by_words)


def _related(wanted: TakeFilter) -> Iterable[ColumnElement[bool]]:
    take = EpisodeRow.id
    tagged = select(TagRow.key)
    for tag in wanted.tags:
        yield EpisodeRow.tags_key.in_(tagged.where(TagRow.tag == tag))
    if wanted.without_tags:
        yield EpisodeRow.tags_key.not_in(tagged.where(TagRow.tag.in_(wanted.without_tags)))
    flagged = select(FlagRow.key)
    if wanted.flags:
        yield EpisodeRow.flags_key.in_(flagged.where(FlagRow.flag.in_(wanted.flags)))
    if wanted.without_flags:
        yield EpisodeRow.flags_key.not_in(flagged.where(FlagRow.flag.in_(wanted.without_flags)))
    if wanted.collection is not None:
        members = select(CollectionTakeRow.episode_id).join(CollectionRow)
        yield take.in_(members.where(CollectionRow.name == wanted.collection))
    if wanted.model is not None:
        yield take.in_(select(RolloutRow.episode_id).where(RolloutRow.model_id == wanted.model))
    if wanted.serial is not None:
        with_it = select(TakeDeviceRow.episode_id).join(DeviceRow, DeviceRow.key == TakeDeviceRow.device_key)
        yield take.in_(with_it.where(DeviceRow.serial == wanted.serial))
