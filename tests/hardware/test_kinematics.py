"""Inverse kinematics finds what forward kinematics shows, and never answers with something that is not a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.sim.stance import TOOL_DOWN_WXYZ, arm_kinematics, home_stance, stance
from hardware.sim.world import World

SOLVER = arm_kinematics()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.32, 0.66), st.floats(-0.26, 0.26), st.floats(0.01, 0.4), st.floats(-0.4, 0.4))
def test_solve_inverts_pose_over_the_table(x, y, z, yaw):
    turn = np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])
    joints = SOLVER.solve(home_stance(), np.array([x, y, z]), turn)
    position, quaternion = SOLVER.pose(joints)
    assert np.linalg.norm(position - (x, y, z)) < 2e-4
    assert abs(quaternion @ turn) > 1 - 1e-5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=7, max_size=7))
def test_any_target_gives_finite_joints_within_range(values):
    joints = SOLVER.solve(home_stance(), np.array(values[:3]), np.array(values[3:]))
    assert np.all(np.isfinite(joints)) and np.all(np.abs(joints) <= 6.2832)


def test_out_of_reach_ends_stretched_towards_the_target():
    joints = SOLVER.solve(home_stance(), np.array([3.0, 0.0, 0.3]), np.array(TOOL_DOWN_WXYZ))
    assert SOLVER.pose(joints)[0][0] > SOLVER.pose(home_stance())[0][0]


def test_a_small_move_keeps_the_arm_in_its_posture():
    before = stance((0.45, 0.10, 0.15))
    after = SOLVER.solve(before, np.array([0.455, 0.10, 0.15]), np.array(TOOL_DOWN_WXYZ))
    assert np.max(np.abs(after - before)) < 0.05


def test_kinematics_and_physics_agree_where_the_tool_is():
    world = World()
    joints, _, _, position, quaternion = world.arm()
    seen, turn = SOLVER.pose(joints)
    assert seen == pytest.approx(position, abs=1e-9) and abs(turn @ quaternion) > 1 - 1e-9
