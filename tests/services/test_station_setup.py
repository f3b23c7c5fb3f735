"""Proposed settings: what is attached gets a name, what was set stays, and nobody is given limits unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import main
from workbench.core.errors import WorkbenchError
from workbench.services.devices import Device, DeviceList
from workbench.services.settings import (
    ArmSettings,
    CameraSettings,
    Settings,
    TaskSettings,
    load_settings,
    simulated_settings,
)
from workbench.services.station_setup import propose, to_toml, write


def camera(serial: str) -> Device:
    return Device("realsense", serial, "attached", "found", "RealSense D435", {"serial": serial})


def arm(port: str) -> Device:
    return Device("so101", port, "attached", "found", "SO-101", {"port": port})


NOTHING = DeviceList((), (), ())


def test_a_first_run_names_what_is_attached_and_gives_no_limits(tmp_path: Path) -> None:
    found = DeviceList((camera("11"), camera("22")), (arm("/dev/serial/by-id/a"), arm("/dev/serial/by-id/b")), ())
    proposal = propose(simulated_settings(), found)
    assert proposal.changed and not proposal.settings.simulated
    assert [(c.name, c.options["serial"]) for c in proposal.settings.cameras] == [("front", "11"), ("wrist", "22")]
    assert proposal.settings.arm == ArmSettings(kind="so101", options={"port": "/dev/serial/by-id/a"})
    assert proposal.settings.limits is None
    assert "# [limits]" in proposal.text and "# joint_speed_rad_s = [" in proposal.text
    words = " ".join(proposal.notes)
    assert "/dev/serial/by-id/b is left out" in words and "stays parked" in words and "no task yet" in words
    assert write(tmp_path, proposal) is None
    assert load_settings(tmp_path) == proposal.settings


def test_with_nothing_attached_the_simulated_station_stays() -> None:
    proposal = propose(simulated_settings(), NOTHING)
    assert not proposal.changed and proposal.settings == simulated_settings()


def test_what_was_set_is_kept_and_a_replaced_camera_keeps_its_name() -> None:
    present = Settings(
        station="lab",
        operator="ada",
        cameras=(
            CameraSettings(name="top", kind="realsense", options={"serial": "11", "rate_hz": 60.0}),
            CameraSettings(name="door", kind="uvc", options={"device": "/dev/v4l/by-id/x"}),
        ),
        tasks=(TaskSettings(name="t", instruction="do it"),),
    )
    gone = Device("realsense", "top", "missing", "no such serial", "RealSense", {"serial": "11"}, True)
    here = Device("uvc", "door", "attached", "", "Webcam", {"device": "/dev/v4l/by-id/x"}, True)
    proposal = propose(present, DeviceList((gone, here, camera("33"), camera("44")), (), ()))
    cameras = {c.name: c.options for c in proposal.settings.cameras}
    assert cameras == {
        "top": {"serial": "33", "rate_hz": 60.0},
        "door": {"device": "/dev/v4l/by-id/x"},
        "front": {"serial": "44"},
    }
    assert proposal.settings.operator == "ada" and proposal.settings.tasks == present.tasks
    assert any("wants calibrating" in note for note in proposal.notes)


def test_the_file_before_is_kept(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text('operator = "grace"\n')
    proposal = propose(load_settings(tmp_path), DeviceList((camera("11"),), (), ()))
    kept = write(tmp_path, proposal)
    assert kept is not None and kept.read_text() == 'operator = "grace"\n'
    assert load_settings(tmp_path).operator == "grace" and load_settings(tmp_path).cameras[0].name == "front"


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("x")
    with pytest.raises(WorkbenchError, match="could not be written"):
        write(tmp_path / "a file" / "home", propose(simulated_settings(), DeviceList((camera("1"),), (), ())))


@pytest.mark.parametrize("settings", [simulated_settings(), Settings()])
def test_settings_survive_the_way_through_the_file(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "station.toml").write_text(to_toml(settings))
    assert load_settings(tmp_path) == settings


@given(
    st.text(max_size=20),
    st.dictionaries(st.text(min_size=1, max_size=8), st.text() | st.booleans() | st.integers(-9, 9)),
)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, words: str, options: dict) -> None:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(station="s", operator=words, arm=ArmSettings(kind="none", options=options))
    (home / "station.toml").write_text(to_toml(settings), encoding="utf-8")
    assert load_settings(home) == settings


def test_the_command_line_shows_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--propose", "--json", "--home", str(tmp_path)], lambda *_: 0) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown["written"] is False and shown["cameras"] and not (tmp_path / "station.toml").exists()
    assert main(["devices", "--write", "--json", "--home", str(tmp_path)], lambda *_: 0) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["written"] is True
    assert load_settings(tmp_path) == simulated_settings()
