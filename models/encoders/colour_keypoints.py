"""Colour keypoints: where each of K colours is in the picture. No network, a fraction of a millisecond per picture.

The colours are found by k-means over the colours that occur in sample pictures; a table of all 32^3 colours then names
each pixel's cluster, and every cluster is summed up as log mass, centre and spread (5 numbers). Coordinates are -1..1
over the picture, masses are shares of it, so the resolution does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encoders import ENCODERS, Encoder
from models.keypoints import NUMBERS, k_means, nearest, summed_up
from workbench.core.errors import WorkbenchError
from workbench.core.files import hash_bytes
from workbench.core.registry import Plugin

_BITS = 5
_SIDE = 1 << _BITS


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the encoder.

    Attributes:
        clusters: K.
        brightness: weight of brightness against chroma in the colour distance.
        hues: share of weight given to all saturated hues beside the colours that were seen, so that an object that
            appears later still falls into a cluster of its own colour.
        pixels: at most about this many pixels of a picture are looked at.
    """

    clusters: int = 32
    brightness: float = 0.35
    hues: float = 0.15
    pixels: int = 20_000


class ColourKeypoints:
    """See the module; an ``Encoder``."""

    kind = "colour_keypoints"
    layout = "keypoints"

    def __init__(self, config: Config) -> None:
        if not 2 <= config.clusters <= 255:
            raise WorkbenchError(f"{config.clusters} colour clusters are not possible", "Choose 2 to 255")
        self.config = config
        self._centres: NDArray[np.float64] | None = None
        self._table = np.zeros(_SIDE**3, dtype=np.uint8)
        self._places: dict[tuple[int, int], tuple[NDArray[np.int32], NDArray[np.int32]]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        return self.config.clusters, NUMBERS

    def fit(self, pictures: Sequence[NDArray[np.uint8]], seed: int) -> None:
        if len(pictures) == 0:
            raise WorkbenchError("there are no pictures to learn colours from", "Choose takes that have pictures")
        counts = np.zeros(_SIDE**3, dtype=np.float64)
        for picture in pictures:
            bins = _bins(_thin(picture, self.config.pixels)).reshape(-1)
            seen = np.bincount(bins, minlength=len(counts))
            counts += np.sqrt(seen / len(bins))  # flattened, so that the table top does not take every cluster
        hues = _hue_wheel()
        weights = np.sqrt(counts)
        weights /= weights.sum()
        weights *= 1.0 - self.config.hues
        weights[hues] += self.config.hues / len(hues)
        used = np.flatnonzero(weights)
        points = self._colour_space(used)
        self._set(k_means(points, weights[used], self.config.clusters, np.random.default_rng(seed)))

    def encode(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._centres is None:
            raise WorkbenchError("the colour encoder was not fitted", "Train an alignment model first")
        thin = _thin(picture, self.config.pixels)
        label = self._table[_bins(thin)].astype(np.int32)
        height, width = label.shape
        clusters = self.config.clusters
        columns = np.arange(width, dtype=np.int32)
        rows = np.arange(height, dtype=np.int32)[:, None]
        by_column = np.bincount((label * width + columns).reshape(-1), minlength=clusters * width)
        by_row = np.bincount((label * height + rows).reshape(-1), minlength=clusters * height)
        return summed_up(by_row.reshape(clusters, height), by_column.reshape(clusters, width))

    def hash(self) -> str:
        return hash_bytes(self.kind.encode(), repr(self.config).encode(), self._table.tobytes())[:16]

    def settings(self) -> dict[str, Any]:
        return asdict(self.config)

    def state(self) -> dict[str, NDArray[Any]]:
        return {} if self._centres is None else {"centres": self._centres}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        centres = np.asarray(state.get("centres", ()), dtype=np.float64)
        if centres.shape != (self.config.clusters, 3) or not np.all(np.isfinite(centres)):
            raise WorkbenchError("the encoder's state does not fit its settings", "Train the model anew")
        self._set(centres)

    def _set(self, centres: NDArray[np.float64]) -> None:
        self._centres = centres
        self._table = nearest(self._colour_space(np.arange(_SIDE**3)), centres).astype(np.uint8)

    def _colour_space(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, 3) chroma (two numbers, less trusted in the dark) and weighted brightness of colour bins."""
        rgb = (_colours(bins) + 0.5) * (256 // _SIDE)
        total = rgb.sum(axis=1)
        scale = 1.0 / (total + 90.0)
        red_green = (rgb[:, 0] - rgb[:, 1]) * scale
        blue_yellow = (rgb[:, 2] - 0.5 * (rgb[:, 0] + rgb[:, 1])) * scale
        return np.stack([red_green, blue_yellow, self.config.brightness * total / 765.0], axis=1)


def _thin(picture: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Every n-th pixel of both axes, so that at most about ``pixels`` remain."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise WorkbenchError(f"a picture of shape {picture.shape} and type {picture.dtype} cannot be encoded")
    stride = max(1, round(float(np.sqrt(picture.shape[0] * picture.shape[1] / pixels))))
    return picture[stride // 2 :: stride, stride // 2 :: stride] if stride > 1 else picture


def _bins(picture: NDArray[np.uint8]) -> NDArray[np.uint16]:
    coarse = (picture >> (8 - _BITS)).astype(np.uint16)
    packed = (coarse[..., 0] << (2 * _BITS)) | (coarse[..., 1] << _BITS) | coarse[..., 2]
    return packed.astype(np.uint16, copy=False)


def _colours(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    mask = _SIDE - 1
    return np.stack([bins >> (2 * _BITS), (bins >> _BITS) & mask, bins & mask], axis=1).astype(np.float64)


def _hue_wheel() -> NDArray[np.int64]:
    """Bins of 24 hues at two saturations and two brightnesses."""
    hue = np.arange(24) / 24.0
    wheel = np.clip(np.abs((hue[:, None] * 6.0 + np.array([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0, 0.0, 1.0)
    colours = [255.0 * value * (1.0 - s * (1.0 - wheel)) for s in (0.6, 0.95) for value in (0.5, 0.9)]
    coarse = (np.concatenate(colours).astype(np.int64)) >> (8 - _BITS)
    return np.unique((coarse[:, 0] << (2 * _BITS)) | (coarse[:, 1] << _BITS) | coarse[:, 2])


def _build(config: Config) -> Encoder:
    return ColourKeypoints(config)


PLUGIN = ENCODERS.register(Plugin("colour_keypoints", "Colour keypoints", Config, _build))
