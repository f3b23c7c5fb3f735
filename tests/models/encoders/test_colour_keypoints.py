"""Colour keypoints: they follow what moves, whatever the resolution, and fast."""

from __future__ import annotations

import time

import numpy as np
import pytest

from models.encoders import ENCODERS, Encoder


def _scene(x: float, y: float, colour: tuple[int, int, int], height: int = 120, width: int = 160) -> np.ndarray:
    rng = np.random.default_rng(1)
    picture = np.full((height, width, 3), 115, np.uint8) + rng.integers(0, 6, (height, width, 3), dtype=np.uint8)
    yy, xx = np.mgrid[:height, :width]
    px, py = (2 * xx + 1) / width - 1, (2 * yy + 1) / height - 1
    picture[(np.abs(px - x) < 0.12) & (np.abs(py - y) < 0.12)] = colour
    return picture


@pytest.fixture(scope="module")
def colours(pictures: list[np.ndarray]) -> Encoder:
    encoder = ENCODERS.build("colour_keypoints", clusters=32)
    encoder.fit(pictures, 0)
    return encoder


def _moved(encoder: Encoder, before: np.ndarray, after: np.ndarray) -> int:
    """The cluster whose centre moved most, weighted by mass."""
    a, b = encoder.encode(before), encoder.encode(after)
    return int(np.argmax(np.linalg.norm((b - a)[:, 1:3], axis=1) * (a[:, 0] > -1.2)))


def test_a_cluster_follows_a_thing_of_one_colour(colours: Encoder) -> None:
    red = (210, 40, 30)
    cluster = _moved(colours, _scene(-0.5, 0.4, red), _scene(0.3, -0.2, red))
    for x, y in ((-0.5, 0.4), (0.0, 0.0), (0.62, -0.55)):
        assert colours.encode(_scene(x, y, red))[cluster, 1:3] == pytest.approx([x, y], abs=0.02)


def test_a_colour_never_seen_before_still_gets_a_cluster_of_its_own(colours: Encoder) -> None:
    purple = (120, 15, 190)
    cluster = _moved(colours, _scene(-0.5, 0.4, purple), _scene(0.3, -0.2, purple))
    assert colours.encode(_scene(0.3, -0.2, purple))[cluster, 1:3] == pytest.approx([0.3, -0.2], abs=0.03)


def test_the_resolution_does_not_matter(colours: Encoder) -> None:
    small, large = _scene(0.3, -0.2, (210, 40, 30)), _scene(0.3, -0.2, (210, 40, 30), 480, 640)
    a, b = colours.encode(small), colours.encode(large)
    strong = a[:, 0] > 0
    assert np.abs(a - b)[strong].max() < 0.05


def test_a_missing_colour_is_calm(colours: Encoder) -> None:
    cluster = _moved(colours, _scene(-0.5, 0.4, (30, 50, 210)), _scene(0.3, -0.2, (30, 50, 210)))
    empty = _scene(5.0, 5.0, (30, 50, 210))
    one = empty.copy()
    one[3, 5] = (30, 50, 210)
    assert np.abs(colours.encode(one) - colours.encode(empty))[cluster, 1:].max() < 0.35


def test_encoding_takes_about_a_millisecond(colours: Encoder) -> None:
    picture = _scene(0.1, 0.1, (210, 40, 30))
    best = min(_timed(colours, picture) for _ in range(50))
    assert best < 0.002


def _timed(encoder: Encoder, picture: np.ndarray) -> float:
    started = time.perf_counter()
    encoder.encode(picture)
    return time.perf_counter() - started
