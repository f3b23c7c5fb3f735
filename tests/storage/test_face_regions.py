"""Faces followed through a stream: nothing that was found, and nothing between two finds, stays sharp."""

from __future__ import annotations

import itertools
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storage.face_regions import Box, Find, Look, Region, blur, boxes_at, covered, pictures_in, regions

HEIGHT, WIDTH, COUNT = 120, 160, 90
SIZE = HEIGHT, WIDTH


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    return Box(left, top, draw(st.integers(left + 1, WIDTH)), draw(st.integers(top + 1, HEIGHT)))


looks = st.dictionaries(st.integers(0, COUNT - 1), st.lists(boxes(), max_size=3), max_size=12)


def sure(*boxes: Box) -> list[Find]:
    return [Find(box, 0.9) for box in boxes]


def seen(found: dict[int, list[Box]]) -> list[Look]:
    return [(index, sure(*some)) for index, some in sorted(found.items())]


def holds(outer: Box, inner: Box) -> bool:
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and outer.right >= inner.right
        and outer.bottom >= inner.bottom
    )


@given(looks, st.integers(1, 30))
def test_whatever_was_found_is_covered_in_its_picture_and_around_it(found: dict[int, list[Box]], reach: int) -> None:
    made = regions(seen(found), COUNT, reach, SIZE)
    for index, some in found.items():
        for box in some:
            for near in range(max(0, index - reach // 2), min(COUNT, index + reach // 2 + 1)):
                others = [other for other, there in found.items() if there and other != index]
                if near == index or not any(min(index, near) <= other <= max(index, near) for other in others):
                    assert any(holds(region, box) for region in boxes_at(made, near)), (index, near)
    for region in made:
        assert 0 <= region.first <= region.last < COUNT
        assert holds(Box(0, 0, WIDTH, HEIGHT), region.box) and region.box.area > 0
    assert covered(made) == len(pictures_in(made))


@given(st.integers(-4, 4), st.integers(-3, 3), st.sets(st.integers(1, COUNT - 2)), st.integers(1, 3))
def test_a_moving_face_is_covered_where_it_was_missed(dx: int, dy: int, missed: set[int], every: int) -> None:
    def truth(index: int) -> Box:
        left, top = 60 + round(dx * index / 8), 45 + round(dy * index / 8)
        return Box(left, top, left + 30, top + 36)

    kept = [index for index in range(0, COUNT, every) if index not in missed]
    made = regions(seen({index: [truth(index)] for index in kept}), COUNT, 24, SIZE)
    for before, after in itertools.pairwise(kept):
        if after - before <= 24:
            for index in range(before, after + 1):
                true = truth(index)
                inside = Box(max(0, true.left), max(0, true.top), min(WIDTH, true.right), min(HEIGHT, true.bottom))
                assert any(holds(box, inside) for box in boxes_at(made, index)), index


def test_a_face_at_rest_is_one_rectangle_and_a_moving_one_stays_narrow() -> None:
    still = regions(seen({index: [Box(50, 40, 80, 76)] for index in range(0, COUNT, 3)}), COUNT, 24, SIZE)
    assert [(one.first, one.last) for one in still] == [(0, COUNT - 1)]
    assert still[0].box == Box(42, 31, 88, 85), "a quarter more on each side"
    moving = regions(seen({index: [Box(index, 40, 30 + index, 76)] for index in range(0, COUNT, 3)}), COUNT, 24, SIZE)
    assert 1 < len(moving) < 10
    assert max(one.box.area for one in moving) < 2.6 * still[0].box.area


def test_two_faces_are_not_taken_for_one() -> None:
    left, right = Box(10, 20, 40, 56), Box(110, 60, 140, 96)
    made = regions(seen({index: [left, right] for index in range(0, 30, 3)}), COUNT, 24, SIZE)
    assert len(made) == 2 and all(one.box.area < 3 * left.area for one in made)


def test_unsure_finds_count_only_beside_a_sure_one() -> None:
    box, other = Box(50, 40, 80, 76), Box(110, 60, 140, 96)
    weak = [(index, [Find(box, 0.3), Find(other, 0.3)]) for index in range(0, 60, 3)]
    assert regions(weak, COUNT, 24, SIZE) == ()
    weak[5] = (15, [Find(box, 0.6), Find(other, 0.3)])
    made = regions(weak, COUNT, 24, SIZE)
    assert [(one.first, one.last) for one in made] == [(0, 69)] and holds(made[0].box, box)


def test_nothing_is_left_of_a_face_but_a_few_averages() -> None:
    rng = np.random.default_rng(1)
    box = Box(40, 30, 90, 92)
    for shape in ((HEIGHT, WIDTH, 3), (HEIGHT, WIDTH)):
        picture = rng.integers(0, 256, shape, np.uint8)
        one, other = picture.copy(), picture.copy()
        other[30:92, 40:90] = rng.permutation(other[30:92, 40:90].reshape(-1, *shape[2:])).reshape(62, 50, *shape[2:])
        kept = picture.copy()
        done = blur(one, [box])
        assert np.array_equal(one, kept), "the picture that was given stays"
        outside = np.ones(shape[:2], bool)
        outside[30:92, 40:90] = False
        assert np.array_equal(done[outside], picture[outside])
        inside = done[30:92, 40:90].astype(float)
        assert inside.std() < 0.15 * picture[30:92, 40:90].std(), "noise is averaged away"
        assert np.abs(inside - blur(other, [box])[30:92, 40:90]).mean() < 12, "pixels shuffled within look nearly alike"


@given(st.lists(st.one_of(st.integers(-5, 1 << 33), st.text(max_size=3), st.none()), max_size=8))
def test_regions_of_a_foreign_manifest_are_read_or_left_out(numbers: list[object]) -> None:
    region = Region.from_json(json.loads(json.dumps(numbers)))
    if region is not None:
        assert region.to_json() == numbers
        assert covered([region, region]) == covered([region]) >= 0
