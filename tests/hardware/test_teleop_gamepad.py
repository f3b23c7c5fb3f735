"""The gamepad over the real SDL, with a joystick that SDL simulates, and the SpaceMouse over the real pyspacemouse."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hardware.teleop import TELEOPS
from tests.emulators.joystick import VirtualGamepad
from tests.emulators.spacemouse import MODEL, attach
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import DeviceError, WorkbenchError

STATE = state(START_RAD, 0, gripper=0.9)
PERIOD_S = 0.01


def read_until(device, wanted, seconds=2.0):
    """Read at the tick's pace until the action is as wanted; the last action."""
    end = time.monotonic() + seconds
    while True:
        action = device.read(STATE, time.monotonic_ns(), PERIOD_S)
        if wanted(action):
            return action
        assert time.monotonic() < end, f"never came: {action}, {device.words}"
        time.sleep(PERIOD_S)


def nothing(action):
    return action is None


def moving(action):
    return action is not None and bool(np.any(action.linear_m) or np.any(action.angular_rad))


@pytest.fixture
def pad():
    pad = VirtualGamepad()
    yield pad
    pad.close()


@pytest.fixture
def device(pad):
    device = TELEOPS.build("gamepad", expo=0.0, deadzone=0.0)
    device.open()
    yield device
    device.close()


def engage(pad, device):
    pad.button("leftshoulder", False)
    read_until(device, lambda action: "hold" in device.words)
    pad.button("leftshoulder", True)
    return read_until(device, lambda action: action is not None)


def test_sticks_are_the_arms_directions(pad, device):
    engage(pad, device)
    for stick, value, part, expected in (
        ("lefty", -1.0, "linear_m", [0.2, 0, 0]),
        ("leftx", -1.0, "linear_m", [0, 0.2, 0]),
        ("righty", -1.0, "linear_m", [0, 0, 0.2]),
        ("rightx", -1.0, "angular_rad", [0, 0, 0.9]),
    ):
        pad.axis(stick, value)
        action = read_until(device, moving)
        assert np.allclose(getattr(action, part), np.array(expected) * PERIOD_S, atol=1e-9), stick
        pad.axis(stick, 0.0)
        read_until(device, lambda action: not moving(action))
    pad.button("dpup", True)
    assert np.allclose(read_until(device, moving).angular_rad, [0, 0.9 * PERIOD_S, 0])


def test_nothing_moves_without_the_dead_man_and_one_held_from_the_start_does_not_count(pad):
    pad.button("leftshoulder", True)
    pad.axis("lefty", -1.0)
    device = TELEOPS.build("gamepad")
    device.open()
    try:
        for _ in range(20):
            assert device.read(STATE, time.monotonic_ns(), PERIOD_S) is None
            time.sleep(PERIOD_S)
        assert "let go of the button leftshoulder" in device.words
        pad.button("leftshoulder", False)
        read_until(device, lambda action: "hold the button" in device.words)
        pad.button("leftshoulder", True)
        read_until(device, moving)
        pad.button("leftshoulder", False)
        read_until(device, nothing, 0.1)
    finally:
        device.close()


def test_triggers_close_and_open_slow_is_a_quarter_and_buttons_judge(pad, device):
    engage(pad, device)
    pad.axis("triggerright", 1.0)
    assert read_until(device, lambda action: action.gripper < 0.5).gripper > 0.4
    pad.axis("triggerright", 0.0)
    pad.axis("lefty", -1.0)
    pad.button("rightshoulder", True)
    slow = read_until(device, lambda action: moving(action) and np.linalg.norm(action.linear_m) < 0.1 * PERIOD_S)
    assert np.allclose(slow.linear_m, [0.05 * PERIOD_S, 0, 0], atol=1e-9)
    for name in ("start", "back"):
        pad.button(name, True)
        time.sleep(0.05)
        pad.button(name, False)
        time.sleep(0.05)
    assert device.take_marks() == ("success", "failure") and device.take_marks() == ()


def test_unplugged_in_mid_motion_means_no_input_and_plugged_in_again_it_must_be_released_first(pad, device):
    engage(pad, device)
    pad.axis("lefty", -1.0)
    read_until(device, moving)
    pad.unplug()
    read_until(device, nothing, 0.15)
    read_until(device, lambda action: "unplugged" in device.words)
    pad.plug_in()
    pad.button("leftshoulder", True)
    pad.axis("lefty", -1.0)
    read_until(device, lambda action: "let go" in device.words)
    for _ in range(10):
        assert device.read(STATE, 0, PERIOD_S) is None
        time.sleep(PERIOD_S)
    engage(pad, device)
    read_until(device, moving)


