"""What the simulated UR5e may do; the default station states these numbers in its settings."""

from __future__ import annotations

from hardware.arm import Limits

DEFAULT_LIMITS = Limits(
    joint_min_rad=(-6.2, -6.2, -3.1, -6.2, -6.2, -6.2),
    joint_max_rad=(6.2, 6.2, 3.1, 6.2, 6.2, 6.2),
    joint_speed_rad_s=(2.0, 2.0, 2.5, 3.0, 3.0, 3.0),
    joint_acceleration_rad_s2=(20.0, 20.0, 25.0, 30.0, 30.0, 30.0),
    workspace_min_m=(0.22, -0.40, 0.008),
    workspace_max_m=(0.75, 0.40, 0.65),
    tool_speed_m_s=0.6,
    gripper_speed_s=4.0,
    jump_rad=0.35,
    state_age_s=0.2,
)
