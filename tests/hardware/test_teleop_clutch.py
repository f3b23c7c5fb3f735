"""The dead-man, stick shaping, frames: what must hold for every device, whatever its numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.clutch import Clutch, Grip, GripperGoal, Pace, PoseHand, SpeedHand, clipped, shaped
from hardware.mailbox import Mailbox
from hardware.rotations import (
    IDENTITY_WXYZ,
    conjugate,
    of_rotation_vector,
    product,
    rotated,
    rotation_vector,
    unit,
)
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import WorkbenchError
from workbench.core.types import ArmState, Pose

STATE = state(START_RAD, 0, gripper=0.9)
unit_numbers = st.floats(-1, 1)
any_number = st.floats(allow_nan=True, allow_infinity=True)
vectors = st.tuples(unit_numbers, unit_numbers, unit_numbers).map(np.array)
deadzones, expos = st.floats(0, 0.9), st.floats(0, 1)


def tool_state(quaternion):
    return ArmState(0, 0, START_RAD, np.zeros(3), 0.9, Pose(np.zeros(3), unit(np.array(quaternion, float))))


# the dead-man ------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([True, False, None]), max_size=60))
def test_nothing_counts_before_a_release_was_seen_at_the_start_and_after_every_loss(presses):
    clutch, trusted, previous = Clutch(), False, Grip.OPEN
    for held in presses:
        grip = clutch.update(held)
        trusted = held is not None and (trusted or held is False)
        assert (grip is Grip.OPEN) == (not (held and trusted))
        assert clutch.waits_for_release == (not trusted)
        if grip is Grip.HELD:
            assert previous in (Grip.CLOSED, Grip.HELD)
        if grip is Grip.CLOSED:
            assert previous is Grip.OPEN, "every engagement begins with one closing"
        previous = grip


# sticks ------------------------------------------------------------------------------------------------------------


@given(unit_numbers, unit_numbers, deadzones, expos)
def test_a_stick_is_odd_monotonic_and_ends_at_its_stops(first, second, deadzone, expo):
    low, high = sorted((first, second))
    assert shaped(low, deadzone, expo) <= shaped(high, deadzone, expo) + 1e-12
    assert shaped(-high, deadzone, expo) == -shaped(high, deadzone, expo)
    assert shaped(1.0, deadzone, expo) == pytest.approx(1.0) and shaped(deadzone / 2, deadzone, expo) == 0.0


@given(st.floats(-0.999, 0.999), deadzones, expos)
def test_a_stick_has_no_step_anywhere(value, deadzone, expo):
    steepest = (1 + 2 * expo) / (1 - deadzone)
    assert abs(shaped(value + 1e-3, deadzone, expo) - shaped(value, deadzone, expo)) <= steepest * 1e-3 + 1e-9


@given(any_number, deadzones, expos)
def test_a_stick_never_gives_more_than_full_and_never_nonsense(value, deadzone, expo):
    assert -1.0 <= shaped(value, deadzone, expo) <= 1.0


# moves by speed ----------------------------------------------------------------------------------------------------


@given(vectors, vectors, st.integers(1, 40), st.integers(1, 40))
def test_the_way_depends_on_time_not_on_how_often_it_is_read(linear, angular, few, many):
    hand, axes = SpeedHand(Pace(0.2, 0.8, facing_deg=30)), np.concatenate([linear, angular])
    ways = [sum(hand.move(axes, STATE, 1.0 / n)[0] for _ in range(n)) for n in (few, many)]
    assert np.allclose(ways[0], ways[1])
    assert np.linalg.norm(ways[0]) <= 0.2 + 1e-9


@given(st.lists(any_number, min_size=6, max_size=6), st.floats(0.001, 0.1), st.sampled_from(["base", "tool"]))
def test_moves_by_speed_are_bounded_and_numbers_whatever_comes_in(axes, period_s, frame):
    linear, angular = SpeedHand(Pace(0.2, 0.8, frame=frame)).move(np.array(axes), STATE, period_s)
    assert np.linalg.norm(linear) <= 0.2 * period_s * (1 + 1e-9)
    assert np.linalg.norm(angular) <= 0.8 * period_s * (1 + 1e-9)


def test_frames_of_reference_of_a_speed():
    ahead = np.array([1.0, 0, 0, 0, 0, 1.0])
    facing = SpeedHand(Pace(1.0, 1.0, facing_deg=90)).move(ahead, STATE, 1.0)
    assert np.allclose(facing[0], [0, 1, 0], atol=1e-12) and np.allclose(facing[1], [0, 0, 1])
    down = tool_state([0, 1, 0, 0])  # the tool's z looks down, its x ahead
    in_tool = SpeedHand(Pace(1.0, 1.0, frame="tool")).move(np.array([0, 0, 1.0, 0, 0, 0]), down, 1.0)
    assert np.allclose(in_tool[0], [0, 0, -1], atol=1e-12)


# moves by place ----------------------------------------------------------------------------------------------------


def follow(hand, positions, turns, period_s=1.0, at=STATE):
    """The sums of all moves along a path of places."""
    linear, turned = np.zeros(3), IDENTITY_WXYZ
    for position, turn in zip(positions, turns):
        step, angle = hand.move(np.asarray(position, float), of_rotation_vector(np.asarray(turn, float)), at, period_s)
        linear, turned = linear + step, product(of_rotation_vector(angle), turned)
    return linear, rotation_vector(turned)


@given(vectors, vectors, st.integers(2, 30), st.integers(2, 30), vectors)
def test_a_path_moves_the_arm_the_same_however_often_it_is_read(end, turn, few, many, origin):
    results = []
    for n in (few, many):
        hand = PoseHand(Pace(2.0, 6.0), 0.5)
        shares = np.linspace(0, 1, n)
        results.append(follow(hand, [origin + s * end for s in shares], [s * turn for s in shares]))
    assert np.allclose(results[0][0], results[1][0]) and np.allclose(results[0][1], results[1][1], atol=1e-7)
    right, up, back = end
    assert np.allclose(results[0][0], 0.5 * np.array([-back, -right, up]))


@given(vectors, vectors, vectors)
def test_what_the_hand_does_while_open_is_never_caught_up(first, second, away):
    hand = PoseHand(Pace(2.0, 6.0), 1.0)
    follow(hand, [first, second], [np.zeros(3), away])
    hand.release()
    linear, angular = hand.move(second + 5 * away, of_rotation_vector(away), STATE, 0.01)
    assert np.allclose(linear, 0, atol=1e-12) and np.allclose(angular, 0, atol=1e-9)
    again, _ = hand.move(second + 5 * away + [0.001, 0, 0], of_rotation_vector(away), STATE, 0.01)
    assert np.allclose(again, [0, -0.001, 0])


@given(st.lists(st.tuples(vectors, vectors), min_size=2, max_size=20), st.floats(0.002, 0.05))
def test_a_fast_hand_is_followed_at_the_pace_and_arrives(path, period_s):
    hand = PoseHand(Pace(0.3, 1.0), 1.0)
    total = np.zeros(3)
    places = [place for place, _ in path] + [path[-1][0]] * int(25 / period_s / 0.3 + 2)
    for place in places:
        linear, angular = hand.move(place, IDENTITY_WXYZ, STATE, period_s)
        assert np.linalg.norm(linear) <= 0.3 * period_s * (1 + 1e-9)
        assert np.linalg.norm(angular) <= 1.0 * period_s * (1 + 1e-9)
        total = total + linear
        if np.linalg.norm(linear) < 1e-12 and place is places[-1]:
            break
    right, up, back = path[-1][0] - path[0][0]
    assert np.allclose(total, [-back, -right, up], atol=1e-6)


def test_a_hand_that_cannot_have_come_here_is_lost():
    hand = PoseHand(Pace(1.0, 1.0), 1.0)
    hand.move(np.zeros(3), IDENTITY_WXYZ, STATE, 0.01)
    assert not hand.lost(np.array([0.2, 0, 0]), IDENTITY_WXYZ)
    assert hand.lost(np.array([0.5, 0, 0]), IDENTITY_WXYZ)
    assert hand.lost(np.zeros(3), of_rotation_vector(np.array([0, 2.0, 0])))
    assert hand.lost(np.array([np.nan, 0, 0]), IDENTITY_WXYZ) and hand.lost(np.zeros(3), np.full(4, np.inf))


def test_in_the_tools_frame_the_hand_is_the_gripper():
    """Pushing along the pointing direction of the hand moves along the gripper's, wherever either of them points."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        tool, pointing = unit(rng.normal(size=4)), unit(rng.normal(size=4))
        hand = PoseHand(Pace(2.0, 6.0, frame="tool"), 1.0)
        at = tool_state(tool)
        hand.move(np.zeros(3), pointing, at, 1.0)
        linear, _ = hand.move(0.1 * rotated(pointing, np.array([0, 0, -1.0])), pointing, at, 1.0)
        assert np.allclose(linear, 0.1 * rotated(tool, np.array([0, 0, 1.0])), atol=1e-9)
        roll = of_rotation_vector(0.2 * rotated(pointing, np.array([0, 0, -1.0])))
        _, angular = hand.move(0.1 * rotated(pointing, np.array([0, 0, -1.0])), product(roll, pointing), at, 1.0)
        assert np.allclose(angular, 0.2 * rotated(tool, np.array([0, 0, 1.0])), atol=1e-9)


