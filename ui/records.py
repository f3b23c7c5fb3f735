"""What the window reads of a take and of a model. The services hand out richer records of this shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from workbench.services.library import Trim


class TakeRecord(Protocol):
    """One take in a list."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def instruction(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def notes(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def started_at(self) -> str: ...


class ShelvedTake(TakeRecord, Protocol):
    """One take of the library, with the marks on it."""

    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def quality_version(self) -> int | None: ...
    @property
    def used_s(self) -> float: ...
    @property
    def trim(self) -> Trim | None: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def trashed(self) -> bool: ...


class Brief(NamedTuple):
    """What choosing takes to learn from needs of one: a library of a hundred thousand is held by two pages."""

    id: str
    kind: str
    outcome: str


def briefs(takes: Iterable[TakeRecord]) -> tuple[Brief, ...]:
    """The takes in brief; for work in the background."""
    return tuple(Brief(take.id, take.kind, take.outcome) for take in takes)


class ModelEntry(Protocol):
    """One trained model in a list."""

    @property
    def id(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def parent(self) -> str: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...
    @property
    def data(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def created_at(self) -> str: ...
    @property
    def promoted(self) -> bool: ...
