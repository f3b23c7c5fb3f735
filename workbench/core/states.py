"""State machines as tables: who may go where, and a thread-safe machine that refuses the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

from workbench.core.errors import StateError


class RecorderState(StrEnum):
    IDLE = "idle"
    ARMED = "armed"
    RECORDING = "recording"
    SEALING = "sealing"
    FAULTED = "faulted"


class DriverState(StrEnum):
    PARKED = "parked"
    READY = "ready"
    DRIVING = "driving"
    HOLDING = "holding"
    CORRECTING = "correcting"
    STOPPED = "stopped"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = TypeVar("S", bound=StrEnum)
Table = Mapping[StrEnum, frozenset[StrEnum]]

RECORDER: Table = MappingProxyType(
    {
        RecorderState.IDLE: frozenset({RecorderState.ARMED, RecorderState.FAULTED}),
        RecorderState.ARMED: frozenset({RecorderState.RECORDING, RecorderState.IDLE, RecorderState.FAULTED}),
        RecorderState.RECORDING: frozenset({RecorderState.SEALING, RecorderState.FAULTED}),
        RecorderState.SEALING: frozenset({RecorderState.IDLE, RecorderState.FAULTED}),
        RecorderState.FAULTED: frozenset({RecorderState.IDLE}),
    }
)

DRIVER: Table = MappingProxyType(
    {
        DriverState.PARKED: frozenset({DriverState.READY, DriverState.STOPPED}),
        DriverState.READY: frozenset(
            {DriverState.DRIVING, DriverState.CORRECTING, DriverState.PARKED, DriverState.STOPPED}
        ),
        DriverState.DRIVING: frozenset({DriverState.HOLDING, DriverState.CORRECTING, DriverState.STOPPED}),
        DriverState.HOLDING: frozenset(
            {DriverState.DRIVING, DriverState.CORRECTING, DriverState.PARKED, DriverState.STOPPED}
        ),
        DriverState.CORRECTING: frozenset({DriverState.HOLDING, DriverState.STOPPED}),
        DriverState.STOPPED: frozenset({DriverState.PARKED}),
    }
)

JOB: Table = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
        JobState.RUNNING: frozenset({JobState.PAUSED, JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
        JobState.PAUSED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
        JobState.DONE: frozenset(),
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
    }
)


class StateMachine(Generic[S]):
    """Holds one state of a table. ``to`` refuses what the table does not list."""

    def __init__(self, noun: str, table: Table, start: S, changed: Callable[[S, S], None] | None = None) -> None:
        self._noun = noun
        self._table = table
        self._state = start
        self._changed = changed
        self._lock = threading.Lock()

    @property
    def state(self) -> S:
        return self._state

    def may(self, target: S) -> bool:
        """True if the table allows going to ``target`` now."""
        return target in self._table[self._state]

    def to(self, target: S) -> None:
        """Go to ``target`` or raise StateError naming what is allowed."""
        with self._lock:
            before = self._state
            if target not in self._table[before]:
                allowed = ", ".join(sorted(self._table[before])) or "nothing"
                raise StateError(f"the {self._noun} is {before} and cannot go to {target}", f"Allowed now: {allowed}")
            self._state = target
        if self._changed is not None:
            self._changed(before, target)
