"""Whether a recorded take may be repeated on this station's arm, and what exactly will be repeated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Limits
from hardware.motion import Motion
from storage.episode import Episode
from storage.layout import Home
from storage.marks import trim_of
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.types import arm_axes
from workbench.services.settings import Settings

STREAMS = ("action", "observation.state")
SLOWEST, FASTEST = 0.25, 1.0
_HOLE_S = 0.5
_JOINT_SLACK_RAD, _PLACE_SLACK_M, _SPEED_SLACK = 2e-3, 3e-3, 1.02
_ANOTHER = "Choose a take of this arm"


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What to repeat.

    Attributes:
        speed: 0.25 .. 1 times the pace of the take.
        from_s, to_s: part of the take, in seconds after its beginning (its trim mark where it has one); to_s None: all.
        stream: ``action`` repeats what was sent, ``observation.state`` where the arm was.
    """

    episode_id: str
    speed: float = 1.0
    from_s: float = 0.0
    to_s: float | None = None
    stream: str = "action"


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """A checked replay.

    Attributes:
        motion: at the wanted speed.
        measured: where the arm was when the take was recorded, on the same clock as ``motion``; None if not recorded.
        seed: what laid the simulated table for the take, None where that is not known.
    """

    request: ReplayRequest
    task: str
    motion: Motion
    measured: Motion | None
    seed: int | None

    def extra(self) -> dict[str, Any]:
        """What the new take's manifest says about it."""
        asked = self.request
        part = {"stream": asked.stream, "speed": asked.speed, "from_s": asked.from_s, "to_s": asked.to_s}
        return {"replay_of": asked.episode_id, "replay": part}


def plan_replay(home: Home, settings: Settings, request: ReplayRequest) -> ReplayPlan:
    """Read the take and compare it with the station. WorkbenchError says what does not fit and what to do.

    The take's own limits do not matter: what counts is that today's limits allow the way it went and how fast.
    """
    if not SLOWEST <= request.speed <= FASTEST:
        raise WorkbenchError(f"a speed of {request.speed:g} is not between {SLOWEST:g} and {FASTEST:g}")
    if settings.arm is None or settings.limits is None:
        raise StateError("this station has no arm with limits", "Write [arm] and [limits] into station.toml")
    limits = settings.limits.limits()
    with Episode.open(home, request.episode_id) as take:
        _check_arm(take, settings.arm.kind, len(limits.joint_min_rad), request.stream)
        times_ns, items = _part(take, request)
        motion = _motion(times_ns, items, request)
        measured = _measured(take, times_ns, request)
        _check_way(items, motion, limits, request)
        seed = take.manifest.extra.get("seed")
        return ReplayPlan(request, take.manifest.task, motion, measured, seed if isinstance(seed, int) else None)


def _check_arm(take: Episode, kind: str, joints: int, stream: str) -> None:
    manifest = take.manifest
    if stream not in STREAMS:
        raise WorkbenchError(f"'{stream}' cannot be replayed", "Choose one of: " + ", ".join(STREAMS))
    if stream not in manifest.streams:
        raise WorkbenchError(f"the {manifest.kind} take {manifest.id} has no stream '{stream}'", _ANOTHER)
    recorded = (manifest.settings.get("arm") or {}).get("kind")
    if not recorded:
        raise WorkbenchError(f"it is not known with which arm the take {manifest.id} was recorded", _ANOTHER)
    if recorded != kind:
        raise WorkbenchError(f"the take was recorded with an arm of kind '{recorded}', this one is '{kind}'", _ANOTHER)
    axes = manifest.streams[stream].axes
    if axes != arm_axes(joints):
        number = sum(name.startswith("joint_") for name in axes)
        raise WorkbenchError(f"the take has {number} joints, this arm has {joints}", _ANOTHER)


