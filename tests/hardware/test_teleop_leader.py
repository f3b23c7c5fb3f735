"""Leader arms: the pure following rules, and the real servo packages on a pseudo terminal."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.following import Follower, Squeeze, Start
from hardware.servo_calibration import GripperServo, JointServo, ServoCalibration
from hardware.teleop import TELEOPS
from hardware.teleops.leader import nearest_turn
from tests.emulators.servos import ServoEmulator
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import DeviceError, WorkbenchError

PERIOD_S = 0.01
RAD = 2 * np.pi / 4096
CALIBRATION = ServoCalibration(
    (
        JointServo("base", 1, 2048, 1, 700, 3400),
        JointServo("elbow", 2, 2000, -1, 700, 3400),
        JointServo("wrist", 3, 2100, 1, 700, 3400),
    ),
    GripperServo(4, 1500, 2500),
)
OPEN, SQUEEZED = 2500, 1500
angles = st.lists(st.floats(-0.6, 0.6), min_size=3, max_size=3).map(np.array)


# the rules ---------------------------------------------------------------------------------------------------------


@given(angles, angles, st.floats(0.02, 0.1))
def test_the_way_to_the_leader_is_slow_without_a_jump_and_arrives(leader, joints, period_s):
    follower = Follower(Start.RAMP, 0.08, 0.3, 2.0)
    at = joints.copy()
    for _ in range(int(1.2 / 0.3 / period_s) + 5):
        before, goal = at, follower.step(leader, at, period_s)
        assert np.max(np.abs(goal - before)) <= 2.0 * period_s + 1e-9
        if np.max(np.abs(leader - before)) > 0.08 + 1e-9:
            assert np.max(np.abs(goal - before)) <= 0.3 * period_s + 1e-9 or "following" in follower.words
        at = goal
    assert np.allclose(at, leader) and follower.words == "following the leader"


@given(angles, angles, angles)
def test_the_target_is_never_far_from_a_stuck_arm(first, second, joints):
    follower = Follower(Start.RAMP, 0.5, 1.0, 6.0)
    for leader in np.linspace(first, second, 50):
        assert np.max(np.abs(follower.step(leader, joints, 0.05) - joints)) <= 0.2 + 1e-9


def test_refusing_says_which_joint_and_begins_once_aligned():
    follower = Follower(Start.REFUSE, 0.08, 0.3, 2.0)
    joints = np.array([0.0, 0.5, 0.0])
    assert follower.step(np.zeros(3), joints, PERIOD_S) is None
    assert "joint 2 is 29 degrees away" in follower.words and "bring the leader" in follower.words
    assert np.allclose(follower.step(joints + 0.05, joints, PERIOD_S), joints + 2.0 * PERIOD_S)
    follower.release()
    assert follower.step(np.zeros(3), joints, PERIOD_S) is None, "after letting go it refuses again"


@given(st.lists(st.floats(0, 1), max_size=40))
def test_a_squeeze_is_open_squeezed_open_in_this_order(openings):
    squeeze, stages = Squeeze(), ["open", "squeezed", "open"]
    for opening in openings:
        if stages and (opening > 0.7 if stages[0] == "open" else opening < 0.3):
            stages.pop(0)
        assert squeeze.update(opening) == (not stages) == (squeeze.words == "")


@given(st.lists(st.integers(700, 3400), min_size=4, max_size=4), st.integers(-3, 3))
def test_whole_turns_counted_by_a_servo_mean_nothing(ticks, turns):
    ticks = np.array(ticks)
    assert np.array_equal(nearest_turn(ticks + 4096 * turns, CALIBRATION), ticks)


# real packages -----------------------------------------------------------------------------------------------------


def ticks_of(joints):
    """Servo positions at which the leader stands like the arm."""
    return CALIBRATION.ticks(np.asarray(joints, float), 1.0)[:3]


class Leader:
    """A leader arm on a pseudo terminal, moved by hand."""

    def __init__(self, family, joints):
        self.bus = ServoEmulator(family, {**dict(enumerate(ticks_of(joints).tolist(), 1)), 4: OPEN})
        for servo in self.bus.servos.values():
            servo.memory[servo.at_torque] = 1  # as somebody has left it

    def put(self, joints):
        for number, ticks in enumerate(ticks_of(joints).tolist(), 1):
            self.bus.servos[number].position = float(ticks)

    def trigger(self, ticks):
        self.bus.servos[4].position = float(ticks)


@pytest.fixture(params=["so101_leader", "gello"])
def place(request, tmp_path):
    family = "feetech" if request.param == "so101_leader" else "dynamixel"
    CALIBRATION.save(tmp_path / "leader.json")
    leader = Leader(family, START_RAD)
    options = {"port": leader.bus.port, "calibration": str(tmp_path / "leader.json")}
    yield request.param, leader, options
    leader.bus.close()


def until(device, wanted, joints=START_RAD, seconds=2.0):
    end = time.monotonic() + seconds
    while not wanted(action := device.read(state(joints, 0, gripper=0.8), 0, PERIOD_S)):
        assert time.monotonic() < end, f"never came: {action}, {device.words}"
        time.sleep(PERIOD_S)
    return action


def moved(by):
    return START_RAD + np.array(by)


def squeeze(device, leader, joints=START_RAD):
    until(device, lambda _: "squeeze the leader's trigger" in device.words, joints)
    leader.trigger(SQUEEZED)
    until(device, lambda _: device.words.endswith("let go of the trigger"), joints)
    leader.trigger(OPEN)


def opened(place, **options):
    kind, leader, settings = place
    device = TELEOPS.build(kind, **settings, **options)
    device.open()
    deadline = time.monotonic() + 1.0
    while any(servo.memory[servo.at_torque] for servo in leader.bus.servos.values()):
        assert time.monotonic() < deadline, "its motors must be free, or they pull against the hand"
        time.sleep(0.005)
    leader.put(START_RAD)
    return device, leader


def test_a_leader_is_free_and_commands_joints_after_a_squeeze(place):
    device, leader = opened(place)
    try:
        until(device, lambda action: action is None)
        squeeze(device, leader)
        action = until(device, lambda action: action is not None)
        assert np.allclose(action.joints_rad, START_RAD, atol=2 * RAD) and action.gripper == pytest.approx(0.8)
        leader.put(moved([0.04, -0.03, 0.02]))
        expected = moved([0.04, -0.03, 0.02])
        until(device, lambda action: action is not None and np.allclose(action.joints_rad, expected, atol=2 * RAD))
        leader.trigger((OPEN + SQUEEZED) // 2)
        until(device, lambda action: action is not None and abs(action.gripper - 0.5) < 0.01)
    finally:
        device.close()


def test_a_leader_elsewhere_is_approached_slowly_and_says_so(place):
    device, leader = opened(place, ramp_rad_s=0.5)
    try:
        leader.put(moved([0.6, 0, 0]))
        squeeze(device, leader)
        action = until(device, lambda action: action is not None)
        assert 0 < action.joints_rad[0] - START_RAD[0] <= 0.5 * PERIOD_S + 1e-9
        assert "aligning slowly: joint 1 is 34 degrees away" in device.words
    finally:
        device.close()


def test_a_leader_elsewhere_can_be_refused_until_it_was_aligned(place):
    device, leader = opened(place, start="refuse")
    try:
        leader.put(moved([0.6, 0, 0]))
        squeeze(device, leader)
        until(device, lambda action: "bring the leader to the arm's pose" in device.words)
        assert device.read(state(START_RAD, 0), 0, PERIOD_S) is None
        for share in np.linspace(1, 0, 40):
            leader.put(moved([0.6 * share, 0, 0]))
            device.read(state(START_RAD, 0), 0, PERIOD_S)
            time.sleep(PERIOD_S)
        until(device, lambda action: action is not None)
    finally:
        device.close()


def test_a_pulled_cable_a_dead_servo_and_a_fall_are_no_input(place):
    device, leader = opened(place)
    try:
        squeeze(device, leader)
        until(device, lambda action: action is not None)
        leader.bus.spoil = 1
        time.sleep(0.05)
        until(device, lambda action: action is not None, seconds=0.2)  # one broken packet does not end it
        leader.put(moved([0, 0.5, 0]))
        until(device, lambda action: action is None, seconds=0.2)
        assert "moved faster than a hand" in device.words
        leader.put(START_RAD)
        squeeze(device, leader)
        until(device, lambda action: action is not None)
        leader.bus.servos[2].alive = False
        lost_s = time.monotonic()
        until(device, lambda action: action is None, seconds=0.5)
        assert time.monotonic() - lost_s < 0.25
        until(device, lambda _: "does not answer" in device.words or "no answer" in device.words)
        leader.bus.servos[2].alive = True
        until(device, lambda _: "squeeze the leader's trigger" in device.words, seconds=3.0)
    finally:
        device.close()


def test_an_arm_with_other_joints_is_not_followed(place):
    device, leader = opened(place)
    two = dataclasses.replace(state(START_RAD, 0), joints_rad=np.zeros(2))
    try:
        for opening in (OPEN, SQUEEZED, OPEN):
            leader.trigger(opening)
            for _ in range(5):
                assert device.read(two, 0, PERIOD_S) is None
                time.sleep(PERIOD_S)
        assert device.words == "the leader has 3 joints, the arm 2"
    finally:
        device.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calibration": ""}, "no calibration"),
        ({"calibration": "/nowhere.json"}, "cannot be read"),
        ({"port": ""}, "port"),
    ],
)
def test_what_is_missing_is_said_on_opening(place, options, said):
    kind, _, settings = place
    with pytest.raises(DeviceError, match=said):
        TELEOPS.build(kind, **{**settings, **options}).open()


@pytest.mark.parametrize("options", [{"start": "jump"}, {"ramp_rad_s": 5.0}, {"aligned_rad": -1.0}])
def test_dangerous_options_are_refused(options):
    with pytest.raises(WorkbenchError):
        TELEOPS.build("so101_leader", **options)
