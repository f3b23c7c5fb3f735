"""Webcams (USB Video Class) through FFmpeg's Video4Linux input; also network cameras by URL, and films.

FFmpeg hands on the kernel's own time of each buffer, which a plain grab-and-stamp loop does not have. It hides the
driver's running number, so numbers are counted from those times at the nominal rate: fix the exposure, or a camera that
slows down in the dark shows as gaps.

Exercised here: everything but Video4Linux itself, on films, through the same opening, reader thread and counting; the
search on folders made for it; refusals on nodes that are no cameras. Not exercised, for want of a camera: negotiating
sizes and rates with a driver, its controls, kernel time stamps, USB loss.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from hardware import v4l2
from hardware.camera import CAMERAS, CameraInfo, CameraShot
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import StreamSpec

_BUFFER = 8
_STALL_S = 5.0
_JOIN_S = 2.0
_FORMATS = {"MJPG": "mjpeg", "YUYV": "yuyv422", "H264": "h264", "": ""}


@dataclass(frozen=True, slots=True)
class Config:
    """One webcam.

    Attributes:
        device: ``/dev/v4l/by-id/...`` (best: survives another USB port), ``/dev/video0``, a URL (``rtsp://...``) or a
            film; "" takes the only webcam attached.
        fourcc: ``MJPG`` (needed for 30 Hz at most sizes), ``YUYV``, ``H264``, or "" for the driver's choice.
        exposure_us: 0 is automatic. white_balance_k: 0 is automatic. gain: -1 leaves it. focus: -1 is automatic.
    """

    name: str = "front"
    device: str = ""
    width: int = 640
    height: int = 480
    rate_hz: float = 30.0
    fourcc: str = "MJPG"
    exposure_us: float = 0
    gain: int = -1
    white_balance_k: int = 0
    focus: int = -1

    def __post_init__(self) -> None:
        if self.fourcc not in _FORMATS:
            words = ", ".join(filter(None, _FORMATS))
            raise WorkbenchError(
                f"'{self.fourcc}' is not a picture format", f"Choose one of: {words}, or leave it empty"
            )

    @property
    def is_node(self) -> bool:
        """Whether it is a device of this machine rather than a film or URL."""
        return not self.device or self.device.startswith("/dev/")


class UvcCamera:
    """Implements ``hardware.camera.Camera``.

    ``t_device_ns`` is the kernel's time of the buffer (CLOCK_MONOTONIC with the common driver) for webcams, the film's
    or stream's own time otherwise; ``t_host_ns`` is when the encoded picture was handed to us. A thread of its own
    reads, since a read from Video4Linux cannot be given a time limit.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reader: _Reader | None = None

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        config = self._config
        shape = (config.height, config.width, 3)
        return (StreamSpec(f"observation.images.{config.name}", shape, "uint8", rate_hz=config.rate_hz),)

    def open(self) -> CameraInfo:
        self.close()
        config = self._config
        device = config.device or _only_one()
        warnings, settings = _control(config, device) if config.is_node else ((), {})
        container = _opened(device, config)
        try:
            _check(container, device, config)
        except DeviceError:
            container.close()
            raise
        self._reader = _Reader(container, config.rate_hz, paced=not config.is_node and "://" not in device)
        domain = "system" if config.is_node else "recorded"
        return CameraInfo("uvc", Path(device).name, domain, title=_title(device), settings=settings, warnings=warnings)

    def read(self, timeout_s: float) -> CameraShot | None:
        if self._reader is None:
            raise DeviceError(f"the camera '{self._config.name}' is not open", "Open it first")
        taken = self._reader.take(timeout_s)
        if taken is None:
            return None
        sequence, t_device_ns, t_host_ns, image = taken
        return CameraShot(sequence, t_device_ns, t_host_ns, {self.streams[0].name: image})

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


Taken = tuple[int, int, int, NDArray[np.uint8]]


class _Reader:
    """Reads and decodes in a thread of its own, keeps the newest few; what a late reader misses is a jump."""

    def __init__(self, container: Any, rate_hz: float, paced: bool) -> None:
        self._container = container
        self._rate_hz = rate_hz
        self._paced = paced
        self._taken: deque[Taken] = deque(maxlen=_BUFFER)
        self._error: DeviceError | None = None
        self._came = threading.Condition()
        self._stop = threading.Event()
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="webcam", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Taken | None:
        """The oldest picture kept, or None. DeviceError once the camera has gone and every picture is taken."""
        with self._came:
            self._came.wait_for(lambda: self._taken or self._error, timeout_s)
            if self._taken:
                return self._taken.popleft()
            if self._error is not None:
                raise self._error
        if time.monotonic() - self._heard_s > _STALL_S:
            raise DeviceError(f"the camera sent no picture for {_STALL_S:g} s", "It is being started anew")
        return None

    def close(self) -> None:
        """End the thread; one that hangs in the driver is left behind and ends with its next picture."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            for taken in self._pictures():
                with self._came:
                    self._heard_s = time.monotonic()
                    self._taken.append(taken)
                    self._came.notify()
            error = DeviceError("the stream has ended", "Plug the camera in again, or choose another film")
        except (OSError, av.error.FFmpegError, ValueError) as problem:
            error = DeviceError(f"the camera stopped delivering ({problem})", "Plug it in again")
        finally:
            self._container.close()
        with self._came:
            self._error = error
            self._came.notify()

    def _pictures(self) -> Iterator[Taken]:
        stream = self._container.streams.video[0]
        count = _Count(self._rate_hz)
        begin_ns = time.monotonic_ns()
        first_ns: int | None = None
        for packet in self._container.demux(stream):
            arrival_ns = time.monotonic_ns()
            for frame in packet.decode():
                if self._stop.is_set():
                    return
                t_ns = arrival_ns if frame.pts is None else round(frame.pts * frame.time_base * 10**9)
                first_ns = t_ns if first_ns is None else first_ns
                if self._paced:
                    due_ns = begin_ns + t_ns - first_ns
                    self._stop.wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
                    arrival_ns = time.monotonic_ns()
                yield count.of(t_ns), t_ns, arrival_ns, frame.to_ndarray(format="rgb24")


class _Count:
    """Running numbers from times: a distance of two periods means that one exposure is missing."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._last: tuple[int, int] | None = None

    def of(self, t_ns: int) -> int:
        number = 0
        if self._last is not None:
            number = self._last[0] + max(1, round((t_ns - self._last[1]) * self._rate_hz / 1e9))
        self._last = number, t_ns
        return number


def _only_one() -> str:
    found = v4l2.discover()
    if len(found) == 1:
        return str(found[0].options["device"])
    names = ", ".join(f"{one.title} {one.options['device']}" for one in found)
    if found:
        raise DeviceError(f"several webcams are attached ({names})", "Choose one by its 'device'")
    raise DeviceError("no webcam is attached", "Plug one in")


def _opened(device: str, config: Config) -> Any:
    options = {"video_size": f"{config.width}x{config.height}", "framerate": f"{config.rate_hz:g}"}
    if _FORMATS[config.fourcc]:
        options["input_format"] = _FORMATS[config.fourcc]
    try:
        if config.is_node:
            return av.open(device, format="video4linux2,v4l2", options=options)
        return av.open(device, timeout=(10.0, _STALL_S))
    except (OSError, av.error.FFmpegError, ValueError) as error:
        cause = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise DeviceError(f"the camera {device} cannot be opened ({cause.strerror})", v4l2.hint(cause)) from error


def _check(container: Any, device: str, config: Config) -> None:
    """A driver takes the nearest it has without a word: say so instead of recording something else."""
    if not container.streams.video:
        raise DeviceError(f"{device} has no pictures", "Choose another device")
    stream = container.streams.video[0]
    rate = float(stream.average_rate or stream.guessed_rate or config.rate_hz)
    if (stream.width, stream.height) != (config.width, config.height) or abs(rate / config.rate_hz - 1) > 0.02:
        raise DeviceError(
            f"the camera {device} gives {stream.width}x{stream.height} at {rate:g} Hz"
            f" instead of {config.width}x{config.height} at {config.rate_hz:g} Hz",
            "Use what it gives, or another fourcc (MJPG is the fastest)",
        )


def _control(config: Config, device: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Set exposure and the like, automatic parts first; warnings, and what is in force."""
    wishes = [
        (v4l2.EXPOSURE_MODE, v4l2.MANUAL if config.exposure_us > 0 else v4l2.AUTOMATIC, False),
        (v4l2.EXPOSURE_PRIORITY, 0, False),
        (v4l2.EXPOSURE, round(config.exposure_us / 100), config.exposure_us > 0),
        (v4l2.GAIN, config.gain, config.gain >= 0),
        (v4l2.WHITE_BALANCE_AUTO, int(config.white_balance_k <= 0), False),
        (v4l2.WHITE_BALANCE, config.white_balance_k, config.white_balance_k > 0),
        (v4l2.FOCUS_AUTO, int(config.focus < 0), False),
        (v4l2.FOCUS, config.focus, config.focus >= 0),
    ]
    switches = (v4l2.EXPOSURE_MODE, v4l2.EXPOSURE_PRIORITY, v4l2.WHITE_BALANCE_AUTO, v4l2.FOCUS_AUTO)
    with v4l2.Controls(device) as controls:
        said = [
            controls.set(control, value)
            for control, value, required in wishes
            if required or (control in switches and controls.has(control))
        ]
        told = {control.name: controls.get(control) for control, *_ in wishes if controls.has(control)}
    return tuple(filter(None, said)), told


def _title(device: str) -> str:
    return next((one.title for one in v4l2.discover() if one.options["device"] == device), Path(device).name)


CAMERAS.register(Plugin("uvc", "Webcam (USB Video Class)", Config, UvcCamera, "av", "av", discover=v4l2.discover))
