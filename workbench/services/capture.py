"""Capture: one thread per camera into its rings, and the recorder that follows them. May be a process of its own."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardware import playback
from hardware.camera import CAMERAS, Camera, CameraInfo, CameraShot, Stamp
from storage.episode import StoreSettings
from storage.layout import Home
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Failed
from workbench.core.link import Handler, Link
from workbench.core.priority import Rank, run_before
from workbench.core.ring import Ring
from workbench.core.types import EpisodeKind, Outcome, TakeInfo
from workbench.services.calibration_shelf import Shelf
from workbench.services.gaps import GapCounter
from workbench.services.preroll import Preroll, PrerollStatus
from workbench.services.recorder import Recorder, sealed_event
from workbench.services.settings import Settings
from workbench.services.take_source import TakeSource

playback.register(TakeSource.accepts, TakeSource)  # cameras can show takes, though devices know nothing of storage

_log = logging.getLogger(__name__)
_READ_TIMEOUT_S = 1.0
_TEMPERATURE = "temperature_c"  # ends the name of the axis in which an exposure tells it
_RETRY_S = 1.0
CLOSED, GONE = "the station was closed while recording", "the program that ran the station has gone"


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera now.

    Attributes:
        state: ``waiting`` (no picture yet), ``live`` or ``offline``.
        drops: exposures known to be missing, whole ones and depth alone, since the station started.
        warnings: what a person should know before recording with it (firmware, USB 2, refused settings).
        info: who it is, once it has been opened: serial number, firmware, USB type, own place.
        temperature_c: what its newest exposure said, None where it says nothing.
    """

    name: str
    state: str
    fps: float
    drops: int
    width: int
    height: int
    clock_domain: str = ""
    error: str = ""
    warnings: tuple[str, ...] = ()
    info: CameraInfo | None = None
    temperature_c: float | None = None


def ring_path(folder: Path, stream: str) -> Path:
    """Where a stream's ring lives inside a station's runtime folder."""
    return folder / f"{stream}.ring"


