"""Where the simulated arm stands: its kinematics, its home, where it waits while a person works."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hardware.body import Body, Capsule, body_of
from hardware.kinematics import MujocoKinematics
from hardware.sim.model import ARM_JOINTS, TOOL_SITE, arm_model

Vector = NDArray[np.float64]
TOOL_DOWN_WXYZ = (0.0, 1.0, 0.0, 0.0)
HOME_TOOL_M = (0.44, 0.0, 0.22)
PARKED_TOOL_M = (0.30, 0.0, 0.52)
_PARKED_TILT_RAD = 0.75  # so that the wrist camera looks over the table instead of at the arm's own base
_ELBOW_UP_RAD = (2.83, -1.45, 1.95, -2.07, -1.57, 1.26)


def arm_kinematics() -> MujocoKinematics:
    """A new solver for the simulated arm."""
    return MujocoKinematics(arm_model(), TOOL_SITE, ARM_JOINTS, body=_body())


@lru_cache(maxsize=1)
def _body() -> Body:
    """The UR5e's collision capsules as its model in MuJoCo Menagerie has them, and the gripper's housing."""
    upper, fore, wrist = "upper_arm_link", "forearm_link", "wrist_2_link"
    capsules = (
        Capsule("base", (0.0, 0.0, 0.06), (0.0, 0.0, 0.06), 0.06),
        Capsule("shoulder_link", (0.0, 0.0, -0.10), (0.0, 0.0, 0.02), 0.06),
        Capsule(upper, (0.0, -0.10, 0.0), (0.0, 0.02, 0.0), 0.06),
        Capsule(upper, (0.0, 0.0, 0.0), (0.0, 0.0, 0.40), 0.05),
        Capsule(fore, (0.0, 0.02, 0.0), (0.0, 0.14, 0.0), 0.055),
        Capsule(fore, (0.0, 0.0, 0.01), (0.0, 0.0, 0.39), 0.038),
        Capsule("wrist_1_link", (0.0, -0.02, 0.0), (0.0, 0.12, 0.0), 0.04),
        Capsule(wrist, (0.0, 0.0, -0.02), (0.0, 0.0, 0.10), 0.04),
        Capsule("wrist_3_link", (0.0, 0.08, 0.0), (0.0, 0.08, 0.0), 0.04),
        Capsule("tool_base", (0.0, 0.0, 0.02), (0.0, 0.0, 0.07), 0.055),
    )
    chain = ("base", "shoulder_link", upper, fore, "wrist_1_link", wrist, "wrist_3_link", "tool_base")
    return body_of(capsules, chain, apart=3)


def stance(tool_m: tuple[float, ...], quaternion_wxyz: tuple[float, ...] = TOOL_DOWN_WXYZ) -> Vector:
    """Elbow-up joint positions (6,) with the gripper, pointing down unless told otherwise, at a position in m."""
    return arm_kinematics().solve(np.array(_ELBOW_UP_RAD), np.array(tool_m), np.array(quaternion_wxyz))


@lru_cache(maxsize=1)
def _home() -> tuple[float, ...]:
    return tuple(stance(HOME_TOOL_M).tolist())


def home_stance() -> Vector:
    """(6,) the safe start: above the middle of the table, gripper down."""
    return np.array(_home())


def parked_stance() -> Vector:
    """Where the arm waits while a person works: drawn back, its camera over the table."""
    return stance(PARKED_TOOL_M, (0.0, np.cos(_PARKED_TILT_RAD / 2), 0.0, np.sin(_PARKED_TILT_RAD / 2)))
