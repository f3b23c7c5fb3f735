"""What a live policy looks at: one instant of all streams, by the code that aligns recorded takes for training.

And what the arm does meanwhile, so that the next chunk can go on from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.policy import pose_of
from models.rtc import Committed
from models.takes import interpolate_poses
from storage.rows import newest_not_after
from storage.windows import TOLERANCE_NS
from workbench.core.chunks import Blend, Played, plan_at
from workbench.core.errors import WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk

SKEW_S = 0.15
_STATE, _IMAGES = "observation.state", "observation.images."
_KEPT = 8
_AROUND = 4  # states looked at on either side of the instant, in case some are no numbers
_FRESH_NS, _UPTAKE_NS = 200_000_000, 60_000_000


@dataclass(frozen=True, slots=True)
class Observation:
    """All streams at one instant.

    Attributes:
        pictures: per camera the newest one not after the instant.
        pose: (8,) position, quaternion and gripper at the instant, between the states around it; base frame.
        skew_s: how much older than the instant the oldest picture is.
    """

    instant_ns: int
    pictures: dict[str, NDArray[np.uint8]]
    pose: NDArray[np.float64]
    skew_s: float


class Observer:
    """Reads observations from rings. One thread.

    Args:
        rings: by stream name; the pictures of ``cameras`` and ``observation.state``.
        skew_s: an observation whose streams are further apart is refused.
    """

    def __init__(self, rings: Mapping[str, Ring], cameras: Sequence[str], skew_s: float = SKEW_S) -> None:
        self._pictures = {camera: rings[_IMAGES + camera] for camera in cameras}
        self._state = rings[_STATE]
        self._skew_s = skew_s

    def instant_ns(self) -> int:
        """The newest host time that every stream has reached. WorkbenchError while one is empty."""
        times = {ring.spec.name: ring.newest_host_ns() for ring in (*self._pictures.values(), self._state)}
        for name, newest in times.items():
            if not newest:
                raise WorkbenchError(f"nothing has arrived on {name} yet", "Check the device")
        return min(times.values())

    def observe(self, instant_ns: int) -> Observation:
        """Everything at an instant. WorkbenchError if a stream has nothing of that time or they are too far apart."""
        seen = {camera: _newest(ring, instant_ns) for camera, ring in self._pictures.items()}
        oldest = min(seen, key=lambda camera: seen[camera][0])
        skew_s = (instant_ns - seen[oldest][0]) / 1e9
        if skew_s > self._skew_s:
            raise WorkbenchError(
                f"the picture of the camera '{oldest}' is {1000 * skew_s:.0f} ms older than the rest",
                "Check the camera's rate, or allow more with skew_s in the section [runtime] of station.toml",
            )
        pictures = {camera: picture for camera, (_, picture) in seen.items()}
        return Observation(instant_ns, pictures, self._pose(instant_ns), max(0.0, skew_s))

    def _pose(self, instant_ns: int) -> NDArray[np.float64]:
        """The measured pose, interpolated as in training between the two states around the instant."""
        ring = self._state
        first, times = ring.host_times()
        after = int(np.searchsorted(times, instant_ns))
        around = range(max(0, after - _AROUND), min(len(times), after + _AROUND))
        frames = [ring.read(first + index) for index in around]
        states = [frame for frame in frames if frame is not None and np.all(np.isfinite(frame.data))]
        if not states or states[-1].t_host_ns < instant_ns:
            raise WorkbenchError("the arm's state is not finite", "Check the arm")
        at = np.array([frame.t_host_ns for frame in states], dtype=np.int64)
        poses = np.array([pose_of(frame.data, ring.spec.axes) for frame in states])
        later = np.concatenate([[True], np.diff(at) > 0])  # as in training, the first of two at the same time counts
        at, poses = at[later], poses[later]
        if len(at) == 1:
            return np.asarray(poses[0], dtype=np.float64)
        longest_s = max(0.25, 3.0 / ring.spec.rate_hz)
        found, whole = interpolate_poses(at, poses, np.array([instant_ns]), longest_s)
        if not whole[0] and instant_ns not in at:
            raise WorkbenchError("the arm's state has a hole at the time of the pictures", "Check the arm")
        return np.asarray(found[0], dtype=np.float64)


def _newest(ring: Ring, instant_ns: int) -> tuple[int, NDArray[np.uint8]]:
    """Time and copy of the newest item not after the instant, with the tolerance of training."""
    first, times = ring.host_times()
    index = int(newest_not_after(times, np.array([instant_ns + TOLERANCE_NS]))[0])
    frame = ring.read(first + index) if index >= 0 else None
    if frame is None:
        raise WorkbenchError(f"{ring.spec.name} has no item of the time of the observation", "Check the device")
    return frame.t_host_ns, frame.data


class Follower:
    """Knows from the stream ``policy.tick`` which of the policy's chunks is executed, and how far. One thread.

    Args:
        ring: that stream, or None: then nothing is known and every chunk is drawn freely.
    """

    def __init__(self, ring: Ring | None, step_s: float, blend: Blend) -> None:
        self._ring, self._step_s, self._blend = ring, step_s, blend
        self._chunks: dict[int, ActionChunk] = {}
        self._newest = -1
        self._made_ns = self._stands_ns = 0

    def remember(self, chunk: ActionChunk) -> None:
        """A chunk has been made and goes to the arm."""
        self._chunks[chunk.number] = chunk
        for number in sorted(self._chunks)[:-_KEPT]:
            del self._chunks[number]
        played, now_ns = self._played()
        self._newest, self._made_ns, self._stands_ns = chunk.number, now_ns if played else 0, 0

    def forget(self) -> None:
        """The next chunk shall not go on from earlier ones: the task has changed."""
        self._chunks.clear()

    def may_ask(self, instant_ns: int) -> bool:
        """False while the arm has not yet taken the last chunk and, in synchronous mode, while it still moves."""
        played, now_ns = self._played()
        if played is None:
            return True
        if played.chunk >= 0 and played.chunk != self._newest and now_ns - self._made_ns < _UPTAKE_NS:
            return False
        if self._blend is not Blend.SYNCHRONOUS:
            return True
        if played.chunk >= 0 or (self._newest >= 0 and now_ns - self._made_ns < _UPTAKE_NS):
            return False
        self._stands_ns = self._stands_ns or now_ns
        return instant_ns >= self._stands_ns

    def committed(self, instant_ns: int) -> tuple[int, Committed | None]:
        """The arm's epoch (-1 = unknown), and what of the plan in force lies after the instant."""
        played, now_ns = self._played()
        if played is None:
            return -1, None
        chunk = self._chunks.get(played.chunk)
        if self._blend is not Blend.RTC or chunk is None or abs(now_ns - instant_ns) > _FRESH_NS:
            return played.epoch, None
        begun = played.step + played.pace * (instant_ns - now_ns) / 1e9 / self._step_s
        due = begun + 1.0 + np.arange(len(chunk.targets))
        ahead = [plan_at(chunk.targets, float(step)) for step in due if step <= len(chunk.targets)]
        frozen = int(played.pace * played.delay_s / self._step_s) + 1
        return played.epoch, Committed(np.array(ahead).reshape(-1, 8), min(frozen, len(ahead)), chunk.number)

    def close(self) -> None:
        """Let go of the ring."""
        if self._ring is not None:
            self._ring.close()

    def _played(self) -> tuple[Played | None, int]:
        frame = self._ring.latest() if self._ring is not None else None
        return (Played.from_vector(frame.data), frame.t_host_ns) if frame is not None else (None, 0)
