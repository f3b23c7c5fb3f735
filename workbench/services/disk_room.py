"""How long the disk lasts: bytes per second of a set of streams, and what must stay free to end a take properly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from storage.layout import Home
from storage.reader import read_manifest
from workbench.core.errors import CorruptTakeError
from workbench.core.types import StreamSpec

LEAST_MINUTES = 1.0
RESERVE_S = 20.0
LEAST_RESERVE_BYTES = 4_000_000
_TIME_BYTES = 16  # device and host time of each item
# Measured on 640x480 pictures, see storage/codecs.py: bytes per pixel.
_JPEG, _LOSSLESS, _DEPTH = 0.22, 2.3, 0.23
_TAKES_MEASURED = 3
_LEAST_MEASURED_S = 2.0


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on the data folder's disk for streams of so many bytes per second."""

    free_bytes: int
    bytes_per_s: float

    @property
    def reserve_bytes(self) -> int:
        """Kept free, so that a take can always be ended and sealed: some seconds of recording."""
        return max(LEAST_RESERVE_BYTES, round(RESERVE_S * self.bytes_per_s))

    @property
    def minutes(self) -> float:
        """Minutes of recording until only the reserve is left; infinite where nothing is written."""
        if self.bytes_per_s <= 0:
            return math.inf
        return max(0, self.free_bytes - self.reserve_bytes) / self.bytes_per_s / 60

    @property
    def is_nearly_full(self) -> bool:
        """True when only the reserve is left."""
        return self.free_bytes < self.reserve_bytes

    def words(self) -> str:
        """For people."""
        return f"{self.free_bytes / 1e9:.2f} GB free, {self.bytes_per_s / 1e6:.2f} MB for each second"


def estimate_bytes_per_s(specs: Iterable[StreamSpec], color_codec: str = "jpeg") -> float:
    """Bytes per second of streams, from what their pixels usually take once compressed."""
    return sum(spec.rate_hz * (_item_bytes(spec, color_codec) + _TIME_BYTES) for spec in specs)


def measured_bytes_per_s(home: Home, station: str, names: Sequence[str]) -> float | None:
    """Bytes per second of this station's newest takes with exactly these streams; None if there is none yet."""
    sizes = seconds = 0.0
    found = 0
    for folder in sorted(home.episodes.glob("*.zarr"), reverse=True)[: 5 * _TAKES_MEASURED]:
        try:
            manifest = read_manifest(folder)
        except CorruptTakeError:
            continue
        same = manifest.station == station and set(manifest.streams) == set(names) and "archive" not in manifest.extra
        if same and manifest.duration_s >= _LEAST_MEASURED_S:
            sizes += sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
            seconds += manifest.duration_s
            found += 1
        if found == _TAKES_MEASURED:
            break
    return sizes / seconds if seconds else None


def _item_bytes(spec: StreamSpec, color_codec: str) -> float:
    if len(spec.shape) < 2:
        return float(spec.item_bytes)
    pixels = spec.shape[0] * spec.shape[1]
    if len(spec.shape) == 2:
        return _DEPTH * pixels
    return (_JPEG if color_codec == "jpeg" else _LOSSLESS) * pixels