# the gripper -------------------------------------------------------------------------------------------------------


def test_the_gripper_starts_where_it_is_and_keeps_its_goal_while_open():
    goal = GripperGoal(2.0)
    assert goal.by_rate(0.0, STATE, 0.01) == pytest.approx(0.9)
    assert goal.by_rate(-1.0, STATE, 0.1) == pytest.approx(0.7)
    goal.release()
    holding_something = state(START_RAD, 0, gripper=0.4)
    assert goal.by_rate(float("nan"), holding_something, 0.1) == pytest.approx(0.7)
    goal.toggle(STATE)
    assert goal.by_rate(0.0, STATE, 0.01) == 0.0


def test_a_lever_counts_once_it_has_been_moved():
    goal = GripperGoal(2.0)
    assert goal.by_lever(0.2, STATE) == pytest.approx(0.9), "it lies somewhere else: no jump on closing the clutch"
    assert goal.by_lever(0.3, STATE) == pytest.approx(0.3)
    assert goal.by_lever(0.2, STATE) == pytest.approx(0.2) and goal.by_lever(None, STATE) == pytest.approx(0.2)
    goal.release()
    assert goal.by_lever(1.0, STATE) == pytest.approx(0.2), "re-engaging with the lever let go drops nothing"


# values, hand-over, rotations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [{"frame": "table"}, {"speed_m_s": float("nan")}, {"speed_m_s": 9.0}, {"turn_rad_s": -1.0}]
)
def test_a_wrong_pace_is_a_sentence(values):
    with pytest.raises(WorkbenchError, match=r"Choose one of|Give a number"):
        Pace(**{"speed_m_s": 0.2, "turn_rad_s": 0.8, **values})


