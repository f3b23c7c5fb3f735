"""What the driver says about itself, and the streams it writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Kinematics
from hardware.safety import Verdict
from workbench.core.chunks import PLAYED, Played, played_spec
from workbench.core.ring import Ring
from workbench.core.types import ArmCommand, ArmState, Authority, Pose, StreamSpec, arm_axes, arm_vector
from workbench.services.inference import ChunkPlayer


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
        watching: a device is open whose dead-man takes the arm over; "" or its kind.
        hints: what looks unusual right now, one sentence each; nothing acts on them.
        fault: why the program itself made the arm hold or stop, "" while nothing is wrong or a person asked for it.
        homing, at_home: parked and on the way home; arrived there.
        moving: the last command that was sent did not ask for standing still.
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
    watching: str = ""
    hints: tuple[str, ...] = ()
    homing: bool = False
    at_home: bool = False
    moving: bool = False


def arm_streams(joints: int, rate_hz: float) -> tuple[StreamSpec, ...]:
    """The streams a driver writes once per tick."""
    axes = arm_axes(joints)
    names = ("observation.state", "action.wanted", "action.allowed", "action")
    vectors = tuple(StreamSpec(name, (len(axes),), "float32", "SI", rate_hz, axes) for name in names)
    flags = tuple(StreamSpec(name, (1,), "float32", "", rate_hz, (name,)) for name in ("authority", "guard"))
    return (*vectors, *flags, played_spec(rate_hz))


def playing(player: ChunkPlayer) -> dict[str, Any]:
    """What is executed now, ticks without an action, and what became of every chunk."""
    answers = {answer.name.lower(): n for answer, n in player.answers.items()}
    return {**asdict(player.played), "stalls": player.stalls, "answers": answers}


class TickLog:
    """Writes one item per control tick into every ring of ``arm_streams``. The tick's thread."""

    def __init__(self, rings: dict[str, Ring], kinematics: Kinematics) -> None:
        self._rings, self._kinematics = rings, kinematics
        self._sequence = 0

    def write(
        self,
        state: ArmState,
        wanted: ArmCommand | None,
        verdict: Verdict | None,
        authority: Authority,
        played: Played,
        now_ns: int,
    ) -> None:
        """What was measured, wanted and allowed, who wanted it, what the guard said and which plan it came from."""
        measured = state.vector()
        allowed = self._vector(verdict.command) if verdict else measured
        items = {
            "observation.state": measured,
            "action.wanted": self._vector(wanted) if wanted else np.full_like(measured, np.nan),
            "action.allowed": allowed,
            "action": allowed,
            "authority": np.array([authority.code], np.float32),
            "guard": np.array([verdict.bits if verdict else 0], np.float32),
            PLAYED: played.vector(),
        }
        for name, item in items.items():
            self._rings[name].write(item, sequence=self._sequence, t_device_ns=state.t_device_ns, t_host_ns=now_ns)
        self._sequence += 1

    def _vector(self, command: ArmCommand) -> NDArray[np.float32]:
        position_m, quaternion = self._kinematics.pose(command.joints_rad)
        return arm_vector(command.joints_rad, command.gripper, Pose(position_m, quaternion))
