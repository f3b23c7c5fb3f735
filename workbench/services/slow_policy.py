"""A policy in lockstep whose answers take simulated time, the same on every machine."""

from __future__ import annotations

from typing import Protocol

from workbench.core.chunks import Blend, Played, plan_change_m_s
from workbench.core.clock import Clock
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk
from workbench.services.hosting import Child

_TOLERANCE_NS = 1_000_000


class Pace(Protocol):
    """How often the policy is asked, how long it takes, and how its chunks are joined."""

    @property
    def execute_s(self) -> float: ...

    @property
    def latency_s(self) -> float: ...

    @property
    def blend(self) -> Blend: ...


class SlowPolicy:
    """Asks one question at a time and hands out each answer ``latency_s`` after its observation. One thread.

    Args:
        played: the stream ``policy.tick``; in synchronous mode the next question waits until the arm stands.

    ``plan_change_m_s`` is the largest change of velocity from step to step inside any chunk so far.
    """

    def __init__(self, policy: Child, clock: Clock, played: Ring, pace: Pace) -> None:
        self._policy, self._clock, self._played, self._pace = policy, clock, played, pace
        self._asked_ns = -(10**18)
        self._answer: ActionChunk | None = None
        self._given: ActionChunk | None = None
        self._latencies_ms: list[float] = []
        self.plan_change_m_s = 0.0

    def newest(self) -> ActionChunk | None:
        """The newest chunk that has arrived by now."""
        if self._answer is not None and self._clock.now_ns() >= self._ready_ns():
            self._given, self._answer = self._answer, None
        return self._given

    def think(self) -> None:
        """Ask, if it is time; what is seen is of now."""
        now_ns = self._clock.now_ns()
        if self._answer is not None or now_ns - self._asked_ns < self._pace.execute_s * 1e9 - _TOLERANCE_NS:
            return
        if self._pace.blend is Blend.SYNCHRONOUS and self._given is not None and self._moves():
            return
        self._asked_ns = now_ns
        self._answer = self._policy.call("act", t_observed_ns=now_ns, timeout_s=120)
        self._latencies_ms.append(self._answer.latency_ms)
        self.plan_change_m_s = max(self.plan_change_m_s, plan_change_m_s(self._answer))

    def latency_ms(self) -> float:
        """Median of the time that the answers really took; 0 without any."""
        spent = sorted(self._latencies_ms)
        return spent[len(spent) // 2] if spent else 0.0

    def _ready_ns(self) -> int:
        return self._asked_ns + round(self._pace.latency_s * 1e9) - _TOLERANCE_NS

    def _moves(self) -> bool:
        frame = self._played.latest()
        return frame is not None and Played.from_vector(frame.data).chunk >= 0