def test_a_mailbox_forgets_what_is_old_and_remembers_a_release():
    now = [0]
    box = Mailbox(0.15, lambda: now[0])
    assert box.take() == (None, False)
    now[0] = 10**9
    box.put("held all the while", held=True)
    assert box.take() == (None, False) and box.take() == ("held all the while", False), "nobody has listened"
    box.put("open", held=False)
    box.put("closed", held=True)
    assert box.take() == ("closed", True) and box.take() == ("closed", False)
    now[0] += 151_000_000
    assert box.take() == (None, False)
    box.put("gone", held=False)
    box.lose()
    box.put("back", held=True)
    assert box.take() == (None, False) and box.take() == ("back", False), "a loss is told once, however short"
    box.mark("success")
    assert box.marks() == ("success",) and box.marks() == ()


@given(vectors, vectors, vectors)
def test_rotations_agree_with_their_algebra(first, second, vector):
    p, q = of_rotation_vector(2.9 * first / max(1, np.linalg.norm(first))), of_rotation_vector(second)
    assert np.allclose(rotation_vector(p), 2.9 * first / max(1, np.linalg.norm(first)), atol=1e-9)
    assert np.allclose(rotated(product(p, q), vector), rotated(p, rotated(q, vector)), atol=1e-12)
    assert np.allclose(product(p, conjugate(p)), IDENTITY_WXYZ, atol=1e-12)
    assert np.allclose(clipped(vector, 0.5), vector * min(1.0, 0.5 / max(1e-300, np.linalg.norm(vector))))
