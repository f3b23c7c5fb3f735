"""A minimal control loop for tests: operator, kinematics, guard, arm."""

from __future__ import annotations

import numpy as np

from hardware.safety import guard
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.operator import ScriptedOperator
from hardware.sim.stance import TOOL_DOWN_WXYZ, arm_kinematics
from workbench.core.types import ArmCommand, ArmState, Pose

TICK_S = 0.02


def arm_state(world, start_ns=0):
    joints, velocities, gripper, position, quaternion = world.arm()
    now_ns = start_ns + round(world.time_s * 1e9)
    return ArmState(now_ns, now_ns, joints, velocities, gripper, Pose(position, quaternion))


def demonstrate(world, task, seed, most_s=15.0):
    """Let the scripted operator do a task under the guard. Returns (done, tool path (T, 3), grippers, reasons)."""
    operator, kinematics, memory = ScriptedOperator(task, seed), arm_kinematics(), None
    state = arm_state(world)
    target, joints = state.pose.position_m.copy(), state.joints_rad
    path, grippers, reasons = [], [], set()
    while not operator.done and world.time_s < most_s:
        state = arm_state(world)
        action = operator.read(world.scene(), state, TICK_S)
        target = target + action.linear_m
        joints = kinematics.solve(joints, target, np.array(TOOL_DOWN_WXYZ))
        wanted = ArmCommand(joints, action.gripper, state.t_host_ns + 10**8)
        verdict = guard(state, wanted, memory, DEFAULT_LIMITS, kinematics, state.t_host_ns, TICK_S)
        memory = verdict.memory
        reasons.update(verdict.reasons)
        world.command(verdict.command.joints_rad, verdict.command.gripper)
        world.step(TICK_S)
        path.append(state.pose.position_m)
        grippers.append(state.gripper)
    return operator.done, np.array(path), np.array(grippers), reasons
