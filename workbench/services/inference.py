"""Executing a policy's chunks by time: late actions are skipped, successive chunks joined, senseless ones refused."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Limits
from workbench.core.chunks import Blend, Played, Withdrawal, mix, plan_at
from workbench.core.types import ActionChunk, Pose
from workbench.services.plan_time import DelayEstimate, PlanClock
from workbench.services.settings import RuntimeSettings

__all__ = ["Answer", "Blend", "ChunkPlayer", "Playback", "mix", "pose_target"]
LEAST_PACE = 0.5
_UNIT = (0.9, 1.1)
_BEYOND_M = 0.1  # a plan that leaves the workspace by more is refused; by less, the guard holds it back


@dataclass(frozen=True, slots=True)
class Playback:
    """How chunks are executed.

    Attributes:
        blend: how successive chunks are joined.
        fade_s: over how long a new chunk takes over from its predecessor (``rtc`` and ``fade``).
        execute_s: ``synchronous``: how much of a chunk is executed before the arm waits for the next one.
        reach_min_m, reach_max_m: box in the base frame that no action may leave, None = not checked.
    """

    blend: Blend = Blend.RTC
    fade_s: float = 0.2
    execute_s: float = 0.2
    reach_min_m: tuple[float, float, float] | None = None
    reach_max_m: tuple[float, float, float] | None = None

    def within(self, limits: Limits | None) -> Playback:
        """The same with the reach that a station's limits leave a plan."""
        if limits is None:
            return self
        (x0, y0, z0), (x1, y1, z1) = limits.workspace_min_m, limits.workspace_max_m
        low = (x0 - _BEYOND_M, y0 - _BEYOND_M, z0 - _BEYOND_M)
        return replace(self, reach_min_m=low, reach_max_m=(x1 + _BEYOND_M, y1 + _BEYOND_M, z1 + _BEYOND_M))


class Answer(StrEnum):
    """What became of an offered chunk. The words of those that make the arm hold are shown to people."""

    TAKEN = "taken"
    KNOWN = "not newer than the one in force"
    OLD = "computed from an observation before the last hold, correction or change of task"
    EXPIRED = "its last action was due before it arrived"
    SHAPE = "the policy sent a chunk that is not (N, 8) numbers with unit quaternions"
    NOT_FINITE = "the policy sent a number that is not finite"
    LOST = "the policy server is lost"
    NONSENSE = "the policy server sent what makes no sense"
    OUT_OF_REACH = "the policy wants the arm far outside of its workspace"

    @property
    def holds(self) -> bool:
        """True if a policy that sends such a thing must not go on."""
        return self in (Answer.SHAPE, Answer.NOT_FINITE, Answer.OUT_OF_REACH, Answer.LOST, Answer.NONSENSE)


_WITHDRAWN = {-float(Withdrawal.LOST): Answer.LOST, -float(Withdrawal.NONSENSE): Answer.NONSENSE}


@dataclass(frozen=True, slots=True)
class _Run:
    """A chunk in force: plan times of its observation and of its taking over, and where the arm was wanted then."""

    chunk: ActionChunk
    origin: NDArray[np.float64]
    zero_s: float
    taken_over_s: float

    def step(self, plan_s: float) -> float:
        return (plan_s - self.zero_s) / self.chunk.step_s

    def at(self, plan_s: float) -> NDArray[np.float64]:
        """Where it wants the tool: from where the arm was at the take-over to the first action, then along them."""
        step, begun = self.step(plan_s), self.step(self.taken_over_s)
        if step >= 1.0 or begun >= 1.0:
            return plan_at(self.chunk.targets, step)
        return mix(self.origin, self.chunk.targets[0], (step - begun) / (1.0 - begun))


