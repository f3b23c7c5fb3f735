"""The guard under long random and adversarial drives, judged by a checker that shares no code with it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.safety import GuardMemory, GuardReason, guard, needs_body
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.stance import arm_kinematics, home_stance
from tests.hardware.limit_check import broken, clearances
from tests.hardware.planar import LIMITS, LINKS_M, PERIOD_S, START_RAD, PlanarArm, PlanarBody, command, state
from workbench.core.errors import WorkbenchError
from workbench.core.types import ArmCommand, ArmState, Pose

TICK_NS = round(PERIOD_S * 1e9)
THING = (0.55, 0.28, 0.0, 0.06)
SCENE = replace(LIMITS, obstacle_spheres_m=(THING,), self_clearance_m=0.01)


def drive(wishes, limits=LIMITS, arm=None, start=START_RAD):
    """Follow ``wishes``, which yields (how to make a command, age of the state): joints, grippers and reasons."""
    arm = arm or PlanarBody()
    memory, sent, grippers, reasons = None, [np.array(start, float)], [0.5], []
    for tick, wish in enumerate(wishes(lambda: sent[-1])):
        now_ns = 10**9 + tick * TICK_NS
        make, age_ns = wish
        measured = state(sent[-1], now_ns - age_ns, grippers[-1])
        verdict = guard(measured, make(now_ns), memory, limits, arm, now_ns, PERIOD_S)
        memory = verdict.memory
        sent.append(verdict.command.joints_rad)
        grippers.append(verdict.command.gripper)
        reasons.append(verdict.reasons)
    return np.array(sent), np.array(grippers), reasons


def adversary(ticks, seed):
    """Wishes of every kind: random, full reach back and forth, along a wall, nonsense, expired, blind, nothing."""
    rng = np.random.default_rng(seed)

    def wishes(now):
        done = 0
        while done < ticks:
            kind, length = rng.integers(8), int(rng.integers(1, 60))
            offset, target = rng.uniform(-0.49, 0.49, 3), rng.uniform(LIMITS.joint_min_rad, LIMITS.joint_max_rad)
            for step in range(min(length, ticks - done)):
                joints = now() + (offset if kind < 3 or step % 2 else -offset)
                age_ns = 10**9 if kind == 5 else 0
                if kind == 4:
                    joints = now() + np.clip(target - now(), -0.45, 0.45)
                elif kind == 6:
                    joints = rng.choice([np.nan, np.inf, -np.inf, 1e308, 0.0, 9.0], 3)
                gripper = rng.uniform(-1, 2)
                expires = -1 if kind == 7 and step % 3 else 50_000_000
                yield (
                    (lambda t, j=joints, g=gripper, e=expires: ArmCommand(j, g, t + e)) if kind or step % 5
                    else (lambda _t: None),
                    age_ns,
                )  # fmt: skip
            done += length

    return wishes


def judge(ticks, seed, limits=LIMITS):
    sent, grippers, reasons = drive(adversary(ticks, seed), limits)
    tools = PlanarBody().path(sent, body=False)[0]
    assert broken(sent, limits, PERIOD_S, tools, grippers) == {}
    return sent, {reason for row in reasons for reason in row}


def test_eight_thousand_adversarial_commands_break_no_limit():
    _, seen = judge(5_000, 0)
    assert {"joint speed", "joint acceleration", "workspace", "tool speed", "joint range", "gripper speed"} <= seen
    sent, seen = judge(3_000, 1, SCENE)
    assert GuardReason.COLLISION.value in seen
    assert clearances(LINKS_M, sent[::7], 0.0, [(THING[0], THING[1], THING[3])]).min() > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_million_adversarial_commands_break_no_limit(seed):
    """50 000 each, so that a failing seed is quickly looked at again."""
    judge(50_000, 100 + seed, SCENE if seed % 2 else LIMITS)


def test_the_checker_sees_what_it_should():
    """Each limit broken on purpose is named; else the tests above would prove nothing."""
    still = np.tile(START_RAD, (50, 1))
    for name, change in (
        ("joint range", lambda j: np.vstack([j, np.full((1, 3), 2.5)])),
        ("joint speed", lambda j: j + 0.02 * np.arange(50)[:, None]),
        ("joint acceleration", lambda j: j + 0.001 * (np.arange(50)[:, None] % 2)),
        ("finite", lambda j: np.vstack([j, [[np.nan] * 3]])),
    ):
        assert name in broken(change(still), LIMITS, PERIOD_S), name
    tools = PlanarArm().pose(START_RAD)[0] + np.zeros((50, 3))
    assert broken(still, LIMITS, PERIOD_S, tools, np.full(50, 0.5)) == {}
    assert "workspace" in broken(still, LIMITS, PERIOD_S, tools + 1.0)
    assert "tool speed" in broken(still, LIMITS, PERIOD_S, tools + 0.006 * np.arange(50)[:, None])
    assert "gripper speed" in broken(still, LIMITS, PERIOD_S, None, np.arange(50) % 2)


@pytest.mark.parametrize("limits", [LIMITS, SCENE], ids=["walls", "thing"])
def test_pushing_against_something_settles_without_swinging(limits):
    """Into the wall or the thing for five seconds: the tool's speed along the push changes its sign at most once."""
    arm = PlanarBody()
    goal = np.array([0.70, 0.40, 0.0]) if limits is SCENE else np.array([0.5, 0.9, 0.0])

    def wishes(now):
        for _ in range(500):
            here = arm.pose(now())[0]
            joints = arm.solve(now(), here + 0.03 * (goal - here) / np.linalg.norm(goal - here), None)
            yield (lambda t, j=joints: command(j, t)), 0

    sent, _, reasons = drive(wishes, limits)
    tools = arm.path(sent, body=False)[0]
    speeds = np.diff(sent, axis=0)[150:]
    assert reasons[-1], "nothing was in the way: the test proves nothing"
    for joint in speeds.T:
        signs = np.sign(joint[np.abs(joint) > 2e-5])
        assert np.count_nonzero(np.diff(signs)) <= 1
    assert np.abs(np.diff(tools[-60:], axis=0)).max() < 3e-4, "it does not settle"


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(0.05, 0.95)] * 3))
def test_a_ramp_arrives_within_a_bound(share):
    """Time to a reachable target: not more than three times what speed and tool speed alone would need, plus 1 s."""
    low, high = np.array(LIMITS.joint_min_rad), np.array(LIMITS.joint_max_rad)
    target = low + np.array(share) * (high - low)
    line = START_RAD + np.linspace(0, 1, 400)[:, None] * (target - START_RAD)
    tools = PlanarBody().path(line, body=False)[0]
    if np.any(tools < np.array(LIMITS.workspace_min_m) + 0.002) or np.any(
        tools > np.array(LIMITS.workspace_max_m) - 0.002
    ):
        return
    length_m = np.linalg.norm(np.diff(tools, axis=0), axis=1).sum()
    least_s = max(np.max(np.abs(target - START_RAD) / LIMITS.joint_speed_rad_s), length_m / LIMITS.tool_speed_m_s)
    ticks = int((3.0 * least_s + 1.0) / PERIOD_S)

    def wishes(now):
        for _ in range(ticks):
            way = target - now()
            joints = now() + way * min(1.0, 0.3 / max(np.abs(way).max(), 1e-9))
            yield (lambda t, j=joints: command(j, t)), 0

    sent, _, _ = drive(wishes)
    assert np.abs(sent[-1] - target).max() < 1e-6


