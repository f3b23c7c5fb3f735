"""How alike two sets of pictures are, in the two usual figures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EQUAL_DB = 99.0
_BLOCK_PX = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def psnr_db(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio over all pixels, dB, at most ``EQUAL_DB``."""
    error = np.subtract(first, second, dtype=np.float32)
    mean_square = float(np.mean(np.square(error)))
    return min(EQUAL_DB, 10 * float(np.log10(255**2 / mean_square))) if mean_square else EQUAL_DB


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean structural similarity of the luma, -1..1, 1 = equal (Wang et al. 2004, eq. 13).

    Over blocks of 8x8 pixels side by side instead of a sliding window; what does not fill a block is left out, and
    pictures smaller than a block are one block.

    Args:
        first, second: (N, H, W, 3) RGB or (N, H, W) grey.
    """
    a, b = (_blocks(_luma(picture)) for picture in (first, second))
    mean_a, mean_b = a.mean(-1), b.mean(-1)
    var_a, var_b = a.var(-1), b.var(-1)
    covariance = (a * b).mean(-1) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))))


def _luma(pictures: NDArray[Any]) -> NDArray[np.float32]:
    return pictures.astype(np.float32) @ _LUMA if pictures.ndim == 4 else pictures.astype(np.float32)


def _blocks(luma_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, rows, columns, pixels of a block)."""
    count, height, width = luma_NHW.shape
    tall, wide = min(_BLOCK_PX, height), min(_BLOCK_PX, width)
    rows, columns = height // tall, width // wide
    whole = luma_NHW[:, : rows * tall, : columns * wide].reshape(count, rows, tall, columns, wide)
    return np.ascontiguousarray(whole.transpose(0, 1, 3, 2, 4)).reshape(count, rows, columns, tall * wide)
