"""Whether a hand seems to be seen: on drawn pictures, and on real clips where they are present."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.quality import Flag, assess
from storage.quality_hands import HandWatch
from storage.videos import Video
from tests.storage.takes import info
from tests.storage.test_interop import DATA
from workbench.core.types import EpisodeKind, Frame, StreamSpec

CAMERA = StreamSpec("observation.images.front", (60, 80, 3), "uint8", rate_hz=5.0)
SKIN, GLOVE = (205, 150, 120), (40, 60, 160)


def scene(colour: tuple[int, int, int], number: int, *, moves: bool) -> np.ndarray:
    picture = np.full(CAMERA.shape, (120, 122, 125), np.uint8)
    x = 10 + (3 * number if moves else 0)
    picture[20:34, x : x + 14] = colour
    return picture


@pytest.mark.parametrize(("colour", "moves", "seen"), [(SKIN, True, True), (SKIN, False, False), (GLOVE, True, False)])
def test_only_what_has_the_colour_of_skin_and_moves_is_a_hand(
    home: Home, colour: tuple[int, int, int], moves: bool, seen: bool
) -> None:
    for kind in (EpisodeKind.HUMAN, EpisodeKind.TELEOP):
        settings = StoreSettings(rows_hz=5.0, sync=False)
        writer = EpisodeWriter.create(home, info(kind=kind), [CAMERA], settings=settings)
        for number in range(15):
            t_ns = number * 200_000_000
            writer.append(CAMERA.name, Frame(number, t_ns, t_ns, 0, scene(colour, number, moves=moves)))
        with Episode.open(home, writer.seal().id) as take:
            quality = assess(take)
        if kind is EpisodeKind.HUMAN:
            assert quality.figures["hand_share"] == (1.0 if seen else 0.0)
            assert (Flag.NO_HAND in quality.flags) is not seen
        else:
            assert "hand_share" not in quality.figures and Flag.NO_HAND not in quality.flags


def test_one_picture_tells_nothing() -> None:
    watch = HandWatch()
    watch.add(scene(SKIN, 0, moves=True))
    assert watch.share is None


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real clips are not present")
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("sam2_hands/02_cups.mp4", 0.8, 1.0),
        ("dexwild_human/florist/tracker_cam_ep_41_2.mp4", 0.0, 0.25),  # a glove: the check cannot see it, and says so
    ],
)
def test_real_hands_and_gloves(name: str, low: float, high: float) -> None:
    watch = HandWatch()
    pictures = itertools.islice(Video.open(Path(DATA, name), 240).frames(), 100)
    for number, (_, picture) in enumerate(pictures):
        if number % 6 == 0:
            watch.add(picture)
    assert watch.share is not None and low <= watch.share <= high
