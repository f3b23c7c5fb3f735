"""Pictures of the simulated table: what is in them, where, how far away, and that they are of the right moment."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hardware.optics import project
from hardware.sim.hand import HumanHand
from hardware.sim.look import Look
from hardware.sim.render import SceneRenderer
from hardware.sim.scenery import FRONT_EYE_M
from hardware.sim.tasks import OBJECTS
from hardware.sim.world import World
from workbench.core.errors import NotFoundError

TASK = "red_cube_to_white_plate"


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def front():
    renderer = SceneRenderer("front", 160, 120, depth=True)
    yield renderer
    renderer.close()


def vivid(rgb, name):
    """Where a picture shows the hue of an object: (H, W) bool."""
    wanted = np.array(OBJECTS[name].rgb)
    pixels = rgb / 255.0
    chroma = pixels / np.maximum(pixels.sum(2, keepdims=True), 1e-6)
    return (np.linalg.norm(chroma - wanted / wanted.sum(), axis=2) < 0.08) & (pixels.max(2) > 0.2)


def seen_at(renderer, snapshot, point):
    """Pixel (u, v) and distance along the axis of a point in the base frame."""
    pose = renderer.pose(snapshot)
    ((u, v),) = project(np.array([point]), pose, renderer.intrinsics())
    return u, v, (np.linalg.inv(pose) @ np.append(point, 1.0))[2]


def test_objects_appear_where_the_camera_model_says(world, front):
    for seed in range(3):
        world.reset(TASK, seed)
        snapshot = world.snapshot()
        rgb, depth = front.render(snapshot)
        assert rgb.shape == (120, 160, 3) and rgb.dtype == np.uint8
        assert depth.shape == (120, 160) and depth.dtype == np.uint16
        rows, columns = np.nonzero(vivid(rgb, "red_cube"))
        u, v, distance = seen_at(front, snapshot, world.object_position("red_cube"))
        assert 40 < len(rows) < 400
        assert abs(columns.mean() - u) < 2.5 and abs(rows.mean() - v) < 2.5
        assert abs(depth[int(v), int(u)] / 1000 - distance) < 0.035


def test_the_table_is_as_far_away_as_geometry_says(world, front):
    world.reset(TASK, 2)
    snapshot = world.snapshot()
    depth = front.render(snapshot)[1]
    u, v, distance = seen_at(front, snapshot, np.array([0.66, 0.27, 0.0]))
    assert abs(depth[int(v), int(u)] / 1000 - distance) < 0.006
    assert front.pose(snapshot)[:3, 3] == pytest.approx(FRONT_EYE_M)


def test_everything_in_play_is_inside_the_front_picture(world, front):
    for seed in range(12):
        world.reset(TASK, seed)
        snapshot = world.snapshot()
        for position in world.scene().values():
            u, v, _ = seen_at(front, snapshot, position)
            assert 8 < u < 152 and 8 < v < 112


def test_pictures_of_one_snapshot_do_not_change_while_the_world_goes_on(world, front):
    world.reset(TASK, 3)
    snapshot = world.snapshot()
    before = front.render(snapshot)[0]
    world.reset("green_prism_to_pink_mat", 9, look=Look.randomised(1))
    world.step(0.2)
    front.render(world.snapshot())
    assert np.array_equal(front.render(snapshot)[0], before)


def test_two_threads_draw_the_same_picture(world):
    world.reset(TASK, 4)
    snapshot = world.snapshot()
    pictures = []

    def draw():
        renderer = SceneRenderer("wrist", 96, 72)
        pictures.append(renderer.render(snapshot)[0])
        renderer.close()

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert np.array_equal(*pictures) and pictures[0].std() > 10


def test_both_sizes_show_the_same_field_of_view(world):
    world.reset(TASK, 5)
    snapshot = world.snapshot()
    spots = []
    for width, height in ((160, 120), (640, 480)):
        renderer = SceneRenderer("front", width, height)
        rows, columns = np.nonzero(vivid(renderer.render(snapshot)[0], "red_cube"))
        spots.append((columns.mean() / width, rows.mean() / height))
        renderer.close()
    assert spots[0] == pytest.approx(spots[1], abs=0.01)


def test_the_human_scene_shows_a_hand_and_no_gripper(world, front):
    world.reset(TASK, 6, actor="human")
    without = front.render(world.snapshot())[0]
    hand = HumanHand(TASK, 6)
    hand.step(world, 1.0)
    with_hand = front.render(world.snapshot())[0]
    assert np.mean(np.any(np.abs(with_hand.astype(int) - without) > 20, axis=2)) > 0.02


def test_an_unknown_camera_is_refused_by_name():
    with pytest.raises(NotFoundError, match="front"):
        SceneRenderer("frnt", 64, 48)


def test_closing_twice_is_harmless():
    renderer = SceneRenderer("front", 32, 24)
    renderer.close()
    renderer.close()


def test_what_is_behind_the_camera_is_nowhere_in_the_picture(world, front):
    pose = front.pose(world.snapshot())
    behind = pose[:3, 3] - 0.1 * pose[:3, 2]
    before = pose[:3, 3] + 0.1 * pose[:3, 2]
    pixels = project(np.array([behind, before]), pose, front.intrinsics())
    assert np.isnan(pixels[0]).all() and pixels[1] == pytest.approx([79.5, 59.5])
