"""The thread between the control tick and a maker's package that blocks, hangs and fails."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from hardware.arms.so101 import CHAIN
from hardware.paced import Measurement, PacedArm, Sheet, cautious_limits
from workbench.core.errors import DeviceError, StateError
from workbench.core.types import ArmCommand

LIMITS = cautious_limits((-1.0,) * 5, (1.0,) * 5, (2.0,) * 5, 0.4)
SHEET = Sheet("the test arm", CHAIN, (0.0,) * 5, LIMITS, rate_hz=200.0, silence_s=0.1, open_s=3.0)


class Wire:
    """A package that does what the test tells it to."""

    def __init__(self):
        self.goals, self.calls = [], []
        self.fail = None
        self.hang = threading.Event()
        self.hang.set()
        self.joints = np.zeros(5)

    def open(self):
        self.calls.append("open")

    def measure(self):
        self.hang.wait(5)
        if self.fail:
            raise self.fail
        return Measurement(0, time.monotonic_ns(), self.joints, np.zeros(5), 0.5)

    def command(self, joints_rad, gripper):
        self.goals.append((joints_rad.copy(), gripper))

    def halt(self):
        self.calls.append("halt")

    def rest(self):
        self.calls.append("rest")

    def recover(self):
        self.calls.append("recover")
        self.fail = None

    def close(self):
        self.calls.append("close")


@pytest.fixture
def pair():
    wire = Wire()
    arm = PacedArm(SHEET, wire)
    arm.connect()
    yield wire, arm
    wire.hang.set()
    arm.close()


def command(value, seconds=1.0):
    return ArmCommand(np.full(5, value), 0.5, time.monotonic_ns() + round(seconds * 1e9))


def test_the_newest_command_wins_and_is_repeated_until_it_expires(pair):
    wire, arm = pair
    for value in (0.1, 0.2, 0.3):
        arm.send(command(value, 0.1))
    time.sleep(0.06)
    assert {goal[0] for goal, _ in wire.goals} == {0.3} and len(wire.goals) > 3
    time.sleep(0.1)
    count = len(wire.goals)
    time.sleep(0.05)
    assert len(wire.goals) == count and wire.calls.count("halt") == 1


def test_neither_sending_nor_reading_waits_for_the_package(pair):
    wire, arm = pair
    wire.hang.clear()
    start = time.perf_counter()
    for _ in range(100):
        arm.send(command(0.1))
        arm.hold()
    assert time.perf_counter() - start < 0.05
    time.sleep(0.12)
    start = time.perf_counter()
    with pytest.raises(DeviceError, match="not answered"):
        arm.read()
    assert time.perf_counter() - start < 0.01


def test_what_was_wanted_before_a_silence_is_not_followed_after_it(pair):
    wire, arm = pair
    wire.hang.clear()
    arm.send(command(0.7, 10))
    time.sleep(0.15)
    with pytest.raises(DeviceError):
        arm.read()
    wire.hang.set()
    time.sleep(0.05)
    assert not any(goal[0] == 0.7 for goal, _ in wire.goals)
    arm.read()


@pytest.mark.parametrize("error", [DeviceError("a stop", "Do this"), RuntimeError("boom"), KeyError("x")])
def test_a_fault_is_said_drops_the_command_and_ends_when_its_cause_does(pair, error):
    wire, arm = pair
    arm.send(command(0.4, 10))
    time.sleep(0.03)
    wire.fail = error
    time.sleep(0.03)
    with pytest.raises(DeviceError) as caught:
        arm.read()
    assert caught.value.next_step
    wire.fail = None
    time.sleep(0.2)
    count = len(wire.goals)
    arm.read()
    time.sleep(0.05)
    assert len(wire.goals) == count, "nothing old is followed"


def test_recovering_clears_and_returns_with_a_fresh_state(pair):
    wire, arm = pair
    wire.fail = DeviceError("a protective stop", "Clear it")
    time.sleep(0.03)
    asked = time.monotonic_ns()
    arm.recover()
    assert arm.read().t_host_ns > asked and "recover" in wire.calls


def test_a_link_that_stays_lost_is_opened_anew_by_recovering(pair):
    wire, arm = pair
    wire.fail = DeviceError("gone", "Check")
    time.sleep(0.03)

    def recover():
        raise DeviceError("gone", "Check")

    def open_again():
        wire.calls.append("open")
        wire.fail = None

    wire.recover, wire.open = recover, open_again
    arm.recover()
    assert wire.calls.count("open") == 2
    time.sleep(0.05)
    arm.read()


def test_a_failed_connection_says_why_and_can_be_tried_again():
    wire = Wire()
    wire.fail = DeviceError("the box is off", "Switch it on")
    arm = PacedArm(SHEET, wire)
    with pytest.raises(DeviceError, match="off"):
        arm.connect()
    wire.fail = None
    arm.connect()
    arm.read()
    arm.close()


def test_a_package_that_hangs_in_opening_is_given_up():
    wire = Wire()
    wire.hang.clear()
    arm = PacedArm(Sheet(**{**{f: getattr(SHEET, f) for f in SHEET.__slots__}, "open_s": 0.3}), wire)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hardware.paced._CLOSE_S", 0.1)
        with pytest.raises(DeviceError, match="did not answer"):
            arm.connect()
    wire.hang.set()


def test_impossible_states_and_commands_are_refused(pair):
    wire, arm = pair
    with pytest.raises(DeviceError):
        arm.send(ArmCommand(np.zeros(4), 0.5, 2**62))
    wire.joints = np.full(5, np.nan)
    time.sleep(0.03)
    with pytest.raises(DeviceError, match="positions"):
        arm.read()


def test_parking_only_at_home(pair):
    wire, arm = pair
    arm.park()
    assert "rest" in wire.calls
    wire.joints = np.full(5, 0.5)
    time.sleep(0.03)
    with pytest.raises(StateError, match="home"):
        arm.park()


def test_closing_halts_a_moving_arm_and_may_be_repeated(pair):
    wire, arm = pair
    arm.send(command(0.2, 5))
    time.sleep(0.03)
    arm.close()
    arm.close()
    assert wire.calls[-2:] == ["halt", "close"]
    with pytest.raises(DeviceError, match="not connected"):
        arm.read()