class ChunkPlayer:
    """Turns time-stamped chunks into the target due now. One thread; no clock of its own.

    Chunks are executed in plan time (``PlanClock``): it runs with the host's while actions are in force, stands while
    the arm has none, and runs slower, at most by half, while the policy takes so long that a chunk would end before
    the next one comes. Action k of a chunk is due k + 1 steps of plan time after its observation; what is past is never
    executed. During ``fade_s`` after a take-over the target moves from the old plan to the new one while both run on,
    so that neither place nor speed jumps; a take-over may begin before the last one has ended.
    """

    def __init__(self, playback: Playback = Playback()) -> None:
        self._playback = playback
        self._clock = PlanClock()
        self._runs: list[_Run] = []  # the newest last; before it those that it still fades out
        self._played = Played()
        self._refuse_before_ns = 0
        self._epoch = 0
        self._stood_since_ns = 0
        self._offered = -1
        self._policy_id = ""
        self.answers: Counter[Answer] = Counter()
        self.stalls = 0
        self._estimates()

    @property
    def chunk(self) -> ActionChunk | None:
        """The newest accepted chunk."""
        return self._runs[-1].chunk if self._runs else None

    @property
    def played(self) -> Played:
        """What the last call of ``target`` executed."""
        return self._played

    @property
    def delay_s(self) -> float:
        """Observation to arm, decaying maximum; 0 while unknown."""
        return self._delay.value

    def stood_s(self, now_ns: int) -> float:
        """For how long no action has been in force since the last chunk ran out; 0 while one is."""
        return 0.0 if self._clock.runs else (now_ns - self._stood_since_ns) / 1e9

    def reset(self, now_ns: int) -> None:
        """Forget all plans and refuse chunks computed from observations older than now."""
        self.renew(now_ns)
        self._runs = []
        self._offered = -1
        self._clock.set_pace(now_ns, 0.0)
        self._played = Played(epoch=self._epoch)

    def renew(self, now_ns: int) -> None:
        """Refuse chunks computed from observations older than now; what is in force goes on (a change of task)."""
        self._refuse_before_ns = now_ns
        self._epoch += 1

    def accept(self, chunk: ActionChunk, origin: NDArray[np.float64], now_ns: int) -> Answer:
        """Take a chunk over if it is sound, newer than what is played and not from before the last reset.

        Args:
            chunk: the plan. Offering the same one again costs nothing.
            origin: (8,) pose and gripper the arm holds now; the plan's starting point before its first action.
            now_ns: host time.
        """
        if chunk.t_observed_ns <= self._offered:
            return Answer.KNOWN
        self._offered = chunk.t_observed_ns
        answer = self._judge(chunk, now_ns)
        self.answers[answer] += 1
        if answer is Answer.TAKEN:
            self._take(chunk, np.asarray(origin, dtype=np.float64), now_ns)
        return answer

    def target(self, now_ns: int) -> NDArray[np.float64] | None:
        """(8,) pose and gripper due now, or None when there is no valid plan. Call it once per tick."""
        if not self._runs:
            return None
        new, plan_s = self._runs[-1], self._clock.at(now_ns)
        if not self._clock.runs or new.step(plan_s) > self._last_step(new.chunk):
            self._stand(now_ns)
            return None
        while len(self._runs) > 1 and self._share(self._runs[1], plan_s) >= 1:
            del self._runs[0]
        wanted = self._runs[0].at(plan_s)
        for run in self._runs[1:]:
            wanted = mix(wanted, run.at(plan_s), self._share(run, plan_s))
        self._played = Played(
            new.chunk.number,
            new.step(plan_s),
            (now_ns - new.chunk.t_observed_ns) / 1e9,
            self.delay_s,
            self._share(new, plan_s) if len(self._runs) > 1 else 1.0,
            self._epoch,
            self._clock.pace,
        )
        return wanted

    def _stand(self, now_ns: int) -> None:
        """No action is in force at this tick."""
        if self._clock.runs:
            self._stood_since_ns = now_ns
        self._clock.set_pace(now_ns, 0.0)
        self.stalls += 1
        self._played = Played(epoch=self._epoch, delay_s=self.delay_s)

    def _judge(self, chunk: ActionChunk, now_ns: int) -> Answer:
        targets = chunk.targets
        if chunk.step_s in _WITHDRAWN:
            return Answer.OLD if chunk.t_observed_ns < self._refuse_before_ns else _WITHDRAWN[chunk.step_s]
        if targets.ndim != 2 or targets.shape[1] != 8 or not len(targets) or not chunk.step_s > 0:
            return Answer.SHAPE
        if not np.all(np.isfinite(targets)):
            return Answer.NOT_FINITE
        if chunk.t_observed_ns < self._refuse_before_ns or chunk.epoch not in (-1, self._epoch):
            return Answer.OLD
        if now_ns > chunk.valid_until_ns:
            return Answer.EXPIRED
        lengths = np.linalg.norm(targets[:, 3:7], axis=1)
        if lengths.min() < _UNIT[0] or lengths.max() > _UNIT[1]:
            return Answer.SHAPE
        low, high = self._playback.reach_min_m, self._playback.reach_max_m
        if low is not None and high is not None and np.any((targets[:, :3] < low) | (targets[:, :3] > high)):
            return Answer.OUT_OF_REACH
        return Answer.TAKEN

    def _take(self, chunk: ActionChunk, origin: NDArray[np.float64], now_ns: int) -> None:
        if chunk.policy_id != self._policy_id:
            self._policy_id = chunk.policy_id
            self._estimates()
        self._delay.add((now_ns - chunk.t_observed_ns) / 1e9)
        if not self._clock.runs:
            self._runs = []
        if self._runs:
            self._span.add((now_ns - self._runs[-1].chunk.t_observed_ns) / 1e9)
        run = _Run(chunk, origin, self._clock.at(chunk.t_observed_ns), self._clock.at(now_ns))
        joined = self._playback.blend in (Blend.RTC, Blend.FADE)
        self._runs = [*self._runs, run] if joined else [run]
        self._clock.set_pace(now_ns, self._needed_pace(chunk))

    def _share(self, run: _Run, plan_s: float) -> float:
        """How far a chunk has taken over, 0..1, beginning and ending softly."""
        at = min(1.0, (plan_s - run.taken_over_s) / max(self._playback.fade_s, 1e-6))
        return at * at * (3.0 - 2.0 * at)

    def _last_step(self, chunk: ActionChunk) -> float:
        """Until which step a chunk may be executed: one step of standing at its end, or less in synchronous mode."""
        if self._playback.blend is Blend.SYNCHRONOUS:
            return min(len(chunk.targets), math.ceil(self._playback.execute_s / chunk.step_s - 1e-6)) + 1e-9
        return len(chunk.targets) + 1 + 1e-9

    def _needed_pace(self, chunk: ActionChunk) -> float:
        """1, or slower when a chunk must last longer than it is: the time from an observation to the next chunk."""
        if self._playback.blend is Blend.SYNCHRONOUS:
            return 1.0
        lasts_s = len(chunk.targets) * chunk.step_s
        needed_s = self._span.value or 2 * self._delay.value
        return float(np.clip(lasts_s / max(needed_s, 1e-6), LEAST_PACE, 1.0))

    def _estimates(self) -> None:
        self._delay, self._span = DelayEstimate(), DelayEstimate()


def playback_of(runtime: RuntimeSettings) -> Playback:
    """What a station's settings say about executing chunks."""
    return Playback(runtime.blend, runtime.fade_s, runtime.execute_s)


def pose_target(pose: Pose, gripper: float) -> NDArray[np.float64]:
    """(8,) vector of a pose and a gripper opening."""
    return np.concatenate([pose.position_m, pose.quaternion_wxyz, [gripper]]).astype(np.float64)
