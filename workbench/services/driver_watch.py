"""What the driver looks at beside the guard: who looks on, how old the pictures are, an operator's dead-man."""

from __future__ import annotations

from collections.abc import Callable

from hardware.arm import Kinematics, Limits
from hardware.braking import knows_body
from hardware.safety import needs_body
from hardware.teleop import Teleop
from workbench.core.clock import Clock
from workbench.core.errors import WorkbenchError
from workbench.core.types import ArmState
from workbench.services.moves import finite

PICTURE_AGE_S = 0.5
HEARTBEAT_S = 2.0
LET_GO_S = 0.5


def check_shape(limits: Limits | None, kinematics: Kinematics) -> None:
    """WorkbenchError if the limits name things that only an arm of known shape can be kept clear of."""
    if limits is not None and needs_body(limits) and not knows_body(type(kinematics)):
        raise WorkbenchError(
            "the limits name things to keep clear of, but the shape of this arm is not known",
            "Take obstacles and self_clearance_m out of [limits]; keep clear with the workspace box",
        )


class Watch:
    """Whether a policy may go on as far as people and cameras are concerned. Any thread may ``beat``."""

    def __init__(self, clock: Clock, newest_picture_ns: Callable[[], int] | None) -> None:
        self._clock, self._newest_picture_ns = clock, newest_picture_ns
        self._beat_ns: int | None = None

    def beat(self) -> None:
        """The supervising program is alive. Once called, a silence of ``HEARTBEAT_S`` means hold."""
        self._beat_ns = self._clock.now_ns()

    def nobody(self, now_ns: int) -> str:
        """Why nobody looks on, or ""."""
        silent = self._beat_ns is not None and now_ns - self._beat_ns > HEARTBEAT_S * 1e9
        return "the supervising window does not answer" if silent else ""

    def old_picture(self, now_ns: int) -> str:
        """Why the pictures must not be acted on, or ""."""
        newest_ns = self._newest_picture_ns
        return "a camera's picture is too old" if newest_ns and now_ns - newest_ns() > PICTURE_AGE_S * 1e9 else ""


class DeadMan:
    """A device that takes the arm over as soon as its dead-man is held, and gives it back some time after. One thread.

    A device that was asked to drive keeps the arm until it is told to hold: pausing while one demonstrates is normal.
    A hand that took the arm away from a policy has corrected something; when it lets go, the arm holds.

    Attributes:
        device: opened and read once per tick while a policy drives or the arm holds; None: nobody can take over so.
    """

    def __init__(self) -> None:
        self.device: Teleop | None = None
        self._took = False
        self._held_ns = 0

    def squeezed(self, state: ArmState, now_ns: int, period_s: float) -> bool:
        """Whether the device is held now: from this tick on it has the arm."""
        if self.device is None:
            return False
        action = self.device.read(state, now_ns, period_s)
        self._took = action is not None and action.engaged and finite(action)
        self._held_ns = now_ns
        return self._took

    def let_go(self, held: bool, now_ns: int) -> bool:
        """While the operator drives: whether the hand that took over has been open for ``LET_GO_S``."""
        if held:
            self._held_ns = now_ns
        return self._took and now_ns - self._held_ns > LET_GO_S * 1e9

    def asked(self) -> None:
        """The operator drives because somebody asked for it, not because a hand took over."""
        self._took = False
