"""Pictures with a real face where a test wants it.

``pictures/astronaut.jpg`` is a part of the portrait of Eileen Collins by NASA (S95-10793), in the public domain, as
scikit-image brings it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np

from storage.episode import EpisodeWriter, StoreSettings
from storage.face_regions import Box, Find
from storage.layout import Home
from storage.manifest import Manifest
from tests.storage.takes import DEPTH, STATE, frame, info
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec

_CENTRE, _WIDTH, _HEIGHT = (156.0, 118.0), 88.0, 118.0  # of the face in the file


@functools.cache
def portrait() -> np.ndarray:
    """(300, 300, 3) RGB."""
    picture = cv2.imread(str(Path(__file__).parent / "pictures" / "astronaut.jpg"))
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


@functools.cache
def _table(height: int, width: int) -> np.ndarray:
    picture = np.full((height, width, 3), (150, 132, 110), np.uint8)
    cv2.rectangle(picture, (0, 0), (width, height // 4), (96, 101, 108), -1)
    cv2.circle(picture, (width // 5, 3 * height // 4), height // 10, (235, 235, 228), -1)
    cv2.rectangle(picture, (3 * width // 4, 2 * height // 3), (7 * width // 8, 5 * height // 6), (180, 40, 30), -1)
    return picture


def table(height: int, width: int) -> np.ndarray:
    """A table with things on it and no face."""
    return _table(height, width).copy()


def with_face(
    size: tuple[int, int], at: tuple[float, float], side: float, angle: float = 0.0
) -> tuple[np.ndarray, Box]:
    """The table with a head over it, and where the face is.

    Args:
        size: (height, width); at: its centre (x, y) in pixels; side: its width in pixels; angle: degrees of tilt.
    """
    picture = table(*size)
    matrix = cv2.getRotationMatrix2D(_CENTRE, angle, side / _WIDTH)
    matrix[:, 2] += np.asarray(at) - _CENTRE
    way = cv2.INTER_AREA if side < _WIDTH else cv2.INTER_LINEAR
    laid = cv2.warpAffine(portrait(), matrix, size[::-1], flags=way)
    there = cv2.warpAffine(np.full(portrait().shape[:2], 255, np.uint8), matrix, size[::-1])
    head = np.zeros(size, np.uint8)
    cv2.circle(head, (round(at[0]), round(at[1])), round(1.3 * side), 255, -1)
    mask = (there == 255) & (head > 0)
    picture[mask] = laid[mask]
    half = side / 2, side * _HEIGHT / _WIDTH / 2
    return picture, Box(*(round(v) for v in (at[0] - half[0], at[1] - half[1], at[0] + half[0], at[1] + half[1])))


def overlap(one: Box, other: Box) -> float:
    """Area in both over area in either."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(0, wide) * max(0, high)
    return both / (one.area + other.area - both)


CAMERA = StreamSpec("observation.images.front", (240, 320, 3), "uint8", rate_hz=20.0)
SIZE = 240, 320
FACE_FROM, FACE_TO, COUNT = 10, 29, 50


def face_at(index: int) -> tuple[float, float] | None:
    """Where the face of ``record`` is in a picture; it walks to the right."""
    return (90.0 + 6.0 * (index - FACE_FROM), 110.0) if FACE_FROM <= index <= FACE_TO else None


@functools.cache
def painted(index: int) -> np.ndarray:
    """The picture that ``record`` stores."""
    at = face_at(index)
    return table(*SIZE) if at is None else with_face(SIZE, at, 48.0)[0]


def record(home: Home, settings: StoreSettings | None = None, **values: object) -> Manifest:
    """A take of 2.5 s in which somebody walks through the pictures from 0.5 s to 1.5 s, with depth and an arm."""
    writer = EpisodeWriter.create(
        home,
        info(kind=EpisodeKind.HUMAN, **values),
        (CAMERA, DEPTH, STATE),
        settings=settings or StoreSettings(rows_hz=10.0, sync=False),
    )
    for index in range(COUNT):
        t_ns = round(index * 1e9 / CAMERA.rate_hz)
        writer.append(CAMERA.name, Frame(index, t_ns, t_ns, 0, painted(index)))
    for spec in (DEPTH, STATE):
        for index in range(round(2.5 * spec.rate_hz)):
            writer.append(spec.name, frame(spec, index))
    return writer.seal(Outcome.SUCCESS)


class KnowsFaces:
    """A finder for tests of everything but the finding: it knows where ``record`` put the face, by its pixels."""

    name = "known"

    def find(self, picture: np.ndarray) -> list[Find]:
        skin = np.all(np.abs(picture.astype(int) - table(*picture.shape[:2])) > 12, axis=2)
        rows, columns = np.nonzero(skin)
        if len(rows) < 400:
            return []
        return [Find(Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1), 0.9)]
