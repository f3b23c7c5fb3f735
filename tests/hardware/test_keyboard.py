"""Keys to moves: nothing without a key, the gripper toggles once per press, from any thread."""

from __future__ import annotations

import numpy as np

from hardware.teleops.keyboard import Config, KeyboardTeleop
from tests.hardware.planar import START_RAD, state

STATE = state(START_RAD, 0, gripper=0.9)


def read(device, period_s=0.01):
    return device.read(STATE, 0, period_s)


def test_no_key_no_motion():
    device = KeyboardTeleop(Config())
    device.open()
    assert read(device) is None
    device.press("w")
    assert read(device).linear_m[0] > 0
    device.release("w")
    assert read(device) is None


def test_speed_is_per_second_and_opposite_keys_cancel():
    device = KeyboardTeleop(Config(speed_m_s=0.2, turn_rad_s=1.0))
    device.set_keys(frozenset({"a", "r"}))
    assert np.allclose(read(device, 0.05).linear_m, np.array([0, 0.01, 0.01]) / np.sqrt(2)), "a diagonal is not faster"
    device.set_keys(frozenset({"A", "d", "q"}))
    action = read(device, 0.05)
    assert np.allclose(action.linear_m, 0) and np.allclose(action.angular_rad, [0, 0, 0.05])
    device.set_keys(frozenset({"w", "shift"}))
    assert np.allclose(read(device, 0.05).linear_m, [0.0025, 0, 0])


def test_keys_can_mean_the_tools_directions_or_those_of_somebody_opposite():
    device = KeyboardTeleop(Config(speed_m_s=0.2, facing_deg=180))
    device.press("w")
    assert np.allclose(read(device, 0.05).linear_m, [-0.01, 0, 0])
    turned = KeyboardTeleop(Config(speed_m_s=0.2, frame="tool"))
    turned.press("w")
    along = 0.01 * np.array([np.cos(START_RAD.sum()), np.sin(START_RAD.sum()), 0])
    assert np.allclose(read(turned, 0.05).linear_m, along)


def test_the_gripper_toggles_once_per_press_even_when_tapped_between_ticks():
    device = KeyboardTeleop(Config())
    device.press("space")
    device.press("space")
    device.release("space")
    assert [read(device).gripper for _ in range(3)] == [0.0, 0.0, 0.0]
    for _ in range(100):
        read(device)
    assert read(device) is None
    device.press(" ")
    assert read(device).gripper == 1.0
