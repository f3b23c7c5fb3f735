"""A recorded motion in the place of an operator's hand: first slowly to its beginning, then as it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.contact import ContactWatch
from hardware.motion import Motion
from hardware.teleop import TELEOPS
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import ArmState, TeleopAction

RAMP_RAD_S = 0.5
THERE_RAD, THERE_GRIPPER = 0.03, 0.1
SETTLE_S, GRIP_S, GIVE_WAY_S = 0.3, 1.5, 0.3
AWAY_RAD, AWAY_TICKS, LAG_S = 0.1, 8, 0.25  # see ContactWatch
_MOST_TICKS = 3.0  # of the clock at once: what pauses longer is resumed, not caught up
_NONE = np.zeros(3)


class Phase(StrEnum):
    """Where a replay is."""

    APPROACH = "going to the beginning of the take"
    SETTLE = "waiting at the beginning of the take"
    PLAY = "replaying"
    FINISH = "coming to rest"
    GIVE_WAY = "giving way"
    DONE = "replayed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Config:
    """``path``: a file written by ``hardware.motion.Motion.save``."""

    path: str = ""


class RecordedTeleop:
    """Implements ``hardware.teleop.Teleop``. Opened once per replay; read in the control loop's thread.

    While the arm does not get where it is sent it gives way to where the arm is and ends: see ``problem`` in ``facts``.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._motion: Motion | None = None
        self._phase = Phase.APPROACH
        self._wanted: NDArray[np.float64] | None = None
        self._contact: ContactWatch | None = None
        self._gripper = 0.0
        self._t_s = 0.0
        self._in_phase_s = 0.0
        self._last_ns = 0
        self._started_ns = 0
        self._problem = ""

    @property
    def done(self) -> bool:
        """True once it gives no more input."""
        return self._phase in (Phase.DONE, Phase.ABORTED)

    @property
    def words(self) -> str:
        if self._phase is Phase.PLAY and self._motion is not None:
            return f"replaying: {self._t_s:.1f} of {self._motion.duration_s:.1f} s"
        return f"{self._phase}: {self._problem}" if self._problem else self._phase.value

    @property
    def facts(self) -> dict[str, Any]:
        """Phase, seconds replayed and in all, host time at which the take's own time began, and what went wrong."""
        total_s = self._motion.duration_s if self._motion is not None else 0.0
        return {
            "phase": self._phase.name.lower(),
            "t_s": self._t_s,
            "total_s": total_s,
            "started_ns": self._started_ns,
            "done": self.done,
            "problem": self._problem,
        }

    def open(self) -> None:
        if not self._config.path:
            raise DeviceError("no recorded motion was chosen", "Use `python main.py replay TAKE`")
        try:
            self._motion = Motion.load(Path(self._config.path))
        except WorkbenchError as error:
            raise DeviceError(error.what, error.next_step) from error
        self._phase, self._wanted, self._contact, self._problem = Phase.APPROACH, None, None, ""
        self._t_s = self._in_phase_s = 0.0
        self._last_ns = self._started_ns = 0

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        """Absolute joint targets; None before ``open``, at the end and after an abort."""
        motion = self._motion
        if motion is None or self.done:
            return None
        if state.joints_rad.shape != motion.joints_rad.shape[1:]:
            self._end(Phase.ABORTED, "the arm has another number of joints than the take")
            return None
        if not np.all(np.isfinite(state.joints_rad)):
            return None
        if self._wanted is None or self._contact is None:
            self._wanted, self._gripper = state.joints_rad.copy(), min(1.0, max(0.0, float(state.gripper)))
            self._contact = ContactWatch(AWAY_RAD, AWAY_TICKS, LAG_S, period_s, None)
        passed_s = min((now_ns - self._last_ns) / 1e9, _MOST_TICKS * period_s) if self._last_ns else period_s
        self._last_ns = now_ns
        self._in_phase_s += passed_s
        self._look(state, self._contact)
        self._follow(motion, state, passed_s, now_ns)
        if self.done:
            return None
        return TeleopAction(_NONE, _NONE, self._gripper, joints_rad=self._wanted.copy())

    def _look(self, state: ArmState, contact: ContactWatch) -> None:
        """Give way when the arm stays behind."""
        if self._phase is Phase.GIVE_WAY or self._wanted is None:
            return
        problem = contact.look(state, self._wanted)
        if problem:
            self._problem = f"the arm does not follow; {problem}"
            self._wanted, self._gripper = state.joints_rad.copy(), min(1.0, max(0.0, float(state.gripper)))
            self._go(Phase.GIVE_WAY)

    def _follow(self, motion: Motion, state: ArmState, passed_s: float, now_ns: int) -> None:
        first, grip = motion.at(0.0)
        if self._phase is Phase.APPROACH and self._wanted is not None:
            way = first - self._wanted
            length = float(np.max(np.abs(way)))
            self._wanted = self._wanted + way * min(1.0, RAMP_RAD_S * passed_s / max(length, 1e-12))
            if length < 1e-9 and float(np.max(np.abs(first - state.joints_rad))) < THERE_RAD:
                self._go(Phase.SETTLE)
        elif self._phase is Phase.SETTLE:
            self._wanted, self._gripper = first, grip
            gripped = abs(float(state.gripper) - grip) < THERE_GRIPPER or self._in_phase_s > GRIP_S
            if self._in_phase_s >= SETTLE_S and gripped:
                self._started_ns = now_ns
                self._go(Phase.PLAY)
        elif self._phase is Phase.PLAY:
            self._t_s = min(self._t_s + passed_s, motion.duration_s)
            self._wanted, self._gripper = motion.at(self._t_s)
            if self._t_s >= motion.duration_s:
                self._go(Phase.FINISH)
        elif self._phase is Phase.FINISH and self._in_phase_s >= SETTLE_S:
            self._end(Phase.DONE)
        elif self._phase is Phase.GIVE_WAY and self._in_phase_s >= GIVE_WAY_S:
            self._end(Phase.ABORTED, self._problem)

    def _go(self, phase: Phase) -> None:
        self._phase, self._in_phase_s = phase, 0.0

    def _end(self, phase: Phase, problem: str = "") -> None:
        self._phase, self._problem = phase, problem

    def close(self) -> None:
        self._motion = None


TELEOPS.register(Plugin("recorded", "A recorded take", Config, RecordedTeleop))
