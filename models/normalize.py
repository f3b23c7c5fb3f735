"""Poses to chunk-relative actions and back, and the scales that make them learnable. The same code trains and drives.

Letters in names: T times, N chunks, H steps of a chunk, 7 = x y z, rotation vector, gripper; 8 = x y z, quaternion
w x y z, gripper. Metres, radians, base frame; gripper 0 closed .. 1 open outside, -1 closed .. +1 open inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

ROTATION_6D = slice(3, 9)
_MIN_HALF_M, _MIN_HALF_RAD = 0.005, 0.02


def unit_quaternion(quaternion: ArrayLike) -> Array:
    """(..., 4) scaled to length 1; a zero quaternion becomes the identity."""
    q = np.asarray(quaternion, dtype=np.float64)
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    unit: Array = np.divide(q, length, out=np.zeros_like(q), where=length > 1e-9)
    unit[..., 0] = np.where(length[..., 0] > 1e-9, unit[..., 0], 1.0)
    return unit


def multiply(a: ArrayLike, b: ArrayLike) -> Array:
    """Hamilton product of (..., 4) quaternions w x y z."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a, dtype=np.float64), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b, dtype=np.float64), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(quaternion: ArrayLike) -> Array:
    """The inverse of a unit quaternion."""
    inverse: Array = np.asarray(quaternion, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])
    return inverse


def rotation_vector(quaternion: ArrayLike) -> Array:
    """(..., 4) unit quaternion to (..., 3) axis times angle, angle at most pi."""
    q = unit_quaternion(quaternion)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., :1])
    scale = np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 1e-9)
    vector: Array = q[..., 1:] * scale
    return vector


def from_rotation_vector(vector: ArrayLike) -> Array:
    """Invert ``rotation_vector``."""
    v = np.asarray(vector, dtype=np.float64)
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    half = 0.5 * angle
    scale = np.divide(np.sin(half), angle, out=np.full_like(angle, 0.5), where=angle > 1e-9)
    return np.concatenate([np.cos(half), v * scale], axis=-1)


def rotation_6d(quaternion: ArrayLike) -> Array:
    """(..., 4) to the first two columns of the rotation matrix, (..., 6) (Zhou et al. 2019, without jumps)."""
    w, x, y, z = np.moveaxis(unit_quaternion(quaternion), -1, 0)
    first = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
    second = [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)]
    return np.stack(first + second, axis=-1)


def slerp(a: ArrayLike, b: ArrayLike, share: ArrayLike) -> Array:
    """Spherical interpolation between (..., 4) quaternions on the shorter way; share 0 = a, 1 = b."""
    start = unit_quaternion(a)
    turn = rotation_vector(multiply(unit_quaternion(b), conjugate(start)))
    return unit_quaternion(multiply(from_rotation_vector(turn * np.asarray(share)[..., None]), start))


def state_vector(pose8: ArrayLike) -> NDArray[np.float32]:
    """(..., 8) pose with gripper 0..1 to the (..., 10) network state: x y z (m), 6-D rotation, gripper -1..+1."""
    pose = np.asarray(pose8, dtype=np.float64)
    parts = [pose[..., :3], rotation_6d(pose[..., 3:7]), 2.0 * pose[..., 7:] - 1.0]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def chunk_actions(pose0: ArrayLike, targets_H8: ArrayLike) -> Array:
    """Targets relative to the first observed pose: (..., 8) and (..., H, 8) to (..., H, 7).

    Translation p - p0 and rotation R R0^T as a rotation vector, base frame; cumulative, not step to step.
    """
    start = np.asarray(pose0, dtype=np.float64)[..., None, :]
    targets = np.asarray(targets_H8, dtype=np.float64)
    turn = rotation_vector(multiply(unit_quaternion(targets[..., 3:7]), conjugate(unit_quaternion(start[..., 3:7]))))
    return np.concatenate([targets[..., :3] - start[..., :3], turn, 2.0 * targets[..., 7:] - 1.0], axis=-1)


def apply_actions(pose0: ArrayLike, actions_H7: ArrayLike) -> Array:
    """Invert ``chunk_actions``: absolute targets (..., H, 8) with the gripper clipped to 0..1."""
    start = np.asarray(pose0, dtype=np.float64)[..., None, :]
    actions = np.asarray(actions_H7, dtype=np.float64)
    turned = unit_quaternion(multiply(from_rotation_vector(actions[..., 3:6]), unit_quaternion(start[..., 3:7])))
    gripper = np.clip(0.5 * (actions[..., 6:] + 1.0), 0.0, 1.0)
    return np.concatenate([start[..., :3] + actions[..., :3], turned, gripper], axis=-1)


def to_published(actions_H7: ArrayLike) -> Array:
    """(..., 7) as OpenCLAP counts: rotation as angles about the fixed axes x, then y, then z; +1 = gripper closed."""
    actions = np.asarray(actions_H7, dtype=np.float64)
    w, x, y, z = np.moveaxis(from_rotation_vector(actions[..., 3:6]), -1, 0)
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1.0, 1.0))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.concatenate([actions[..., :3], np.stack([roll, pitch, yaw], axis=-1), -actions[..., 6:]], axis=-1)


