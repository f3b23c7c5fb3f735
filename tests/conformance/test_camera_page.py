"""The worked example of docs/cameras.md is a camera like any other: dropped in as a file, found, and checked."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import hardware.camera
import hardware.cameras
from hardware.camera import Camera
from tests.conformance.benches import check_config
from tests.conformance.camera_checks import checks_of
from workbench.core.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "cameras.md"
BLOCK = re.compile(r"^```python\n(# hardware/cameras/(\w+)\.py\n.*?)^```", re.M | re.S)
CHECKS = ("streams", "shots", "silence", "life", "open while open")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry of its own over ``hardware.cameras``, to which the page's file has been added."""
    ((text, name),) = BLOCK.findall(PAGE.read_text())
    (tmp_path / f"{name}.py").write_text(text)
    fresh: Registry[Camera] = Registry("camera", "hardware.cameras")
    monkeypatch.setattr(hardware.camera, "CAMERAS", fresh)
    monkeypatch.setattr(hardware.cameras, "__path__", [str(tmp_path)])
    yield name, fresh
    sys.modules.pop(f"hardware.cameras.{name}", None)
    if hasattr(hardware.cameras, name):
        delattr(hardware.cameras, name)


def test_the_file_is_found_and_can_be_searched_for(registry):
    kind, cameras = registry
    assert list(cameras.all()) == [kind]
    check_config(cameras.get(kind))
    assert [found.id for found in cameras.get(kind).look()] == ["pattern-1"]


@pytest.mark.parametrize("check", CHECKS)
def test_the_file_keeps_what_the_rest_relies_on(registry, check):
    kind, cameras = registry
    checks_of(lambda: cameras.build(kind), kind=kind)[check]()


def test_every_check_is_run(registry):
    kind, cameras = registry
    assert set(checks_of(lambda: cameras.build(kind))) == set(CHECKS)


def test_the_page_names_every_kind_and_every_option():
    page = PAGE.read_text()
    from hardware.camera import CAMERAS
    from hardware.realsense_config import Config

    for kind in CAMERAS.all():
        assert f"`{kind}`" in page, f"docs/cameras.md does not speak of the kind '{kind}'"
    for option in Config.__dataclass_fields__:
        assert f"`{option}`" in page or option == "name", f"docs/cameras.md does not explain '{option}'"
