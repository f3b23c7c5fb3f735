"""Faults that the makers' own packages report, and the whole path from an operator to a servo."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hardware.arm import ARMS, Limits
from tests.emulators import arms
from tests.emulators.servos import ServoEmulator
from workbench.core.clock import MonotonicClock, Pacer
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import ArmCommand, TeleopAction
from workbench.services.driver import Driver, arm_streams

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the makers' packages


def failing(arm, words="", within_s=1.0):
    """The fault with these words that the arm reports before long."""
    stop = time.monotonic() + within_s
    while time.monotonic() < stop:
        try:
            arm.read()
        except DeviceError as error:
            if words in str(error):
                return error
        time.sleep(0.005)
    pytest.fail(f"no fault '{words}' was reported")


def well(arm, within_s=2.0):
    """Wait until the arm can be read again."""
    stop = time.monotonic() + within_s
    while time.monotonic() < stop:
        try:
            return arm.read()
        except DeviceError:
            time.sleep(0.01)
    return arm.read()


def going(arm, offset, seconds=0.5):
    """Drive all joints by an offset; returns where they were asked to be."""
    target = arm.read().joints_rad + offset
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        arm.send(ArmCommand(target, 0.5, time.monotonic_ns() + 10**8))
        time.sleep(0.01)
    return target


@pytest.fixture
def servos(tmp_path):
    arms.SO101.save(tmp_path / "so101.json")
    emulator = ServoEmulator("feetech", {1: 2100, 2: 1500, 3: 2700, 4: 2300, 5: 2048, 6: 2600}, 3000.0)
    arm = ARMS.build("so101", port=emulator.port, calibration=str(tmp_path / "so101.json"))
    yield emulator, arm
    arm.close()
    emulator.close()


def test_a_hot_servo_is_named_and_the_arm_goes_on_when_it_has_cooled(servos):
    emulator, arm = servos
    arm.connect()
    emulator.servos[3].memory[63] = 71
    failing(arm, "elbow_flex")
    emulator.servos[3].memory[63] = 40
    well(arm)
    emulator.servos[6].memory[65] = 32
    failing(arm, "overloaded")


def test_torque_comes_on_without_a_jump(servos):
    emulator, arm = servos
    for servo in emulator.servos.values():
        servo.set(servo.at_goal, 100, 2)  # what an earlier program left behind
    arm.connect()
    before = arm.read().joints_rad
    going(arm, 0.0, 0.2)
    assert np.max(np.abs(arm.read().joints_rad - before)) < 0.01
    assert all(servo.memory[40] for servo in emulator.servos.values())


def test_goals_stay_inside_the_calibrated_ranges(servos):
    emulator, arm = servos
    arm.connect()
    for _ in range(10):
        arm.send(ArmCommand(np.full(5, 9.0), 2.0, time.monotonic_ns() + 10**8))
        time.sleep(0.01)
    arm.hold()
    for goals in emulator.goals:
        assert all(j.low_ticks <= goals[j.id] <= j.high_ticks for j in arms.SO101.joints)


def test_an_so101_without_a_calibration_says_so():
    pytest.importorskip("scservo_sdk", reason="feetech-servo-sdk is not installed")
    arm = ARMS.build("so101", port="/dev/null")
    with pytest.raises(WorkbenchError, match="calibration"):
        arm.connect()


def test_a_piper_that_is_stopped_says_so_and_one_without_power_does_not_pretend(monkeypatch):
    pytest.importorskip("piper_sdk", reason="piper-sdk is not installed")
    from tests.emulators.can_piper import PiperEmulator

    monkeypatch.setattr("hardware.arms.piper._ENABLE_S", 0.4)
    emulator = PiperEmulator("piper-faults")
    arm = ARMS.build("piper", channel="piper-faults", bus="virtual")
    try:
        arm.connect()
        target = going(arm, 0.05)
        assert np.max(np.abs(arm.read().joints_rad - target)) < 0.01
        assert {0x151, 0x155, 0x156, 0x157, 0x159, 0x471} <= set(emulator.frames)
        assert emulator.modes[-1][:4] == bytes([1, 1, 100, 0])
        emulator.status = 1
        failing(arm, "emergency")
        emulator.status = 0
        emulator.enabled = False
        emulator.enabling_s = 1e9
        well(arm)
        stop = time.monotonic() + 5
        with pytest.raises(DeviceError, match="switch on"):
            while time.monotonic() < stop:
                arm.send(ArmCommand(target, 0.5, time.monotonic_ns() + 10**8))
                time.sleep(0.02)
                arm.read()
    finally:
        arm.close()
        emulator.close()


def test_an_error_of_the_xarm_is_said_in_words_and_cleared_by_a_person():
    pytest.importorskip("xarm", reason="xarm-python-sdk is not installed")
    from tests.emulators.xarm_box import PORT, XArmBox

    if not arms.can_bind(PORT):
        pytest.skip(f"port {PORT} of the xArm cannot be opened here")
    box = XArmBox()
    arm = ARMS.build("xarm", address="127.0.0.1")
    try:
        arm.connect()
        box.error = 31
        failing(arm, "error 31")
        arm.recover()
        target = going(arm, 0.05)
        assert np.max(np.abs(arm.read().joints_rad - target)) < 0.01
        box.muted = True
        assert failing(arm).next_step
    finally:
        arm.close()
        box.close()
    with pytest.raises(DeviceError, match="does not answer"):
        ARMS.build("xarm", address="127.0.0.1").connect()


@pytest.mark.slow
def test_a_protective_stop_of_a_ur_is_unlocked_by_a_person(tmp_path):
    pytest.importorskip("rtde_control", reason="ur-rtde is not installed")
    with arms.ur(tmp_path) as bench:
        arm = ARMS.build("ur", **bench.settings)
        try:
            arm.connect()
            assert arm.read().pose.position_m == pytest.approx((-0.4754, -0.3051, 0.2868), abs=1e-3)
            child = bench.unplug.__closure__[0].cell_contents
            print("protective", file=child.stdin, flush=True)
            assert "5 s" in failing(arm, "protective stop", 2.0).next_step
            arm.recover()
            target = going(arm, 0.05, 0.8)
            assert np.max(np.abs(arm.read().joints_rad - target)) < 0.01
            print("emergency", file=child.stdin, flush=True)
            failing(arm, "emergency button", 2.0)
        finally:
            arm.close()


def test_a_robotiq_gripper_answers_in_its_own_words():
    """The gripper's text protocol as the robot's add-on speaks it: activation, position both ways, a lost cable."""
    import socket
    import threading

    from hardware.arms.ur import RobotiqSocket

    listener = socket.create_server(("127.0.0.1", 0))
    state = {"ACT": 0, "STA": 0, "POS": 3, "GTO": 0}
    lines = []

    def talk():
        line, _ = listener.accept()
        lines.append(line)
        while data := line.recv(64):
            words = data.decode().split()
            if words[0] == "SET":
                state[words[1]] = int(words[2])
                state["STA"] = 3 if state["ACT"] else 0
                line.sendall(b"ack\n")
            else:
                line.sendall(f"{words[1]} {state[words[1]]}\n".encode())

    threading.Thread(target=talk, daemon=True).start()
    gripper = RobotiqSocket("127.0.0.1", listener.getsockname()[1])
    gripper.open()
    assert state["ACT"] == 1 and state["GTO"] == 1 and gripper.opening() > 0.98
    gripper.want(0.0)
    stop = time.monotonic() + 2
    while gripper.opening() > 0.01 and time.monotonic() < stop:
        time.sleep(0.01)
    assert state["POS"] == 255 and gripper.opening() == 0.0
    lines[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(DeviceError, match="gripper"):
        while time.monotonic() < stop + 2:
            gripper.opening()
            time.sleep(0.01)
    gripper.close()
    gripper.close()
    listener.close()


class Circle:
    """A hand that draws a circle of 3 cm and closes the gripper."""

    done = False

    def __init__(self):
        self.time_s = 0.0

    def open(self): ...

    def close(self): ...

    def read(self, state, now_ns, period_s):
        self.time_s += period_s
        turn = 2.0 * self.time_s
        move = 0.06 * period_s * np.array([0.0, np.cos(turn), np.sin(turn)])
        return TeleopAction(move, np.zeros(3), 0.5 + 0.4 * np.sin(turn))


def test_an_operator_drives_a_real_package_through_driver_and_guard(servos, tmp_path):
    """100 Hz for three seconds: what reaches the servos stays within every limit, and the arm is where it was sent."""
    emulator, arm = servos
    arm.connect()
    suggested = arm.suggested_limits()
    limits = Limits(
        joint_min_rad=suggested.joint_min_rad,
        joint_max_rad=suggested.joint_max_rad,
        joint_speed_rad_s=(0.8,) * 5,
        joint_acceleration_rad_s2=(6.0,) * 5,
        workspace_min_m=(0.05, -0.4, 0.0),
        workspace_max_m=(0.6, 0.4, 0.6),
        tool_speed_m_s=0.3,
        gripper_speed_s=2.0,
        jump_rad=0.3,
        state_age_s=0.1,
    )
    rings = {spec.name: Ring.create(tmp_path / spec.name, spec, 1024) for spec in arm_streams(5, 100.0)}
    driver = Driver(arm, limits, rings, MonotonicClock(), 0.01)
    driver.ready()
    driver.operate(Circle())
    start = arm.read().pose.position_m
    pacer, places = Pacer(100.0), []
    for _ in range(300):
        pacer.wait()
        driver.tick()
        places.append(arm.read().pose.position_m)
    assert driver.state == "correcting", driver.status().reason
    frames = rings["action"]
    sent = np.array([frames.read(i).data[:6] for i in range(frames.written)], float)
    driver.hold("over")
    assert np.max(np.abs(np.diff(sent[:, :5], axis=0))) <= 0.8 * 0.01 * 1.01 + 1e-5
    assert np.max(np.abs(np.diff(sent[:, :5], n=2, axis=0))) <= 6.0 * 1e-4 * 1.05 + 2e-5
    assert np.all(sent[:, :5] >= np.array(limits.joint_min_rad) - 1e-6)
    assert np.all(sent[:, :5] <= np.array(limits.joint_max_rad) + 1e-6)
    radius = np.linalg.norm(np.array(places) - start, axis=1).max()
    assert 0.03 < radius < 0.09, "it drew the circle"
    ticks = {tuple(goals.values()) for goals in emulator.goals}
    assert len(ticks) > 50, "the servos saw a path, not a jump"
    for ring in rings.values():
        ring.close()
