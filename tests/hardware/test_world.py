"""The simulated table: placement, physics, tasks, the operator and the hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.sim import placement
from hardware.sim.hand import HumanHand
from hardware.sim.look import Look
from hardware.sim.stance import HOME_TOOL_M, TOOL_DOWN_WXYZ, home_stance
from hardware.sim.tasks import DEMONSTRATED, NEW_TASK, OBJECTS, SPARE_OBJECT, TARGETS, TASKS, sim_task
from hardware.sim.world import World
from tests.hardware.driving import demonstrate
from workbench.core.errors import NotFoundError


@pytest.fixture(scope="module")
def world():
    return World()


def test_the_tasks_are_the_agreed_ones():
    assert len(TASKS) == 15 and len(DEMONSTRATED) == len(set(DEMONSTRATED)) == 6
    assert {TASKS[name].object for name in DEMONSTRATED} == set(OBJECTS) - {SPARE_OBJECT}
    assert {TASKS[name].target for name in DEMONSTRATED} == set(TARGETS)
    assert TASKS[NEW_TASK].object == SPARE_OBJECT and NEW_TASK not in DEMONSTRATED
    assert sim_task("red_cube_to_white_plate").instruction == "put the red cube on the white plate"


def test_an_unknown_task_names_the_nearest(world):
    with pytest.raises(NotFoundError, match="red_cube_to_white_plate"):
        world.reset("red_cube_to_white_plat", 0)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(TASKS)), st.integers(0, 2**31), st.integers(0, 3))
def test_placement_leaves_room_and_holds_what_the_task_needs(name, seed, distractors):
    task = TASKS[name]
    layout = placement.lay_table(np.random.default_rng(seed), task, distractors)
    things = {key: spot for key, spot in layout.items() if key in OBJECTS or key in TARGETS}
    assert task.object in things and set(TARGETS) <= things.keys() and len(things) == 6
    assert (SPARE_OBJECT in things) == (task.object == SPARE_OBJECT)
    size = {**{k: max(v.size_m) for k, v in OBJECTS.items()}, **{k: v.radius_m for k, v in TARGETS.items()}}
    for key, (x, y, _) in things.items():
        assert placement.AREA_MIN_M[0] <= x <= placement.AREA_MAX_M[0] and abs(y) <= placement.AREA_MAX_M[1]
        for other, (ox, oy, _) in things.items():
            assert other == key or np.hypot(x - ox, y - oy) > size[key] + size[other]


def test_a_reset_is_a_function_of_task_seed_and_actor(world):
    def look():
        return {**world.scene(), "arm": world.arm()[0]}

    world.reset("blue_cylinder_to_pink_mat", 4)
    first = look()
    world.step(0.3)
    world.reset("blue_cylinder_to_pink_mat", 4)
    again = look()
    world.reset("blue_cylinder_to_pink_mat", 5)
    other = look()
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.allclose(first["blue_cylinder"], other["blue_cylinder"])


def test_things_rest_and_the_arm_holds_when_nobody_commands(world):
    world.reset("red_cube_to_white_plate", 1)
    scene, joints = world.scene(), world.arm()[0]
    world.step(1.0)
    assert world.time_s == pytest.approx(1.0)
    assert all(np.linalg.norm(world.scene()[key] - scene[key]) < 0.002 for key in scene)
    assert np.max(np.abs(world.arm()[0] - joints)) < 1e-3 and np.max(np.abs(world.arm()[1])) < 1e-3


def test_time_shorter_than_a_physics_step_is_owed(world):
    world.reset("red_cube_to_white_plate", 1)
    for _ in range(100):
        world.step(0.001)
    assert world.time_s == pytest.approx(0.1, abs=0.003)


def test_the_servo_follows_and_the_gripper_closes(world):
    world.reset("red_cube_to_white_plate", 1)
    target = home_stance()
    world.command(target, 0.0)
    world.step(1.0)
    joints, _, gripper, position, quaternion = world.arm()
    assert np.max(np.abs(joints - target)) < 2e-3 and gripper < 0.05
    assert position == pytest.approx(HOME_TOOL_M, abs=2e-3)
    assert abs(quaternion @ np.array(TOOL_DOWN_WXYZ)) > 0.9999


@pytest.mark.parametrize("task", ["green_prism_to_cyan_tray", "yellow_box_to_pink_mat", NEW_TASK])
def test_the_operator_does_the_task_under_the_guard(world, task):
    world.reset(task, 77)
    assert not world.succeeded(task)
    done, path, grippers, reasons = demonstrate(world, task, 77)
    assert done and world.succeeded(task)
    assert 3.0 < len(path) * 0.02 < 8.0
    assert reasons <= {"gripper speed", "joint acceleration"}
    speeds = np.linalg.norm(np.diff(path, axis=0), axis=1) / 0.02
    assert 0.2 < np.max(speeds) < 0.45
    assert grippers[0] > 0.9 and 0.2 < np.min(grippers) < 0.8 and grippers[-1] > 0.9
    others = [name for name, other in TASKS.items() if other.object == sim_task(task).object and name != task]
    assert not any(world.succeeded(name) for name in others)


def test_the_operator_is_deterministic(world):
    runs = []
    for _ in range(2):
        world.reset("red_cube_to_cyan_tray", 3)
        runs.append(demonstrate(world, "red_cube_to_cyan_tray", 3, most_s=1.5)[1])
    assert np.array_equal(*runs)


def test_a_held_object_is_not_a_success(world):
    task = "red_cube_to_white_plate"
    world.reset(task, 8, actor="human")
    hand = HumanHand(task, 8)
    seen = []
    while not hand.done and world.time_s < 15:
        hand.step(world, 0.05)
        seen.append((hand.phase, world.succeeded(task)))
    assert not any(success for phase, success in seen if phase in ("raise", "carry", "lower"))
    assert hand.done and world.succeeded(task)


def test_hands_differ_in_pace_and_keep_their_true_pose_honest(world):
    task, paces = "green_prism_to_pink_mat", []
    for seed in range(4):
        world.reset(task, seed, actor="human")
        hand, poses = HumanHand(task, seed), []
        while not hand.done and world.time_s < 15:
            hand.step(world, 0.1)
            poses.append(hand.true_pose())
            if hand.phase in ("raise", "carry"):
                assert np.linalg.norm(poses[-1][:3] - world.object_position("green_prism")) < 0.02
        assert world.succeeded(task)
        poses = np.array(poses)
        assert np.allclose(np.linalg.norm(poses[:, 3:7], axis=1), 1.0)
        assert poses[:, 7].min() > 0.2 and poses[:, 7].max() <= 1.0
        paces.append(np.max(np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)) / 0.1)
    assert max(paces) > 1.2 * min(paces) and max(paces) < 0.5


def test_looks_are_reproducible_and_leave_objects_alone(world):
    world.reset(NEW_TASK, 0, look=Look.randomised(5))
    first = world.snapshot().geom_rgba
    world.reset(NEW_TASK, 0, look=Look.everyday(5))
    plain = world.snapshot().geom_rgba
    assert Look.randomised(5) == Look.randomised(5) != Look.randomised(6)
    changed = np.any(first != plain, axis=1)
    keep = [world._model.geom(name).id for name in (*OBJECTS, *TARGETS)]
    assert np.sum(changed) > 20 and not np.any(changed[keep])
