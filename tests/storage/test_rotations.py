from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rotations import continuous, quaternions_of_euler_xyz, quaternions_of_matrices, quaternions_of_rows_6d


def matrix(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def about(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    r = np.eye(3)
    r[i, i] = r[j, j] = c
    r[j, i], r[i, j] = s, -s
    return r


angles = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)


@given(angles)
def test_all_three_ways_lead_to_the_same_rotation(abc: tuple[float, float, float]) -> None:
    a, b, c = abc
    r = about(2, c) @ about(1, b) @ about(0, a)
    for q in (
        quaternions_of_euler_xyz(np.array([abc]))[0],
        quaternions_of_matrices(r[None])[0],
        quaternions_of_rows_6d((r[:2] * 1.7).reshape(1, 6))[0],
    ):
        assert abs(np.linalg.norm(q) - 1) < 1e-12 and q[0] >= 0
        np.testing.assert_allclose(matrix(q), r, atol=1e-9)


def test_euler_jumps_at_pi_do_not_jump_as_quaternions() -> None:
    roll = np.linspace(3.0, 3.3, 20)
    wrapped = np.where(roll > np.pi, roll - 2 * np.pi, roll)
    q = quaternions_of_euler_xyz(np.stack([wrapped, 0 * roll + 0.1, 0 * roll - 0.2], axis=1))
    assert np.abs(np.diff(q, axis=0)).max() < 0.01
    assert continuous(np.zeros((0, 4))).shape == (0, 4)


def test_a_rotation_without_direction_is_refused() -> None:
    with pytest.raises(ValueError):
        quaternions_of_rows_6d(np.zeros((1, 6)))
    with pytest.raises(ValueError):
        quaternions_of_rows_6d(np.array([[1.0, 0, 0, 2, 0, 0]]))
