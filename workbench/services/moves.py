"""Arithmetic of an operator's small moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Limits
from workbench.core.types import TeleopAction


def finite(action: TeleopAction) -> bool:
    """Whether every number that would be followed is one."""
    moves = (action.linear_m, action.angular_rad) if action.joints_rad is None else (action.joints_rad,)
    return bool(np.isfinite(action.gripper)) and all(bool(np.all(np.isfinite(move))) for move in moves)


def moved(target: NDArray[np.float64], action: TeleopAction, limits: Limits | None) -> NDArray[np.float64]:
    """(8,) a target carried on by one tick of an operator's hand, kept inside the workspace box."""
    carried = target.copy()
    carried[:3] += action.linear_m
    carried[3:7] = turned(carried[3:7], action.angular_rad)
    carried[7] = action.gripper
    if limits is not None:
        carried[:3] = np.clip(carried[:3], limits.workspace_min_m, limits.workspace_max_m)
    return carried


def turned(quaternion_wxyz: NDArray[np.float64], rotation_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """A quaternion turned by a small rotation vector given in the base frame."""
    angle = float(np.linalg.norm(rotation_rad))
    if angle < 1e-12 or not np.isfinite(angle):
        return quaternion_wxyz
    w = np.cos(angle / 2)
    x, y, z = rotation_rad / angle * np.sin(angle / 2)
    a, b, c, d = quaternion_wxyz
    turned = np.array(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ]
    )
    return np.asarray(turned / np.linalg.norm(turned), dtype=np.float64)
