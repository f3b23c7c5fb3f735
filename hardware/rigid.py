"""Rigid motions as 4x4 matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def inverse(pose: Matrix) -> Matrix:
    """(4, 4) the motion back."""
    back = np.eye(4)
    back[:3, :3] = pose[:3, :3].T
    back[:3, 3] = -back[:3, :3] @ pose[:3, 3]
    return back


def turn(quaternion_wxyz: Matrix) -> Matrix:
    """(3, 3) rotation of a quaternion of any length but zero."""
    w, x, y, z = np.asarray(quaternion_wxyz, float) / np.linalg.norm(quaternion_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion(rotation: Matrix) -> Matrix:
    """(4,) w x y z of a (3, 3) rotation, w >= 0."""
    vector = rotation_vector(rotation)
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 1e-12 else np.zeros(3)
    return np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * axis])


def rotation(vector_rad: Matrix) -> Matrix:
    """(3, 3) from a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector_rad))
    if angle < 1e-12:
        return np.eye(3) + _cross(vector_rad)
    axis = _cross(vector_rad / angle)
    turned: Matrix = np.eye(3) + np.sin(angle) * axis + (1.0 - np.cos(angle)) * axis @ axis
    return turned


def rotation_vector(rotation: Matrix) -> Matrix:
    """(3,) axis times angle, angle 0 .. pi, of a (3, 3) rotation."""
    skew = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine, cosine = float(np.linalg.norm(skew)), 0.5 * (float(np.trace(rotation)) - 1.0)
    angle = float(np.arctan2(sine, cosine))
    if sine > 1e-7:
        return np.asarray(skew * (angle / sine))
    if cosine > 0:
        return skew
    column = int(np.argmax(np.diag(rotation)))  # half a turn: the axis is the longest column of R + I
    axis = rotation[:, column] + np.eye(3)[:, column]
    return np.asarray(np.pi * axis / np.linalg.norm(axis))


def moved(pose: Matrix, step: Matrix) -> Matrix:
    """A pose turned (step[:3], rad) and shifted (step[3:6], m) a little, both in the outer frame."""
    result = pose.copy()
    result[:3, :3] = rotation(step[:3]) @ pose[:3, :3]
    result[:3, 3] += step[3:6]
    return result


def _cross(vector: Matrix) -> Matrix:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
