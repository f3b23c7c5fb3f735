"""The catalogue's tables. Rows never leave this room: ``records`` turns them into frozen records.

Everything here can be read from disk again. Names that many takes share (tasks, operators, scenes, stations) have
tables of their own, keyed by a short digest, so that one narrow index over all takes answers every filter.
"""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Index, Integer, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Key = BigInteger().with_variant(Integer(), "sqlite")  # there a BIGINT would not be the row's own number
HEAD = "0002"  # the newest migration; a test holds it against migrations/versions


class UtcTime(TypeDecorator[datetime.datetime]):
    """Aware UTC in, aware UTC out: SQLite forgets time zones, PostgreSQL answers in the server's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Refuse naive times instead of guessing their zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(datetime.UTC)

    def process_result_value(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Give SQLite's naive value its zone back."""
        if value is None:
            return None
        return value.astimezone(datetime.UTC) if value.tzinfo else value.replace(tzinfo=datetime.UTC)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {
        dict[str, Any]: JSON,
        list[Any]: JSON,
        datetime.datetime: UtcTime,
        str: String(64),
    }


class EpisodeRow(Base):
    """One take, sealed or trashed; everything here is also in its manifest."""

    __tablename__ = "episodes"
    # One index holds all that takes are filtered by, in the order of a list: every page and count reads only it.
    __table_args__ = (
        Index(
            "ix_episodes_page",
            *("trashed", "id", "kind", "outcome", "rate_ok", "duration_s", "started_at", "quality_version"),
            *("task_key", "operator_key", "scene_key", "station_key", "words_key", "tags_key", "flags_key"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    task: Mapped[str] = mapped_column(Text)
    instruction: Mapped[str] = mapped_column(Text)
    operator: Mapped[str] = mapped_column(Text)
    scene: Mapped[str] = mapped_column(Text)
    station: Mapped[str] = mapped_column(Text)
    clock: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16))
    notes: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime.datetime]
    duration_s: Mapped[float]
    rows: Mapped[int]
    rows_hz: Mapped[float]
    counts: Mapped[dict[str, Any]]
    gaps: Mapped[dict[str, Any]]
    extra: Mapped[dict[str, Any]]
    content_hash: Mapped[str]
    recorded_hash: Mapped[str] = mapped_column(String(64))  # the content hash before archiving; the same otherwise
    trashed: Mapped[bool]
    rate_ok: Mapped[bool]  # every stream came at no less than 90 % of its rate
    quality_version: Mapped[int | None]
    task_key: Mapped[int] = mapped_column(Key)
    operator_key: Mapped[int] = mapped_column(Key)
    scene_key: Mapped[int] = mapped_column(Key)
    station_key: Mapped[int] = mapped_column(Key)
    words_key: Mapped[int] = mapped_column(Key)
    tags_key: Mapped[int] = mapped_column(Key)
    flags_key: Mapped[int] = mapped_column(Key)
    stamp: Mapped[str] = mapped_column(String(80))  # of the manifest's file, to notice changes made by others


class _Named:
    """A name that takes share; ``key`` is ``records.key_of(name)``. Names without takes may linger."""

    key: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)


class TaskRow(_Named, Base):
    """A task's name."""

    __tablename__ = "tasks"


class OperatorRow(_Named, Base):
    """A person's name."""

    __tablename__ = "operators"


class SceneRow(_Named, Base):
    """A scene's name."""

    __tablename__ = "scenes"


class StationRow(_Named, Base):
    """A station's name."""

    __tablename__ = "stations"


class WordsRow(_Named, Base):
    """All the words of a take in small letters; one row for all takes with the same words."""

    __tablename__ = "words"


class TagRow(Base):
    """A tag in a set of tags. Takes with the same tags share a set, whose key is ``records.key_of_set``."""

    __tablename__ = "tag_sets"

    key: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    tag: Mapped[str] = mapped_column(primary_key=True)


class FlagRow(Base):
    """A flag in a set of quality flags; like ``TagRow``."""

    __tablename__ = "flag_sets"

    key: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    flag: Mapped[str] = mapped_column(primary_key=True)


class DeviceRow(Base):
    """A device, told from others by kind and serial number."""

    __tablename__ = "devices"

    key: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(Text)
    serial: Mapped[str] = mapped_column(Text)


