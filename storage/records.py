"""What the catalogue gives out: frozen records, never database rows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from storage.manifest import Manifest
from storage.tables import EpisodeRow, TrialRow
from workbench.core.types import EpisodeKind, Outcome


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """One take in a list. ``started_at`` is ISO 8601 UTC; counts and gaps are per stream."""

    id: str
    kind: EpisodeKind
    task: str
    instruction: str
    operator: str
    scene: str
    station: str
    clock: str
    outcome: Outcome
    notes: str
    started_at: str
    duration_s: float
    rows: int
    rows_hz: float
    counts: dict[str, int]
    gaps: dict[str, int]
    extra: dict[str, Any]
    content_hash: str
    trashed: bool

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams."""
        return tuple(sorted(self.counts))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the colour cameras."""
        prefix = "observation.images."
        return tuple(name.removeprefix(prefix) for name in self.streams if name.startswith(prefix))

    @property
    def missing(self) -> int:
        """Items known to be missing, all streams together."""
        return sum(self.gaps.values())


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One try of a model at a task. ``at`` is ISO 8601 UTC; ``episode_id`` is "" if nothing was recorded."""

    id: str
    at: str
    model_id: str
    task: str
    success: bool
    episode_id: str = ""
    head: str = ""
    seed: int = 0
    seconds: float = 0.0
    latency_ms: float = 0.0
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


_EPISODE_SAME = (
    *("id", "task", "instruction", "operator", "scene", "station", "clock", "notes"),
    *("duration_s", "rows", "rows_hz", "counts", "gaps", "extra", "content_hash"),
)
_TRIAL_SAME = (
    *("id", "model_id", "task", "success", "episode_id", "head", "seed", "seconds", "latency_ms", "note", "extra"),
)


def episode_row(manifest: Manifest, *, trashed: bool) -> EpisodeRow:
    """The row of a take."""
    same = {name: getattr(manifest, name) for name in _EPISODE_SAME}
    started = datetime.datetime.fromisoformat(manifest.started_at)
    return EpisodeRow(
        kind=str(manifest.kind), outcome=str(manifest.outcome), started_at=started, trashed=trashed, **same
    )


def episode_record(row: EpisodeRow) -> EpisodeRecord:
    """The record of a row."""
    same = {name: getattr(row, name) for name in _EPISODE_SAME}
    return EpisodeRecord(
        kind=EpisodeKind(row.kind),
        outcome=Outcome(row.outcome),
        started_at=row.started_at.isoformat(),
        trashed=row.trashed,
        **same,
    )


def trial_row(record: TrialRecord) -> TrialRow:
    """The row of a trial."""
    same = {name: getattr(record, name) for name in _TRIAL_SAME}
    return TrialRow(at=datetime.datetime.fromisoformat(record.at), **same)


def trial_record(row: TrialRow) -> TrialRecord:
    """The record of a row."""
    return TrialRecord(at=row.at.isoformat(), **{name: getattr(row, name) for name in _TRIAL_SAME})
