"""The time a plan is executed in, and how long a policy takes."""

from __future__ import annotations

from collections import deque

_KEPT_NS = 10_000_000_000


class PlanClock:
    """Plan time: runs at ``pace`` times the host's, 0 while nothing is executed. One thread.

    Between two host times as much plan time passes as actions were executed. A chunk that comes late therefore
    goes on where its predecessor is, and one that comes while the arm stands begins at its first action.
    """

    def __init__(self) -> None:
        self._turns: deque[tuple[int, float, float]] = deque([(0, 0.0, 0.0)])

    @property
    def pace(self) -> float:
        """Plan time per host time now."""
        return self._turns[-1][2]

    @property
    def runs(self) -> bool:
        """True while something is executed."""
        return self.pace > 0

    def at(self, host_ns: int) -> float:
        """Plan time in seconds at a host time of the last ten seconds or later."""
        for turn_ns, plan_s, pace in reversed(self._turns):
            if turn_ns <= host_ns:
                return plan_s + pace * (host_ns - turn_ns) / 1e9
        return self._turns[0][1]

    def set_pace(self, now_ns: int, pace: float) -> None:
        """From now on; ``now_ns`` must not go back."""
        if pace == self.pace:
            return
        self._turns.append((now_ns, self.at(now_ns), pace))
        while len(self._turns) > 2 and self._turns[1][0] < now_ns - _KEPT_NS:
            self._turns.popleft()


class DelayEstimate:
    """A maximum that decays: one slow answer counts at once and is forgotten over the next ones.

    The first value only stands in until there is a second one: the first answer of a policy that has just been started
    says little about the rest.
    """

    def __init__(self, decay: float = 0.9) -> None:
        self._decay = decay
        self._count = 0
        self.value = 0.0

    def add(self, value_s: float) -> None:
        """One more measurement, not negative."""
        self._count += 1
        if self._count <= 2:
            self.value = value_s
        else:
            self.value = max(value_s, self._decay * self.value + (1.0 - self._decay) * value_s)