class CalibrationRow(Base):
    """One calibration of a device, as takes carry it."""

    __tablename__ = "calibrations"

    key: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    device_key: Mapped[int] = mapped_column(Key, ForeignKey("devices.key"), index=True)
    intrinsics: Mapped[dict[str, Any]]
    pose: Mapped[list[Any] | None]


class TakeDeviceRow(Base):
    """A device seen in a take, under the name it had there and with the calibration it had then."""

    __tablename__ = "take_devices"
    __table_args__ = (Index("ix_take_devices_device", "device_key", "calibration_key", "episode_id"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    device_key: Mapped[int] = mapped_column(Key, ForeignKey("devices.key"))
    calibration_key: Mapped[int | None] = mapped_column(Key, ForeignKey("calibrations.key"))


class RolloutRow(Base):
    """A take that a model drove. The model may be unknown here: takes travel, models need not."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("ix_rollouts_model", "model_id", "episode_id"),)

    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str]


class CollectionRow(Base):
    """A named set of takes, or, with ``frozen``, a snapshot. The file of the same name is the truth."""

    __tablename__ = "collections"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    frozen: Mapped[bool]
    created_at: Mapped[datetime.datetime]


class CollectionTakeRow(Base):
    """A take's place in a set. It stays when the take goes, so that a snapshot can tell what it lost."""

    __tablename__ = "collection_takes"
    __table_args__ = (Index("ix_collection_takes_episode", "episode_id", "collection_id"),)

    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    episode_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    place: Mapped[int]
    content_hash: Mapped[str]


class RunRow(Base):
    """A training run."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    stage: Mapped[str]
    preset: Mapped[str]
    state: Mapped[str]
    model_id: Mapped[str] = mapped_column(index=True)
    bases: Mapped[dict[str, Any]]


class RunTakeRow(Base):
    """A take that a run was given: to ``learn`` from or for ``replay``."""

    __tablename__ = "run_takes"
    __table_args__ = (Index("ix_run_takes_episode", "episode_id", "run_id"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    episode_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    content_hash: Mapped[str]


class ModelRow(Base):
    """A trained model."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    stage: Mapped[str]
    preset: Mapped[str]
    run_id: Mapped[str] = mapped_column(index=True)
    recipe_hash: Mapped[str]
    created_at: Mapped[datetime.datetime]
    tasks: Mapped[list[Any]]
    metrics: Mapped[dict[str, Any]]


class ModelTakeRow(Base):
    """A take, as it was then, that a model was trained on."""

    __tablename__ = "model_takes"
    __table_args__ = (Index("ix_model_takes_episode", "episode_id", "model_id"),)

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    episode_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    content_hash: Mapped[str]


class ModelLinkRow(Base):
    """A model was built on another one, in a role: ``parent``, or the stage that the other one serves."""

    __tablename__ = "model_links"
    __table_args__ = (Index("ix_model_links_base", "base_id", "model_id"),)

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    base_id: Mapped[str]


class EventRow(Base):
    """Something that happened to the station; ``id`` is where its line begins in ``events.jsonl``."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime.datetime] = mapped_column(index=True)
    source: Mapped[str]
    severity: Mapped[str] = mapped_column(String(16))
    words: Mapped[str] = mapped_column(Text)


class TrialRow(Base):
    """One try of a model at a task."""

    __tablename__ = "trials"
    __table_args__ = (Index("ix_trials_model_task", "model_id", "task"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime.datetime]
    model_id: Mapped[str] = mapped_column(Text)
    task: Mapped[str] = mapped_column(Text)
    success: Mapped[bool]
    episode_id: Mapped[str]
    head: Mapped[str]
    seed: Mapped[int]
    seconds: Mapped[float]
    latency_ms: Mapped[float]
    note: Mapped[str] = mapped_column(Text)
    extra: Mapped[dict[str, Any]]


class EditRow(Base):
    """One edit that can be undone or, once undone, done again: the steps that lead there."""

    __tablename__ = "edits"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime.datetime]
    description: Mapped[str] = mapped_column(Text)
    inverse: Mapped[dict[str, Any]]
    undone: Mapped[bool]
