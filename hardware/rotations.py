"""Rotations of one thing at a time: unit quaternions, w x y z, Hamilton's product. Pure functions of small arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
IDENTITY_WXYZ: Vector = np.array([1.0, 0.0, 0.0, 0.0])
_SMALL_RAD = 1e-9


def product(first: Vector, second: Vector) -> Vector:
    """(4,) the rotation that does ``second``, then ``first``."""
    a, b, c, d = first
    w, x, y, z = second
    return np.array(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ]
    )


def conjugate(quaternion: Vector) -> Vector:
    """(4,) the opposite rotation."""
    w, x, y, z = quaternion
    return np.array([w, -x, -y, -z])


def rotated(quaternion: Vector, vector: Vector) -> Vector:
    """(3,) the vector turned by the rotation."""
    w, axis = quaternion[0], quaternion[1:]
    twice = 2.0 * np.cross(axis, vector)
    return np.asarray(vector + w * twice + np.cross(axis, twice), dtype=np.float64)


def rotation_vector(quaternion: Vector) -> Vector:
    """(3,) axis times angle in rad, the short way round: at most pi long."""
    short = quaternion if quaternion[0] >= 0 else -quaternion
    sine = float(np.linalg.norm(short[1:]))
    if sine < _SMALL_RAD:
        return np.asarray(2.0 * short[1:], dtype=np.float64)
    return np.asarray(short[1:] / sine * (2.0 * np.arctan2(sine, short[0])), dtype=np.float64)


def of_rotation_vector(vector_rad: Vector) -> Vector:
    """(4,) invert ``rotation_vector``."""
    angle = float(np.linalg.norm(vector_rad))
    if angle < _SMALL_RAD:
        return unit(np.concatenate([[1.0], vector_rad / 2.0]))
    return np.concatenate([[np.cos(angle / 2)], vector_rad / angle * np.sin(angle / 2)])


def unit(quaternion: Vector) -> Vector:
    """(4,) scaled to length one; a quaternion without a direction becomes no rotation."""
    length = float(np.linalg.norm(quaternion))
    if not np.isfinite(length) or length < 1e-6:
        return IDENTITY_WXYZ.copy()
    return np.asarray(quaternion / length, dtype=np.float64)
