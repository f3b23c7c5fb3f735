"""Frozen picture encoders: pictures to a few tokens of numbers. One file here adds one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.core.registry import Registry


class Encoder(Protocol):
    """Fitted once on sample pictures, then frozen. Usable from one thread at a time; torch is imported on first use.

    Attributes:
        kind: the word used in recipes.
        layout: ``keypoints``: a token is one thing and says where it is, see ``keypoints``. ``patches``: a token is one
            place, row by row, and says what is there.
        shape: (K, F): tokens per picture and numbers per token.
    """

    kind: str
    layout: str

    @property
    def shape(self) -> tuple[int, int]: ...

    def fit(self, pictures: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Learn from (H, W, 3) uint8 pictures of any size; the same pictures and seed give the same encoder."""

    def encode(self, picture: NDArray[np.uint8]) -> NDArray[Any]:
        """Features (K, F) of one (H, W, 3) picture, float32 (uint8 where they are the picture itself).

        About the same for every resolution of the same view.
        """

    def hash(self) -> str:
        """The same for encoders that give the same features; names the feature cache."""

    def settings(self) -> dict[str, Any]:
        """Plain values that ``ENCODERS.build(kind, **settings)`` takes."""

    def state(self) -> dict[str, NDArray[Any]]:
        """What was fitted, for checkpoints."""

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Invert ``state``. WorkbenchError if it does not fit."""


ENCODERS: Registry[Encoder] = Registry("encoder", "models.encoders")
