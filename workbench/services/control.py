"""The arm process: owns the arm, the teleoperation device and the guard; ticks at its rate and waits for nobody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.teleop import TELEOPS, Teleop
from workbench.core.chunks import unpack_chunk
from workbench.core.clock import MonotonicClock, Pacer
from workbench.core.errors import WorkbenchError
from workbench.core.link import Handler, Link
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk
from workbench.services.capture import ring_path
from workbench.services.driver import Driver, DriverStatus, arm_streams
from workbench.services.settings import Settings

_log = logging.getLogger(__name__)


class Control:
    """The driver, its tick thread, and the teleoperation device in use.

    Args:
        folder: the station's runtime folder, where the arm's rings are made and the cameras' rings are found.
    """

    def __init__(self, settings: Settings, folder: Path, publish: Callable[[object], None]) -> None:
        if settings.arm is None:
            raise WorkbenchError("this station has no arm", "Add [arm] to station.toml")
        self._settings = settings
        self._folder = folder
        self._arm: Arm = ARMS.build(settings.arm.kind, **settings.arm.options)
        self._arm.connect()
        specs = arm_streams(self._arm.joints, settings.control_hz)
        self._rings = {spec.name: Ring.create(ring_path(folder, spec.name), spec) for spec in specs}
        self._pictures: list[Ring] = []
        self._chunk_ring: Ring | None = None
        self._policy_id = ""
        self._teleop: Teleop | None = None
        limits = settings.limits.limits() if settings.limits else None
        self._driver = Driver(
            self._arm,
            limits,
            self._rings,
            MonotonicClock(),
            1.0 / settings.control_hz,
            publish,
            self._oldest_picture_ns,
        )
        self._pacer = Pacer(settings.control_hz)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def handlers(self) -> dict[str, Handler]:
        """What the station may ask."""
        driver = self._driver
        return {
            "ready": driver.ready,
            "drive": self.drive,
            "operate": self.operate,
            "operated": self.operated,
            "set_keys": self.set_keys,
            "hold": driver.hold,
            "park": driver.park,
            "stop_arm": driver.stop,
            "clear_stop": driver.clear_stop,
            "beat": driver.beat,
            "status": self.status,
        }

    def drive(self, chunks: str, policy_id: str) -> None:
        """Let the policy that writes into the ring ``chunks`` drive."""
        if self._chunk_ring is not None:
            self._chunk_ring.close()
        self._chunk_ring = Ring.attach(Path(chunks))
        self._policy_id = policy_id
        self._attach_pictures()
        self._driver.drive(self._newest_chunk)

    def operate(self, kind: str, options: dict[str, Any]) -> None:
        """Let an operator drive with a device of this kind."""
        self._close_teleop()
        teleop = TELEOPS.build(kind, **options)
        teleop.open()
        self._teleop = teleop
        try:
            self._driver.operate(teleop)
        except WorkbenchError:
            self._close_teleop()
            raise

    def operated(self) -> bool:
        """True once a device that knows its end (the scripted operator) has finished."""
        return bool(getattr(self._teleop, "done", False))

    def set_keys(self, keys: frozenset[str]) -> None:
        """Keys held down in the window, for the keyboard device; other devices ignore them."""
        setter = getattr(self._teleop, "set_keys", None)
        if setter is not None:
            setter(keys)

    def status(self) -> DriverStatus:
        """The driver's status with the tick's lateness."""
        late = self._pacer.lateness_ms[-2000:]
        return self._driver.status(lateness_p99_ms=float(np.percentile(late, 99)) if late else 0.0)

    def close(self) -> None:
        """Hold the arm, end the tick, let go."""
        self._driver.hold("the station closes")
        self._ended.set()
        self._thread.join(5)
        self._close_teleop()
        self._arm.close()
        for ring in (*self._rings.values(), *self._pictures, *([self._chunk_ring] if self._chunk_ring else [])):
            ring.close()

    def _run(self) -> None:
        while self._pacer.wait(self._ended):
            try:
                self._driver.tick()
            except Exception as error:
                _log.exception("the control tick failed")
                self._driver.stop(f"the control tick failed: {error}")

    def _newest_chunk(self) -> ActionChunk | None:
        frame = self._chunk_ring.latest() if self._chunk_ring is not None else None
        return unpack_chunk(frame, self._policy_id) if frame is not None else None

    def _attach_pictures(self) -> None:
        """Look at every camera's newest time; a camera that is not there counts as too old."""
        if not self._pictures:
            names = [f"observation.images.{camera.name}" for camera in self._settings.cameras]
            self._pictures = [Ring.attach(ring_path(self._folder, name)) for name in names]

    def _oldest_picture_ns(self) -> int:
        return min((ring.newest_host_ns() for ring in self._pictures), default=0)

    def _close_teleop(self) -> None:
        if self._teleop is not None:
            self._teleop.close()
            self._teleop = None


def main(link: Link, settings: dict[str, Any], folder: str) -> None:
    """The arm process: holds the arm whenever the program that supervises it closes or disappears."""
    control = Control(Settings(**settings), Path(folder), link.publish)
    handlers = control.handlers()
    try:
        while link.serve_pending(handlers, timeout_s=0.05):
            pass
    finally:
        control.close()
