"""Teleoperation with a VR headset or a phone, through a page that this machine serves to its browser."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.clutch import Clutch, Grip, GripperGoal, Pace, PoseHand, SpeedHand, check_range, clipped
from hardware.headset.certificate import default_folder, own_names, tls_context
from hardware.headset.messages import HandMessage
from hardware.headset.server import HeadsetServer
from hardware.mailbox import Mailbox
from hardware.teleop import TELEOPS
from workbench.core.registry import Plugin
from workbench.core.types import ArmState, TeleopAction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Config:
    """Where the page is served, and how the hand moves the arm.

    Attributes:
        host: "127.0.0.1" serves this machine only; "0.0.0.0", or one of this machine's addresses, serves the network.
        port: 0 takes a free one.
        scale: metres of the arm per metre of the hand; turns are not scaled.
        frame, facing_deg: see ``hardware.clutch.Pace``. In the tool's frame the device in the hand is the gripper.
        certificate_folder: "" keeps it in the user's configuration folder.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    speed_m_s: float = 0.25
    turn_rad_s: float = 1.0
    scale: float = 1.0
    frame: str = "base"
    facing_deg: float = 0.0
    certificate_folder: str = ""


class WebXrTeleop:
    """Implements ``hardware.teleop.Teleop``: a place in space, deflections of touch pads, or both at once."""

    stays_open = True

    def __init__(self, config: Config) -> None:
        check_range("the scale", config.scale, 0.01, 5.0)
        check_range("the port", config.port, 0, 65535)
        self._config = config
        self._pace = Pace(config.speed_m_s, config.turn_rad_s, frame=config.frame, facing_deg=config.facing_deg)
        self._pads = SpeedHand(self._pace)
        self._hand = PoseHand(self._pace, config.scale)
        self._gripper = GripperGoal(self._pace.gripper_speed_s)
        self._clutch = Clutch()
        self._mailbox: Mailbox[HandMessage] = Mailbox()
        self._server: HeadsetServer | None = None

    @property
    def words(self) -> str:
        """Which address to open, or what to do there. Any thread."""
        if self._server is None:
            return "the page is closed"
        if not self._server.connected:
            return f"open {self._server.url} on the headset or phone"
        return self._advice()

    def open(self) -> None:
        """Serve the page. Raises DeviceError if there is no certificate or the port is taken."""
        self.close()
        config = self._config
        folder = Path(config.certificate_folder) if config.certificate_folder else default_folder()
        context = tls_context(folder, own_names(config.host))
        server = HeadsetServer(config.host, config.port, context, self._mailbox, self._advice)
        server.start()
        self._server, self._clutch = server, Clutch()

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction | None:
        message, released = self._mailbox.take()
        if released:
            self._let_go(False)
        held = message.held if message is not None else None
        if message is not None and message.position_m is not None and message.quaternion is not None:
            held = None if self._hand.lost(message.position_m, message.quaternion) else held
        grip = self._clutch.update(held)
        if message is None or grip is Grip.OPEN:
            self._let_go(None)
            return None
        linear, angular = self._pads.move(message.twist, state, period_s) if message.twist is not None else _NOTHING
        if message.position_m is not None and message.quaternion is not None:
            moves = self._hand.move(message.position_m, message.quaternion, state, period_s)
            linear, angular = linear + moves[0], angular + moves[1]
        return TeleopAction(
            clipped(linear, self._pace.speed_m_s * period_s),
            clipped(angular, self._pace.turn_rad_s * period_s),
            self._gripper.by_lever(message.lever, state),
        )

    def take_marks(self) -> tuple[str, ...]:
        """The operator's judgements since the last call."""
        return self._mailbox.marks()

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
        self._mailbox.lose()

    def _let_go(self, held: bool | None) -> None:
        if held is not None:
            self._clutch.update(held)
        self._hand.release()
        self._gripper.release()

    def _advice(self) -> str:
        return "let go once, then hold to move" if self._clutch.waits_for_release else "hold to move"


_NOTHING = (np.zeros(3), np.zeros(3))

TELEOPS.register(Plugin("webxr", "Headset or phone", Config, WebXrTeleop, "websockets", "websockets"))
