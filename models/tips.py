"""Where whatever reaches into a picture acts: the end of an arm, a hand or a tool, read off depth pictures.

An arm and a hand look unlike and come from different sides, and one picture cannot tell "higher" from "further away".
Where their far end is in space is the same kind of number for both. What is nearer than the still scene reaches in; the
tip is the part of it that lies farthest, in space, from where it crosses the picture's border (extrema of depth
pictures: Plagemann et al. 2010, here along straight lines). Whatever is held is part of the tip, for both alike.

Letters: T pictures, h, w pixels, 5 = seen (0 or 1), x y z of the tip (m, depth camera's frame: right, down, forward),
apart (size of what also moves in this take but does not hang together with the arm or hand, such as an object that is
not held: 0 none, plus 1 per factor of ten of its area).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TIP_NUMBERS = 5
SEEN, PLACE, APART = 0, slice(1, 4), 4
VERSION = 3
_PIXELS = 20_000  # at most about this many of a picture are looked at
_STILL_PICTURES = 40
_STILL_SHARE = 0.15  # of a take's pictures in which the still scene must be free
_NEARER_M, _NEARER_SHARE = 0.012, 0.01
_LEAST_SHARE = 6e-4  # of the picture: less is noise
_ENTERS_SHARE = 0.1  # of a take's pictures: if in fewer something crosses the border, arms that are all inside count
_TIP_SHARE, _TIP_LEAST = 0.06, 12
_APART_LEAST = 1e-3  # of the picture: less is a sliver at an edge

Depth = NDArray[np.uint16]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Focal lengths and middle of a depth picture, as shares of its width and height: free of the resolution."""

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def of(cls, intrinsics: Mapping[str, Any] | None) -> Pinhole | None:
        """From a take's stored intrinsics (of depth, else of colour), or None if they cannot be used."""
        for name in ("depth", "color"):
            stored = (intrinsics or {}).get(name)
            if not isinstance(stored, Mapping):
                continue
            try:
                width, height = float(stored["width"]), float(stored["height"])
                found = cls(stored["fx"] / width, stored["fy"] / height, stored["cx"] / width, stored["cy"] / height)
            except (TypeError, KeyError, ValueError, ZeroDivisionError):
                continue
            if found.fx > 0 and found.fy > 0:
                return found
        return None

    def rays(self, height: int, width: int) -> Floats:
        """(h, w, 3) points one metre ahead, seen through the middles of the pixels."""
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        x = ((columns + 0.5) / width - self.cx) / self.fx
        y = ((rows + 0.5) / height - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=-1)


def thin(depth_hw: Depth) -> Depth:
    """Every n-th pixel of both axes, so that at most about 20,000 remain: what ``read_tips`` wants many of."""
    stride = max(1, round(float(np.sqrt(depth_hw.size / _PIXELS))))
    return depth_hw[stride // 2 :: stride, stride // 2 :: stride].copy()


def read_tips(depth_Thw: Depth, pinhole: Pinhole) -> Floats:
    """(T, 5) of one take's thinned depth pictures (mm, 0 = no reading) of a still camera; zeros where unseen."""
    still = still_scene(depth_Thw)
    rays = pinhole.rays(*still.shape)
    nearer = [_regions(_metres(picture), still) for picture in depth_Thw]
    enters = np.mean([regions.crosses.any() for regions in nearer]) >= _ENTERS_SHARE
    return np.stack([_tip(_metres(d), r, rays, inside=not enters) for d, r in zip(depth_Thw, nearer, strict=True)])


@dataclass(frozen=True, slots=True)
class _Regions:
    """What is nearer than the still scene: number of each pixel's region (0 = none), and by region its size in pixels
    and whether it is large enough and crosses the picture's border."""

    label: NDArray[np.int32]
    area: NDArray[np.int32]
    large: NDArray[np.bool_]
    crosses: NDArray[np.bool_]


def _regions(metres: Floats, still: Floats) -> _Regions:
    near = (metres > 0) & (metres < still - least_nearer(still))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8), connectivity=8)
    label, area = np.asarray(labels, np.int32), np.array(stats[:, cv2.CC_STAT_AREA], np.int32)
    area[0] = 0
    border = np.zeros(len(area), bool)
    for edge in (label[0], label[-1], label[:, 0], label[:, -1]):
        border[np.unique(edge)] = True
    large = area >= _LEAST_SHARE * near.size
    return _Regions(label, area, large, border & large)


def least_nearer(still: Floats) -> Floats:
    """How much nearer (m) than the still scene something must be, so that it is not the sensor's noise."""
    least: Floats = np.maximum(_NEARER_M, _NEARER_SHARE * still)
    return least


def _metres(depth: Depth) -> Floats:
    return depth.astype(np.float32) / 1000.0


def still_scene(depth_Thw: Depth) -> Floats:
    """(h, w) distance (m) of what lies behind everything that moves; 0 where nothing was ever measured."""
    count = min(len(depth_Thw), _STILL_PICTURES)
    chosen = np.sort(depth_Thw[np.linspace(0, len(depth_Thw) - 1, count).round().astype(int)], axis=0)
    measured = (chosen > 0).sum(axis=0)
    at = count - 1 - (_STILL_SHARE * np.maximum(measured - 1, 0)).astype(int)
    return _metres(np.take_along_axis(chosen, at[None], axis=0)[0])


def _tip(metres: Floats, regions: _Regions, rays: Floats, *, inside: bool) -> Floats:
    """(5,) of one picture; with ``inside`` arms that do not cross the border count as well."""
    found = np.zeros(TIP_NUMBERS, np.float32)
    wanted = np.where(regions.large if inside else regions.crosses, regions.area, 0)
    own = int(np.argmax(wanted))
    apart = np.where(regions.crosses, 0, regions.area)
    if wanted[own] > 0:
        apart[own] = 0
        found[SEEN], found[PLACE] = 1.0, _far_end(regions.label == own, metres, rays)
    found[APART] = np.log10(max(apart.max() / metres.size, _APART_LEAST) / _APART_LEAST)
    return found


def _far_end(region: NDArray[np.bool_], metres: Floats, rays: Floats) -> Floats:
    """(3,) middle of the points of a region that are farthest from where it enters the picture."""
    points = rays[region] * metres[region][:, None]
    rows, columns = np.nonzero(region)
    height, width = region.shape
    inside = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns))
    root = points[inside == inside.min()].mean(axis=0)
    distance = ((points - root) ** 2).sum(axis=1)
    count = min(len(points), max(_TIP_LEAST, int(_TIP_SHARE * len(points))))
    farthest = np.argpartition(-distance, count - 1)[:count]
    middle: Floats = np.median(points[farthest], axis=0)
    return middle
