"""What would spoil a recording is said before the first take, and only what would lose takes is refused."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.storage.signals import FRONT, STATE, Scene, info_of, record
from workbench.cli import main
from workbench.core.errors import WorkbenchError
from workbench.services import preflight as module
from workbench.services.capture import CameraStatus
from workbench.services.driver import DriverStatus
from workbench.services.preflight import BAD, OK, WARN, Finding, planned_streams, preflight, refuse_bad
from workbench.services.recorder import RecorderStatus
from workbench.services.settings import CameraSettings, Settings, simulated_settings
from workbench.services.station import StationStatus

SETTINGS = simulated_settings()
Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Findings by name, on a machine that is not busy."""
    monkeypatch.setattr(module.psutil, "cpu_percent", lambda interval=None: 5.0)

    def at(home: Home, settings: Settings = SETTINGS, *cameras: CameraStatus) -> dict[str, Finding]:
        driver = DriverStatus("parked")
        status = StationStatus(cameras, RecorderStatus("idle"), driver, True, 0) if cameras else None
        return {finding.name: finding for finding in preflight(settings, home, status)}

    return at


def live(name: str, fps: float, domain: str = "simulated", state: str = "live") -> CameraStatus:
    return CameraStatus(name, state, fps, 0, 640, 480, domain, "unplugged" if state == "offline" else "")


def test_a_healthy_station_has_nothing_to_warn_of(home: Home, look: Look) -> None:
    found = look(home, SETTINGS, live("front", 30.0), live("wrist", 29.5))
    assert {finding.level for finding in found.values()} == {OK}
    assert all(finding.fix == "" for finding in found.values())
    assert not list(home.episodes.iterdir()), "the probe is removed"
    json.dumps([finding.to_json() for finding in found.values()])


def test_the_streams_are_known_without_starting_anything() -> None:
    specs, unknown = planned_streams(SETTINGS)
    assert unknown == ()
    assert {spec.name for spec in specs} >= {"observation.images.front", "observation.depth.front", "action", "guard"}
    broken = SETTINGS.model_copy(update={"cameras": (CameraSettings(name="front", kind="kinect"),)})
    _, (finding,) = planned_streams(broken)
    assert finding.level == WARN and "kinect" in finding.found


@pytest.mark.parametrize(("seconds", "level"), [(30, BAD), (5 * 60, WARN), (3 * 3600, OK)])
def test_minutes_of_disk_are_counted_at_this_stations_rate(
    home: Home, look: Look, monkeypatch: pytest.MonkeyPatch, seconds: float, level: str
) -> None:
    speed = 6.21e6  # two colour cameras and one depth camera at 30 Hz
    monkeypatch.setattr(Home, "free_bytes", lambda self: round((seconds + 20) * speed))
    finding = look(home)["disk space"]
    assert finding.level == level
    words = {30: "30 seconds", 300: "5 minutes", 10_800: "3 hours"}[seconds]
    assert f"room for {words} of recording" in finding.found
    if level == BAD:
        with pytest.raises(WorkbenchError, match=r"recording would be lost: disk space.*Free space"):
            refuse_bad([finding])
    else:
        refuse_bad([finding])


def test_the_rate_of_own_takes_is_preferred_to_an_estimate(home: Home, look: Look) -> None:
    small = Settings(cameras=(CameraSettings(name="front", kind="simulated", options={"width": 64, "height": 48}),))
    before = look(home, small)["disk space"].found
    with record(home, Scene(seconds=3), (FRONT,), station=small.station):
        pass
    assert look(home, small)["disk space"].found != before


