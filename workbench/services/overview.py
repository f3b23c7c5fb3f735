"""The station at a glance: what is attached, what would spoil the next take, where each camera stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.calibration_shelf import Shelf
from workbench.services.capture import CameraStatus
from workbench.services.devices import DeviceList, list_devices
from workbench.services.preflight import BAD, OK, OLD_CALIBRATION_DAYS, WARN, Finding, preflight
from workbench.services.settings import FILE_NAME, Settings, load_settings
from workbench.services.station import Station
from workbench.services.station_setup import Proposal, propose

__all__ = ["BAD", "OK", "WARN", "Finding", "Overview", "Place", "is_first_run", "look_over", "places"]


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where a camera stands. ``level`` as of a ``Finding``; ``age_days`` None where it has no age."""

    camera: str
    level: str
    found: str
    fix: str = ""
    age_days: float | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at everything.

    Attributes:
        level: the worst of the findings.
        proposal: the settings as they could be with what is attached.
    """

    settings: Settings
    devices: DeviceList
    findings: tuple[Finding, ...]
    proposal: Proposal

    @property
    def level(self) -> str:
        levels = {finding.level for finding in self.findings}
        return next((level for level in (BAD, WARN) if level in levels), OK)


def look_over(home_path: Path, station: Station | None) -> Overview:
    """Look at buses, disk, machine and cameras: up to about three seconds, never in the window's own thread.

    Opens and moves nothing, writes and removes one small file. A station that does not run is judged by its settings;
    WorkbenchError if they cannot be read.
    """
    settings = station.settings if station is not None else load_settings(home_path)
    devices = list_devices(settings)
    status = station.status() if station is not None else None
    findings = preflight(settings, Home.open(home_path), status)
    return Overview(settings, devices, findings, propose(load_settings(home_path), devices))


def is_first_run(home_path: Path) -> bool:
    """True while nobody has written the station's settings."""
    return not (home_path / FILE_NAME).exists()


def places(home_path: Path, cameras: tuple[CameraStatus, ...]) -> tuple[Place, ...]:
    """The calibration of each camera that runs: reads one small file each."""
    shelf = Shelf(home_path)
    return tuple(_place(shelf, camera) for camera in cameras)


def _place(shelf: Shelf, camera: CameraStatus) -> Place:
    if camera.info is None:
        return Place(camera.name, WARN, "unknown until the camera delivers")
    try:
        values, age = shelf.load(camera.info.serial), shelf.age_days(camera.info.serial)
    except WorkbenchError as error:
        return Place(camera.name, WARN, error.what, error.next_step or _CALIBRATE.format(camera=camera.name))
    if values is None or age is None:
        if camera.info.pose is not None:
            return Place(camera.name, OK, "the camera knows its own place")
        return Place(camera.name, WARN, "never calibrated", _CALIBRATE.format(camera=camera.name))
    found = f"calibrated {_days(age)}, corners {float(values.get('residual_px', 0.0)):.2f} px off"
    if age > OLD_CALIBRATION_DAYS:
        return Place(camera.name, WARN, found, "Check whether it has moved, or calibrate again", age)
    return Place(camera.name, OK, found, "", age)


def _days(age: float) -> str:
    return "today" if age < 1 else "yesterday" if age < 2 else f"{int(age)} days ago"


_CALIBRATE = "Calibrate it: python main.py calibrate --camera {camera}"
