"""The catalogue's tables. Rows never leave this room: ``catalog`` turns them into frozen records."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Index, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

HEAD = "0001"  # the newest migration; a test holds it against migrations/versions


class UtcTime(TypeDecorator[datetime.datetime]):
    """Aware UTC in, aware UTC out: SQLite forgets time zones, PostgreSQL keeps them."""

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
        return value if value is None or value.tzinfo else value.replace(tzinfo=datetime.UTC)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {dict[str, Any]: JSON, datetime.datetime: UtcTime, str: String(64)}


class EpisodeRow(Base):
    """One take, sealed or trashed; everything here is also in its manifest."""

    __tablename__ = "episodes"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    task: Mapped[str] = mapped_column(Text, index=True)
    instruction: Mapped[str] = mapped_column(Text)
    operator: Mapped[str] = mapped_column(Text)
    scene: Mapped[str] = mapped_column(Text)
    station: Mapped[str] = mapped_column(Text)
    clock: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16), index=True)
    notes: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime.datetime] = mapped_column(index=True)
    duration_s: Mapped[float]
    rows: Mapped[int]
    rows_hz: Mapped[float]
    counts: Mapped[dict[str, Any]]
    gaps: Mapped[dict[str, Any]]
    extra: Mapped[dict[str, Any]]
    content_hash: Mapped[str]
    trashed: Mapped[bool] = mapped_column(index=True)


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
    """One edit that can be undone: what to do to take it back, as plain values."""

    __tablename__ = "edits"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime.datetime]
    description: Mapped[str] = mapped_column(Text)
    inverse: Mapped[dict[str, Any]]