def test_a_disk_that_takes_nothing(home: Home, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    finding = look(home)["write speed"]
    assert finding.level == BAD and "No space left" in finding.found
    assert not list(home.episodes.iterdir())


def test_a_slow_disk_warns(home: Home, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda handle: (real(handle), time.sleep(1.0))[0])
    finding = look(home)["write speed"]
    assert finding.level == WARN and "needed" in finding.found


def test_a_folder_that_cannot_be_written(home: Home, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    assert look(home)["data folder"].level == BAD


def test_shared_memory_must_hold_the_rings(home: Home, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    need = int(look(home)["shared memory"].found.split(" ")[0]) * 10**6
    assert need == pytest.approx(2 * 30 * (2 * 640 * 480 * 3 + 640 * 480 * 2), rel=0.02)

    def leave(share: float) -> Finding:
        usage = type("Usage", (), {"free": int(share * need)})
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
        return look(home)["shared memory"]

    assert [leave(share).level for share in (0.5, 1.5, 3.0)] == [BAD, WARN, OK]
    assert "shm-size" in leave(0.5).fix
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0}))
    assert look(home, SETTINGS, live("front", 30))["shared memory"].level == OK, "a running station has its rings"


def test_cameras_that_are_slow_silent_or_on_other_clocks(home: Home, look: Look) -> None:
    found = look(home, SETTINGS, live("front", 21.3, "hardware"), live("wrist", 0.0, "", "offline"))
    assert found["camera 'front'"].found == "runs at 21.3 instead of 30 Hz"
    assert "unplugged" in found["camera 'wrist'"].found
    assert "clocks" in found and found["clocks"].level == OK
    mixed = look(home, SETTINGS, live("front", 30, "hardware"), live("wrist", 30, "system"))["clocks"]
    assert mixed.level == WARN and "front: hardware, wrist: system" in mixed.found


def test_missing_limits_warn(home: Home, look: Look) -> None:
    assert look(home, SETTINGS.model_copy(update={"limits": None}))["limits"].level == WARN


def test_calibration_as_the_newest_take_knows_it(home: Home, look: Look) -> None:
    eye = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    known = {name: {"serial": name + "-7", "pose": eye} for name in ("front", "wrist")}
    with record(home, Scene(seconds=1), (STATE,), devices={**known, "wrist": {"pose": None}}, station="simulated"):
        assert "wrist" in look(home)["calibration"].found and look(home)["calibration"].level == WARN
    with record(home, Scene(seconds=1), (STATE,), devices=known, station="simulated"):
        assert look(home)["calibration"].level == OK
    folder = home.path / "calibration"
    folder.mkdir(exist_ok=True)
    (folder / "front-7.json").write_text("{}")
    assert look(home)["calibration"].level == OK
    old_s = time.time() - 200 * 86_400
    os.utime(folder / "front-7.json", (old_s, old_s))
    assert look(home)["calibration"].found == "200 days old"


def test_interrupted_takes_wait_for_the_doctor_but_a_running_one_does_not(home: Home, look: Look) -> None:
    writer = EpisodeWriter.create(home, info_of(Scene()), (STATE,), settings=StoreSettings())
    assert look(home)["interrupted takes"].level == OK
    writer._journal.close()
    finding = look(home)["interrupted takes"]
    assert finding.level == WARN and "doctor --fix" in finding.fix


def test_a_busy_machine_warns(home: Home, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.psutil, "cpu_percent", lambda interval=None: 97.0)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10**8}))
    found = look(home)
    assert found["processor"].level == found["memory"].level == WARN


def test_record_refuses_before_anything_starts_and_doctor_tells_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Home, "free_bytes", lambda self: 10_000_000)
    started = time.monotonic()
    words = ["--home", str(home.path), "--json"]
    assert main([*words, "record", "--task", SETTINGS.tasks[0].name, "--play"], lambda *_: 1) == 1
    captured = capsys.readouterr()
    assert (
        "Recording would be lost: disk space: room for 0 seconds" in json.loads(captured.out.splitlines()[-1])["error"]
    )
    assert time.monotonic() - started < 10 and not list(home.episodes.iterdir())
    monkeypatch.setattr("workbench.services.devices.check_machine", lambda home: ())
    assert main([*words, "doctor"], lambda *_: 1) == 0
    findings = {one["name"]: one for one in json.loads(capsys.readouterr().out.splitlines()[-1])["preflight"]}
    assert findings["disk space"]["level"] == BAD and findings["limits"]["level"] == OK