anything = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(anything, min_size=0, max_size=5), st.lists(anything, min_size=3, max_size=3), anything, anything,
    st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62), st.booleans(),
)  # fmt: skip
def test_nothing_makes_it_raise_or_answer_twice_differently(
    wanted, measured, grip, grip_seen, expires, seen_ns, shaped
):
    memory = GuardMemory(START_RAD, np.array([0.5, -0.4, 0.3]), 0.5)
    where = ArmState(seen_ns, seen_ns, np.array(measured if shaped else measured[:2]), np.zeros(3), grip_seen,
                     Pose(np.zeros(3), np.array([1.0, 0, 0, 0])))  # fmt: skip
    wish = ArmCommand(np.array(wanted), grip, expires)
    first, second = (guard(where, wish, memory, SCENE, PlanarBody(), 10**9, PERIOD_S) for _ in range(2))
    assert np.array_equal(first.command.joints_rad, second.command.joints_rad) and first.reasons == second.reasons
    assert np.all(np.isfinite(first.command.joints_rad)) and 0 <= first.command.gripper <= 1


def test_the_table_plane_counts_besides_the_box():
    """A box that reaches below the table, and a table that does not give way."""
    arm = arm_kinematics()
    limits = replace(DEFAULT_LIMITS, workspace_min_m=(0.2, -0.4, -0.3), table_z_m=0.05)
    joints, memory, low = home_stance(), None, []
    for tick in range(300):
        now_ns = 10**9 + tick * TICK_NS
        here, turn = arm.pose(joints)
        wish = command(arm.solve(joints, here - [0, 0, 0.02], turn), now_ns)
        measured = ArmState(now_ns, now_ns, joints, np.zeros(6), 1.0, Pose(here, turn))
        verdict = guard(measured, wish, memory, limits, arm, now_ns, PERIOD_S)
        joints, memory = verdict.command.joints_rad, verdict.memory
        low.append(arm.pose(joints)[0][2])
    assert GuardReason.TABLE.value in verdict.reasons
    assert 0.05 - 1e-9 <= min(low) < 0.06