def test_gamepads_are_found_by_name_and_missing_ones_are_said(pad):
    (found,) = TELEOPS.get("gamepad").look()
    assert "Virtual" in found.title and found.options == {"name": found.title}
    with pytest.raises(DeviceError, match="no gamepad named like 'xbox' is plugged in, only"):
        TELEOPS.build("gamepad", name="xbox").open()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dead_man": "leftshouldr"}, "leftshoulder"),
        ({"dead_man": ""}, "cannot do without"),
        ({"axes": ("lefty",)}, "six axes"),
        ({"axes": ("--x",) * 6}, "not an axis"),
        ({"deadzone": 1.0}, "dead zone"),
        ({"frame": "moon"}, "frame of reference"),
    ],
)
def test_wrong_options_are_sentences(options, said):
    with pytest.raises(WorkbenchError, match=said):
        TELEOPS.build("gamepad", **options)


# SpaceMouse --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mouse(monkeypatch):
    return attach(monkeypatch)


@pytest.fixture
def space(mouse):
    device = TELEOPS.build("spacemouse", deadzone=0.0, expo=0.0)
    device.open()
    yield device
    device.close()
    assert mouse.opened == 0


def test_raw_reports_of_a_spacemouse_become_the_arms_directions(mouse, space):
    """HID axes are x right, y to the user, z down; pushing the cap away, left and up is what a person means."""
    mouse.press()
    read_until(space, lambda action: "hold" in space.words)
    mouse.press(0)
    read_until(space, lambda action: action is not None)
    for push, part, expected in (
        ({"y": -350}, "linear_m", [0.2, 0, 0]),
        ({"x": -175}, "linear_m", [0, 0.1, 0]),
        ({"z": -350}, "linear_m", [0, 0, 0.2]),
        ({"rz": -350}, "angular_rad", [0, 0, 0.8]),
        ({"ry": -350}, "angular_rad", [0.8, 0, 0]),
        ({"rx": -350}, "angular_rad", [0, 0.8, 0]),
    ):
        mouse.push(**push)
        action = read_until(space, moving)
        mouse.push()
        read_until(space, lambda action: not moving(action))
        assert np.allclose(getattr(action, part), np.array(expected) * PERIOD_S), push


def test_a_pushed_spacemouse_that_falls_silent_is_no_input(mouse, space):
    mouse.press()
    read_until(space, lambda action: "hold" in space.words)
    mouse.press(0)
    mouse.push(y=-350)
    read_until(space, moving)
    read_until(space, nothing, 0.4)
    mouse.push(y=-350)
    time.sleep(0.05)
    assert space.read(STATE, 0, PERIOD_S) is None, "the button must be let go once after a loss"


def test_an_unplugged_spacemouse_is_no_input_and_its_gripper_button_toggles(mouse, space):
    mouse.press()
    read_until(space, lambda action: "hold" in space.words)
    mouse.press(0)
    assert read_until(space, lambda action: action is not None).gripper == pytest.approx(0.9)
    mouse.press(0, 1)
    read_until(space, lambda action: action.gripper == 0.0)
    mouse.press(0)
    mouse.press(0, 1)
    read_until(space, lambda action: action.gripper == 1.0)
    mouse.gone = True
    read_until(space, nothing, 0.2)
    read_until(space, lambda action: "has gone" in space.words)


def test_the_cap_alone_can_be_the_dead_man(mouse):
    device = TELEOPS.build("spacemouse", dead_man=-1)
    mouse.push(y=-350)
    device.open()
    try:
        for _ in range(10):
            assert device.read(STATE, 0, PERIOD_S) is None, "pushed from the start: it must be at rest once"
            mouse.push(y=-350)
            time.sleep(PERIOD_S)
        mouse.push()
        read_until(device, lambda action: "hold" in device.words)
        mouse.push(y=-350)
        read_until(device, moving)
    finally:
        device.close()


def test_a_spacemouse_that_is_not_there_is_said(mouse):
    assert [found.options for found in TELEOPS.get("spacemouse").look()] == [{"model": MODEL}]
    mouse.gone = True
    with pytest.raises(DeviceError, match="no SpaceMouse"):
        TELEOPS.build("spacemouse").open()
