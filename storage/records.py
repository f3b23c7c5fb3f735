"""What the catalogue gives out: frozen records, never database rows; and how a manifest becomes a row."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage import marks
from storage.manifest import Manifest
from storage.marks import Trim
from storage.quality_thresholds import Thresholds
from storage.tables import TrialRow
from workbench.core.types import EpisodeKind, Outcome

_RATE_SHARE = Thresholds().slow_ratio  # one number with the quality check


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """One take in a list. ``started_at`` is ISO 8601 UTC; counts and gaps are per stream.

    Attributes:
        rate_ok: every stream came at no less than 90 % of its nominal rate.
    """

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
    rate_ok: bool = True

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

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags, sorted."""
        return marks.tags_of(self.extra)

    @property
    def flags(self) -> tuple[str, ...]:
        """What the quality check found wrong, sorted; () also if nobody checked (``quality_version`` is None)."""
        return marks.flags_of(self.extra)

    @property
    def quality_version(self) -> int | None:
        """Which version of the quality check looked at it; None if none did."""
        return marks.quality_version(self.extra)

    @property
    def trim(self) -> Trim | None:
        """The part to be used, in host ns, or None for all of it."""
        return marks.trim_of(self.extra)

    @property
    def used_s(self) -> float:
        """Seconds between the trim marks, or the whole length."""
        trim = self.trim
        return self.duration_s if trim is None else min(self.duration_s, (trim.end_ns - trim.start_ns) / 1e9)


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


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as the catalogue knows it. ``bases`` are (role, model id), the parent under the role ``parent``."""

    id: str
    stage: str
    run_id: str = ""
    preset: str = ""
    recipe_hash: str = ""
    created_at: str = "1970-01-01T00:00:00+00:00"
    tasks: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    bases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A training run as the catalogue knows it; ``state`` is that of its job when last looked at."""

    id: str
    stage: str
    preset: str = ""
    state: str = ""
    model_id: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TakeUse:
    """A take that something refers to. ``state``: ``here``, ``changed`` (other contents), ``trashed`` or ``gone``."""

    id: str
    content_hash: str
    state: str


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A named, ordered set of takes; ``frozen`` for a snapshot. ``created_at`` is ISO 8601 UTC."""

    id: str
    name: str
    created_at: str
    takes: int
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """A calibration that a device had. ``first_seen`` is the start of the oldest take with it, ISO 8601 UTC.

    Attributes:
        pose: the device in the arm's base frame, 4x4 nested lists, or None.
    """

    device_kind: str
    serial: str
    intrinsics: dict[str, Any]
    pose: list[Any] | None
    first_seen: str
    takes: int


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device that takes were recorded with; times are ISO 8601 UTC."""

    kind: str
    serial: str
    names: tuple[str, ...]
    takes: int
    first_seen: str
    last_seen: str


@dataclass(frozen=True, slots=True)
class StationEvent:
    """Something that happened to the station. ``severity`` is ``info``, ``warning`` or ``error``."""

    at: str
    source: str
    severity: str
    words: str


EPISODE_COLUMNS = (
    *("id", "kind", "task", "instruction", "operator", "scene", "station", "clock", "outcome", "notes", "started_at"),
    *("duration_s", "rows", "rows_hz", "counts", "gaps", "extra", "content_hash", "trashed", "rate_ok"),
)
_EPISODE_SAME = (
    *("id", "task", "instruction", "operator", "scene", "station", "clock", "notes"),
    *("duration_s", "rows", "rows_hz", "counts", "gaps", "extra", "content_hash"),
)
_TRIAL_SAME = (
    *("id", "model_id", "task", "success", "episode_id", "head", "seed", "seconds", "latency_ms", "note", "extra"),
)


def key_of(name: str) -> int:
    """Short digest of a name: a signed 64-bit number, the same everywhere, so that rows are written without a look."""
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def key_of_set(words: Iterable[str]) -> int:
    """The key of a set of tags or flags."""
    return key_of("\n".join(sorted({storable(word) for word in words})))


def words_of(manifest: Manifest) -> str:
    """What a search by text looks at, in small letters; the id is looked at apart."""
    parts = (manifest.task, manifest.instruction, manifest.notes, manifest.operator, manifest.scene, manifest.station)
    return storable("\n".join(parts).lower())


def amount(takes: int) -> str:
    """How many takes, in words."""
    return "1 take" if takes == 1 else f"{takes} takes"


def storable(text: str) -> str:
    """PostgreSQL keeps no NUL in a text."""
    return text.replace("\0", "")


def episode_values(manifest: Manifest, *, trashed: bool, stamp: str) -> dict[str, Any]:
    """The columns of a take's row."""
    same = {name: getattr(manifest, name) for name in _EPISODE_SAME}
    names = ("task", "operator", "scene", "station")
    return {
        **{name: storable(value) if isinstance(value, str) else value for name, value in same.items()},
        "kind": str(manifest.kind),
        "outcome": str(manifest.outcome),
        "started_at": datetime.datetime.fromisoformat(manifest.started_at),
        "trashed": trashed,
        "rate_ok": rate_ok(manifest),
        "quality_version": marks.quality_version(manifest.extra),
        "recorded_hash": marks.recorded_hash(manifest.extra, manifest.content_hash),
        **{f"{name}_key": key_of(storable(getattr(manifest, name))) for name in names},
        "words_key": key_of(words_of(manifest)),
        "tags_key": key_of_set(marks.tags_of(manifest.extra)),
        "flags_key": key_of_set(marks.flags_of(manifest.extra)),
        "stamp": stamp,
    }


def rate_ok(manifest: Manifest) -> bool:
    """True if every stream holds at least 90 % of the items that its rate promises for the length of the take."""
    return all(
        manifest.counts[name] >= _RATE_SHARE * spec.rate_hz * manifest.duration_s
        for name, spec in manifest.streams.items()
    )


def episode_record(values: Mapping[str, Any]) -> EpisodeRecord:
    """The record of a row's columns; more of them are ignored."""
    same = {name: values[name] for name in (*_EPISODE_SAME, "trashed", "rate_ok")}
    return EpisodeRecord(
        kind=EpisodeKind(values["kind"]),
        outcome=Outcome(values["outcome"]),
        started_at=values["started_at"].astimezone(datetime.UTC).isoformat(),
        **same,
    )


def trial_values(record: TrialRecord) -> dict[str, Any]:
    """The columns of a trial's row. TypeError or ValueError for values that cannot be stored."""
    same = {name: getattr(record, name) for name in _TRIAL_SAME}
    return {"at": datetime.datetime.fromisoformat(record.at), **same}


def trial_record(row: TrialRow) -> TrialRecord:
    """The record of a row."""
    return TrialRecord(at=row.at.isoformat(), **{name: getattr(row, name) for name in _TRIAL_SAME})
