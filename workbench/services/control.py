"""The arm process: owns the arm, the teleoperation device and the guard; ticks at its rate and waits for nobody."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardware.arm import ARMS, Arm
from hardware.teleop import TELEOPS, Teleop, marks_of, words_of
from workbench.core.chunks import unpack_chunk
from workbench.core.clock import MonotonicClock, Pacer
from workbench.core.companion import Companion
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import DriverChanged, Failed, TakeJudged
from workbench.core.link import Handler, Link
from workbench.core.priority import Rank, run_before
from workbench.core.ring import Ring
from workbench.core.states import DriverState
from workbench.core.types import ActionChunk
from workbench.services.capture import ring_path
from workbench.services.driver import Driver, DriverStatus, arm_streams
from workbench.services.inference import playback_of
from workbench.services.settings import Settings
from workbench.services.stop_log import StopLog

_log = logging.getLogger(__name__)
SPIN_S = 0.0002
REST_S = 1.0
_CLEAR_S = 1.0
_COLLECT_EVERY = 200  # ticks
_KEPT = 2000


class Control:
    """The driver, its tick thread, and the teleoperation device in use.

    Args:
        folder: the station's runtime folder, where the arm's rings are made and the cameras' rings are found.
        stops: where stops that outlive the program are kept, or None. A stop that nobody has cleared is still in force.
        own_process: this process has nothing else to do: its garbage collection and priority serve the tick.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        publish: Callable[[object], None],
        stops: StopLog | None = None,
        own_process: bool = False,
    ) -> None:
        if settings.arm is None:
            raise WorkbenchError("this station has no arm", "Add [arm] to station.toml")
        self._settings = settings
        self._folder = folder
        self._publish, self._stops, self._own_process = publish, stops, own_process
        self._to_log: deque[str] = deque()
        self._said_stopped = False
        self._clearing: threading.Thread | None = None
        self._cleared_by: deque[str] = deque()
        self._not_cleared: deque[WorkbenchError] = deque()
        self._rest_error: WorkbenchError | None = None
        self._tick_ms: deque[float] = deque(maxlen=_KEPT)
        self._priority = ""
        self._arm: Arm = ARMS.build(settings.arm.kind, **settings.arm.options)
        self._arm.connect()
        specs = arm_streams(self._arm.joints, settings.control_hz)
        self._rings = {spec.name: Ring.create(ring_path(folder, spec.name), spec) for spec in specs}
        self._pictures: list[Ring] = []
        self._chunk_ring: Ring | None = None
        self._policy_id = ""
        self._needs: dict[str, Companion] = {}
        self._teleop: Teleop | None = None
        self._teleop_settings: tuple[str, dict[str, Any]] = ("", {})
        self._watching = ""
        limits = settings.limits.limits() if settings.limits else None
        self._driver = Driver(
            self._arm,
            limits,
            self._rings,
            MonotonicClock(),
            1.0 / settings.control_hz,
            self._happened,
            self._oldest_picture_ns,
            playback_of(settings.runtime),
        )
        unfinished = stops.open_stop() if stops else None
        if unfinished is not None:
            self._driver.stop(f"still stopped since {unfinished.at}: {unfinished.reason}", latched=True)
            self._to_log.clear()
        self._pacer = Pacer(settings.control_hz, SPIN_S)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def handlers(self) -> dict[str, Handler]:
        """What the station may ask."""
        driver = self._driver
        return {
            "ready": driver.ready,
            "drive": self.drive,
            "watch": self.watch,
            "renew": driver.renew,
            "operate": self.operate,
            "operated": self.operated,
            "facts": self.facts,
            "set_keys": self.set_keys,
            "hold": driver.hold,
            "fail": driver.fail,
            "park": driver.park,
            "stop_arm": self.stop_arm,
            "clear_stop": self.clear_stop,
            "beat": driver.beat,
            "status": self.status,
        }

    def stop_arm(self, reason: str) -> None:
        """Stop now, until a person clears it, whatever is restarted meanwhile."""
        self._driver.stop(reason, latched=True, by_person=True)
        self.write_stops()

    def clear_stop(self, operator: str = "") -> None:
        """A person's word, with the name of the person.

        Returns at once if bringing the arm back takes longer than a second; the status says how it goes on. Raises
        WorkbenchError if it is known by then that the stop stays.
        """
        if self._clearing is not None and self._clearing.is_alive():
            return
        self._clearing = threading.Thread(target=self._clear, args=(operator,), name="clear-stop", daemon=True)
        self._clearing.start()
        self._clearing.join(_CLEAR_S)
        if self._not_cleared:
            raise self._not_cleared.popleft()
        self.look_after()

    def _clear(self, operator: str) -> None:
        was_latched = self._driver.latched
        try:
            self._driver.clear_stop(operator)
        except WorkbenchError as error:
            self._not_cleared.append(error)
            return
        if was_latched:
            self._cleared_by.append(operator)

    def look_after(self) -> None:
        """What waits for disk or arm, and so is not done in the tick's thread: stops kept, a parked arm put to rest."""
        self.write_stops()
        while self._cleared_by and self._stops is not None:
            self._stops.cleared(self._cleared_by.popleft())
        while self._not_cleared:
            self._publish(Failed("arm", str(self._not_cleared.popleft())))
        if self._driver.at_home and self._rest_error is None:
            try:
                self._driver.rest()
            except StateError:
                return  # it still swings; later
            except WorkbenchError as error:
                self._rest_error = error
                self._publish(Failed("arm", f"the parked arm could not be put to rest: {error}"))
        elif not self._driver.at_home:
            self._rest_error = None

    def write_stops(self) -> None:
        """Keep what has been stopped since the last call. Waits for the disk: never in the tick's thread."""
        while self._to_log:
            reason = self._to_log.popleft()
            if self._stops is not None:
                self._stops.stopped(reason)

    def _happened(self, event: object) -> None:
        if isinstance(event, DriverChanged):
            stopped = event.state == DriverState.STOPPED
            if stopped and not self._said_stopped and self._driver.latched:
                self._to_log.append(event.reason)
            self._said_stopped = stopped
        self._publish(event)

    def drive(self, chunks: str, policy_id: str, needs: Mapping[str, int | None] | None = None) -> None:
        """Let the policy that writes into the ring ``chunks`` drive.

        Args:
            needs: process ids by name; the arm holds in the next tick after one of them has ended.
        """
        if self._driver.state is DriverState.DRIVING:  # the tick reads what is exchanged below
            raise StateError("a policy drives already", "Hold it first")
        if self._chunk_ring is not None:
            self._chunk_ring.close()
        self._chunk_ring = Ring.attach(Path(chunks))
        self._policy_id = policy_id
        needed = {**(needs or {}), **({"supervising": os.getppid()} if self._own_process else {})}
        old, self._needs = self._needs, {name: Companion(pid) for name, pid in needed.items() if pid}
        for companion in old.values():
            companion.close()
        self._attach_pictures()
        self._driver.drive(self._newest_chunk)

    def operate(self, kind: str, options: dict[str, Any]) -> None:
        """Let an operator drive with a device of this kind; one that is still open is taken up again."""
        teleop = self._teleop
        if teleop is None or self._teleop_settings != (kind, options) or not getattr(teleop, "stays_open", False):
            self._close_teleop()
            teleop = self._open_teleop(kind, options)
        try:
            self._driver.operate(teleop)
        except WorkbenchError:
            self._close_teleop()
            raise
        if self._watching:
            self._watch(teleop)

    def watch(self, kind: str, options: dict[str, Any]) -> None:
        """Open a device whose dead-man takes the arm over from a policy; ``kind`` "" ends that.

        DeviceError if it cannot be opened: the policy can then only be stopped and held.
        """
        if not kind:
            self._watch(None)
        elif self._teleop is None or self._teleop_settings != (kind, options):
            self._watch(None)
            self._close_teleop()
            self._watch(self._open_teleop(kind, options))
        else:
            self._watch(self._teleop)

    def _watch(self, teleop: Teleop | None) -> None:
        self._watching = self._teleop_settings[0] if teleop is not None else ""
        self._driver.watch(teleop)

    def _open_teleop(self, kind: str, options: dict[str, Any]) -> Teleop:
        teleop = TELEOPS.build(kind, **options)
        teleop.open()
        self._teleop, self._teleop_settings = teleop, (kind, options)
        return teleop

    def operated(self) -> bool:
        """True once a device that knows its end (the scripted operator) has finished."""
        return bool(getattr(self._teleop, "done", False))

    def facts(self) -> dict[str, Any]:
        """What the device in use, or used last, says about its progress; {} for most."""
        return dict(getattr(self._teleop, "facts", {}))

    def set_keys(self, keys: frozenset[str]) -> None:
        """Keys held down in the window, for the keyboard device; other devices ignore them."""
        setter = getattr(self._teleop, "set_keys", None)
        if setter is not None:
            setter(keys)

    def status(self) -> DriverStatus:
        """The driver's status with the tick's lateness."""
        timing = self.timing()
        device = words_of(self._teleop)
        return self._driver.status(
            lateness_p99_ms=timing["lateness_ms"]["p99"], timing=timing, device=device, watching=self._watching
        )

    def timing(self) -> dict[str, Any]:
        """How punctual the last ticks were, how long they worked, and with which priority they run."""
        return {
            "lateness_ms": percentiles(self._pacer.lateness_ms[-_KEPT:]),
            "tick_ms": percentiles(list(self._tick_ms)),
            "missed": self._pacer.missed,
            "priority": self._priority,
        }

    def close(self) -> None:
        """Brake within the limits, end the tick, hold, let go of the link: ``Arm.close`` leaves the power on."""
        self._driver.hold("the station closes")
        until_s = time.monotonic() + REST_S
        while not self._driver.at_rest and self._thread.is_alive() and time.monotonic() < until_s:
            time.sleep(0.005)
        self._ended.set()
        self._thread.join(5)
        self.write_stops()
        self._close_teleop()
        self._arm.close()
        for ring in (*self._rings.values(), *self._pictures, *([self._chunk_ring] if self._chunk_ring else [])):
            ring.close()
        for companion in self._needs.values():
            companion.close()

    def _run(self) -> None:
        self._priority = run_before(Rank.ARM) if self._own_process else "normal"
        ticks = 0
        while self._pacer.wait(self._ended):
            started = time.perf_counter()
            try:
                self._driver.tick()
            except Exception as error:
                _log.exception("the control tick failed")
                self._driver.stop(f"the control tick failed: {error}")
            for mark in marks_of(self._teleop):
                self._publish(TakeJudged(mark))
            self._tick_ms.append(1000.0 * (time.perf_counter() - started))
            ticks += 1
            if self._own_process and ticks % _COLLECT_EVERY == 0:
                gc.collect(1)  # right after a tick, instead of whenever it happens to be due

    def _newest_chunk(self) -> ActionChunk | None:
        for name, companion in self._needs.items():
            if companion.ended:
                self._driver.fail(f"the {name} process has ended")
                return None
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


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and max, rounded to a microsecond; zeros while there is nothing."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(max(values), 3)}


def main(link: Link, settings: dict[str, Any], folder: str, home: str = "") -> None:
    """The arm process: holds the arm whenever the program that supervises it closes or disappears.

    Args:
        home: data root where stops are kept; "" keeps none.
    """
    own_process = threading.current_thread() is threading.main_thread()
    if own_process:
        sys.setswitchinterval(0.0005)  # how long another thread may keep the tick waiting
    control = Control(
        Settings(**settings), Path(folder), link.publish, StopLog(Path(home)) if home else None, own_process
    )
    handlers = control.handlers()
    if own_process:
        gc.collect()
        gc.freeze()
        gc.disable()
    try:
        while link.serve_pending(handlers, timeout_s=0.05):
            control.look_after()
    finally:
        control.close()
