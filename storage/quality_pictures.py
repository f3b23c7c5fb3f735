"""What a stream of pictures looks like: exposure, sharpness, and whether it stood still.

About five pictures a second are decoded (every k-th, k = rate / 5) and only the previous ones' small grey copies are
kept, so that the memory does not grow with the take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.quality_hands import HandWatch
from storage.quality_motion import Motion
from storage.quality_times import Figures
from storage.reader import Episode
from workbench.core.types import StreamSpec

LOOKED_AT_HZ = 5.0
Thumbnail = NDArray[np.float32]
_BLOCKS = (24, 32)
_WHITE, _BLACK = 250, 8
_SAME_LEVEL = 1.0  # of 255 (or mm): below this no block has changed by more than noise
_MOVED_LEVEL = 6.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in one stream: figures, and the host seconds of pictures that show motion."""

    figures: Figures
    seconds: NDArray[np.float64]
    moved: NDArray[np.bool_]


class _Run:
    """Pictures that equal the first of the run."""

    def __init__(self, level: float) -> None:
        self._level = level
        self._first: Thumbnail | None = None
        self._start_s = 0.0
        self.spans: list[tuple[float, float]] = []

    def add(self, thumbnail: Thumbnail, at_s: float) -> None:
        """Go on with the run, or begin another."""
        if self._first is not None and float(np.abs(thumbnail - self._first).max()) <= self._level:
            self.spans[-1] = (self._start_s, at_s)
            return
        self._first, self._start_s = thumbnail, at_s
        if self.spans and self.spans[-1][0] == self.spans[-1][1]:
            self.spans.pop()
        self.spans.append((at_s, at_s))


def every(spec: StreamSpec) -> int:
    """Which pictures are decoded: every k-th."""
    return max(1, round(spec.rate_hz / LOOKED_AT_HZ))


def look(
    episode: Episode,
    spec: StreamSpec,
    host_ns: NDArray[np.int64],
    motion: Motion | None,
    between: Callable[[], None],
    hands: HandWatch | None = None,
) -> Looked:
    """Figures of one stream of colour (H, W, 3) uint8 or depth (H, W) pictures. CorruptTakeError if one is broken.

    ``between`` is called before each picture; what it raises ends the look. ``hands`` is shown every picture.
    """
    chosen = np.arange(0, len(host_ns), every(spec))
    seconds = host_ns[chosen].astype(np.float64) / 1e9
    exact, near = _Run(0.0), _Run(_SAME_LEVEL)
    measured: list[Figures] = []
    moved = np.zeros(len(chosen), dtype=np.bool_)
    before: Thumbnail | None = None
    for number, index in enumerate(chosen):
        between()
        picture = episode.read(spec.name, int(index))
        if hands is not None:
            hands.add(picture)
        thumbnail = shrink(picture)
        moved[number] = before is not None and float(np.abs(thumbnail - before).max()) > _MOVED_LEVEL
        exact.add(thumbnail, float(seconds[number]))
        near.add(thumbnail, float(seconds[number]))
        measured.append(_measure(picture))
        before = thumbnail
    travelled = [motion.travelled_m(*span) for span in near.spans] if motion is not None else []
    figures: Figures = {
        "frozen_s": max((end - start for start, end in exact.spans), default=None),
        "frozen_travel_m": max(travelled, default=None),
        **_middle(measured),
    }
    return Looked(figures, seconds, moved)


def shrink(picture: NDArray[np.generic]) -> Thumbnail:
    """Mean grey level of blocks, at most about 24 x 32 of them."""
    grey = picture.mean(axis=2, dtype=np.float32) if picture.ndim == 3 else picture.astype(np.float32)
    high, wide = (max(1, size // blocks) for size, blocks in zip(grey.shape, _BLOCKS, strict=True))
    rows, columns = grey.shape[0] // high, grey.shape[1] // wide
    blocks = grey[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _measure(picture: NDArray[np.generic]) -> Figures:
    if picture.ndim == 2:
        return {"valid_share": float(np.count_nonzero(picture)) / picture.size}
    grey = picture.astype(np.int16).sum(axis=2) // 3
    brightest, darkest = picture.max(axis=2), picture.min(axis=2)
    return {
        "brightness": float(grey.mean()),
        "over_share": float((darkest >= _WHITE).mean()),
        "under_share": float((brightest <= _BLACK).mean()),
        "sharpness": _sharpness(grey),
    }


def _sharpness(grey: NDArray[np.int16]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000): small where a picture has no edges."""
    if min(grey.shape) < 3:
        return 0.0
    centre = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.var((around - 4 * centre).astype(np.float32)))


def _middle(measured: list[Figures]) -> Figures:
    """The median of each figure over the pictures."""
    names = measured[0] if measured else ()
    return {name: float(np.median([one[name] or 0.0 for one in measured])) for name in names}
