"""A three-joint planar arm with exact kinematics: fast enough for thousands of guard ticks."""

from __future__ import annotations

import numpy as np

from hardware.arm import Limits
from workbench.core.types import ArmCommand, ArmState, Pose

LINKS_M = np.array([0.4, 0.3, 0.2])
PERIOD_S = 0.01
LIMITS = Limits(
    joint_min_rad=(-2.0, -2.2, -2.2),
    joint_max_rad=(2.0, 2.2, 2.2),
    joint_speed_rad_s=(1.5, 2.0, 2.5),
    joint_acceleration_rad_s2=(12.0, 16.0, 20.0),
    workspace_min_m=(0.1, -0.5, -1.0),
    workspace_max_m=(0.8, 0.5, 1.0),
    tool_speed_m_s=0.5,
    gripper_speed_s=4.0,
    jump_rad=0.5,
    state_age_s=0.1,
)
START_RAD = np.array([-0.4, 0.9, 0.3])


class PlanarArm:
    """Implements ``hardware.arm.Kinematics`` in the plane z = 0."""

    def pose(self, joints_rad):
        angles = np.cumsum(joints_rad)
        position = np.array([LINKS_M @ np.cos(angles), LINKS_M @ np.sin(angles), 0.0])
        return position, np.array([np.cos(angles[-1] / 2), 0.0, 0.0, np.sin(angles[-1] / 2)])

    def solve(self, seed_rad, position_m, quaternion_wxyz):
        joints = np.array(seed_rad, float)
        for _ in range(30):
            angles = np.cumsum(joints)
            error = position_m[:2] - self.pose(joints)[0][:2]
            if np.max(np.abs(error)) < 1e-5:
                break
            sums = [LINKS_M[i:] for i in range(3)]
            jacobian = np.array(
                [
                    [-sums[i] @ np.sin(angles[i:]) for i in range(3)],
                    [sums[i] @ np.cos(angles[i:]) for i in range(3)],
                ]
            )
            joints = joints + jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(2), error)
        return joints


def state(joints, now_ns, gripper=0.5):
    """A fresh measurement of an arm that follows perfectly."""
    joints = np.asarray(joints, float)
    position, quaternion = PlanarArm().pose(joints)
    return ArmState(now_ns, now_ns, joints, np.zeros(len(joints)), gripper, Pose(position, quaternion))


def command(joints, now_ns, gripper=0.5):
    return ArmCommand(np.asarray(joints, float), gripper, now_ns + 50_000_000)


class PlanarBody(PlanarArm):
    """The same arm with a shape: spheres along its three links; the first and the last link must not meet."""

    def __init__(self, radius_m=0.03):
        self._shares = [(link, share) for link in range(3) for share in (0.25, 0.5, 0.75, 1.0)]
        self.radii_m = np.full(len(self._shares), radius_m)
        self.pairs = np.array([(i, j) for i, (a, _) in enumerate(self._shares) for j, (b, _) in enumerate(self._shares)
                               if a == 0 and b == 2])  # fmt: skip

    def path(self, joints_KN, body=True):
        angles = np.cumsum(joints_KN, axis=1)
        steps = LINKS_M[:, None] * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
        ends = np.concatenate([np.zeros((len(steps), 1, 3)), np.cumsum(steps, axis=1)], axis=1)
        centres = [ends[:, link] + share * steps[:, link] for link, share in self._shares] if body else []
        return ends[:, -1], np.stack(centres, axis=1) if centres else np.zeros((len(steps), 0, 3))
