"""What the control loop relies on, for every registered kind of teleoperation device."""

from __future__ import annotations

import time
from contextlib import nullcontext

import numpy as np
import pytest

from hardware.sim.station import find
from hardware.teleop import TELEOPS
from tests.conformance.benches import TASK, Bench, check_config, simulated
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import WorkbenchError

BENCHES = {
    "scripted": lambda: simulated(task=TASK, seed=0),
    "keyboard": lambda: nullcontext(Bench({}, lambda seconds: None, lambda: None, time.monotonic_ns)),
}
INPUT = {"keyboard": lambda device: device.press("w")}
KINDS = sorted(TELEOPS.all())
PERIOD_S = 0.01


@pytest.fixture(params=KINDS)
def bench(request):
    plugin = TELEOPS.get(request.param)
    if plugin.missing_reason():
        pytest.skip(plugin.missing_reason())
    if request.param not in BENCHES:
        pytest.skip(f"no stand-in for a '{request.param}' device")
    with BENCHES[request.param]() as bench:
        yield request.param, bench


def measured(place):
    address = place.settings.get("address")
    return find(address).arm_state() if address else state(START_RAD, place.now_ns())


@pytest.mark.parametrize("kind", KINDS)
def test_config_makes_a_form(kind):
    check_config(TELEOPS.get(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_are_a_sentence(kind):
    if TELEOPS.get(kind).missing_reason():
        pytest.skip(TELEOPS.get(kind).missing_reason())
    with pytest.raises(WorkbenchError, match="wrong settings"):
        TELEOPS.build(kind, no_such_setting=1)


def test_moves_are_small_finite_and_never_block(bench):
    kind, place = bench
    device = TELEOPS.build(kind, **place.settings)
    device.open()
    INPUT.get(kind, lambda device: None)(device)
    moved, slowest_s = 0.0, []
    for _ in range(50):
        now = measured(place)
        started = time.perf_counter()
        action = device.read(now, place.now_ns(), PERIOD_S)
        slowest_s.append(time.perf_counter() - started)
        assert action is not None
        assert action.linear_m.shape == action.angular_rad.shape == (3,)
        assert np.all(np.isfinite(action.linear_m)) and np.all(np.isfinite(action.angular_rad))
        assert np.linalg.norm(action.linear_m) < 1.0 * PERIOD_S and np.linalg.norm(action.angular_rad) < 3.0 * PERIOD_S
        assert 0.0 <= action.gripper <= 1.0 and isinstance(action.engaged, bool)
        moved += np.linalg.norm(action.linear_m)
    assert moved > 0 and np.median(slowest_s) < 0.005
    device.close()


def test_a_closed_device_gives_no_input_and_closing_twice_is_harmless(bench):
    kind, place = bench
    device = TELEOPS.build(kind, **place.settings)
    device.open()
    device.close()
    device.close()
    assert device.read(measured(place), place.now_ns(), PERIOD_S) is None
