"""Kinematic chains against published joint and pose pairs, the makers' own calculations, and the solver."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.arms import franka, piper, so101, trossen, ur, xarm
from hardware.chains import Chain, matrix_pose, pose_matrix, quaternion, rotation_vector, transform

CHAINS = {
    "ur5e": ur.chain_of("ur5e"),
    "xarm6": xarm.chain_of("xarm6"),
    "xarm7": xarm.chain_of("xarm7"),
    "lite6": xarm.chain_of("lite6"),
    "franka": franka.CHAIN,
    "piper": piper.chain_of(False),
    "trossen": trossen.CHAIN,
    "so101": so101.CHAIN,
}
# Tool positions at all joints zero (m), from the makers' manuals; the Franka's at its ready position.
PUBLISHED = {
    "ur5e": ([0.0] * 6, (-0.8172, -0.2329, 0.0628)),
    "xarm6": ([0.0] * 6, (0.207, 0.0, 0.112)),
    "xarm7": ([0.0] * 7, (0.206, 0.0, 0.1205)),
    "lite6": ([0.0] * 6, (0.087, 0.0, 0.1542)),
    "franka": ([0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4], (0.3069, 0.0, 0.5903)),
    "piper": ([0.0] * 6, (0.056128, 0.0, 0.213266)),
}
angles = st.floats(-3.0, 3.0)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_poses(name):
    joints, place = PUBLISHED[name]
    assert CHAINS[name].matrix(np.array(joints, float))[:3, 3] == pytest.approx(place, abs=2e-4)


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_the_solver_speaks_of_the_same_arm_and_inverts(name):
    chain, rng = CHAINS[name], np.random.default_rng(3)
    solver = chain.kinematics()
    low, high = np.array([t.low_rad for t in chain.turns]), np.array([t.high_rad for t in chain.turns])
    middle = (low + high) / 2
    for _ in range(5):
        joints = middle + rng.uniform(-0.3, 0.3, chain.joints) * np.minimum(high - low, 3.0)
        position, turn = solver.pose(joints)
        exact = matrix_pose(chain.matrix(joints))
        assert position == pytest.approx(exact.position_m, abs=1e-9)
        assert abs(turn @ exact.quaternion_wxyz) == pytest.approx(1.0, abs=1e-9)
        found = solver.solve(joints + rng.uniform(-0.05, 0.05, chain.joints), position, turn)
        assert np.linalg.norm(solver.pose(found)[0] - position) < 1e-3


@pytest.mark.parametrize("old", [True, False])
def test_the_piper_is_where_its_own_package_says(old):
    sdk = pytest.importorskip("piper_sdk.kinematics.piper_fk", reason="piper-sdk is not installed")
    theirs, ours = sdk.C_PiperForwardKinematics(int(not old)), piper.chain_of(old)
    rng = np.random.default_rng(1)
    for _ in range(20):
        joints = rng.uniform(-1.2, 1.2, 6)
        place = np.array(theirs.CalFK(joints.tolist())[-1][:3]) / 1000
        assert ours.matrix(joints)[:3, 3] == pytest.approx(place, abs=1e-6)


def test_the_widowx_is_where_its_makers_model_says():
    if importlib.util.find_spec("trossen_arm_sim") is None:
        pytest.skip("trossen-arm-sim is not installed")
    from pathlib import Path

    place = Path(importlib.util.find_spec("trossen_arm_sim").origin).parent / "assets" / "wxai_follower.xml"
    theirs = Chain.of_file(place, [f"joint_{i}" for i in range(6)], "ee_site")
    rng = np.random.default_rng(2)
    for _ in range(20):
        joints = rng.uniform(0.1, 1.2, 6)
        assert trossen.CHAIN.matrix(joints)[:3, 3] == pytest.approx(theirs.matrix(joints)[:3, 3], abs=3e-4)
    assert theirs.turns[1].high_rad == pytest.approx(np.pi, abs=1e-4)


def test_the_so101_has_its_makers_lengths():
    """Stretched forward at zero: shoulder 0.39 m away at 0.23 m height; panning turns about the vertical axis."""
    straight = so101.CHAIN.matrix(np.zeros(5))
    assert straight[:3, 3] == pytest.approx((0.3914, -0.0004, 0.2265), abs=1e-3)
    assert straight[:3, 2] == pytest.approx((1, 0, 0), abs=1e-6), "the tool points forward"
    panned = so101.CHAIN.matrix(np.array([0.5, 0, 0, 0, 0]))
    axis = np.array([0.0388353, 0.0])
    assert np.linalg.norm(panned[:2, 3] - axis) == pytest.approx(np.linalg.norm(straight[:2, 3] - axis), abs=1e-9)
    assert panned[2, 3] == pytest.approx(straight[2, 3])


@given(st.tuples(angles, angles, angles))
def test_quaternions_and_matrices_invert(vector):
    turn = rotation_vector(vector)
    made = matrix_pose(np.block([[turn, np.ones((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]))
    assert pose_matrix(made)[:3, :3] == pytest.approx(turn, abs=1e-9)
    assert np.linalg.norm(quaternion(turn)) == pytest.approx(1.0)


def test_a_tool_set_in_the_controller_is_taken_over():
    chain, joints = CHAINS["ur5e"], np.array([0.3, -1.2, 1.1, -1.4, -1.5, 0.7])
    reported = matrix_pose(chain.matrix(joints) @ transform((0.01, -0.02, 0.15), (0.1, 0.0, 0.4)))
    fitted = chain.fitted(joints, reported)
    elsewhere = joints + 0.4
    expected = chain.matrix(elsewhere) @ transform((0.01, -0.02, 0.15), (0.1, 0.0, 0.4))
    assert fitted.matrix(elsewhere) == pytest.approx(expected, abs=1e-9)


HOMES = {
    "ur5e": ur.build(ur.Config()),
    "xarm6": xarm.build(xarm.Config()),
    "xarm7": xarm.build(xarm.Config(model="xarm7")),
    "lite6": xarm.build(xarm.Config(model="lite6")),
    "franka": franka.build(franka.Config()),
    "piper": piper.build(piper.Config()),
    "trossen": trossen.build(trossen.Config()),
    "so101": so101.build(so101.Config()),
}


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_the_shape_goes_along_and_is_clear_of_itself_at_home(name):
    chain, home = CHAINS[name], HOMES[name].home_rad
    solver = chain.kinematics()
    tool, centres = solver.path(np.stack([home, home + 0.2]))
    assert tool[0] == pytest.approx(chain.matrix(home)[:3, 3], abs=1e-9)
    assert np.min(np.linalg.norm(centres[0] - tool[0], axis=1)) < 1e-6, "the last sphere is at the tool"
    assert np.max(np.linalg.norm(centres[0] - centres[1], axis=1)) > 0.02
    first, second = solver.pairs.T
    gap = (
        np.linalg.norm(centres[0][first] - centres[0][second], axis=1) - solver.radii_m[first] - solver.radii_m[second]
    )
    assert gap.min() > 0.01
