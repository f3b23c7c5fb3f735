"""Everything that happened and that somebody may want to know. Past tense, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RecorderChanged:
    state: str
    episode_id: str = ""


@dataclass(frozen=True, slots=True)
class TakeSealed:
    episode_id: str
    frames: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class TakeJudged:
    """The operator has said how the take in progress ended, with a button of the teleoperation device."""

    outcome: str


@dataclass(frozen=True, slots=True)
class TakeDiscarded:
    episode_id: str


@dataclass(frozen=True, slots=True)
class DriverChanged:
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StopCleared:
    """A person has said that the arm may move again."""

    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrialScored:
    task: str
    success: bool
    episode_id: str
    model_id: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SeriesChanged:
    """A trial of a series begins, or the series is over; ``label`` is the name that a person may know."""

    series_id: str
    label: str
    words: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class JobProgressed:
    run_id: str
    stage: str
    state: str
    step: int
    steps: int
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelExportProgressed:
    """A model is being written into a folder of its own: what is done now, step ``done`` of ``total``."""

    model_id: str
    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ModelImportProgressed:
    """A published checkpoint is being converted: what is done now, step ``done`` of ``total``."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LibraryChanged:
    episode_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakesRecovered:
    """The start found takes that a crash had interrupted: what was kept of each and why, one sentence per take."""

    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpkeepProgressed:
    """Background work on sealed takes: ``chore`` has done ``done`` of ``total`` that were due when it began."""

    chore: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ReplayProgressed:
    """A recorded take is replayed on the arm: the phase it is in, and seconds of the take's own motion."""

    replay_of: str
    phase: str
    done_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay is over. ``report``: see ``services.replay_report.report``; ``episode_id`` is the new take."""

    replay_of: str
    episode_id: str
    ended_by: str
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A process (or thread) of the station has ended though nobody asked it to; ``failure`` is what it said last."""

    name: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong outside a direct request; shown and logged."""

    where: str
    message: str
