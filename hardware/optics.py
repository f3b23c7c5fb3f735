"""Where a point of the workspace is in a camera's picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEAR_M = 0.02


def project(
    points_m: NDArray[np.floating], pose: Sequence[Sequence[float]], optics: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Pixels (N, 2) of points (N, 3) in the base frame; NaN for points at or behind the camera.

    Args:
        pose: (4, 4) camera to base frame, OpenCV axes (x right, y down, z forward).
        optics: pinhole intrinsics as in ``CameraInfo.intrinsics["color"]``. Lens distortion is left out: it moves a
            drawn line by a few pixels near the corners.
    """
    points = np.atleast_2d(np.asarray(points_m, np.float64))
    inward = np.linalg.inv(np.asarray(pose, np.float64))
    seen = points @ inward[:3, :3].T + inward[:3, 3]
    depth = np.where(seen[:, 2] > _NEAR_M, seen[:, 2], np.nan)
    focal = np.array([float(optics["fx"]), float(optics["fy"])])
    centre = np.array([float(optics["cx"]), float(optics["cy"])])
    pixels: NDArray[np.float64] = focal * seen[:, :2] / depth[:, None] + centre
    return pixels
