"""The shape of an arm as spheres that move with its links, and how deep they are in table, things or each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Limits

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Body:
    """An arm's shape.

    Attributes:
        links: for every sphere, the link it moves with.
        centres_m: (S, 3) centres in the frame of their link.
        radii_m: (S,) radii.
        pairs: (P, 2) indices of spheres that must not meet.
    """

    links: tuple[str, ...]
    centres_m: Vector
    radii_m: Vector
    pairs: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Capsule:
    """Part of a link: every point within ``radius_m`` of the segment from ``start_m`` to ``end_m``, link frame."""

    link: str
    start_m: tuple[float, float, float]
    end_m: tuple[float, float, float]
    radius_m: float


def body_of(capsules: Sequence[Capsule], chain: Sequence[str], apart: int) -> Body:
    """Cover capsules with spheres a radius apart.

    Args:
        chain: the links from base to tool. Spheres of links that are at least ``apart`` joints from each other form
            pairs; nearer ones touch by construction or cannot meet.
    """
    links: list[str] = []
    centres: list[Vector] = []
    radii: list[float] = []
    for part in capsules:
        start, end = np.array(part.start_m), np.array(part.end_m)
        count = 1 + int(np.ceil(float(np.linalg.norm(end - start)) / part.radius_m))
        for share in np.linspace(0.0, 1.0, count):
            links.append(part.link)
            centres.append(start + share * (end - start))
            radii.append(part.radius_m)
    place = [list(chain).index(link) for link in links]
    pairs = [(i, j) for i in range(len(links)) for j in range(i) if abs(place[i] - place[j]) >= apart]
    return Body(tuple(links), np.array(centres), np.array(radii), np.array(pairs, dtype=np.int64).reshape(-1, 2))


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands around the arm, as arrays; see the optional fields of ``Limits``. Base frame, m."""

    table_z_m: float | None
    clearance_m: float | None
    spheres: Vector
    box_low: Vector
    box_high: Vector

    @classmethod
    def of(cls, limits: Limits) -> Scene:
        """The optional part of a station's limits."""
        spheres = np.array(limits.obstacle_spheres_m or (), float).reshape(-1, 4)
        boxes = np.array(limits.obstacle_boxes_m or (), float).reshape(-1, 6)
        return cls(limits.table_z_m, limits.self_clearance_m, spheres, boxes[:, :3], boxes[:, 3:])

    @property
    def empty(self) -> bool:
        """True if the station states nothing about table, things and itself."""
        return (self.table_z_m, self.clearance_m) == (None, None) and not len(self.spheres) and not len(self.box_low)

    @property
    def needs_body(self) -> bool:
        """True if keeping clear needs to know the arm's shape; the table can be kept from the tool point alone."""
        return self.clearance_m is not None or bool(len(self.spheres)) or bool(len(self.box_low))


def below_table(scene: Scene, tool_K3: Vector, centres_KS3: Vector, radii_m: Vector) -> Vector:
    """(K, 1 + S) how far the tool point and every sphere are below the table plane, 0 above it."""
    if scene.table_z_m is None:
        return np.zeros((len(tool_K3), 0))
    heights = np.concatenate([tool_K3[:, 2:], centres_KS3[:, :, 2] - radii_m], axis=1)
    return np.maximum(0.0, scene.table_z_m - heights)


def intrusion(scene: Scene, centres_KS3: Vector, radii_m: Vector, pairs: NDArray[np.int64]) -> Vector:
    """(K, C) how deep the spheres are in each other (less the clearance), in static spheres and in static boxes."""
    count = len(centres_KS3)
    depths: list[Vector] = []
    if scene.clearance_m is not None and len(pairs):
        first, second = pairs[:, 0], pairs[:, 1]
        reach = radii_m[first] + radii_m[second] + scene.clearance_m
        depths.append(reach - _length(centres_KS3[:, first] - centres_KS3[:, second]))
    if len(scene.spheres):
        away = _length(centres_KS3[:, :, None] - scene.spheres[:, :3])
        depths.append((radii_m[:, None] + scene.spheres[:, 3] - away).reshape(count, -1))
    if len(scene.box_low):
        points = centres_KS3[:, :, None]
        outside = np.maximum(0.0, np.maximum(scene.box_low - points, points - scene.box_high))
        inside = np.min(np.minimum(points - scene.box_low, scene.box_high - points), axis=-1)
        away = np.where(inside > 0.0, -inside, _length(outside))
        depths.append((radii_m[:, None] - away).reshape(count, -1))
    return np.maximum(0.0, np.concatenate(depths, axis=1)) if depths else np.zeros((count, 0))


def _length(vectors: Vector) -> Vector:
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", vectors, vectors)))
