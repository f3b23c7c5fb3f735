"""What a camera is to the workbench."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from workbench.core.registry import Registry
from workbench.core.types import StreamSpec


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """Identity, for the manifest.

    Attributes:
        serial: what tells this camera from another of its kind.
        clock_domain: ``hardware``, ``global``, ``system`` or ``simulated``: what ``t_device_ns`` means.
        intrinsics: per stream suffix (``color``, ``depth``): width, height, fx, fy, cx, cy, model, coeffs.
        pose: camera in the arm's base frame, 4x4 nested lists, or None when uncalibrated.
        title: the model's name.
        firmware, usb: the device's own words, "" where there are none.
        extrinsics: how one sensor sees another, by name (``depth_to_color``): ``rotation`` (3x3 nested lists, rows) and
            ``translation_m``.
        settings: exposure, gain and the like as read back from the device, per sensor.
        warnings: what a person should know before recording ("connected by USB 2.1 ...").
    """

    kind: str
    serial: str
    clock_domain: str
    intrinsics: dict[str, dict[str, Any]] = field(default_factory=dict)
    pose: list[list[float]] | None = None
    title: str = ""
    firmware: str = ""
    usb: str = ""
    extrinsics: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stamp:
    """Number and times of one stream's item, where they differ from the exposure's own."""

    sequence: int
    t_device_ns: int
    t_host_ns: int


@dataclass(frozen=True, slots=True)
class CameraShot:
    """One exposure: every picture of it shares sequence and times, unless ``stamps`` says otherwise.

    Attributes:
        images: by stream name, for example ``observation.images.front`` and ``observation.depth.front``. A stream whose
            picture is missing this time is left out; a camera may also deliver vectors (``camera.front.metadata``).
        stamps: by stream name, for a sensor that numbers and times its pictures by itself.
        note: something a person should know that happened while streaming, "" almost always.
    """

    sequence: int
    t_device_ns: int
    t_host_ns: int
    images: dict[str, NDArray[Any]]
    stamps: dict[str, Stamp] = field(default_factory=dict)
    note: str = ""


class Camera(Protocol):
    """Opened, read and closed by its own capture thread, never shared between threads."""

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        """The streams it will deliver; known before ``open``."""

    def open(self) -> CameraInfo:
        """Start delivering. Raises DeviceError with the cause and the next step."""

    def read(self, timeout_s: float) -> CameraShot | None:
        """The next exposure, or None if none came in time. Raises DeviceError when the camera went away."""

    def close(self) -> None:
        """Stop; safe to call twice."""


CAMERAS: Registry[Camera] = Registry("camera", "hardware.cameras")
