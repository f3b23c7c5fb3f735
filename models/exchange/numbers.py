"""The words for an arm's numbers in requests and answers: metres and radians in the arm's base frame.

``rx ry rz`` is the rotation vector; ``roll pitch yaw`` turn about the fixed x, then y, then z axis; ``gripper`` is
0 closed to 1 open and ``closed`` the other way round; ``zero`` stands for a number that is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hardware.rotations import IDENTITY_WXYZ, of_rotation_vector, product, rotation_vector, unit
from workbench.core.errors import WorkbenchError

Vector = NDArray[np.float64]
POSITION, QUATERNION = ("x", "y", "z"), ("qw", "qx", "qy", "qz")
TURN, EULER = ("rx", "ry", "rz"), ("roll", "pitch", "yaw")
NUMBERS = (*POSITION, *QUATERNION, *TURN, *EULER, "gripper", "closed", "zero")
_JOINT = re.compile(r"joint_[1-9][0-9]?")


def is_joint(name: str) -> bool:
    """True for ``joint_1``, ``joint_2`` and so on."""
    return _JOINT.fullmatch(name) is not None


def numbers_of(state: NDArray[np.floating], axes: Sequence[str]) -> dict[str, float]:
    """All numbers known about an arm by their words; WorkbenchError if one is missing or not finite."""
    plain = dict(zip((name.removeprefix("ee.") for name in axes), np.asarray(state, np.float64).tolist(), strict=True))
    missing = [name for name in (*POSITION, *QUATERNION, "gripper") if name not in plain]
    if missing or not np.all(np.isfinite(state)):
        what = f"lacks '{missing[0]}'" if missing else "is not finite"
        raise WorkbenchError(f"the arm's state {what}", "Check the arm")
    joints = {name: value for name, value in plain.items() if is_joint(name)}
    return joints | described(np.array([plain[name] for name in (*POSITION, *QUATERNION, "gripper")]))


def described(pose: Vector) -> dict[str, float]:
    """Every word for the numbers of a pose (8,)."""
    turned = unit(pose[3:7])
    values = (*pose[:3], *turned, *rotation_vector(turned), *euler(turned), pose[7], 1.0 - pose[7], 0.0)
    return {name: float(value) for name, value in zip(NUMBERS, values, strict=True)}


def pick(known: Mapping[str, float], name: str) -> float:
    if name not in known:
        raise WorkbenchError(
            f"the policy server asks for {name}, which this arm does not have", "Correct [policy.keys]"
        )
    return known[name]


def turn_of(known: Mapping[str, float]) -> Vector | None:
    """(4,) quaternion from whichever words for a rotation are there, None without any."""
    for names, convert in ((QUATERNION, _of_quaternion), (TURN, of_rotation_vector), (EULER, of_euler)):
        if set(names) <= set(known):
            return convert(np.array([known[name] for name in names]))
    return None


def pose_of_numbers(known: Mapping[str, float]) -> Vector:
    """(8,) position, quaternion and gripper from whichever words are there; KeyError without position or gripper."""
    turned = turn_of(known)
    gripper = known["gripper"] if "gripper" in known else 1.0 - known["closed"]
    return np.array([*(known[name] for name in POSITION), *(IDENTITY_WXYZ if turned is None else turned), gripper])


def _of_quaternion(row: Vector) -> Vector:
    if not 0.5 < float(np.linalg.norm(row)) < 2.0:
        raise WorkbenchError("a quaternion of the other side has no direction", "Check [policy.keys]")
    return unit(row)


def of_euler(angles: Vector) -> Vector:
    """(4,) quaternion of roll, pitch, yaw (rad)."""
    roll, pitch, yaw = (of_rotation_vector(angle * axis) for angle, axis in zip(angles, np.eye(3), strict=True))
    return unit(product(yaw, product(pitch, roll)))


def euler(quaternion: Vector) -> Vector:
    """(3,) roll, pitch, yaw (rad) of a unit quaternion; inverts ``of_euler`` for a pitch within a quarter turn."""
    w, x, y, z = quaternion
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1.0, 1.0))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.array([roll, pitch, yaw])
