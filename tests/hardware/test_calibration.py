"""Hand-eye calibration on made-up views whose answer is known, and on the rendered board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.calibration import View, difference, second_axis_rad, solve
from hardware.charuco import Board, find_board
from hardware.rigid import inverse, quaternion, rotation, rotation_vector, turn
from workbench.core.errors import WorkbenchError

FOCAL_PX = 600.0
POINTS_M = np.array([[x, y, 0.0] for x in (0.04, 0.08, 0.12, 0.16) for y in (0.04, 0.08, 0.12)])


def pose(vector, position):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(np.array(vector, float)), position
    return matrix


CAMERA = pose([2.2, 0.1, -0.2], [0.9, 0.1, 0.7])
BOARD = pose([0.3, -0.2, 0.4], [0.02, -0.03, 0.12])


def made_up(count, noise_px=0.2, seed=0, axes=(1, 1, 1), mount="base"):
    """Views of a board seen from anywhere in front of the camera; ``axes`` says about which axes the tool turns."""
    rng, views = np.random.default_rng(seed), []
    while len(views) < count:
        tool = pose(rng.uniform(-0.6, 0.6, 3) * axes, np.array([0.4, 0.0, 0.2]) + rng.uniform(-0.15, 0.15, 3))
        arm = tool if mount == "base" else inverse(tool)
        chain = inverse(CAMERA) @ arm @ BOARD
        points = POINTS_M @ chain[:3, :3].T + chain[:3, 3]
        if points[:, 2].min() < 0.1:
            continue
        rays = points[:, :2] / points[:, 2:] + rng.normal(0, noise_px / FOCAL_PX, (len(points), 2))
        guess = chain @ pose(rng.normal(0, 0.005, 3), rng.normal(0, 0.002, 3))
        views.append(View(tool, guess, POINTS_M, rays))
    return views


@pytest.mark.parametrize("seed", range(3))
def test_the_camera_is_found_within_its_own_error_bars(seed):
    found = solve(made_up(12, seed=seed), "base", FOCAL_PX)
    off_mm, off_deg = difference(found.pose, CAMERA)
    assert off_mm < max(3.0, 4 * found.sigma_mm) and off_deg < 0.3
    assert found.residual_px == pytest.approx(0.2 * np.sqrt(2), rel=0.25)
    assert abs(found.focal_off) < 0.02 and found.dropped == ()
    assert difference(found.board, BOARD)[0] < 6.0


def test_views_that_do_not_fit_are_dropped_and_named():
    views = made_up(12)
    views[3] = replace(views[3], tool=views[3].tool @ pose([0.05, 0, 0], [0.03, 0, 0]))  # the arm was still moving
    views[8] = replace(views[8], rays=views[8].rays + 0.02)
    found = solve(views, "base", FOCAL_PX)
    assert found.dropped == (3, 8) and len(found.used) == 10
    assert difference(found.pose, CAMERA)[0] < 3.0


@pytest.mark.parametrize("axis", range(3))
def test_turning_about_one_axis_only_is_refused_with_what_to_do(axis):
    views = made_up(10, axes=np.eye(3)[axis])
    assert second_axis_rad(views) < 1e-6
    with pytest.raises(WorkbenchError, match="second axis"):
        solve(views, "base", FOCAL_PX)


def test_too_few_views_are_refused():
    with pytest.raises(WorkbenchError, match="too few"):
        solve(made_up(5), "base", FOCAL_PX)


def test_a_wrong_focal_length_shows():
    views = [replace(view, rays=view.rays * 1.05) for view in made_up(12, noise_px=0.05)]
    assert solve(views, "base", FOCAL_PX).focal_off == pytest.approx(0.05, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3.1, 3.1), min_size=3, max_size=3))
def test_rotations_and_their_vectors_agree(vector):
    vector = np.array(vector)
    if np.linalg.norm(vector) >= np.pi:
        vector *= 3.14159 / np.linalg.norm(vector)
    matrix = rotation(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.allclose(rotation(rotation_vector(matrix)), matrix, atol=1e-6)
    assert np.allclose(turn(quaternion(matrix)), matrix, atol=1e-6)


def test_half_turns_have_an_axis():
    for axis in np.eye(3):
        assert np.allclose(rotation(rotation_vector(rotation(np.pi * axis))), rotation(np.pi * axis), atol=1e-6)


def test_the_printed_board_is_found_in_its_own_picture_and_not_in_noise():
    board = Board()
    picture = np.pad(board.picture(40), 30, constant_values=255)
    points, pixels = find_board(picture, board)
    assert len(points) == 12
    expected = points[:, :2] / board.square_m * 40 + 30 - 0.5
    assert np.abs(pixels - expected).max() < 0.5
    assert find_board(np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8), board) is None
