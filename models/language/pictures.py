"""Pictures as they are, only smaller: what a vision-language model looks at. An ``Encoder`` that keeps every pixel.

It is no choice for a recipe's ``encoder``: alignments and small policies read colour clusters or patch features.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.errors import WorkbenchError

LARGEST_PX = 2048
Pixels = NDArray[np.uint8]


class Pictures:
    """Square pictures of ``px`` pixels a side as (px, 3 px) uint8 rows; an ``Encoder`` with K = px and F = 3 px."""

    kind, layout = "pictures", "pictures"

    def __init__(self, px: int) -> None:
        if not 8 <= px <= LARGEST_PX:
            raise WorkbenchError(f"pictures of {px} pixels are not possible", f"Choose 8 to {LARGEST_PX}")
        self.px = px

    @property
    def shape(self) -> tuple[int, int]:
        return self.px, 3 * self.px

    def fit(self, pictures: Sequence[Pixels], seed: int) -> None:
        """Nothing is learned."""

    def encode(self, picture: Pixels) -> Pixels:
        """(px, 3 px) uint8: each pixel the mean of those it covers; width and height are squeezed to the same."""
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise WorkbenchError(f"a picture of shape {picture.shape} and type {picture.dtype} cannot be encoded")
        smaller = min(picture.shape[:2]) >= self.px
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (self.px, self.px), interpolation=how), dtype=np.uint8).reshape(
            self.shape
        )

    def hash(self) -> str:
        return f"{self.kind}-{self.px}"

    def settings(self) -> dict[str, Any]:
        return {"px": self.px}

    def state(self) -> dict[str, NDArray[Any]]:
        return {}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state:
            raise WorkbenchError("pictures that are kept as they are have no state", "Train the model anew")


class Shown(Protocol):
    """A take as far as it matters here."""

    @property
    def features(self) -> Mapping[str, NDArray[Any]]: ...

    def __len__(self) -> int: ...


class PictureRows:
    """The pictures of many takes' rows, left on disk until asked for; indexed like a tensor (R, C, K, F) uint8.

    A camera that a take lacks is black. Letters: R rows of all takes, B rows asked for.
    """

    def __init__(self, takes: Sequence[Shown], cameras: Sequence[str], shape: tuple[int, int]) -> None:
        self._features = [take.features for take in takes]
        self._starts = [0, *accumulate(len(take) for take in takes)]
        self._cameras, self._shape = tuple(cameras), shape

    def __getitem__(self, index_B: Tensor) -> Tensor:
        found = np.zeros((len(index_B), len(self._cameras), *self._shape), dtype=np.uint8)
        for row, at in enumerate(index_B.tolist()):
            take = bisect_right(self._starts, at) - 1
            for place, camera in enumerate(self._cameras):
                if camera in self._features[take]:
                    found[row, place] = self._features[take][camera][at - self._starts[take]]
        return torch.from_numpy(found)


def unpacked(features_BCKF: Tensor) -> Tensor:
    """Pictures (B, C, 3, px, px) float32, 0..1, out of rows that ``Pictures`` made."""
    batch, cameras, px, _ = features_BCKF.shape
    pictures = features_BCKF.view(batch, cameras, px, px, 3).permute(0, 1, 4, 2, 3)
    return pictures.float() / 255.0
