"""What the capture threads rely on, as functions of a way to make a camera: registered kinds and new ones alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hardware.camera import Camera, CameraInfo, CameraShot
from workbench.core.errors import DeviceError

Make = Callable[[], Camera]
Advance = Callable[[float], None]
DOMAINS = ("hardware", "global", "system", "simulated", "recorded")


def real_time(_: float) -> None:
    """For a camera whose world moves on by itself."""


def check_streams(make: Make) -> None:
    """Known before opening, the first is colour, names and types by convention."""
    camera = make()
    streams = camera.streams
    assert streams and streams == make().streams
    assert streams[0].name.startswith("observation.images.")
    assert len({spec.name for spec in streams}) == len(streams)
    for spec in streams:
        assert spec.rate_hz > 0
        if spec.name.startswith("observation.images."):
            assert spec.dtype == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3
        elif spec.name.startswith("observation.depth."):
            assert spec.dtype == "uint16" and len(spec.shape) == 2 and spec.unit == "mm"
        else:
            assert spec.name.startswith("camera.") and spec.dtype == "float32"
            assert len(spec.shape) == 1 and len(spec.axes) == spec.shape[0]


def check_info(info: CameraInfo, kind: str = "") -> None:
    """An identity that a manifest can hold."""
    assert info.serial and (not kind or info.kind == kind)
    assert info.clock_domain in DOMAINS
    for optics in info.intrinsics.values():
        assert {"width", "height", "fx", "fy", "cx", "cy"} <= optics.keys()
    assert all(isinstance(warning, str) for warning in info.warnings)


def check_shots(make: Make, advance: Advance = real_time, kind: str = "") -> list[CameraShot]:
    """Shapes and types as promised; numbers and times rise; every picture is an array of its own."""
    camera = make()
    check_info(camera.open(), kind)
    shots = [_one(camera, advance) for _ in range(4)]
    camera.close()
    specs = {spec.name: spec for spec in camera.streams}
    first = camera.streams[0].name
    for shot in shots:
        assert first in shot.images and shot.images.keys() <= specs.keys()
        assert shot.stamps.keys() <= shot.images.keys()
        for name, image in shot.images.items():
            assert image.shape == specs[name].shape and image.dtype == np.dtype(specs[name].dtype)
    assert {name for shot in shots for name in shot.images} == set(specs)
    for earlier, later in itertools.pairwise(shots):
        assert later.sequence > earlier.sequence
        assert later.t_device_ns > earlier.t_device_ns and later.t_host_ns > earlier.t_host_ns
        for name in later.images.keys() & earlier.images.keys():
            assert not np.shares_memory(later.images[name], earlier.images[name])
        for name in later.stamps.keys() & earlier.stamps.keys():
            assert later.stamps[name].sequence > earlier.stamps[name].sequence
    return shots


def check_silence(make: Make) -> None:
    """No exposure in time means None, not an error."""
    camera = make()
    camera.open()
    answers = [camera.read(0.004) for _ in range(60)]
    camera.close()
    assert None in answers


def check_life(make: Make, advance: Advance = real_time) -> None:
    """Opening again, closing twice, reading what is not open."""
    camera = make()
    camera.close()
    for _ in range(2):
        camera.open()
        _one(camera, advance)
        camera.close()
    camera.close()
    with pytest.raises(DeviceError) as caught:
        camera.read(0.01)
    assert caught.value.next_step


def check_open_while_open(make: Make, advance: Advance = real_time) -> None:
    """A second ``open`` without ``close`` starts anew and leaks nothing that would block a third."""
    camera = make()
    for _ in range(3):
        camera.open()
    _one(camera, advance)
    camera.close()


def check_unplug(make: Make, unplug: Callable[[], None]) -> None:
    """Going away is a DeviceError with a next step, soon; so is opening what is not there."""
    camera = make()
    camera.open()
    unplug()
    with pytest.raises(DeviceError) as caught:
        for _ in range(20):
            camera.read(0.2)
    assert caught.value.next_step
    camera.close()
    with pytest.raises(DeviceError) as caught:
        make().open()
    assert caught.value.next_step


def _one(camera: Camera, advance: Advance) -> CameraShot:
    advance(0.1)
    shot = camera.read(10.0)
    assert shot is not None
    return shot


def checks_of(make: Make, advance: Advance = real_time, kind: str = "") -> dict[str, Any]:
    """Every check that needs no unplugging, by name."""
    return {
        "streams": lambda: check_streams(make),
        "shots": lambda: check_shots(make, advance, kind),
        "silence": lambda: check_silence(make),
        "life": lambda: check_life(make, advance),
        "open while open": lambda: check_open_while_open(make, advance),
    }