def from_published(actions_H7: ArrayLike) -> Array:
    """Invert ``to_published``."""
    actions = np.asarray(actions_H7, dtype=np.float64)
    about_x, about_y, about_z = (
        from_rotation_vector(actions[..., 3 + axis, None] * np.eye(3)[axis]) for axis in range(3)
    )
    turn = rotation_vector(multiply(about_z, multiply(about_y, about_x)))
    return np.concatenate([actions[..., :3], turn, -actions[..., 6:]], axis=-1)


@dataclass(frozen=True)
class ActionScaler:
    """Per step of the chunk: q01 and q99 of every pose number go to -1 and +1 (unclipped); the gripper is untouched.

    Attributes:
        middle_H6, half_H6: centre and half width of the range. Ranges below 5 mm or 0.02 rad are widened to that, so
            that noise on an axis that never moves is not blown up.
        published: scaled are the numbers that OpenCLAP's codecs speak, see ``to_published``.
    """

    middle_H6: Array  # noqa: N815
    half_H6: Array  # noqa: N815
    published: bool = False

    @classmethod
    def fit(cls, actions_NH7: ArrayLike, *, published: bool = False) -> ActionScaler:
        """Quantiles of (N, H, 7) actions, of the ``published`` numbers over all steps alike; ValueError without any."""
        actions = np.asarray(actions_NH7, dtype=np.float64)
        if published and actions.ndim == 3:
            one = cls.fit(to_published(actions).reshape(-1, 1, 7))
            return cls.of_published(one.middle_H6[0], one.half_H6[0], actions.shape[1])
        if actions.ndim != 3 or len(actions) == 0:
            raise ValueError(f"no actions to take quantiles of, shape {actions.shape}")
        low, high = np.quantile(actions[..., :6], [0.01, 0.99], axis=0)
        floor = np.repeat([_MIN_HALF_M, _MIN_HALF_RAD], 3)
        return cls((low + high) / 2, np.maximum((high - low) / 2, floor))

    @classmethod
    def of_published(cls, middle_6: ArrayLike, half_6: ArrayLike, horizon: int) -> ActionScaler:
        """The same published range for every one of ``horizon`` steps."""
        middle, half = (np.tile(np.asarray(six, dtype=np.float64), (horizon, 1)) for six in (middle_6, half_6))
        return cls(middle, half, published=True)

    def normalise(self, actions_H7: ArrayLike) -> NDArray[np.float32]:
        """(..., H, 7) physical to network numbers."""
        actions = np.asarray(actions_H7, dtype=np.float64)
        actions = to_published(actions) if self.published else actions
        pose = (actions[..., :6] - self.middle_H6) / self.half_H6
        return np.concatenate([pose, actions[..., 6:]], axis=-1).astype(np.float32)

    def invert(self, actions_H7: ArrayLike) -> Array:
        """(..., H, 7) network numbers to physical."""
        actions = np.asarray(actions_H7, dtype=np.float64)
        physical = np.concatenate([actions[..., :6] * self.half_H6 + self.middle_H6, actions[..., 6:]], axis=-1)
        return from_published(physical) if self.published else physical

    def fits(self, horizon: int) -> bool:
        """True for finite numbers of ``horizon`` steps with a positive range each."""
        whole = self.middle_H6.shape == self.half_H6.shape == (horizon, 6)
        return whole and bool(np.all(np.isfinite(self.middle_H6)) and np.all(self.half_H6 > 0))

    def to_json(self) -> dict[str, Any]:
        """Plain values for checkpoints; exact."""
        more = {"published": True} if self.published else {}
        return {"middle": self.middle_H6.tolist(), "half": self.half_H6.tolist(), **more}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ActionScaler:
        """Invert ``to_json``."""
        middle, half = (np.array(value[name], dtype=np.float64) for name in ("middle", "half"))
        return cls(middle, half, value.get("published") is True)


@dataclass(frozen=True)
class Standardiser:
    """Mean and spread of any array's last axes, for features and states: ``(x - mean) / spread``."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def fit(cls, values: ArrayLike, floor: float = 1e-3) -> Standardiser:
        """Over the first axis; spreads below ``floor`` are raised to it."""
        array = np.asarray(values, dtype=np.float64)
        if len(array) == 0:
            raise ValueError("no values to take statistics of")
        spread = np.maximum(array.std(axis=0), floor)
        return cls(array.mean(axis=0).astype(np.float32), spread.astype(np.float32))

    def to_json(self) -> dict[str, Any]:
        """Plain values for checkpoints; exact."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Standardiser:
        """Invert ``to_json``."""
        return cls(np.array(value["mean"], dtype=np.float32), np.array(value["spread"], dtype=np.float32))
