"""The device list comes from the registries; the examination tells the truth about this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hardware.arm import ARMS
from hardware.camera import CAMERAS
from hardware.teleop import TELEOPS
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.services.devices import examine_all, list_devices
from workbench.services.settings import CameraSettings, simulated_settings


def test_every_registered_kind_is_listed_with_its_true_status() -> None:
    listed = list_devices(simulated_settings())
    for group, registry in ((listed.cameras, CAMERAS), (listed.arms, ARMS), (listed.teleops, TELEOPS)):
        assert {device.kind for device in group} == set(registry.all())
        for device in group:
            needs = registry.get(device.kind).needs
            absent = bool(needs) and importlib.util.find_spec(needs) is None
            assert (device.status == "missing") == absent
            assert device.reason
    assert [device.id for device in listed.cameras if device.status == "attached"] == ["front", "wrist"]


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
