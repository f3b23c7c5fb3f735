"""What the control loop relies on, for every registered kind of arm."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.arm import ARMS
from tests.conformance.benches import check_config, simulated
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.types import ArmCommand

BENCHES = {"simulated": simulated}
KINDS = sorted(ARMS.all())


@pytest.fixture(params=KINDS)
def bench(request):
    plugin = ARMS.get(request.param)
    if plugin.missing_reason():
        pytest.skip(plugin.missing_reason())
    if request.param not in BENCHES:
        pytest.skip(f"no stand-in for a '{request.param}' arm")
    with BENCHES[request.param]() as bench:
        yield request.param, bench


@pytest.fixture
def arm(bench):
    kind, place = bench
    arm = ARMS.build(kind, **place.settings)
    arm.connect()
    yield arm
    arm.close()


@pytest.mark.parametrize("kind", KINDS)
def test_config_makes_a_form(kind):
    check_config(ARMS.get(kind))


def test_connecting_does_not_move_the_arm(bench, arm):
    before = arm.read()
    bench[1].advance(0.5)
    after = arm.read()
    assert np.max(np.abs(after.joints_rad - before.joints_rad)) < 2e-3
    assert after.t_host_ns > before.t_host_ns and after.t_device_ns > before.t_device_ns


def test_state_is_complete_and_finite(arm):
    state = arm.read()
    assert state.joints_rad.shape == state.velocities_rad_s.shape == (arm.joints,) == arm.home_rad.shape
    assert np.all(np.isfinite(state.vector())) and state.vector().shape == (arm.joints + 8,)
    assert 0.0 <= state.gripper <= 1.0 and state.mode
    assert np.linalg.norm(state.pose.quaternion_wxyz) == pytest.approx(1.0, abs=1e-6)


def test_kinematics_agree_with_the_measured_pose_and_invert(arm):
    state, solver = arm.read(), arm.kinematics()
    position, quaternion = solver.pose(state.joints_rad)
    assert position == pytest.approx(state.pose.position_m, abs=1e-3)
    assert abs(quaternion @ state.pose.quaternion_wxyz) > 0.9999
    wanted = position + np.array([0.01, -0.01, -0.02])
    joints = solver.solve(state.joints_rad, wanted, quaternion)
    assert np.linalg.norm(solver.pose(joints)[0] - wanted) < 5e-4
    assert np.all(np.isfinite(solver.solve(state.joints_rad, np.full(3, np.nan), quaternion)))
    assert arm.kinematics() is not solver, "one solver per thread"


def test_a_command_is_followed_and_its_expiry_kept(bench, arm):
    _, place = bench
    start = arm.read().joints_rad
    target = start + 0.05
    for _ in range(20):
        arm.send(ArmCommand(target, 0.0, place.now_ns() + 200_000_000))
        place.advance(0.1)
    state = arm.read()
    assert np.max(np.abs(state.joints_rad - target)) < 0.01 and state.gripper < 0.1
    arm.send(ArmCommand(start, 1.0, place.now_ns() - 1))
    place.advance(1.0)
    assert np.max(np.abs(arm.read().joints_rad - target)) < 0.01


def test_hold_stops_a_moving_arm(bench, arm):
    _, place = bench
    start = arm.read().joints_rad
    target = start + np.array([0.3] + [0.0] * (arm.joints - 1))
    arm.send(ArmCommand(target, 1.0, place.now_ns() + 10**10))
    place.advance(0.06)
    arm.hold()
    place.advance(2.0)
    state = arm.read()
    assert np.max(np.abs(state.velocities_rad_s)) < 1e-2
    assert abs(state.joints_rad[0] - target[0]) > 0.02


def test_a_lost_link_is_a_device_error_with_a_next_step(bench):
    kind, place = bench
    arm = ARMS.build(kind, **place.settings)
    with pytest.raises(DeviceError):
        arm.read()
    arm.connect()
    place.unplug()
    with pytest.raises(DeviceError) as caught:
        arm.read()
    assert caught.value.next_step
    arm.close()
    arm.close()
    with pytest.raises(WorkbenchError):
        ARMS.build(kind, **place.settings).connect()
