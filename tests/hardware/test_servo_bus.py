"""Bus servos: the makers' packages against servos on a pseudo terminal, and what ticks mean."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.servo_bus import FAMILIES, Field, ServoBus
from hardware.servo_calibration import GripperServo, JointServo, RangeRecorder, ServoCalibration
from tests.emulators.servos import ServoEmulator
from workbench.core.errors import DeviceError, WorkbenchError

PACKAGES = {"feetech": "scservo_sdk", "dynamixel": "dynamixel_sdk"}
FEW = {1: 2048, 2: 1000, 3: 3000}


@pytest.fixture(params=sorted(FAMILIES))
def line(request):
    pytest.importorskip(PACKAGES[request.param], reason=f"{PACKAGES[request.param]} is not installed")
    emulator = ServoEmulator(request.param, FEW)
    bus = ServoBus(request.param, emulator.port, list(FEW))
    yield emulator, bus
    bus.close()
    bus.close()
    emulator.close()


def test_it_reads_everything_and_moves_what_has_torque(line):
    emulator, bus = line
    bus.open()
    reading = bus.read()
    assert list(reading.position_ticks) == list(FEW.values())
    assert np.all(reading.voltage_v == pytest.approx(7.4)) and np.all(reading.temperature_c == 31)
    assert not np.any(reading.fault_bits) and abs(time.monotonic_ns() - reading.t_host_ns) < 10**8
    bus.write_goals([2148, 900, 3000])
    time.sleep(0.06)
    assert list(bus.read().position_ticks) == list(FEW.values()), "freed motors must not move"
    bus.set_torque(True)
    time.sleep(0.005)
    speeds = bus.read().speed_ticks_s
    assert speeds[0] > 1000 and speeds[1] < -1000 and speeds[2] == 0
    time.sleep(0.06)
    assert list(bus.read().position_ticks) == [2148, 900, 3000]
    assert emulator.goals


def test_a_read_is_quick(line):
    _, bus = line
    bus.open()
    took = []
    for _ in range(20):
        start = time.perf_counter()
        bus.read()
        took.append(time.perf_counter() - start)
    assert np.median(took) < 0.02


def test_garbage_and_a_spoiled_answer_are_survived(line):
    emulator, bus = line
    bus.open()
    emulator.garbage = b"\x00\xff\x17\xff\xff"
    assert list(bus.read().position_ticks) == list(FEW.values())
    emulator.spoil = 1
    assert list(bus.read().position_ticks) == list(FEW.values())
    emulator.spoil = 50
    with pytest.raises(DeviceError, match="does not answer"):
        bus.read()


def test_a_dead_servo_is_an_error_in_time_and_named_on_opening(line):
    emulator, bus = line
    bus.open()
    emulator.servos[2].alive = False
    start = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        bus.read()
    assert time.monotonic() - start < 0.2 and "power" in caught.value.next_step
    bus.close()
    with pytest.raises(DeviceError, match="servo 2"):
        bus.open()


def test_a_pulled_adapter_is_a_device_error(line):
    emulator, bus = line
    bus.open()
    emulator.close()
    for act in (bus.read, lambda: bus.write_goals([0, 0, 0]), lambda: bus.set_torque(False)):
        with pytest.raises(DeviceError) as caught:
            act()
        assert caught.value.next_step
    bus.close()


def test_a_hot_servo_says_so(line):
    emulator, bus = line
    bus.open()
    fault = bus.family.fault
    emulator.servos[3].memory[fault.address] = 4
    for _ in range(4):
        reading = bus.read()
    assert list(reading.fault_bits) == [0, 0, 4] and bus.fault_words(4) == "too hot"


def test_a_port_that_is_not_there():
    pytest.importorskip("scservo_sdk", reason="scservo_sdk is not installed")
    for name in ("", "/dev/no-such-port"):
        with pytest.raises(DeviceError) as caught:
            ServoBus("feetech", name, [1]).open()
        assert caught.value.next_step


@given(st.integers(-32767, 32767))
def test_registers_invert(value):
    for field in (Field(0, 2, 15), Field(0, 4)):
        assert field.decode(field.encode(value)) == value


CALIBRATION = ServoCalibration(
    (JointServo("a", 1, 2000, 1, 1000, 3000), JointServo("b", 2, 2100, -1, 500, 3500)), GripperServo(3, 3000, 1500)
)


@given(st.floats(-1.4, 1.4), st.floats(-2.0, 2.0), st.floats(0, 1))
def test_angles_and_ticks_invert_within_half_a_tick(a, b, opening):
    ticks = CALIBRATION.ticks(np.array([a, b]), opening)
    assert CALIBRATION.angles(ticks) == pytest.approx([a, b], abs=np.pi / 4096 * 1.01)
    assert CALIBRATION.opening(ticks) == pytest.approx(opening, abs=1 / 1500)


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-5, 5))
def test_goals_never_leave_the_calibrated_ranges(a, b, opening):
    ticks = CALIBRATION.ticks(np.array([a, b]), opening)
    assert 1000 <= ticks[0] <= 3000 and 500 <= ticks[1] <= 3500 and 1500 <= ticks[2] <= 3000


def test_the_direction_of_a_joint_counts():
    up = CALIBRATION.angles(np.array([2100, 2200, 0]))
    assert up[0] > 0 > up[1]
    low, high = CALIBRATION.range_rad()
    assert np.all(low < high) and high[1] == pytest.approx(1600 * 2 * np.pi / 4096)


def test_calibrations_are_kept_and_those_of_lerobot_understood(tmp_path):
    CALIBRATION.save(tmp_path / "a.json")
    assert ServoCalibration.load(tmp_path / "a.json") == CALIBRATION
    motor = {"id": 1, "drive_mode": 0, "homing_offset": -83, "range_min": 800, "range_max": 3200}
    theirs = {"shoulder_pan": motor, "gripper": {**motor, "id": 6, "range_min": 2000, "range_max": 3400}}
    (tmp_path / "b.json").write_text(json.dumps(theirs))
    read = ServoCalibration.load(tmp_path / "b.json")
    assert read.joints == (JointServo("shoulder_pan", 1, 2000, 1, 800, 3200),)
    assert read.gripper == GripperServo(6, 2000, 3400)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"joints": [{"id": 1}]}', '{"joints": [], "gripper": 3}'])
def test_what_is_no_calibration_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(WorkbenchError):
        ServoCalibration.load(tmp_path / "c.json")


def test_calibrating_by_hand():
    recorder = RangeRecorder(["a"], [1, 6], [-1])
    for ticks in ([2000, 2000], [900, 2000], [2200, 1900], [3100, 3300]):
        recorder.see(np.array(ticks))
    made = recorder.finish()
    assert made.joints == (JointServo("a", 1, 2000, -1, 900, 3100),) and made.gripper == GripperServo(6, 1900, 3300)
    with pytest.raises(WorkbenchError, match="range"):
        forgotten = RangeRecorder(["a"], [1, 6], [1])
        forgotten.see(np.array([2000, 2000]))
        forgotten.finish()
    with pytest.raises(WorkbenchError, match="crosses"):
        wrapped = RangeRecorder(["a"], [1, 6], [1])
        for ticks in ([100, 2000], [4000, 3000], [3000, 3000]):
            wrapped.see(np.array(ticks))
        wrapped.finish()
