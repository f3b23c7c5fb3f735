"""A simulated camera that is really turned by known amounts, in front of an arm, objects and light that change."""

from __future__ import annotations

import numpy as np
import pytest

from hardware.moved import Verdict, compare, edges
from hardware.rigid import rotation
from hardware.sim.board import grained_table
from hardware.sim.look import Look
from hardware.sim.render import SceneRenderer
from hardware.sim.world import World

WIDTH, HEIGHT = 320, 240
TASK = "red_cube_to_white_plate"


class Studio:
    """The front camera over a table with a grain; it can be knocked."""

    def __init__(self, model=None) -> None:
        self.world = World(0, model)
        self._renderer = SceneRenderer("front", WIDTH, HEIGHT, model=model)
        self._camera = self._renderer._camera
        self._focal = self._renderer.intrinsics()["fx"]
        self.close = self._renderer.close

    def shot(self, seed, right_px=0.0, down_px=0.0, turn_deg=0.0, look=None, actor="robot"):
        """Another scene with every seed; the camera turned so that its picture is shifted and turned by so much."""
        self.world.reset(TASK, seed, look=look, actor=actor)
        snapshot = self.world.snapshot()
        turn = rotation(np.array([0.0, np.arctan(right_px / self._focal), 0.0]))
        turn = turn @ rotation(np.array([np.arctan(down_px / self._focal), 0.0, 0.0]))
        turn = turn @ rotation(np.array([0.0, 0.0, np.deg2rad(turn_deg)]))
        snapshot.cam_xmat[self._camera] = (snapshot.cam_xmat[self._camera].reshape(3, 3) @ turn).ravel()
        return self._renderer.render(snapshot)[0]


@pytest.fixture(scope="module")
def studio():
    made = Studio(grained_table(0))
    yield made
    made.close()


def test_no_alarm_over_thirty_looks_at_changed_scenes_and_light(studio):
    """Other objects, other arm, an arm that is out of the way, other light: 30 looks, no false alarm, no doubt."""
    reference = studio.shot(1)
    looks = [compare(reference, studio.shot(10 + k)) for k in range(10)]
    looks += [compare(reference, studio.shot(30 + k, look=Look.human(k))) for k in range(10)]
    looks += [compare(reference, studio.shot(50 + k, look=Look.human(k), actor="human")) for k in range(10)]
    assert sum(found.verdict is Verdict.MOVED for found in looks) == 0
    assert sum(found.verdict is Verdict.UNKNOWN for found in looks) <= 1


@pytest.mark.parametrize(
    ("right", "down", "turn"), [(2, 0, 0), (0, -2, 0), (5, 0, 0), (3, 4, 0), (0, 0, 1.0), (0, 0, -1.0)]
)
def test_a_knocked_camera_is_noticed_and_measured(studio, right, down, turn):
    """Four looks each, 24 together: none missed, the shift right to half a pixel, the turn to a tenth of a degree."""
    reference = studio.shot(1)
    for k in range(4):
        found = compare(reference, studio.shot(60 + k, right, down, turn, Look.human(k) if k % 2 else None))
        assert found.verdict is Verdict.MOVED, found
        assert found.distance_px == pytest.approx(np.hypot(right, down), abs=0.5)
        assert abs(found.turn_deg) == pytest.approx(abs(turn), abs=0.1)
        assert found.confidence > 0.5


def test_an_empty_table_gives_no_verdict_instead_of_an_alarm():
    bare = Studio()
    reference = bare.shot(1)
    verdicts = {compare(reference, bare.shot(10 + k, right_px=3.0 * (k % 2))).verdict for k in range(4)}
    bare.close()
    assert Verdict.MOVED not in verdicts


def test_covered_black_and_other_sized_pictures_give_no_verdict(studio):
    reference = studio.shot(1)
    noise = np.random.default_rng(0).integers(0, 255, reference.shape, dtype=np.uint8)
    for picture in (np.zeros_like(reference), noise, reference[::2, ::2]):
        assert compare(reference, picture).verdict is Verdict.UNKNOWN


def test_the_same_pictures_get_the_same_answer(studio):
    reference, knocked = studio.shot(1), studio.shot(2, right_px=4)
    assert compare(reference, knocked) == compare(reference, knocked)


def test_outlines_follow_the_picture(studio):
    outlines = edges(studio.shot(1))
    assert outlines.shape == (HEIGHT, WIDTH) and set(np.unique(outlines)) <= {0, 255}
    assert 0.005 < (outlines > 0).mean() < 0.5
