"""What the control loop relies on, for every registered kind of arm, over the makers' own packages."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hardware.arm import ARMS
from tests.conformance.benches import check_config
from tests.emulators.arms import BENCHES
from workbench.core.errors import DeviceError, StateError, WorkbenchError
from workbench.core.types import ArmCommand

KINDS = sorted(ARMS.all())
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the makers' packages
WHY_NOT = {
    "franka": "its simulator needs an environment of its own (tests/hardware/test_arm_franka.py, slow)",
    "lerobot": "no LeRobot driver fits beside this torch (tests/hardware/test_arm_lerobot.py)",
}


SLOW = ("ur", "trossen")  # their controllers are processes that take seconds to start and to let go
PARAMS = [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in KINDS]


@pytest.fixture(scope="module", params=PARAMS)
def bench(request, tmp_path_factory):
    plugin = ARMS.get(request.param)
    if plugin.missing_reason():
        pytest.skip(plugin.missing_reason())
    if request.param not in BENCHES:
        pytest.skip(WHY_NOT.get(request.param, f"no stand-in for a '{request.param}' arm"))
    with BENCHES[request.param](tmp_path_factory.mktemp(request.param)) as bench:
        yield request.param, bench


@pytest.fixture(scope="module")
def held(bench):
    """One connection for all tests of a kind but the last: some packages take a second to connect and to let go."""
    kind, place = bench
    held = ARMS.build(kind, **place.settings)
    held.connect()
    yield held
    held.close()


@pytest.fixture
def arm(bench, held):
    held.read()
    yield held
    held.hold()
    bench[1].advance(0.1)


def follow(arm, place, target, gripper=0.5, most_s=2.0):
    """Send a target until the arm is there; returns the last state."""
    for _ in range(round(most_s / 0.02)):
        arm.send(ArmCommand(target, gripper, place.now_ns() + 200_000_000))
        place.advance(0.02)
        state = arm.read()
        if np.max(np.abs(state.joints_rad - target)) < 5e-3 and np.max(np.abs(state.velocities_rad_s)) < 5e-3:
            break
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_config_makes_a_form(kind):
    check_config(ARMS.get(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_suggested_limits_fit_the_arm_and_are_not_in_force(kind):
    try:
        arm = ARMS.get(kind).build(ARMS.get(kind).config())
    except WorkbenchError as error:
        assert error.next_step
        return
    limits = arm.suggested_limits()
    assert len(limits.joint_min_rad) == arm.joints == len(arm.home_rad)
    assert np.all(arm.home_rad > limits.joint_min_rad) and np.all(arm.home_rad < limits.joint_max_rad)
    tool, _ = arm.kinematics().pose(arm.home_rad)
    assert np.all(tool > limits.workspace_min_m) and np.all(tool < limits.workspace_max_m), tool


def test_connecting_does_not_move_the_arm(bench, arm):
    before = arm.read()
    bench[1].advance(0.15)
    after = arm.read()
    assert np.max(np.abs(after.joints_rad - before.joints_rad)) < 2e-3
    assert after.t_host_ns > before.t_host_ns and after.t_device_ns > before.t_device_ns
    assert abs(bench[1].now_ns() - after.t_host_ns) < 100_000_000


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
    wanted = solver.pose(state.joints_rad + 0.03)[0]
    joints = solver.solve(state.joints_rad, wanted, quaternion)
    assert np.linalg.norm(solver.pose(joints)[0] - wanted) < 5e-4
    assert np.all(np.isfinite(solver.solve(state.joints_rad, np.full(3, np.nan), quaternion)))
    assert arm.kinematics() is not solver, "one solver per thread"


def test_a_command_is_followed_and_its_expiry_kept(bench, arm):
    _, place = bench
    start = arm.read().joints_rad
    target = start + 0.05
    assert np.max(np.abs(follow(arm, place, target).joints_rad - target)) < 5e-3
    arm.send(ArmCommand(start, 1.0, place.now_ns() - 1))
    place.advance(0.2)
    assert np.max(np.abs(arm.read().joints_rad - target)) < 0.01


def test_a_slow_sine_is_followed_closely(bench, arm):
    """What is wanted and what the arm does, 0.1 s later, differ by less than 0.03 rad at up to 0.3 rad/s."""
    _, place = bench
    start = arm.read().joints_rad
    begin = place.now_ns()
    errors = []
    while (passed := (place.now_ns() - begin) / 1e9) < 0.7:
        arm.send(ArmCommand(start + 0.05 * (1 - np.cos(6 * passed)), 0.5, place.now_ns() + 100_000_000))
        place.advance(0.01)
        state = arm.read()
        wanted = start + 0.05 * (1 - np.cos(6 * max(0.0, (state.t_host_ns - begin) / 1e9)))
        errors.append(np.max(np.abs(state.joints_rad - wanted)))
    assert np.max(errors) < 0.06 and np.median(errors) < 0.04


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_command_that_is_no_number_is_refused(arm, bad):
    joints = arm.read().joints_rad.copy()
    joints[0] = bad
    with pytest.raises(DeviceError):
        arm.send(ArmCommand(joints, 0.5, 2**62))


def test_hold_stops_a_moving_arm(bench, arm):
    _, place = bench
    start = arm.read().joints_rad
    target = start + np.array([0.4] + [0.0] * (arm.joints - 1))
    end = place.now_ns() + 10**10
    arm.send(ArmCommand(target, 0.5, end))
    for _ in range(20):
        place.advance(0.01)
        if arm.read().joints_rad[0] - start[0] > 0.02:
            break
    arm.hold()
    for _ in range(20):
        place.advance(0.05)
        state = arm.read()
        if np.max(np.abs(state.velocities_rad_s)) < 1e-2:
            break
    assert np.max(np.abs(state.velocities_rad_s)) < 1e-2, "it stands within a second"
    assert abs(state.joints_rad[0] - target[0]) > 0.02
    place.advance(0.1)
    assert np.max(np.abs(arm.read().joints_rad - state.joints_rad)) < 2e-3


def test_parking_is_for_an_arm_at_home(bench, arm):
    here = arm.read().joints_rad
    if np.max(np.abs(here - arm.home_rad)) > 0.15:
        with pytest.raises(StateError):
            arm.park()
    home = arm.home_rad
    if np.max(np.abs(home - here)) < 0.8:
        follow(arm, bench[1], home, most_s=3.0)
        arm.park()
        bench[1].advance(0.1)
        assert np.max(np.abs(arm.read().joints_rad - home)) < 0.02
        woken = follow(arm, bench[1], home + 0.03)
        assert np.max(np.abs(woken.joints_rad - home - 0.03)) < 0.01, "the next command wakes it"


def test_a_lost_link_is_a_device_error_in_time_and_hold_does_not_hang(bench, held):
    """The last of a kind: afterwards its world is gone."""
    kind, place = bench
    with pytest.raises(DeviceError):
        ARMS.build(kind, **place.settings).read()
    arm = held
    arm.read()
    place.unplug()
    start = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        while time.monotonic() - start < 2:
            arm.read()
            time.sleep(0.002)
    assert time.monotonic() - start < 0.2
    assert caught.value.next_step
    for act in (arm.hold, arm.close, arm.close):
        start = time.monotonic()
        try:
            act()
        except DeviceError:
            assert act == arm.hold and kind == "simulated"
        assert time.monotonic() - start < 2.5
