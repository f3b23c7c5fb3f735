"""What the capture threads rely on, for every registered kind of camera."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hardware.camera import CAMERAS
from tests.conformance.benches import check_config, simulated
from workbench.core.errors import DeviceError, WorkbenchError

BENCHES = {
    "simulated": lambda: simulated(name="front", camera="front", width=64, height=48, rate_hz=10.0, depth=True),
}
KINDS = sorted(CAMERAS.all())


@pytest.fixture(scope="module", params=KINDS)
def bench(request):
    plugin = CAMERAS.get(request.param)
    if plugin.missing_reason():
        pytest.skip(plugin.missing_reason())
    if request.param not in BENCHES:
        pytest.skip(f"no stand-in for a '{request.param}' camera")
    with BENCHES[request.param]() as bench:
        yield request.param, bench


@pytest.mark.parametrize("kind", KINDS)
def test_config_makes_a_form(kind):
    check_config(CAMERAS.get(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_are_a_sentence(kind):
    if CAMERAS.get(kind).missing_reason():
        pytest.skip(CAMERAS.get(kind).missing_reason())
    with pytest.raises(WorkbenchError, match="wrong settings"):
        CAMERAS.build(kind, no_such_setting=1)


def test_streams_are_known_before_opening_and_named_by_convention(bench):
    kind, place = bench
    streams = CAMERAS.build(kind, **place.settings).streams
    assert streams
    for spec in streams:
        assert spec.name.startswith(("observation.images.", "observation.depth."))
        assert spec.dtype == ("uint8" if "images" in spec.name else "uint16") and spec.rate_hz > 0
        assert len(spec.shape) == (3 if "images" in spec.name else 2)


def test_shots_match_their_streams_and_count_upwards(bench):
    kind, place = bench
    camera = CAMERAS.build(kind, **place.settings)
    info = camera.open()
    assert info.kind == kind and info.serial
    assert info.clock_domain in ("hardware", "global", "system", "simulated")
    for optics in info.intrinsics.values():
        assert {"width", "height", "fx", "fy", "cx", "cy"} <= optics.keys()
    shots = []
    for _ in range(4):
        place.advance(0.1)
        shot = camera.read(10.0)
        assert shot is not None
        shots.append(shot)
    camera.close()
    for shot in shots:
        assert shot.images.keys() == {spec.name for spec in camera.streams}
        for spec in camera.streams:
            image = shot.images[spec.name]
            assert image.shape == spec.shape and image.dtype == np.dtype(spec.dtype)
    for earlier, later in itertools.pairwise(shots):
        assert later.sequence > earlier.sequence
        assert later.t_device_ns > earlier.t_device_ns and later.t_host_ns > earlier.t_host_ns
        assert all(later.images[name] is not earlier.images[name] for name in later.images)


def test_no_exposure_means_none_not_an_error(bench):
    kind, place = bench
    camera = CAMERAS.build(kind, **place.settings)
    camera.open()
    assert camera.read(0.02) is None
    camera.close()


def test_opening_again_after_closing_works_and_closing_twice_is_harmless(bench):
    kind, place = bench
    camera = CAMERAS.build(kind, **place.settings)
    for _ in range(2):
        camera.open()
        place.advance(0.1)
        assert camera.read(10.0) is not None
        camera.close()
    camera.close()
    with pytest.raises(DeviceError):
        camera.read(0.01)


def test_unplugging_is_a_device_error_with_a_next_step(bench):
    kind, _place = bench
    with BENCHES[kind]() as other:
        camera = CAMERAS.build(kind, **other.settings)
        camera.open()
        other.unplug()
        with pytest.raises(DeviceError) as caught:
            for _ in range(20):
                camera.read(0.2)
        assert caught.value.next_step
        camera.close()
        with pytest.raises(DeviceError):
            CAMERAS.build(kind, **other.settings).open()