def test_the_arm_does_not_fold_into_itself():
    """Elbow driven until the gripper would meet the upper arm: the spheres keep their distance; without, they meet."""
    arm = arm_kinematics()
    roomy = replace(
        DEFAULT_LIMITS, workspace_min_m=(-2.0, -2.0, -2.0), workspace_max_m=(2.0, 2.0, 2.0), tool_speed_m_s=5.0
    )

    def fold(limits):
        joints, memory, gaps = home_stance(), None, []
        for tick in range(150):
            now_ns = 10**9 + tick * TICK_NS
            wish = command(joints + np.array([0.0, 0.0, 0.3, -0.3, 0.0, 0.0]), now_ns)
            measured = ArmState(now_ns, now_ns, joints, np.zeros(6), 1.0, Pose(*arm.pose(joints)))
            verdict = guard(measured, wish, memory, limits, arm, now_ns, PERIOD_S)
            joints, memory = verdict.command.joints_rad, verdict.memory
            centres = arm.path(joints[None])[1][0]
            first, second = centres[arm.pairs[:, 0]], centres[arm.pairs[:, 1]]
            reach = arm.radii_m[arm.pairs[:, 0]] + arm.radii_m[arm.pairs[:, 1]]
            gaps.append(float((np.linalg.norm(first - second, axis=1) - reach).min()))
        return gaps

    assert fold(roomy)[0] > 0.02, "the arm touches itself at home: its shape is wrong"
    assert min(fold(roomy)) < 0.0
    assert min(fold(replace(roomy, self_clearance_m=0.02))) >= 0.02 - 1e-6


@pytest.mark.parametrize(
    "wrong",
    [
        {"obstacle_spheres_m": ((0.0, 0.0, 0.0, 0.0),)},
        {"obstacle_boxes_m": ((0.0, 0.0, 0.0, 0.1, 0.1, -0.1),)},
        {"table_z_m": float("nan")},
        {"self_clearance_m": -0.1},
        {"effort_max": (1.0,)},
    ],
)
def test_impossible_scenes_are_refused(wrong):
    with pytest.raises(WorkbenchError):
        replace(LIMITS, **wrong)


def test_only_things_and_the_arm_itself_need_its_shape():
    assert needs_body(SCENE) and not needs_body(LIMITS) and not needs_body(replace(LIMITS, table_z_m=0.0))


def test_a_call_takes_less_than_a_millisecond_for_six_joints():
    """The median over a drive of small and large wishes; processor time, so that a busy machine does not fail it."""
    arm, rng, spent = arm_kinematics(), np.random.default_rng(0), []
    joints, memory = home_stance(), None
    for tick in range(300):
        now_ns = 10**9 + tick * TICK_NS
        if tick % 40 == 0:
            offset = rng.uniform(-0.1, 0.1, 6)
        measured = ArmState(now_ns, now_ns, joints, np.zeros(6), 1.0, Pose(*arm.pose(joints)))
        wish = command(joints + offset, now_ns)
        started = time.thread_time()
        verdict = guard(measured, wish, memory, DEFAULT_LIMITS, arm, now_ns, PERIOD_S)
        spent.append(time.thread_time() - started)
        joints, memory = verdict.command.joints_rad, verdict.memory
    assert np.median(spent) < 0.0015, f"{1000 * np.median(spent):.2f} ms"
