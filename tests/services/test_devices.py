"""The device list comes from the registries; the examination tells the truth about this machine."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hardware.arm import ARMS
from hardware.camera import CAMERAS
from hardware.teleop import TELEOPS
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.core.registry import Found, Plugin
from workbench.services.devices import Device, examine_all, list_devices
from workbench.services.settings import CameraSettings, simulated_settings


def test_every_registered_kind_is_listed_with_its_true_status() -> None:
    listed = list_devices(simulated_settings())
    for group, registry in ((listed.cameras, CAMERAS), (listed.arms, ARMS), (listed.teleops, TELEOPS)):
        assert {device.kind for device in group} == set(registry.all())
        for device in group:
            plugin = registry.get(device.kind)
            absent = bool(plugin.needs) and importlib.util.find_spec(plugin.needs) is None
            assert device.status == "missing" or not absent
            assert (device.status == "missing") == bool(plugin.missing_reason())
            assert device.reason
    assert [device.id for device in listed.cameras if device.chosen] == ["front", "wrist"]


def test_a_camera_kind_that_no_plug_in_provides_is_missing_not_an_error() -> None:
    settings = simulated_settings().model_copy(update={"cameras": (CameraSettings(name="left", kind="periscope"),)})
    camera = list_devices(settings).cameras[0]
    assert (camera.kind, camera.id, camera.status) == ("periscope", "left", "missing")


def test_the_examination_finds_and_mends_an_interrupted_take(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    episode_id = write_reach(home, 0).id
    home.sealed(episode_id).rename(home.partial(episode_id))
    found = examine_all(home.path, fix=False)
    assert found["ok"] is False and home.partial(episode_id).exists()
    fixed = examine_all(home.path, fix=True)
    assert fixed["takes"]["messages"] and not home.partial(episode_id).exists()
    clean = examine_all(home.path, fix=False)
    assert clean["ok"] is True
    assert {check["name"] for check in clean["checks"]} >= {"python", "rendering", "free disk", "display"}


@dataclass(frozen=True)
class PeriscopeConfig:
    name: str = ""
    serial: str = ""


def periscopes(*serials: str) -> Plugin[object]:
    found = [Found(serial, "Periscope", {"serial": serial}, "on USB 3.2") for serial in serials]
    return Plugin("periscope", "Periscope", PeriscopeConfig, PeriscopeConfig, discover=lambda: found, identity="serial")


def listed_with(plugin: Plugin[object], monkeypatch: pytest.MonkeyPatch, *chosen: str) -> list[Device]:
    monkeypatch.setattr("workbench.services.devices.CAMERAS.all", lambda: {"periscope": plugin})
    cameras = tuple(
        CameraSettings(name=f"left_{serial}", kind="periscope", options={"serial": serial}) for serial in chosen
    )
    return list(list_devices(simulated_settings().model_copy(update={"cameras": cameras})).cameras)


def test_attached_devices_are_listed_with_the_options_that_choose_them(monkeypatch: pytest.MonkeyPatch) -> None:
    used, free = listed_with(periscopes("1", "2"), monkeypatch, "1")
    assert (used.id, used.status, used.chosen) == ("left_1", "attached", True) and "USB 3.2" in used.reason
    assert (free.id, free.status, free.chosen, free.options) == ("2", "attached", False, {"serial": "2"})


def test_a_chosen_device_that_the_search_did_not_see_is_missing_and_says_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, other = listed_with(periscopes("2"), monkeypatch, "1")
    assert (gone.status, gone.chosen) == ("missing", True)
    assert "serial 1" in gone.reason and "Periscope 2" in gone.reason
    assert (other.id, other.status) == ("2", "attached")


def test_a_search_that_failed_does_not_make_a_chosen_device_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Found]:
        raise OSError("no bus")

    (chosen,) = listed_with(replace(periscopes(), discover=broken), monkeypatch, "1")
    assert chosen.status == "attached"