class CameraThread:
    """Owns one camera: opens it, copies every exposure into rings, reopens it by itself when it went away."""

    def __init__(self, name: str, camera: Camera, folder: Path) -> None:
        self.name = name
        self.rings = {spec.name: Ring.create(ring_path(folder, spec.name), spec) for spec in camera.streams}
        self.info: CameraInfo | None = None
        self.delivered = 0
        self._camera = camera
        self._gaps = {name: GapCounter(ring.spec.rate_hz) for name, ring in self.rings.items()}
        self._drops = 0
        self._temperature_c: float | None = None
        self._notes: deque[tuple[int, str]] = deque(maxlen=100)
        self._recent: deque[int] = deque(maxlen=31)
        self._error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def status(self) -> CameraStatus:
        """A snapshot; any thread."""
        height, width = next(iter(self.rings.values())).spec.shape[:2]
        recent = list(self._recent)
        fps = (len(recent) - 1) * 1e9 / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0
        fresh = bool(recent) and time.monotonic_ns() - recent[-1] < 2_000_000_000
        state = "offline" if self._error else "live" if fresh else "waiting"
        domain, warnings = (self.info.clock_domain, self.info.warnings) if self.info else ("", ())
        drops, celsius = self._drops, self._temperature_c if state == "live" else None
        return CameraStatus(
            self.name, state, fps, drops, width, height, domain, self._error, warnings, self.info, celsius
        )

    def end(self) -> None:
        """Ask the thread to end; does not wait."""
        self._stop.set()

    def close(self) -> None:
        """Stop the thread, close the camera, remove the rings."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join(10)
        for ring in self.rings.values():
            ring.close()

    def notes_since(self, t_ns: int) -> list[dict[str, Any]]:
        """What happened to the camera since a CLOCK_MONOTONIC time: outages, returns, changes of its clock."""
        return [{"t_host_ns": at, "what": what} for at, what in list(self._notes) if at >= t_ns]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.info = self._camera.open()
                if self._error:
                    self._note("it delivers again")
                self._error = ""
                while not self._stop.is_set():
                    shot = self._camera.read(_READ_TIMEOUT_S)
                    if shot is not None:
                        self._keep(shot)
            except Exception as error:
                if not self._stop.is_set():
                    if str(error) != self._error:
                        self._note(str(error))
                    self._error = str(error)
            finally:
                self._camera.close()
            for gaps in self._gaps.values():
                gaps.restarted()
            self._stop.wait(_RETRY_S)

    def _note(self, what: str) -> None:
        self._notes.append((time.monotonic_ns(), what))
        _log.warning("camera %s: %s", self.name, what)

    def _keep(self, shot: CameraShot) -> None:
        """Write one exposure to the rings. Every stream has gaps of its own: a depth picture may be missing alone."""
        if shot.note:
            self._note(shot.note)
        missing = 0
        for stream, picture in shot.images.items():
            stamp = shot.stamps.get(stream) or Stamp(shot.sequence, shot.t_device_ns, shot.t_host_ns)
            gap = self._gaps[stream].gap_before(stamp.sequence, stamp.t_host_ns)
            missing = max(missing, gap)
            ring = self.rings[stream]
            for axis, value in zip(ring.spec.axes, picture, strict=False):
                if axis.endswith(_TEMPERATURE) and math.isfinite(value):
                    self._temperature_c = float(value)
            ring.write(
                picture,
                sequence=stamp.sequence,
                t_device_ns=stamp.t_device_ns,
                t_host_ns=stamp.t_host_ns,
                gap_before=gap,
            )
        self._drops += missing
        self._recent.append(time.monotonic_ns())
        self.delivered = shot.sequence + 1


class Capture:
    """All cameras of a station and its recorder."""

    def __init__(
        self, home: Home, settings: Settings, folder: Path, publish: Callable[[object], None], *, sync: bool = True
    ) -> None:
        record = settings.record
        store = StoreSettings(
            color_codec=record.color_codec,
            jpeg_quality=record.jpeg_quality,
            block_s=record.block_s,
            rows_hz=record.rows_hz,
            sync=sync,
        )
        self._settings, self._store, self._home, self._publish = settings, store, home, publish
        self._preroll: Preroll | None = None
        self._folder = folder
        self._places = Shelf(home.path)
        self.recorder = Recorder(home, store, publish)
        self.cameras = [
            CameraThread(entry.name, CAMERAS.build(entry.kind, name=entry.name, **entry.options), folder)
            for entry in settings.cameras
        ]
        self._attached: dict[str, Ring] = {}
        self._take_began_ns = 0
        for camera in self.cameras:
            camera.start()

    def start_take(
        self,
        task: str,
        kind: str,
        instruction: str,
        streams: list[str],
        clock: str = "realtime",
        extra: dict[str, Any] | None = None,
    ) -> str:
        """Begin a take of all cameras and of the named streams of other processes (arm state, commands)."""
        rings = self._rings_of(streams)
        if not rings:
            raise WorkbenchError("there is nothing to record", "Attach a camera or an arm")
        self._take_began_ns = time.monotonic_ns()
        return self.recorder.start(self._info(task, kind, instruction, clock, extra), rings)

    def remember(self, streams: list[str]) -> None:
        """From now on keep the last seconds of all cameras and of these streams, unless the settings say not to."""
        record, rings = self._settings.record, self._rings_of(streams)
        if record.remember_s > 0 and rings and self._preroll is None:
            most_bytes = record.remember_mb * 1_000_000
            self._preroll = Preroll(
                self._store, record.remember_s, most_bytes, lambda: bool(self.recorder.status().episode_id)
            )
            self._preroll.start(rings)

    def remembered(self) -> PrerollStatus:
        """How much could be saved now."""
        return self._preroll.status() if self._preroll is not None else PrerollStatus()

    def save_last(
        self, seconds: float, task: str, kind: str, instruction: str, extra: dict[str, Any] | None = None
    ) -> str:
        """Write the last seconds, which nobody recorded, as a sealed take; returns its id."""
        if self._preroll is None:
            raise StateError("nothing is remembered", "Set remember_s in [record] of station.toml")
        info = self._info(task, kind, instruction, "realtime", extra)
        manifest = self._preroll.save(self._home, info, seconds)
        self._publish(sealed_event(manifest))
        return manifest.id

    def _info(self, task: str, kind: str, instruction: str, clock: str, extra: dict[str, Any] | None) -> TakeInfo:
        settings = self._settings
        return TakeInfo(
            kind=EpisodeKind(kind),
            task=task,
            instruction=instruction,
            operator=settings.operator,
            scene=settings.scene,
            station=settings.station,
            clock=clock,
            devices={c.name: self._places.apply(asdict(c.info)) for c in self.cameras if c.info},
            settings=settings.plain(),
            extra=extra or {},
        )

    def _rings_of(self, streams: list[str]) -> dict[str, Ring]:
        """The rings of all cameras and of the named streams of other processes."""
        rings = {name: ring for camera in self.cameras for name, ring in camera.rings.items()}
        for stream in streams:
            if stream not in self._attached:
                self._attached[stream] = Ring.attach(ring_path(self._folder, stream))
            rings[stream] = self._attached[stream]
        return rings

    def stop_take(self, outcome: str = Outcome.UNLABELLED, extra: dict[str, Any] | None = None, notes: str = "") -> str:
        """Seal the take; returns its id. What happened to cameras meanwhile goes with it as ``camera_notes``."""
        cameras = {camera.name: camera.notes_since(self._take_began_ns) for camera in self.cameras}
        cameras = {name: said for name, said in cameras.items() if said}
        more = {**(extra or {}), "camera_notes": cameras} if cameras else extra
        return self.recorder.stop(Outcome(outcome), more, notes).id

    def statuses(self) -> list[CameraStatus]:
        return [camera.status() for camera in self.cameras]

    def close(self, why: str = CLOSED) -> None:
        """Seal what is being recorded (nothing recorded is lost) with the reason, then let go of everything."""
        if self.recorder.status().episode_id:
            try:
                self.recorder.stop(extra={"ended_by": why})
            except WorkbenchError:
                _log.exception("the take in progress could not be sealed; the doctor will")
        if self._preroll is not None:
            self._preroll.close()
        for camera in self.cameras:
            camera.close()
        for ring in self._attached.values():
            ring.close()


def main(link: Link, home: str, settings: dict[str, Any], folder: str) -> None:
    """The capture process: serves take requests until the station closes or disappears."""
    priority = "normal"
    if threading.current_thread() is threading.main_thread():  # not in threads mode, where others share the process
        priority = run_before(Rank.CAPTURE)
    capture = Capture(Home.open(Path(home)), Settings(**settings), Path(folder), link.publish)

    handlers: dict[str, Handler] = {
        "start_take": capture.start_take,
        "stop_take": capture.stop_take,
        "remember": capture.remember,
        "remembered": capture.remembered,
        "save_last": capture.save_last,
        "discard_take": capture.recorder.discard,
        "priority": lambda: priority,
        "status": lambda: (capture.statuses(), capture.recorder.status()),
    }
    try:
        while link.serve_pending(handlers, timeout_s=0.1):
            pass
    except Exception as error:
        link.publish(Failed("capture", str(error)))
        raise
    finally:
        capture.close(GONE if link.lost else CLOSED)
