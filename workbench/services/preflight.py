"""Before the first take: what would spoil or lose it, said while there is still time.

Every finding names what was seen and what to do. ``bad`` means that recordings would be lost; everything else warns.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from hardware.camera import CAMERAS
from storage.doctor import Verdict, diagnose
from storage.layout import PARTIAL_SUFFIX, Home
from storage.reader import read_manifest
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.ring import runtime_directory
from workbench.core.types import StreamSpec
from workbench.services.disk_room import LEAST_MINUTES, Room, estimate_bytes_per_s, measured_bytes_per_s
from workbench.services.driver import arm_streams
from workbench.services.settings import Settings

if TYPE_CHECKING:  # starting a verb that only asks about the disk should not load the station
    from workbench.services.capture import CameraStatus
    from workbench.services.station import Station, StationStatus

OK, WARN, BAD = "ok", "warn", "bad"
WANTED_MINUTES = 30.0
OLD_CALIBRATION_DAYS = 90
_PROBE_BYTES = 8_000_000
_RATE_RATIO = 0.9
_BUSY_PERCENT = 85.0
_LEAST_MEMORY_BYTES = 1_000_000_000
_UNKNOWN_JOINTS = 6
_SETTLE_S = 1.5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``ok``; ``warn``: recording works but is worth less; ``bad``: recordings would be lost.
        found: what was seen. fix: what to do about it, "" if all is well.
    """

    name: str
    level: str
    found: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "level": self.level, "found": self.found, "fix": self.fix}


def preflight(settings: Settings, home: Home, status: StationStatus | None = None) -> tuple[Finding, ...]:
    """Look at disk, memory, processor, cameras and arm. Takes about a second; writes and removes one small file.

    Args:
        status: of the running station, for what only live cameras tell; None leaves that out.
    """
    specs, unknown = planned_streams(settings)
    speed = _speed(settings, home, specs)
    return (
        _writable(home),
        _disk(home, speed),
        _write_speed(home, speed),
        _ring_memory(specs, running=status is not None),
        _processor(),
        _memory(),
        *unknown,
        *_limits(settings),
        *live_cameras(settings, status.cameras if status is not None else ()),
        *_calibration(settings, home),
        _leftovers(home),
    )