def _part(take: Episode, request: ReplayRequest) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Host times and items between the trim marks and the asked seconds."""
    _, times_ns = take.times(request.stream)
    items = np.asarray(take.vectors(request.stream), dtype=np.float64)
    if not len(times_ns):
        raise WorkbenchError(f"the stream '{request.stream}' of the take is empty", _ANOTHER)
    trim = trim_of(take.manifest.extra)
    begin_ns, end_ns = (trim.start_ns, trim.end_ns) if trim else (int(times_ns[0]), int(times_ns[-1]))
    begin_ns = max(begin_ns, int(times_ns[0]))
    to_s = request.to_s if request.to_s is not None else math.inf
    if request.from_s < 0 or to_s <= request.from_s:
        raise WorkbenchError("the part of the take ends before it begins", "Give --from smaller than --to")
    if to_s != math.inf:
        end_ns = min(end_ns, begin_ns + round(to_s * 1e9))
    kept = (times_ns >= begin_ns + round(request.from_s * 1e9)) & (times_ns <= end_ns)
    if np.count_nonzero(kept) < 2:
        raise WorkbenchError("the chosen part of the take is empty", "Look at its length: `main.py episodes show`")
    return times_ns[kept], items[kept]


def _motion(times_ns: NDArray[np.int64], items: NDArray[np.float64], request: ReplayRequest) -> Motion:
    """The wanted joints over time at the wanted speed."""
    rising = np.concatenate([[True], np.diff(times_ns) > 0])
    times_s, items = (times_ns[rising] - times_ns[0]) / 1e9, items[rising]
    if len(times_s) > 1 and float(np.diff(times_s).max()) > _HOLE_S:
        at_s = float(times_s[int(np.argmax(np.diff(times_s)))])
        raise WorkbenchError(
            f"the take has a hole of {np.diff(times_s).max():.1f} s after {at_s:.1f} s", "Replay a part without it"
        )
    joints = items.shape[1] - 8
    motion = Motion(times_s, items[:, :joints], np.clip(items[:, joints], 0.0, 1.0))
    return motion.slowed(request.speed)


def _measured(take: Episode, times_ns: NDArray[np.int64], request: ReplayRequest) -> Motion | None:
    """Where the arm was in the same part, on the clock of the replayed motion."""
    if STREAMS[1] not in take.manifest.streams:
        return None
    _, state_ns = take.times(STREAMS[1])
    kept = (state_ns >= times_ns[0]) & (state_ns <= times_ns[-1])
    states = np.asarray(take.vectors(STREAMS[1]), dtype=np.float64)[kept]
    if np.count_nonzero(kept) < 2 or not np.all(np.isfinite(states)):
        return None
    return _motion(state_ns[kept], states, request)


def _check_way(items: NDArray[np.float64], motion: Motion, limits: Limits, request: ReplayRequest) -> None:
    """The way lies inside of today's limits, and they allow its speed."""
    low, high = np.array(limits.joint_min_rad), np.array(limits.joint_max_rad)
    outside = np.maximum(low - motion.joints_rad, motion.joints_rad - high)
    if float(outside.max()) > _JOINT_SLACK_RAD:
        joint = int(np.argmax(outside.max(axis=0)))
        raise WorkbenchError(
            f"the take moves joint {joint + 1} {outside[:, joint].max():.2f} rad beyond this station's limits",
            "Replay another part, or look at [limits] in station.toml",
        )
    place = items[:, motion.joints_rad.shape[1] + 1 :][:, :3]
    beyond_m = np.maximum(np.array(limits.workspace_min_m) - place, place - np.array(limits.workspace_max_m))
    if float(beyond_m.max()) > _PLACE_SLACK_M:
        raise WorkbenchError(
            f"the take moves the tool {100 * beyond_m.max():.0f} cm out of this station's workspace",
            "Replay another part, or look at [limits] in station.toml",
        )
    share = float(np.max(motion.fastest_rad_s() / np.array(limits.joint_speed_rad_s)))
    if share > _SPEED_SLACK:
        most = math.floor(100 * request.speed / share) / 100
        slower = f"Use --speed {most:.2f}" if most >= SLOWEST else "Choose another take"
        raise WorkbenchError(f"the take moves a joint {share:.1f} times as fast as this station allows", slower)
