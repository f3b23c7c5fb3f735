"""A RealSense device or recording, streaming: its sensors' own pictures, one by one, in one queue.

The sensors are driven directly rather than by librealsense's pipeline: the pipeline keeps only the newest whole set
(a short pause of the reader loses pictures without a word) and blocks 15 s when a device is missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware import realsense_library
from hardware.realsense_library import about, find, library
from workbench.core.errors import DeviceError

_QUEUE = 32
_BUSY = ("busy", "already opened", "is streaming", "errno=16")


@dataclass(frozen=True, slots=True)
class Picture:
    """A wanted stream: ``kind`` is ``color`` or ``depth``."""

    kind: str
    width: int
    height: int
    rate_hz: float

    def __str__(self) -> str:
        return f"{self.kind} {self.width}x{self.height} at {self.rate_hz:g} Hz"


class Source:
    """Opened, started and stopped by one thread.

    Attributes:
        device: librealsense's device, a playback or a recorder around one.
        sensors: the sensor of each wanted stream by kind; one sensor may serve both.
        profiles: the chosen stream profile by kind.
    """

    def __init__(self, device: Any, wanted: Sequence[Picture], recording: str = "", context: Any = None) -> None:
        self.device = device
        self.recording = recording
        self._context = context  # a recording lives as long as its context
        self._queue = library().frame_queue(_QUEUE)
        self._opened: list[Any] = []
        self.sensors: dict[str, Any] = {}
        self.profiles: dict[str, Any] = {}
        sensors = list(device.query_sensors())
        for picture in wanted:
            self.sensors[picture.kind], self.profiles[picture.kind] = _choose(about(device, "name"), sensors, picture)

    @classmethod
    def of_device(cls, serial: str, wanted: Sequence[Picture], record_to: str = "") -> Source:
        """The attached camera with this serial number, recording everything to a ``.db3`` file if asked to."""
        device = find(realsense_library.open_context(), serial)
        if record_to:
            device = library().recorder(str(unused(Path(record_to))), device)
        return cls(device, wanted)

    @classmethod
    def of_recording(cls, path: str, wanted: Sequence[Picture]) -> Source:
        """A ``.db3`` (or older ``.bag``) recording, played in its own time."""
        if not Path(path).is_file():
            raise DeviceError(f"there is no recording {path}", "Correct the camera's option 'recording'")
        context = realsense_library.open_context()
        try:
            device = context.load_device(path)
            device.set_real_time(True)
        except RuntimeError as error:
            raise DeviceError(
                f"{path} cannot be played ({error})", "Choose a .db3 or .bag file that librealsense has recorded"
            ) from error
        return cls(device, wanted, path, context)

    @property
    def serial(self) -> str:
        return about(self.device, "serial_number")

    def start(self) -> None:
        """Let the sensors deliver. DeviceError names another program that has the camera; RuntimeError: try again."""
        by_sensor: dict[int, tuple[Any, list[Any]]] = {}
        for kind, sensor in self.sensors.items():
            by_sensor.setdefault(id(sensor), (sensor, []))[1].append(self.profiles[kind])
        try:
            if self.recording:
                self.device.pause()  # else it plays on while the second sensor is not listening yet
            for sensor, profiles in by_sensor.values():
                sensor.open(profiles)
                self._opened.append(sensor)
                sensor.start(self._queue)
            if self.recording:
                self.device.resume()
        except RuntimeError as error:
            self.stop()
            if any(word in str(error).lower() for word in _BUSY):
                raise DeviceError(
                    f"the camera {self.serial} is in use ({error})",
                    "Close the other program (or the other camera entry) that uses it",
                ) from error
            raise

    def wait(self, timeout_s: float) -> Any | None:
        """The next picture of any sensor, or None."""
        came, frame = self._queue.try_wait_for_frame(max(1, round(timeout_s * 1000)))
        return frame if came else None

    def ended(self) -> bool:
        """True when a recording has been played to its end."""
        return bool(self.recording) and self.device.current_status() == library().playback_status.stopped

    def stop(self) -> None:
        """Let go of the device; safe to call twice and after it was unplugged."""
        opened, self._opened = self._opened, []
        for sensor in opened:
            for end in (sensor.stop, sensor.close):
                with contextlib.suppress(RuntimeError):  # it is gone, or had not started
                    end()
        if self.recording and self._context is not None:
            with contextlib.suppress(RuntimeError):
                self._context.unload_device(self.recording)
            self._context = None


def unused(path: Path) -> Path:
    """The path, or the first of ``name-2``, ``name-3`` ... that does not exist: a recording is never written over."""
    if path.suffix != ".db3":
        raise DeviceError(f"{path} is not a .db3 file", "Let record_to end with .db3")
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    free.parent.mkdir(parents=True, exist_ok=True)
    return free


def _choose(name: str, sensors: Sequence[Any], wanted: Picture) -> tuple[Any, Any]:
    """The sensor and profile of a stream; DeviceError names the nearest that there are."""
    rs = library()
    stream = rs.stream.color if wanted.kind == "color" else rs.stream.depth
    formats = (rs.format.rgb8, rs.format.bgr8) if wanted.kind == "color" else (rs.format.z16,)
    offers: dict[tuple[int, int, int], list[tuple[int, Any, Any]]] = {}
    for sensor in sensors:
        for profile in sensor.get_stream_profiles():
            if profile.stream_type() == stream and profile.format() in formats and profile.is_video_stream_profile():
                video = profile.as_video_stream_profile()
                key = (video.width(), video.height(), profile.fps())
                offers.setdefault(key, []).append((formats.index(profile.format()), sensor, video))
    match = offers.get((wanted.width, wanted.height, round(wanted.rate_hz)))
    if match:
        _, sensor, profile = min(match, key=lambda offer: offer[0])
        return sensor, profile
    if not offers:
        raise DeviceError(f"{name} has no {wanted.kind} stream", "Switch that stream off for this camera")

    def distance(key: tuple[int, int, int]) -> float:
        width, height, rate = key
        return abs(width - wanted.width) + abs(height - wanted.height) + abs(rate - wanted.rate_hz)

    near = sorted(offers, key=distance)[:3]
    words = ", ".join(f"{width}x{height} at {rate} Hz" for width, height, rate in near)
    raise DeviceError(f"{name} does not offer {wanted}", f"Choose one of the nearest: {words}")
