"""Frozen picture networks of the transformers package as encoders: what the files in ``encoders`` of this sort share.

A picture becomes a grid of patches, each described by a few hundred numbers. As ``patches`` they are given on as they
are, which is what the published VD-VAE reads. As ``keypoints`` every patch belongs to each of K clusters to some
degree; the clusters are found by k-means over the patches of sample pictures, and each is summed up as where in the
picture it is, so that whatever reads colour keypoints reads these, too.
torch and transformers are imported, in ``vision_net``, when the first picture is looked at.
Letters: K tokens of a picture, F numbers of a patch, h, w rows and columns of patches.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.keypoints import NUMBERS, k_means, nearest, summed_up
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import hash_bytes

LAYOUTS = ("keypoints", "patches")
ONLINE = "hub:"
_NETWORKS = "models.vision_net"
_MOST_PATCHES = 20_000
_WIDE, _HIGH = 4, 3


@dataclass(frozen=True)
class Config:
    """Settings of such an encoder.

    Attributes:
        source: folder of the network as transformers saves it (config.json, model.safetensors), or a hub's id: one that
            was fetched before, or ``hub:<id>`` to fetch it now.
        clusters: K.
        layout: ``keypoints`` or ``patches``.
        height: how high, in pixels, the picture is that keypoints are looked for in; patches say themselves.
        weights: hash of the network's weights the encoder was fitted with; others are refused. "" until then.
        numbers: F, filled in with ``weights``.
    """

    source: str = ""
    clusters: int = 32
    layout: str = "keypoints"
    height: int = 240
    weights: str = ""
    numbers: int = 0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise NotFoundError.of("layout of an encoder", self.layout, LAYOUTS)
        if not 2 <= self.clusters <= 4096 or not 32 <= self.height <= 1024 or not 0 <= self.numbers <= 16_384:
            raise WorkbenchError(f"{self.clusters} tokens of a picture {self.height} px high are not possible")


@dataclass(frozen=True)
class Family:
    """One sort of network.

    Attributes:
        kind, title: the word used in recipes, what a person reads.
        networks: transformers' class of each type of configuration that may lie in a folder.
        mean, spread: of red, green and blue (0..1) in the pictures the network was made for.
        resized: its forward pass must be told that pictures are not square.
    """

    kind: str
    title: str
    networks: tuple[tuple[str, str], ...]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    spread: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resized: bool = False


class Network(Protocol):
    """What ``vision_net`` opens.

    Attributes:
        patch: height and width of a patch, pixels. numbers: F. weights: hash of the weights.
    """

    patch: int
    numbers: int
    weights: str

    def look(self, picture: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
        """(rows, columns, F): the picture, resized to whole patches, as the last layer describes it."""

    def first_weights(self) -> NDArray[np.float32]:
        """(F, 3, patch, patch): of the layer that takes in patches."""


class PatchEncoder:
    """See the module; an ``Encoder``."""

    def __init__(self, family: Family, config: Config) -> None:
        self.kind, self.layout = family.kind, config.layout
        self.family, self.config = family, config
        self._centres: NDArray[np.float64] | None = None
        self._wide = 1.0
        if config.layout == "patches":
            grid_of(config.clusters)

    @property
    def shape(self) -> tuple[int, int]:
        if self.layout == "keypoints":
            return self.config.clusters, NUMBERS
        return self.config.clusters, self.config.numbers or self._network().numbers

    def fit(self, pictures: Sequence[NDArray[np.uint8]], seed: int) -> None:
        if len(pictures) == 0:
            raise WorkbenchError("there are no pictures to find clusters in", "Choose takes that have pictures")
        network = self._network()
        self.config = replace(self.config, weights=network.weights, numbers=network.numbers)
        if self.layout == "patches":
            return
        rng = np.random.default_rng(seed)
        share = max(1, _MOST_PATCHES // len(pictures))
        found = []
        for picture in pictures:
            patches = self._patches(picture).reshape(-1, network.numbers)
            found.append(patches[rng.permutation(len(patches))[:share]])
        points = np.concatenate(found).astype(np.float64)
        centres = k_means(points, np.ones(len(points)), self.config.clusters, rng)
        off = ((points - centres[nearest(points, centres)]) ** 2).sum(axis=1)
        self._centres, self._wide = centres, float(max(off.mean(), 1e-6))

    def encode(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.layout == "patches":
            return self._patches(picture).reshape(self.config.clusters, -1)
        if self._centres is None:
            raise WorkbenchError(f"the encoder '{self.kind}' was not fitted", "Train an alignment model first")
        patches = self._patches(picture)
        rows, columns, _ = patches.shape
        belongs = _belonging(patches.reshape(rows * columns, -1), self._centres, self._wide).T
        belongs = belongs.reshape(-1, rows, columns)
        return summed_up(belongs.sum(axis=2), belongs.sum(axis=1))

    def hash(self) -> str:
        made = repr((self.kind, self.layout, self.config.clusters, self.config.height, self.config.weights, self._wide))
        centres = b"" if self._centres is None else self._centres.tobytes()
        return hash_bytes(made.encode(), centres)[:16]

    def settings(self) -> dict[str, Any]:
        """As the protocol says. Nothing that is loaded later may go online by itself, so an id is kept without that."""
        return asdict(replace(self.config, source=self.config.source.removeprefix(ONLINE)))

    def state(self) -> dict[str, NDArray[Any]]:
        return {} if self._centres is None else {"centres": self._centres, "wide": np.array(self._wide)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.config = replace(self.config, source=self.config.source.removeprefix(ONLINE))  # whoever wrote it there
        if self.layout == "patches":
            if state or not self.config.weights:
                raise WorkbenchError("the encoder's state does not fit its settings", "Train the model anew")
            return
        centres = np.asarray(state.get("centres", ()), dtype=np.float64)
        wide = np.asarray(state.get("wide", 0.0), dtype=np.float64)
        fits = centres.shape == (self.config.clusters, self.config.numbers) and wide.shape == () and wide > 0
        if not fits or not np.all(np.isfinite(centres)) or not self.config.weights:
            raise WorkbenchError("the encoder's state does not fit its settings", "Train the model anew")
        self._centres, self._wide = centres, float(wide)

    def first_weights(self) -> NDArray[np.float32]:
        """Of the network's first layer, to tell it from another one; see ``Network``."""
        return self._network().first_weights()

    def _network(self) -> Network:
        """The network, opened once. WorkbenchError if it is not the one the encoder was fitted with."""
        network: Network = importlib.import_module(_NETWORKS).open_network(self.family, self.config.source)
        if self.config.weights and network.weights != self.config.weights:
            raise WorkbenchError(
                f"'{self.config.source}' holds other weights ({network.weights[:12]}) than those this model was "
                f"trained on ({self.config.weights[:12]})",
                "Put the former weights back, or train the model anew",
            )
        return network

    def _patches(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, F) descriptions of the patches of one picture."""
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise WorkbenchError(f"a picture of shape {picture.shape} and type {picture.dtype} cannot be encoded")
        network = self._network()
        rows, columns = grid_of(self.config.clusters) if self.layout == "patches" else self._rows_and_columns(network)
        return network.look(picture, rows, columns)

    def _rows_and_columns(self, network: Network) -> tuple[int, int]:
        rows = max(2, round(self.config.height / network.patch))
        return rows, max(2, round(rows * _WIDE / _HIGH))


def grid_of(patches: int) -> tuple[int, int]:
    """Rows and columns of a grid of 4 to 3 with so many patches. WorkbenchError if there is none."""
    rows = round((patches * _HIGH / _WIDE) ** 0.5)
    if rows < 1 or rows * _WIDE != _HIGH * (patches // rows) or patches % rows:
        raise WorkbenchError(f"{patches} patches make no grid of 4 to 3", "Choose clusters=12, 48, 108, 192 or 300")
    return rows, patches // rows


def _belonging(points_NP: NDArray[np.float32], centres_KP: NDArray[np.float64], wide: float) -> NDArray[np.float64]:
    """(N, K) how far every point belongs to every cluster; rows sum to 1.

    Gaussians around the centres. In so many dimensions one as wide as a cluster would be all or nothing, and one of
    that width in total would belong everywhere; between them, patches on a border belong to both sides.
    """
    sharp = points_NP.shape[1] ** 0.5 / (2.0 * wide)
    distance = ((centres_KP**2).sum(axis=1) - 2.0 * points_NP @ centres_KP.T) * sharp
    weight: NDArray[np.float64] = np.exp(distance.min(axis=1, keepdims=True) - distance)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
