"""The guard under thousands of random and hostile commands: nothing it allows may be outside any limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware.braking import brake
from hardware.safety import REFUSALS, GuardReason, guard
from tests.hardware.planar import LIMITS, PERIOD_S, START_RAD, PlanarArm, command, state
from workbench.core.errors import DeviceError
from workbench.core.types import ArmCommand

LOW, HIGH = np.array(LIMITS.joint_min_rad), np.array(LIMITS.joint_max_rad)
SPEED, ACCELERATION = np.array(LIMITS.joint_speed_rad_s), np.array(LIMITS.joint_acceleration_rad_s2)
BOX_LOW, BOX_HIGH = np.array(LIMITS.workspace_min_m), np.array(LIMITS.workspace_max_m)
ARM = PlanarArm()
TICK_NS = round(PERIOD_S * 1e9)
SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Path:
    """Runs the guard tick after tick on an arm that follows exactly, checking every limit on the way."""

    def __init__(self, start=START_RAD):
        self.joints = np.array(start, float)
        self.velocity = np.zeros(3)
        self.gripper = 0.5
        self.memory = None
        self.now_ns = 10**9
        self.tools = [ARM.pose(self.joints)[0]]

    def tick(self, wanted, measured=None):
        verdict = guard(
            measured or state(self.joints, self.now_ns, self.gripper),
            wanted, self.memory, LIMITS, ARM, self.now_ns, PERIOD_S,
        )  # fmt: skip
        self.check(verdict)
        self.memory, self.now_ns = verdict.memory, self.now_ns + TICK_NS
        return verdict

    def check(self, verdict):
        joints, gripper = verdict.command.joints_rad, verdict.command.gripper
        velocity = (joints - self.joints) / PERIOD_S
        tool = ARM.pose(joints)[0]
        assert np.all(joints >= LOW) and np.all(joints <= HIGH)
        assert np.all(np.abs(velocity) <= SPEED * (1 + 1e-6))
        assert np.all(np.abs(velocity - self.velocity) <= ACCELERATION * PERIOD_S * (1 + 1e-6) + 1e-9)
        assert np.all(tool >= BOX_LOW) and np.all(tool <= BOX_HIGH)
        assert np.linalg.norm(tool - self.tools[-1]) <= LIMITS.tool_speed_m_s * PERIOD_S * (1 + 1e-9)
        assert 0.0 <= gripper <= 1.0
        assert abs(gripper - self.gripper) <= LIMITS.gripper_speed_s * PERIOD_S + 1e-9
        self.joints, self.velocity, self.gripper = joints, velocity, gripper
        self.tools.append(tool)


wild = st.floats(allow_nan=True, allow_infinity=True)
near = st.floats(-0.49, 0.49)
hostile = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.just("offset"), near, near, near, st.floats(-1, 2), st.integers(1, 25)),
        st.tuples(st.just("raw"), wild, wild, wild, wild, st.integers(1, 3)),
        st.tuples(st.just("expired"), near, near, near, st.floats(0, 1), st.integers(1, 3)),
    ),
    min_size=5,
    max_size=40,
)


@SETTINGS
@given(hostile)
def test_no_sequence_of_commands_leaves_a_limit(moves):
    path = Path()
    for move in moves:
        if move is None:
            assert path.tick(None).refused
            continue
        kind, a, b, c, gripper, times = move
        for _ in range(times):
            joints = np.array([a, b, c]) + (0.0 if kind == "raw" else path.joints)
            wanted = command(joints, path.now_ns, gripper)
            if kind == "expired":
                wanted = ArmCommand(wanted.joints_rad, gripper, path.now_ns - 1)
            path.tick(wanted)


@settings(SETTINGS, max_examples=6)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)), min_size=3, max_size=12))
def test_bang_bang_at_full_reach_stays_inside(directions):
    path = Path()
    for direction in directions:
        for _ in range(15):
            path.tick(command(path.joints + 0.45 * np.sign(direction), path.now_ns))


@settings(SETTINGS, max_examples=10)
@given(st.tuples(*[st.floats(0.02, 0.98)] * 3))
def test_a_ramp_reaches_a_reachable_target(share):
    target = LOW + np.array(share) * (HIGH - LOW)
    line = START_RAD + np.linspace(0, 1, 200)[:, None] * (target - START_RAD)
    tools = np.array([ARM.pose(joints)[0] for joints in line])
    if np.any(tools < BOX_LOW + 0.002) or np.any(tools > BOX_HIGH - 0.002):
        return
    path = Path()
    for _ in range(3000):
        if np.max(np.abs(target - path.joints)) < 1e-9 and not np.any(path.velocity):
            break
        way = target - path.joints
        step = way * min(1.0, 0.3 / max(np.max(np.abs(way)), 1e-9))
        path.tick(command(path.joints + step, path.now_ns))
    assert np.max(np.abs(path.joints - target)) < 1e-6
    assert np.max(np.abs(path.velocity)) < 1e-6


@pytest.mark.parametrize("direction", [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (1.0, 1.0)])
def test_pressing_against_a_wall_comes_to_rest_there(direction):
    path = Path()
    outwards = np.array([*direction, 0.0])
    for _ in range(350):
        goal = ARM.solve(path.joints, ARM.pose(path.joints)[0] + 0.03 * outwards, np.array([1.0, 0, 0, 0]))
        path.tick(command(goal, path.now_ns))
    last = np.array(path.tools[-120:])
    along = np.diff(last, axis=0) @ outwards
    assert np.max(np.abs(np.diff(last, axis=0))) < 1e-3
    assert np.sum(np.abs(np.diff(np.sign(np.where(np.abs(along) < 2e-5, 0, along))))) <= 4, "it swings at the wall"
    walls = np.minimum(last[-1] - BOX_LOW, BOX_HIGH - last[-1])[:2]
    assert np.min(walls) < 0.01, "it stopped short of the wall"


def test_a_static_target_beyond_the_joint_range_is_approached_without_ringing():
    path = Path(start=(0.9, -1.4, -0.3))
    goals = []
    for _ in range(400):
        path.tick(command(path.joints + np.array([0.0, 0.0, 0.4]), path.now_ns))
        goals.append(path.joints[2])
    assert np.all(np.diff(goals) >= -1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda now: None, GuardReason.NO_COMMAND),
        (lambda now: ArmCommand(START_RAD + 0.1, 0.5, now - 1), GuardReason.EXPIRED),
        (lambda now: command([np.nan, 0, 0], now), GuardReason.NOT_FINITE),
        (lambda now: command(START_RAD, now, np.inf), GuardReason.NOT_FINITE),
        (lambda now: command([0.1, 0.2], now), GuardReason.NOT_FINITE),
        (lambda now: command(START_RAD + np.array([0, 0.6, 0]), now), GuardReason.JUMP),
    ],
)
def test_each_refusal_holds_and_says_why(change, reason):
    path = Path()
    verdict = path.tick(change(path.now_ns))
    assert verdict.reasons == (reason.value,) and verdict.refused and reason in REFUSALS
    assert np.array_equal(verdict.command.joints_rad, START_RAD)
    assert verdict.bits == reason.bit


def test_stale_and_broken_states_brake_a_moving_arm_to_a_stop():
    for spoil, reason in (("stale", GuardReason.STATE_STALE), ("nan", GuardReason.STATE_INVALID)):
        path = Path()
        for _ in range(20):
            path.tick(command(path.joints + 0.3, path.now_ns))
        assert np.max(np.abs(path.velocity)) > 0.2
        for _ in range(40):
            joints = np.full(3, np.nan) if spoil == "nan" else path.joints
            old_ns = path.now_ns - (10**9 if spoil == "stale" else 0)
            verdict = path.tick(command(path.joints + 0.3, path.now_ns), measured=state(joints, old_ns))
            assert reason.value in verdict.reasons
        assert np.all(path.velocity == 0.0)


def test_an_arm_that_was_pushed_away_is_held_where_it_is():
    path = Path()
    path.tick(command(START_RAD, path.now_ns))
    pushed = START_RAD + np.array([0.0, 0.7, 0.0])
    verdict = guard(
        state(pushed, path.now_ns), command(START_RAD, path.now_ns), path.memory, LIMITS, ARM, path.now_ns, PERIOD_S
    )
    assert verdict.refused and np.allclose(verdict.command.joints_rad, pushed)


def test_an_arm_outside_of_the_workspace_may_come_back_but_not_go_further_out():
    start = np.array([0.2, 0.1, 0.1])
    assert ARM.pose(start)[0][0] > BOX_HIGH[0]
    for wanted, allowed in ((START_RAD, True), (np.zeros(3), False)):
        joints, memory, outside = start.copy(), None, [ARM.pose(start)[0][0]]
        for tick in range(400):
            now_ns = 10**9 + tick * TICK_NS
            step = np.clip(wanted - joints, -0.3, 0.3)
            verdict = guard(
                state(joints, now_ns), command(joints + step, now_ns), memory, LIMITS, ARM, now_ns, PERIOD_S
            )
            joints, memory = verdict.command.joints_rad, verdict.memory
            outside.append(ARM.pose(joints)[0][0])
        assert np.max(outside) <= outside[0] + 1e-12
        if allowed:
            assert outside[-1] < BOX_HIGH[0]


def test_without_memory_a_broken_state_is_an_error():
    with pytest.raises(DeviceError):
        guard(state([np.nan] * 3, 0), None, None, LIMITS, ARM, 0, PERIOD_S)


@SETTINGS
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_braking_ends_and_is_consistent_with_itself(velocity):
    velocity, ticks = np.array(velocity), 0
    expected = int(np.ceil(np.max(np.abs(velocity) / (ACCELERATION * PERIOD_S)) - 1e-9))
    while np.any(velocity):
        slower = brake(velocity, ACCELERATION, PERIOD_S)
        assert np.all(np.abs(velocity - slower) <= ACCELERATION * PERIOD_S * (1 + 1e-9))
        velocity, ticks = slower, ticks + 1
    assert ticks <= max(1, expected)


def test_guarding_is_pure():
    path = Path()
    arguments = (
        state(START_RAD, path.now_ns), command(START_RAD + 0.2, path.now_ns), None, LIMITS, ARM, path.now_ns, PERIOD_S,
    )  # fmt: skip
    first, second = guard(*arguments), guard(*arguments)
    assert np.array_equal(first.command.joints_rad, second.command.joints_rad) and first.reasons == second.reasons


def test_reason_bits_are_distinct():
    bits = [reason.bit for reason in GuardReason]
    assert len(set(bits)) == len(bits) and sum(bits) < 2**24, "the mask must survive float32"
