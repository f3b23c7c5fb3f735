"""Looks after the cameras between takes: a reference picture of each, and whether it still is where it was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.charuco import vision
from hardware.moved import Comparison, Verdict, compare, edges
from workbench.core.errors import WorkbenchError
from workbench.core.files import write_atomic
from workbench.services.calibration_shelf import Shelf
from workbench.services.settings import Settings
from workbench.services.station_core import StationCore

Picture = NDArray[np.uint8]
_POSE_RAD = 0.03  # a camera at the wrist can only be compared where the arm stood for the reference


@dataclass(frozen=True, slots=True)
class Look:
    """One camera at one look; ``new`` is True when this picture has become the reference."""

    camera: str
    comparison: Comparison
    new: bool = False

    def row(self) -> tuple[str, str, str, str, str]:
        found = self.comparison
        if self.new:
            return self.camera, "remembered", "", "", ""
        return (
            self.camera, str(found.verdict), f"{found.distance_px:.1f}", f"{found.turn_deg:.2f}",
            f"{found.confidence:.2f}",
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        found = self.comparison
        return {
            "camera": self.camera,
            "verdict": "remembered" if self.new else str(found.verdict),
            "shift_px": [round(value, 2) for value in found.shift_px],
            "turn_deg": round(found.turn_deg, 3),
            "confidence": round(found.confidence, 3),
            "reason": found.reason,
        }


class CameraWatch:
    """Reference pictures of a data folder, beside the calibrations. A look takes a fraction of a second."""

    def __init__(self, home: Path) -> None:
        self._shelf = Shelf(home)

    def remember(self, camera: str, picture: Picture, joints_rad: NDArray[np.float64] | None = None) -> None:
        """Make this (H, W, 3) picture the reference; ``joints_rad`` only for a camera at the wrist."""
        path = self._path(camera)
        path.parent.mkdir(parents=True, exist_ok=True)
        done, coded = vision().imencode(".png", picture[:, :, ::-1])
        if not done:
            raise WorkbenchError(f"the picture of camera '{camera}' cannot be kept")
        write_atomic(path, coded.tobytes())
        joints = path.with_suffix(".joints")
        if joints_rad is None:
            joints.unlink(missing_ok=True)
        else:
            write_atomic(joints, " ".join(f"{value:.6f}" for value in joints_rad).encode())

    def reference(self, camera: str) -> Picture | None:
        """The reference picture, or None."""
        path = self._path(camera)
        if not path.exists():
            return None
        picture = vision().imdecode(np.frombuffer(path.read_bytes(), np.uint8), 1)
        if picture is None:
            raise WorkbenchError(f"{path} is damaged", "Take a new one: calibrate --check --remember")
        return np.ascontiguousarray(picture[:, :, ::-1])

    def ghost(self, camera: str) -> Picture | None:
        """(H, W) outlines of the reference, to lay over the live picture while a camera is put back."""
        reference = self.reference(camera)
        return edges(reference) if reference is not None else None

    def look(self, camera: str, picture: Picture, joints_rad: NDArray[np.float64] | None = None) -> Look:
        """Compare with the reference; without one, this picture becomes it."""
        reference = self.reference(camera)
        if reference is None:
            self.remember(camera, picture, joints_rad)
            return Look(camera, Comparison(Verdict.OK, (0.0, 0.0), 0.0, 1.0, "this is the reference now"), new=True)
        elsewhere = self._elsewhere(camera, joints_rad)
        if elsewhere:
            return Look(camera, Comparison(Verdict.UNKNOWN, (0.0, 0.0), 0.0, 0.0, elsewhere))
        return Look(camera, compare(reference, picture))

    def _elsewhere(self, camera: str, joints_rad: NDArray[np.float64] | None) -> str:
        path = self._path(camera).with_suffix(".joints")
        if not path.exists():
            return ""
        then = np.array(path.read_text().split(), float)
        if joints_rad is None or then.shape != joints_rad.shape:
            return "the camera moves with the arm, and where the arm is is not known"
        away = float(np.abs(then - joints_rad).max())
        return "" if away < _POSE_RAD else "the camera moves with the arm, which is not where it was: park it first"

    def _path(self, camera: str) -> Path:
        return self._shelf.path(camera).with_name(f"{self._shelf.path(camera).stem}.reference.png")


def check_pictures(
    home: Path, pictures: Mapping[str, Picture], joints_rad: NDArray[np.float64], on_arm: frozenset[str]
) -> list[Look]:
    """Look at every camera's newest picture; the pictures of ``on_arm`` are compared only where the arm stood."""
    watch = CameraWatch(home)
    return [
        watch.look(name, picture, joints_rad if name in on_arm else None) for name, picture in sorted(pictures.items())
    ]


def check_station(home: Path, settings: Settings, *, remember: bool, only: str | None = None) -> list[Look]:
    """Start the station, look once at every camera (or at one), close it."""
    names = [camera.name for camera in settings.cameras if only in (None, camera.name)]
    if not names:
        raise WorkbenchError(f"this station has no camera '{only}'", "Look at station.toml")
    from workbench.services.unattended import running_station  # noqa: PLC0415  (which stands on this module)

    with running_station(home, settings) as station:
        time.sleep(0.5)  # the first exposures of a camera are not its best
        return check_running(station, remember=remember, only=only)


def check_running(station: StationCore, *, remember: bool, only: str | None = None) -> list[Look]:
    """Look once at every camera (or at one) of a station that runs; a camera without a picture is left out.

    Args:
        remember: make these pictures the references first.
    """
    home, settings = station.home.path, station.settings
    pictures: dict[str, Picture] = {}
    for camera in settings.cameras:
        frame = station.latest(f"observation.images.{camera.name}") if only in (None, camera.name) else None
        if frame is not None:
            pictures[camera.name] = frame.data
    state = station.latest("observation.state")
    joints = state.data[:-8].astype(float) if state is not None else np.zeros(0)
    moving = frozenset(name for name in pictures if on_arm(settings, name))
    if remember:
        watch = CameraWatch(home)
        for name, picture in pictures.items():
            watch.remember(name, picture, joints if name in moving else None)
    return check_pictures(home, pictures, joints, moving)


def on_arm(settings: Settings, name: str) -> bool:
    """By its name, or by what it shows on the simulated station."""
    camera = next(camera for camera in settings.cameras if camera.name == name)
    return "wrist" in name or camera.options.get("camera") == "wrist"
