"""Pictures on their way to a policy server: reduced to the size its model was trained with, nothing cut off."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError


def fitted(picture: NDArray[np.uint8], size_px: Sequence[int]) -> NDArray[np.uint8]:
    """The whole picture (H, W, 3) in a frame of ``size_px`` (width, height), centred, black beside; () = as it is."""
    height, width = picture.shape[:2]
    if not size_px or (width, height) == tuple(size_px):
        return np.ascontiguousarray(picture)
    cv2 = importlib.import_module("cv2")  # only who sends pictures of another size needs it
    share = min(size_px[0] / width, size_px[1] / height)
    inner = max(1, round(width * share)), max(1, round(height * share))
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    framed = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    left, top = (size_px[0] - inner[0]) // 2, (size_px[1] - inner[1]) // 2
    framed[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=way)
    return framed


def received(value: Any, path: str, channels_first: bool) -> NDArray[np.uint8]:
    """The picture (H, W, 3) that came under a path; WorkbenchError if it is none."""
    picture = (
        value.transpose(1, 2, 0) if channels_first and isinstance(value, np.ndarray) and value.ndim == 3 else value
    )
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        shape = "(3, H, W)" if channels_first else "(H, W, 3)"
        raise WorkbenchError(f"'{path}' must be a picture: {shape} uint8")
    if not all(8 <= size <= 4096 for size in picture.shape[:2]):
        raise WorkbenchError(f"the picture '{path}' must be 8 to 4096 pixels wide and high")
    return np.ascontiguousarray(picture)
