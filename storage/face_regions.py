"""From faces found in some pictures to the rectangles that are blurred in all of them.

A detector misses a face now and then, and not every picture is looked at. A face is therefore followed through the
stream: between two finds everything that either of them covers counts as the face, and a while before the first and
after the last find, too. Pure: knows nothing of files and detectors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_MARGIN = 0.25  # of the face's own size, on each side: hair, ears, chin
_CELLS = 6  # a blurred rectangle keeps this many averages across: about four for the face itself
_LOOSE = 1.6  # successive pictures share a rectangle while it is at most this much larger than the largest of them
_FAR = 1.0  # of the larger side: how far the centre of one face may move between two finds
_MOST_GROWN = 2.0  # how much larger or smaller it may become
_SURE = 0.5  # of what never scores so much nothing is believed; with one such find, weaker ones count, too


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a picture in pixels; ``right`` and ``bottom`` are the first column and row outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return max(0, self.width) * max(0, self.height)

    def union(self, other: Box) -> Box:
        """The smallest rectangle that covers both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def grown(self, share: float, height: int, width: int) -> Box:
        """Wider by ``share`` of its size on each side, cut to a picture of ``height`` x ``width``."""
        dx, dy = round(share * self.width), round(share * self.height)
        return Box(
            max(0, self.left - dx), max(0, self.top - dy), min(width, self.right + dx), min(height, self.bottom + dy)
        )


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle that is blurred in the pictures ``first`` to ``last``, both included."""

    first: int
    last: int
    box: Box

    def to_json(self) -> list[int]:
        """Six numbers: first, last, left, top, right, bottom."""
        return [self.first, self.last, self.box.left, self.box.top, self.box.right, self.box.bottom]

    @classmethod
    def from_json(cls, value: Any) -> Region | None:
        """Invert ``to_json``; None for anything else, as takes may come from anywhere."""
        fits = isinstance(value, Sequence) and len(value) == 6
        if not fits or not all(isinstance(number, int) and 0 <= number < 1 << 31 for number in value):
            return None
        return cls(value[0], value[1], Box(*value[2:]))


@dataclass(frozen=True, slots=True)
class Find:
    """One face in one picture; ``score`` 0..1 says how sure that is."""

    box: Box
    score: float


Look = tuple[int, Sequence[Find]]
_Track = list[tuple[int, Find]]


def regions(looks: Iterable[Look], count: int, reach: int, size: tuple[int, int]) -> tuple[Region, ...]:
    """What has to be blurred in a stream.

    Args:
        looks: (number of the picture, faces found in it, unsure ones, too), by rising number; not every picture has to
            be there.
        count: pictures of the stream; size: their (height, width) in pixels.
        reach: a face found again after at most so many pictures is the same one, and was there in between. Before the
            first and after the last find it is taken to be there half as long.
    """
    tracks = [track for track in _tracks(looks, reach) if max(find.score for _, find in track) >= _SURE]
    found = [region for track in tracks for region in _regions_of(track, count, max(1, reach // 2))]
    grown = (Region(item.first, item.last, item.box.grown(_MARGIN, *size)) for item in found)
    return tuple(sorted((item for item in grown if item.box.area), key=lambda item: (item.first, item.to_json())))


def boxes_at(found: Iterable[Region], index: int) -> list[Box]:
    """The rectangles to blur in one picture."""
    return [region.box for region in found if region.first <= index <= region.last]


def pictures_in(found: Iterable[Region]) -> set[int]:
    """Numbers of all pictures in which something is blurred."""
    return {index for region in found for index in range(region.first, region.last + 1)}


def covered(found: Iterable[Region]) -> int:
    """How many pictures that are; quick for whatever numbers somebody wrote into a manifest."""
    count, end = 0, -1
    for region in sorted(found, key=lambda one: one.first):
        count += max(0, region.last - max(end, region.first - 1))
        end = max(end, region.last)
    return count


def blur(picture: NDArray[np.uint8], boxes: Iterable[Box]) -> NDArray[np.uint8]:
    """A copy of (H, W, 3) or (H, W) in which nothing is left of the rectangles but a few averages each.

    Averages and not a Gaussian: what is averaged away cannot be sharpened back.
    """
    done = picture.copy()
    for box in boxes:
        part = done[box.top : box.bottom, box.left : box.right]
        cells = min(_CELLS, part.shape[1]), min(_CELLS, part.shape[0])
        small = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
        wide = cv2.resize(small, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
        done[box.top : box.bottom, box.left : box.right] = wide
    return done


def _tracks(looks: Iterable[Look], reach: int) -> list[_Track]:
    """Finds of the same face, by rising number."""
    tracks: list[_Track] = []
    for index, finds in looks:
        waiting = [track for track in tracks if index - track[-1][0] <= reach]
        for find in sorted(finds, key=lambda one: -one.box.area):
            near = [track for track in waiting if _same(track[-1][1].box, find.box)]
            track = min(near, key=lambda one: _distance(one[-1][1].box, find.box), default=None)
            if track is None:
                tracks.append([(index, find)])
            else:
                waiting = [one for one in waiting if one is not track]
                track.append((index, find))
    return tracks


def _same(before: Box, now: Box) -> bool:
    """Whether it may be one face that moved."""
    sides = [max(before.width, before.height, 1), max(now.width, now.height, 1)]
    return max(sides) <= _MOST_GROWN * min(sides) and _distance(before, now) <= _FAR * max(sides)


def _distance(one: Box, other: Box) -> float:
    dx, dy = one.left + one.right - other.left - other.right, one.top + one.bottom - other.top - other.bottom
    return float(np.hypot(dx, dy)) / 2


def _regions_of(track: _Track, count: int, lead: int) -> Iterator[Region]:
    """The track's pictures, in as few rectangles as keep close to the face."""
    now, largest = None, 0
    for piece in _pieces(track, count, lead):
        whole = now.box.union(piece.box) if now is not None else piece.box
        largest = max(largest, piece.box.area)
        if now is None or whole.area <= _LOOSE * largest:
            now = Region(now.first if now is not None else piece.first, piece.last, whole)
        else:
            yield now
            now, largest = piece, piece.box.area
    if now is not None:
        yield now


def _pieces(track: _Track, count: int, lead: int) -> Iterator[Region]:
    """From find to find, with what both cover, and some pictures more at both ends."""
    (first, begin), (last, end) = track[0], track[-1]
    yield Region(max(0, first - lead), first, begin.box)
    for (left, before), (right, now) in itertools.pairwise(track):
        yield Region(left, right, before.box.union(now.box))
    yield Region(last, min(count - 1, last + lead), end.box)
