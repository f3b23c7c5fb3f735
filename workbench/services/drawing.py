"""Motions drawn into pictures: from metres in the arm's base frame to pixels of a calibrated camera. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.types import Image

Points = NDArray[np.float64]
Colour = tuple[int, int, int]
LEAST_WIDTH = 320
_NEAREST_M = 0.02


def lens(device: Mapping[str, Any] | None, width: int) -> tuple[float, float, float, float] | None:
    """fx, fy, cx, cy of a camera's ``CameraInfo`` as plain values, for pictures ``width`` wide; None if unknown."""
    optics = (device or {}).get("intrinsics", {}).get("color")
    if not optics or not optics.get("width"):
        return None
    scale = width / float(optics["width"])
    return tuple(scale * float(optics[name]) for name in ("fx", "fy", "cx", "cy"))  # type: ignore[return-value]


def camera_pose(device: Mapping[str, Any] | None) -> Points | None:
    """(4, 4) camera to base frame, OpenCV axes; None for a camera whose place is not known or that moves."""
    pose = (device or {}).get("pose")
    matrix = np.asarray(pose, np.float64) if pose is not None else np.zeros(0)
    return matrix if matrix.shape == (4, 4) and np.isfinite(matrix).all() else None


def project(device: Mapping[str, Any] | None, points_N3: Points, width: int) -> Points | None:
    """Pixels (N, 2) of points in the base frame, NaN behind the camera; None for a camera that is not calibrated.

    Straight lines: the lens's distortion is left out.
    """
    optics, pose = lens(device, width), camera_pose(device)
    if optics is None or pose is None:
        return None
    fx, fy, cx, cy = optics
    seen = (points_N3 - pose[:3, 3]) @ pose[:3, :3]
    depth = np.where(seen[:, 2] > _NEAREST_M, seen[:, 2], np.nan)
    return np.stack([fx * seen[:, 0] / depth + cx, fy * seen[:, 1] / depth + cy], axis=1)


def depth_of(device: Mapping[str, Any] | None, points_N3: Points) -> Points | None:
    """(N,) distances along the camera's axis (m); None for a camera that is not calibrated."""
    pose = camera_pose(device)
    return None if pose is None else ((points_N3 - pose[:3, 3]) @ pose[:3, :3])[:, 2]


def place_at(device: Mapping[str, Any] | None, pixel: Points, depth_m: float, width: int) -> Points | None:
    """The point (3,) in the base frame that a pixel shows at a distance along the camera's axis; None as above."""
    optics, pose = lens(device, width), camera_pose(device)
    if optics is None or pose is None or not np.isfinite(depth_m):
        return None
    fx, fy, cx, cy = optics
    ray = np.array([(pixel[0] - cx) / fx, (pixel[1] - cy) / fy, 1.0])
    return np.asarray(pose[:3, :3] @ (ray * depth_m) + pose[:3, 3], np.float64)


def changed_middle(now: Image, then: Image, threshold: int = 28) -> Points | None:
    """The pixel (2,) in the middle of what differs between two pictures; None if nothing does."""
    rows, columns = np.nonzero(np.abs(now.astype(np.int16) - then).max(axis=2) > threshold)
    return np.array([np.median(columns), np.median(rows)]) if len(rows) else None


def enlarged(picture: Image, least: int = LEAST_WIDTH) -> Image:
    """A whole multiple of a small picture, so that thin lines in it stay thin."""
    times = -(-least // picture.shape[1])
    return np.ascontiguousarray(picture.repeat(times, axis=0).repeat(times, axis=1)) if times > 1 else picture.copy()


def draw_way(picture: Image, pixels_N2: Points, colour: Colour) -> None:
    """Draw a line through pixels into a picture, in place, with a dark rim and a dot where it ends; NaN is left out."""
    ways = pixels_N2[np.isfinite(pixels_N2).all(axis=1)]
    if not len(ways):
        return
    thick = max(1.0, picture.shape[1] / 260)
    dense = _dense(ways)
    for radius, ink in ((thick + 1.0, (0, 0, 0)), (thick, colour)):
        _stamp(picture, dense, radius, ink)
        _stamp(picture, ways[-1:], 2.4 * radius, ink)


def _dense(ways: Points) -> Points:
    """Points less than a pixel apart along a line; a long jump gets at most 4000."""
    parts = [ways[:1]]
    for start, end in itertools.pairwise(ways):
        count = int(np.clip(np.ceil(np.abs(end - start).max()), 1, 4000))
        parts.append(start + (end - start) * np.linspace(0, 1, count + 1)[1:, None])
    return np.concatenate(parts)


def _stamp(picture: Image, points: Points, radius: float, colour: Colour) -> None:
    height, width = picture.shape[:2]
    reach = int(np.ceil(radius))
    offset = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    offset = offset[(offset**2).sum(axis=1) <= radius**2]
    cells = (np.round(points[:, None, ::-1]).astype(np.int64) + offset).reshape(-1, 2)
    inside = (cells >= 0).all(axis=1) & (cells[:, 0] < height) & (cells[:, 1] < width)
    cells = np.unique(cells[inside], axis=0)
    picture[cells[:, 0], cells[:, 1]] = colour
