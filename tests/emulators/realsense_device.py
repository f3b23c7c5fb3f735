"""A RealSense camera without a camera: librealsense's own software device, fed from arrays.

Everything above the USB driver is the real library: contexts, sensors, profiles, options, queues, recorder, playback.
``plug`` and ``unplug`` give the bus a new context: the library tells no one that a software device went away.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyrealsense2 as rs

DOMAINS = {
    "hardware": rs.timestamp_domain.hardware_clock,
    "global": rs.timestamp_domain.global_time,
    "system": rs.timestamp_domain.system_time,
}


def intrinsics(width: int, height: int, fx: float, cx: float | None = None, cy: float | None = None) -> Any:
    eye = rs.intrinsics()
    eye.width, eye.height, eye.fx, eye.fy = width, height, fx, fx
    eye.ppx, eye.ppy = width / 2 if cx is None else cx, height / 2 if cy is None else cy
    eye.model, eye.coeffs = rs.distortion.brown_conrady, [0.0] * 5
    return eye


@dataclass
class Model:
    """What kind of camera to be. Depth equal in size to colour; one profile per sensor and ``more`` colour sizes."""

    serial: str = "SIM1"
    width: int = 64
    height: int = 48
    rate_hz: int = 30
    unit_m: float = 0.001
    fx: float = 60.0
    color_eye: Any = None
    depth_eye: Any = None
    rotation: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)  # the library's order: columns
    baseline_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    firmware: str = "5.16.0.1"
    usb: str = "3.2"
    more: tuple[tuple[int, int, int], ...] = ()
    options: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)  # RGB: min, max, step, default


class Plugged:
    """One software device in a context of its own. Keep it alive: the context holds it only weakly."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.context = rs.context()
        self._held: list[Any] = []
        self.context.set_devices_changed_callback(self._held.append)
        device = self._device = rs.software_device()
        for key, value in (
            ("name", "Intel RealSense D435"),
            ("serial_number", model.serial),
            ("product_line", "D400"),
            ("firmware_version", model.firmware),
            ("recommended_firmware_version", "5.16.0.1"),
            ("usb_type_descriptor", model.usb),
        ):
            device.register_info(getattr(rs.camera_info, key), value)
        self.stereo, self.rgb = device.add_sensor("Stereo Module"), device.add_sensor("RGB Camera")
        size = (model.width, model.height, model.rate_hz)
        eyes = [model.color_eye or intrinsics(*size[:2], model.fx), model.depth_eye or intrinsics(*size[:2], model.fx)]
        self.depth = self._profile(self.stereo, rs.stream.depth, rs.format.z16, 100, size, eyes[1])
        self.color = self._profile(self.rgb, rs.stream.color, rs.format.rgb8, 101, size, eyes[0])
        for i, other in enumerate(model.more):
            self._profile(self.rgb, rs.stream.color, rs.format.rgb8, 200 + i, other, intrinsics(*other[:2], 60), False)
        lens = rs.extrinsics()
        lens.rotation, lens.translation = list(model.rotation), list(model.baseline_m)
        self.depth.register_extrinsics_to(self.color, lens)
        self.stereo.add_read_only_option(rs.option.depth_units, model.unit_m)
        self.stereo.add_read_only_option(rs.option.stereo_baseline, 50.0)
        for name, values in model.options.items():
            limits = rs.option_range()
            limits.min, limits.max, limits.step, limits.default = values
            self.rgb.add_option(getattr(rs.option, name), limits, True)
        device.create_matcher(rs.matchers.dlr_c)
        device.add_to(self.context)
        end = time.monotonic() + 5
        while not len(self.context.query_devices()) and time.monotonic() < end:
            time.sleep(0.005)

    @staticmethod
    def _profile(sensor: Any, stream: Any, pixels: Any, uid: int, size: Any, eye: Any, default: bool = True) -> Any:
        video = rs.video_stream()
        video.type, video.index, video.uid, video.fmt = stream, 0, uid, pixels
        video.width, video.height, video.fps = size
        video.bpp = 2 if stream == rs.stream.depth else 3
        video.intrinsics = eye
        return rs.video_stream_profile(sensor.add_video_stream(video, default))

    def push(self, kind: str, image: np.ndarray, number: int, t_ms: float, domain: str, said: dict[str, int]) -> None:
        """Deliver one picture; lost like on a real camera while its sensor does not stream."""
        sensor, profile = (self.stereo, self.depth) if kind == "depth" else (self.rgb, self.color)
        frame = rs.software_video_frame()
        image = np.ascontiguousarray(image)
        frame.pixels, frame.bpp, frame.stride = image, image.strides[1], image.strides[0]
        frame.timestamp, frame.domain, frame.frame_number, frame.profile = t_ms, DOMAINS[domain], number, profile
        if kind == "depth":
            frame.depth_units = self.model.unit_m
        for word, value in {"actual_fps": self.model.rate_hz * 1000, **said}.items():
            sensor.set_metadata(getattr(rs.frame_metadata_value, word), int(value))
        with contextlib.suppress(RuntimeError):
            sensor.on_video_frame(frame)


class Bus:
    """What ``hardware.realsense_library.open_context`` is replaced by: the cameras that are plugged in now.

    A thread delivers pictures (``color``, ``depth``: functions of the picture number) until ``hold``; then a test
    pushes what it likes by ``expose``. Use it as a context manager.
    """

    def __init__(self, model: Model | None = None) -> None:
        self.model = model or Model()
        self.plugged: Plugged | None = None
        self.number = 0
        self.domain = "hardware"
        self.said: dict[str, int] = {}
        self.color: Any = lambda n: np.full((self.model.height, self.model.width, 3), n % 251, np.uint8)
        self.depth: Any = lambda n: np.full((self.model.height, self.model.width), 500 + n % 1000, np.uint16)
        self._empty = rs.context()
        self._running = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="realsense-bus")

    def __enter__(self) -> Bus:
        self.plug()
        self._running.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def open_context(self) -> Any:
        return self.plugged.context if self.plugged else self._empty

    def plug(self, model: Model | None = None) -> None:
        """Attach a camera; its picture numbers begin anew, as a real one's do."""
        self.model = model or self.model
        with self._lock:
            self.plugged, self.number = Plugged(self.model), 0

    def unplug(self) -> None:
        with self._lock:
            self.plugged = None

    def hold(self) -> None:
        """Deliver nothing by itself from now on."""
        self._running.clear()
        with self._lock:
            pass

    def go_on(self) -> None:
        self._running.set()

    def expose(self, *, color: bool = True, depth: bool = True, skip: int = 0) -> int:
        """One exposure; its halves may be lost, and ``skip`` whole ones before it. Returns its number."""
        with self._lock:
            self.number += 1 + skip
            n, t_ms = self.number, 1000.0 + self.number * 1000.0 / self.model.rate_hz
            for kind, wanted in (("depth", depth), ("color", color)):
                if wanted and self.plugged is not None:
                    self.plugged.push(kind, getattr(self, kind)(n), n, t_ms, self.domain, self.said)
        return n

    def _run(self) -> None:
        while not self._closed.wait(1 / self.model.rate_hz):
            if self._running.is_set():
                self.expose()
