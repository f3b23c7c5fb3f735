"""Replay: a recorded take repeated on the arm through the driver and its guard, and recorded as a new take."""

from __future__ import annotations

import time
from typing import Any

from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Replayed, ReplayProgressed
from workbench.core.files import new_id
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.driver import DriverStatus
from workbench.services.replay_plan import ReplayPlan, ReplayRequest, plan_replay
from workbench.services.replay_report import report
from workbench.services.station_drive import DrivingStation

__all__ = ["COMPLETE", "ReplayPlan", "ReplayRequest", "ReplayingStation", "plan_replay"]
COMPLETE = "the take was replayed"
_POLL_S, _PARK_S = 0.05, 60.0


class ReplayingStation(DrivingStation):
    """A station that can repeat its takes."""

    def replay(self, plan: ReplayPlan, *, judge: bool = False) -> str:
        """Repeat a take: slowly to its beginning, then as it was. Returns the new take's id; goes on in the background.

        Ends by itself, by ``hold``, ``park`` or ``stop``, and when the arm does not follow. Publishes
        ``ReplayProgressed`` on the way and ``Replayed`` once the new take is sealed.

        Args:
            plan: from ``plan_replay``, which refuses takes that do not fit this station.
            judge: simulated station with its table laid as it was: ask whether the task has succeeded in the end.

        Raises StateError if the arm is busy or stopped or something is being recorded.
        """
        self.settings.instruction(plan.task)
        state = self._child("arm").call("status").state
        if state not in ("parked", "ready", "holding"):
            raise StateError(f"the arm is {state}", "Hold it, or clear the stop, before a replay")
        path = self._folder / f"replay.{new_id()[-6:]}.npz"
        plan.motion.save(path)
        self._ready()
        episode_id = self.start_take(plan.task, EpisodeKind.ROLLOUT, plan.extra())
        try:
            self._child("arm").call("operate", kind="recorded", options={"path": str(path)})
        except WorkbenchError:
            self.discard_take()
            raise
        self._background.run(lambda: self._follow_replay(plan, episode_id, judge), "station-replay")
        return episode_id

    def park_and_wait(self, timeout_s: float = _PARK_S) -> dict[str, Any]:
        """Take the arm home and wait until it is there: ``{"parked": True, "seconds": ...}``.

        WorkbenchError with the reason if it stopped on the way; held first if that takes too long or is interrupted.
        """
        started_s = time.monotonic()
        self.park()
        try:
            while time.monotonic() - started_s < timeout_s:
                driver: DriverStatus = self._child("arm").call("status")
                if driver.at_home:
                    return {"parked": True, "seconds": round(time.monotonic() - started_s, 2)}
                if not driver.homing:
                    raise WorkbenchError(f"the arm is not home: {driver.reason}", "Look at the arm, then park it again")
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            self.hold()
            raise
        self.hold()
        raise WorkbenchError(f"the arm was not home after {timeout_s:.0f} s and is held", "Look at what is in the way")

    def _follow_replay(self, plan: ReplayPlan, episode_id: str, judge: bool) -> None:
        """Until the replay is over; then hold, seal, compare."""
        ended_by, facts = self._until_replayed(plan)
        if self._closing.is_set():
            return
        outcome = Outcome.UNLABELLED
        if judge and ended_by == COMPLETE:
            outcome = Outcome.SUCCESS if self._simulation().succeeded(plan.task) else Outcome.FAILURE
        self.stop_take(outcome, {"ended_by": ended_by})
        started_ns, replayed_s = int(facts.get("started_ns", 0)), float(facts.get("t_s", 0.0))
        compared = report(self.home, plan, episode_id, started_ns, replayed_s)
        self.bus.publish(Replayed(plan.request.episode_id, episode_id, ended_by, {**compared, "outcome": str(outcome)}))

    def _until_replayed(self, plan: ReplayPlan) -> tuple[str, dict[str, Any]]:
        """Why it ended, and the last facts of the motion."""
        facts: dict[str, Any] = {}
        while not self._closing.wait(_POLL_S):
            try:
                arm = self._child("arm")
                status: DriverStatus = arm.call("status")
                facts = arm.call("facts")
            except WorkbenchError as error:
                return error.what, facts
            if status.state != "correcting":
                return status.reason or status.state, facts
            if facts["done"]:
                ended_by = facts["problem"] or COMPLETE
                arm.call("hold", reason=ended_by)
                return ended_by, facts
            self.bus.publish(ReplayProgressed(plan.request.episode_id, facts["phase"], facts["t_s"], facts["total_s"]))
        return "", facts
