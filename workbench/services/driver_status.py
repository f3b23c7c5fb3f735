"""What the driver says about itself, and the streams it writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workbench.core.chunks import played_spec
from workbench.core.types import Authority, StreamSpec, arm_axes


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """The driver now.

    Attributes:
        reason: why it is in this state, in words.
        guard_reasons: what the guard changed in the last tick.
        lateness_p99_ms: how late the tick is, 99th percentile of the last ticks.
        timing: see ``Control.timing``.
        device: what the teleoperation device says: what to do now, or why nothing moves.
        latched: the stop is kept on disk and outlives the program.
        latency_ms: the policy's last inference time; chunk_age_ms: age of the observation being acted on.
        limits: the guard's limits by name, empty when the station has none.
        playing: what is executed now (``chunks.Played``), ticks without an action, and what became of every chunk.
        success: what the simulated station's success predicate said last, None when unknown.
        fault: why the program itself made the arm hold or stop, "" while nothing is wrong or a person asked for it.
        homing, at_home: parked and on the way home; arrived there.
    """

    state: str
    reason: str = ""
    authority: str = Authority.NOBODY
    model_id: str = ""
    task: str = ""
    guard_reasons: tuple[str, ...] = ()
    lateness_p99_ms: float = 0.0
    timing: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    latched: bool = False
    latency_ms: float = 0.0
    chunk_age_ms: float = 0.0
    limits: dict[str, object] = field(default_factory=dict)
    playing: dict[str, Any] = field(default_factory=dict)
    success: bool | None = None
    fault: str = ""
    homing: bool = False
    at_home: bool = False


def arm_streams(joints: int, rate_hz: float) -> tuple[StreamSpec, ...]:
    """The streams a driver writes once per tick."""
    axes = arm_axes(joints)
    names = ("observation.state", "action.wanted", "action.allowed", "action")
    vectors = tuple(StreamSpec(name, (len(axes),), "float32", "SI", rate_hz, axes) for name in names)
    flags = tuple(StreamSpec(name, (1,), "float32", "", rate_hz, (name,)) for name in ("authority", "guard"))
    return (*vectors, *flags, played_spec(rate_hz))
