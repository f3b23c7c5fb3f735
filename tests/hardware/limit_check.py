"""Written apart from the guard: what a recorded sequence of commands breaks. Shares no code with it on purpose."""

from __future__ import annotations

import numpy as np


def broken(joints, limits, period_s, tool=None, gripper=None, tolerance=1e-6):
    """Names of the limits that (T, N) sent joints break, with the largest excess; {} when there is none.

    ``tool`` is (T, 3), ``gripper`` (T,). Acceleration counts the change of speed between successive ticks.
    """
    joints = np.asarray(joints, float)
    found = {}

    def most(name, excess):
        worst = float(np.max(excess)) if np.size(excess) else 0.0
        if not worst <= tolerance:
            found[name] = worst

    most("finite", 0.0 if np.isfinite(joints).all() else np.inf)
    most("joint range", np.maximum(limits.joint_min_rad - joints, joints - limits.joint_max_rad))
    speed = (joints[1:] - joints[:-1]) / period_s
    most("joint speed", abs(speed) - limits.joint_speed_rad_s)
    change = (speed[1:] - speed[:-1]) / period_s
    most("joint acceleration", (abs(change) - limits.joint_acceleration_rad_s2) * period_s)
    if tool is not None:
        most("workspace", np.maximum(limits.workspace_min_m - tool, tool - limits.workspace_max_m))
        most("tool speed", np.hypot(*(np.hypot(*(tool[1:] - tool[:-1]).T[:2]), (tool[1:] - tool[:-1]).T[2])) / period_s
             - limits.tool_speed_m_s)  # fmt: skip
    if gripper is not None:
        most("gripper", np.maximum(-np.asarray(gripper), np.asarray(gripper) - 1.0))
        most("gripper speed", abs(np.diff(gripper)) / period_s - limits.gripper_speed_s)
    return found


def clearances(links_m, joints, radius_m, things):
    """(T,) least distance of a planar arm's surface from circles (x, y, r), sampled every millimetre of its links."""
    angles = np.cumsum(np.asarray(joints, float), axis=1)
    start = np.zeros((len(angles), 2))
    least = np.full(len(angles), np.inf)
    for number, length in enumerate(links_m):
        way = np.stack([np.cos(angles[:, number]), np.sin(angles[:, number])], axis=1)
        for at in np.arange(0.0, length, 0.001):
            point = start + at * way
            for x, y, r in things:
                least = np.minimum(least, np.hypot(point[:, 0] - x, point[:, 1] - y) - r - radius_m)
        start = start + length * way
    return least