def machine_findings(checks: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Python and off-screen rendering, from what the doctor has found out about the machine."""
    chosen = [check for check in checks if check["name"] in ("python", "rendering")]
    return tuple(Finding(c["name"], OK if c["ok"] else WARN, str(c["found"]), str(c["advice"])) for c in chosen)


def settled(station: Station, timeout_s: float = _SETTLE_S) -> StationStatus:
    """The station's status once every camera runs at its rate, at the latest after ``timeout_s``."""
    nominal = _nominal_hz(station.settings)
    deadline = time.monotonic() + timeout_s
    while True:
        status = station.status()
        rates = {camera.name: camera.fps for camera in status.cameras}
        if time.monotonic() > deadline or all(rates.get(n, 0.0) >= _RATE_RATIO * hz for n, hz in nominal.items()):
            return status
        time.sleep(0.1)


def refuse_bad(findings: Iterable[Finding]) -> None:
    """WorkbenchError for the first finding that would lose recordings."""
    for finding in findings:
        if finding.level == BAD:
            raise WorkbenchError(f"recording would be lost: {finding.name}: {finding.found}", finding.fix)


def planned_streams(settings: Settings) -> tuple[tuple[StreamSpec, ...], tuple[Finding, ...]]:
    """What this station will record, known from the settings alone, and the devices that cannot say."""
    specs: list[StreamSpec] = []
    unknown: list[Finding] = []
    for camera in settings.cameras:
        try:
            specs += CAMERAS.build(camera.kind, name=camera.name, **camera.options).streams
        except WorkbenchError as error:
            unknown.append(Finding(f"camera '{camera.name}'", WARN, error.what, error.next_step or _DEVICES))
    if settings.arm is not None:
        joints = len(settings.limits.joint_min_rad) if settings.limits is not None else _UNKNOWN_JOINTS
        specs += arm_streams(joints, settings.control_hz)
    return tuple(specs), tuple(unknown)


_DEVICES = "See `python main.py devices`"


def _speed(settings: Settings, home: Home, specs: tuple[StreamSpec, ...]) -> float:
    """Bytes per second: as this station's own takes had it, else estimated from its streams."""
    measured = measured_bytes_per_s(home, settings.station, [spec.name for spec in specs])
    return measured or estimate_bytes_per_s(specs, settings.record.color_codec)


def _writable(home: Home) -> Finding:
    name = "data folder"
    if os.access(home.episodes, os.W_OK | os.X_OK):
        return Finding(name, OK, str(home.path))
    return Finding(name, BAD, f"{home.path} cannot be written", "Choose another with --home, or ask for the right to")


def _disk(home: Home, speed: float) -> Finding:
    try:
        room = Room(home.free_bytes(), speed)
    except OSError as error:
        return Finding("disk space", BAD, f"{home.path}: {error.strerror}", "Choose another data folder with --home")
    minutes = room.minutes
    found = f"room for {_time(minutes)} of recording ({room.words()})"
    fix = "Free space on the disk, archive or purge takes, or choose another data folder with --home"
    if minutes < LEAST_MINUTES:
        return Finding("disk space", BAD, found, fix)
    return Finding("disk space", WARN, found, fix) if minutes < WANTED_MINUTES else Finding("disk space", OK, found)


def _time(minutes: float) -> str:
    if minutes < 2:
        return f"{60 * minutes:.0f} seconds"
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 60 * 1000 else "more than a thousand hours"


def _write_speed(home: Home, speed: float) -> Finding:
    """A real file, written with what a take's blocks go through: write, then wait for the disk."""
    name = "write speed"
    path = home.episodes / f".preflight-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        rate = _probe(path)
    except OSError as error:
        return Finding(
            name, BAD, f"writing failed: {error.strerror}", "Free space or choose another folder with --home"
        )
    finally:
        with contextlib.suppress(OSError):  # where it could not be made there is nothing to remove
            path.unlink(missing_ok=True)
    found = f"{rate / 1e6:.0f} MB/s with the disk's word for it, {speed / 1e6:.1f} needed"
    if rate < 2 * speed:
        return Finding(name, WARN, found, "Use a faster disk, fewer or smaller pictures, or a lower rate")
    return Finding(name, OK, found)


def _probe(path: Path) -> float:
    """Bytes per second of writing one file durably."""
    block = secrets.token_bytes(_PROBE_BYTES)  # a disk that compresses must not look faster than it is
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        start = time.perf_counter()
        view = memoryview(block)
        while len(view):
            view = view[os.write(handle, view) :]
        os.fsync(handle)
        return _PROBE_BYTES / max(time.perf_counter() - start, 1e-9)
    finally:
        os.close(handle)


def _ring_memory(specs: Iterable[StreamSpec], *, running: bool) -> Finding:
    """Rings hold two seconds of every stream; a running station has made them already."""
    name, folder = "shared memory", runtime_directory()
    need = sum(max(8, round(2 * spec.rate_hz)) * (spec.item_bytes + 48) for spec in specs)
    free = shutil.disk_usage(folder).free
    found = f"{need / 1e6:.0f} MB for pictures on their way, {free / 1e6:.0f} MB free in {folder.parent}"
    fix = "Enlarge it (`mount -o remount,size=2G /dev/shm`, in a container `--shm-size=2g`), or use smaller pictures"
    if not running and free < need:
        return Finding(name, BAD, found, fix)
    return Finding(name, WARN, found, fix) if not running and free < 2 * need else Finding(name, OK, found)


def _processor() -> Finding:
    busy = psutil.cpu_percent(0.2)
    found = f"{busy:.0f} % busy, {psutil.cpu_count() or 1} cores"
    fix = "End what else is running: cameras may come late"
    return Finding("processor", WARN, found, fix) if busy > _BUSY_PERCENT else Finding("processor", OK, found)


def _memory() -> Finding:
    left = psutil.virtual_memory().available
    found = f"{left / 1e9:.1f} GB left"
    return Finding("memory", WARN, found, "End other programs") if left < _LEAST_MEMORY_BYTES else _ok("memory", found)


def _limits(settings: Settings) -> tuple[Finding, ...]:
    if settings.arm is None:
        return ()
    if settings.limits is None:
        return (Finding("limits", WARN, "none: the arm stays parked", "Add the section [limits] to station.toml"),)
    return (_ok("limits", "given"),)


def live_cameras(settings: Settings, cameras: tuple[CameraStatus, ...]) -> tuple[Finding, ...]:
    """What live cameras say: their rates, and whether their clocks can be compared."""
    nominal = _nominal_hz(settings)
    findings = [_camera(camera, nominal.get(camera.name)) for camera in cameras]
    domains = {camera.name: camera.clock_domain for camera in cameras if camera.clock_domain}
    if len(set(domains.values())) > 1:
        words = ", ".join(f"{name}: {domain}" for name, domain in sorted(domains.items()))
        fix = "Give all cameras the same time (for RealSense: global time on all), or rely on the host's times only"
        findings.append(Finding("clocks", WARN, f"the cameras' times mean different things ({words})", fix))
    elif domains:
        findings.append(_ok("clocks", next(iter(domains.values()))))
    return tuple(findings)


def _camera(camera: CameraStatus, nominal: float | None) -> Finding:
    name = f"camera '{camera.name}'"
    if camera.state != "live":
        return Finding(name, WARN, f"{camera.state}: {camera.error or 'no picture yet'}", _DEVICES)
    if nominal is not None and camera.fps < _RATE_RATIO * nominal:
        fix = "Use a USB 3 port of its own, a shorter exposure, or a smaller picture; see docs/quality.md"
        return Finding(name, WARN, f"runs at {camera.fps:.1f} instead of {nominal:.4g} Hz", fix)
    return _ok(name, f"{camera.fps:.1f} Hz, {camera.drops} exposures lost so far")


def _nominal_hz(settings: Settings) -> dict[str, float]:
    """Nominal rate per camera, of those that can say."""
    found = {}
    for camera in settings.cameras:
        with contextlib.suppress(WorkbenchError):  # said among the findings already
            specs = CAMERAS.build(camera.kind, name=camera.name, **camera.options).streams
            found[camera.name] = max(spec.rate_hz for spec in specs)
    return found


def _calibration(settings: Settings, home: Home) -> tuple[Finding, ...]:
    """Where each camera stands, as the newest take of this station has it written down."""
    if settings.arm is None or not settings.cameras:
        return ()
    devices = _newest_devices(settings, home)
    if devices is None:
        return (_ok("calibration", "known after the first take"),)
    names = [camera.name for camera in settings.cameras]
    missing = [name for name in names if not (devices.get(name) or {}).get("pose")]
    if missing:
        fix = "Calibrate them to the arm; takes can be recorded without, but not be used across viewpoints"
        return (Finding("calibration", WARN, f"pose unknown: {', '.join(missing)}", fix),)
    oldest = max(_age_days(home, devices[name]) for name in names)
    if oldest > OLD_CALIBRATION_DAYS:
        return (Finding("calibration", WARN, f"{oldest} days old", "Check it: a bumped camera is not noticed"),)
    return (_ok("calibration", "every camera's pose is known"),)


def _newest_devices(settings: Settings, home: Home) -> dict[str, Any] | None:
    for folder in sorted(home.episodes.glob("*.zarr"), reverse=True)[:20]:
        with contextlib.suppress(CorruptTakeError):  # the doctor names it
            manifest = read_manifest(folder)
            if manifest.station == settings.station and manifest.devices:
                return manifest.devices
    return None


def _age_days(home: Home, device: Mapping[str, Any]) -> int:
    """Days since the camera's calibration was written; 0 where it comes from elsewhere (the simulation knows it)."""
    try:
        written_s = (home.path / "calibration" / f"{device.get('serial', '')}.json").stat().st_mtime
    except OSError:
        return 0
    return int((time.time() - written_s) / 86_400)


def _leftovers(home: Home) -> Finding:
    """Takes that were interrupted and wait for the doctor."""
    folders = home.episodes.glob("*" + PARTIAL_SUFFIX)
    waiting = [folder for folder in folders if diagnose(folder).verdict is not Verdict.LEAVE]
    if waiting:
        return Finding("interrupted takes", WARN, f"{len(waiting)} wait", "Run `python main.py doctor --fix`")
    return _ok("interrupted takes", "none")


def _ok(name: str, found: str) -> Finding:
    return Finding(name, OK, found)
