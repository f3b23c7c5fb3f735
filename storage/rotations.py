"""Other people's rotations as our unit quaternions (w x y z)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quaternions_of_euler_xyz(angles_T3: Array) -> Array:
    """(T, 4) quaternions of extrinsic x-y-z Euler angles (rad): R = Rz(c) Ry(b) Rx(a). Continuous in time."""
    half = np.asarray(angles_T3, dtype=np.float64) / 2
    (cx, cy, cz), (sx, sy, sz) = np.cos(half).T, np.sin(half).T
    parts = (
        cz * cy * cx + sz * sy * sx,
        cz * cy * sx - sz * sy * cx,
        cz * sy * cx + sz * cy * sx,
        sz * cy * cx - cz * sy * sx,
    )
    return continuous(np.stack(parts, axis=1))


def quaternions_of_rows_6d(six_T6: Array) -> Array:
    """(T, 4) quaternions of the first two ROWS of each rotation matrix. Continuous in time.

    The rows are made orthonormal first (Gram-Schmidt), as in Zhou et al., "On the Continuity of Rotation
    Representations in Neural Networks", equation 15, which does so with columns. ValueError where they are parallel.
    """
    six = np.asarray(six_T6, dtype=np.float64)
    first, second = six[:, :3], six[:, 3:]
    first = _unit(first)
    second = _unit(second - np.sum(first * second, axis=1, keepdims=True) * first)
    return continuous(quaternions_of_matrices(np.stack([first, second, np.cross(first, second)], axis=1)))


def quaternions_of_matrices(matrices_T33: Array) -> Array:
    """(T, 4) unit quaternions of rotation matrices.

    Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix" (2000): the eigenvector of the
    largest eigenvalue; has no singular case.
    """
    m = np.asarray(matrices_T33, dtype=np.float64)
    k = np.empty((len(m), 4, 4))
    k[:, 0, 0] = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    k[:, 0, 1] = k[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    k[:, 0, 2] = k[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    k[:, 0, 3] = k[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    k[:, 1, 1] = m[:, 0, 0] - m[:, 1, 1] - m[:, 2, 2]
    k[:, 2, 2] = m[:, 1, 1] - m[:, 0, 0] - m[:, 2, 2]
    k[:, 3, 3] = m[:, 2, 2] - m[:, 0, 0] - m[:, 1, 1]
    k[:, 1, 2] = k[:, 2, 1] = m[:, 0, 1] + m[:, 1, 0]
    k[:, 1, 3] = k[:, 3, 1] = m[:, 0, 2] + m[:, 2, 0]
    k[:, 2, 3] = k[:, 3, 2] = m[:, 1, 2] + m[:, 2, 1]
    vectors = np.linalg.eigh(k)[1][:, :, -1]
    return np.where(vectors[:, :1] < 0, -vectors, vectors)


def continuous(quaternions_T4: Array) -> Array:
    """The same rotations with signs chosen so that neighbours are close; the first has w >= 0."""
    quaternions = np.array(quaternions_T4, dtype=np.float64)
    if not len(quaternions):
        return quaternions
    dots = np.sum(quaternions[1:] * quaternions[:-1], axis=1)
    first = -1.0 if quaternions[0, 0] < 0 else 1.0
    signs = first * np.cumprod(np.concatenate([[1.0], np.where(dots < 0, -1.0, 1.0)]))
    return quaternions * signs[:, None]


def _unit(vectors: Array) -> Array:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if np.any(norms < 1e-6):
        raise ValueError("a rotation has no direction")
    return np.asarray(vectors / norms)
