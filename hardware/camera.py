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
    """

    kind: str
    serial: str
    clock_domain: str
    intrinsics: dict[str, dict[str, Any]] = field(default_factory=dict)
    pose: list[list[float]] | None = None


@dataclass(frozen=True, slots=True)
class CameraShot:
    """One exposure: every picture of it shares sequence and times.

    Attributes:
        images: by stream name, for example ``observation.images.front`` and ``observation.depth.front``.
    """

    sequence: int
    t_device_ns: int
    t_host_ns: int
    images: dict[str, NDArray[Any]]


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
