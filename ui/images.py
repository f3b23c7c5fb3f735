"""The one place where NumPy pixels become Qt pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtGui import QImage


def to_image(pixels: NDArray[Any]) -> QImage:
    """(H, W, 3) uint8, or (H, W) uint32 of 0xffRRGGBB, as an RGB32 picture.

    The result owns its memory for colour and shares it with ``pixels`` otherwise: keep the array while it is shown.
    RGB32, because drawing RGB888 scaled costs four times as much.
    """
    height, width = pixels.shape[:2]
    data: Any = np.ascontiguousarray(pixels).data
    if pixels.ndim == 2:
        return QImage(data, width, height, 4 * width, QImage.Format.Format_RGB32)
    image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)
