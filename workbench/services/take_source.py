"""Lets playback cameras show recorded takes: the one place where devices and the disk's takes meet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.playback import Look, Shown
from storage.episode import Episode
from storage.layout import SEALED_SUFFIX
from workbench.core.errors import DeviceError, WorkbenchError

_COLOR, _DEPTH = "observation.images.", "observation.depth."


class TakeSource:
    """One camera of a sealed take; implements ``hardware.playback.Source``."""

    def __init__(self, folder: Path, camera: str) -> None:
        self._folder = folder
        try:
            with Episode.at(folder) as episode:
                self._camera = camera or _first_camera(episode)
                self._look = _look(episode, self._camera)
        except WorkbenchError as error:
            raise DeviceError(f"{folder.name} cannot be played ({error})", "Choose another take") from error

    @staticmethod
    def accepts(path: Path) -> bool:
        """True for a folder named like a sealed take."""
        return path.suffix == SEALED_SUFFIX and path.is_dir()

    def look(self) -> Look:
        return self._look

    def play(self) -> Iterator[Shown]:
        """Pictures with their device times; of depth the reading nearest in time, none beyond half a period."""
        color, depth = _COLOR + self._camera, _DEPTH + self._camera
        tolerance_ns = 0.5e9 / self._look.rate_hz
        nothing = np.zeros((self._look.height, self._look.width), np.uint16)
        try:
            with Episode.at(self._folder) as episode:
                times = episode.times(color)[0]
                near = _nearest(times, episode.times(depth)[0]) if self._look.depth else None
                for index, t_ns in enumerate(times.tolist()):
                    read = None
                    if near is not None:
                        at, apart_ns = int(near[0][index]), float(near[1][index])
                        read = episode.read(depth, at) if apart_ns <= tolerance_ns else nothing
                    yield Shown(t_ns, episode.read(color, index), read)
        except WorkbenchError as error:
            raise DeviceError(f"{self._folder.name} cannot be played ({error})", "Choose another take") from error


def _first_camera(episode: Episode) -> str:
    for name in sorted(episode.manifest.streams):
        if name.startswith(_COLOR) and episode.manifest.counts[name]:
            return name.removeprefix(_COLOR)
    raise WorkbenchError("it holds no pictures", "Choose another take")


def _look(episode: Episode, camera: str) -> Look:
    manifest = episode.manifest
    spec = manifest.streams.get(_COLOR + camera)
    if spec is None or not manifest.counts[spec.name]:
        raise WorkbenchError(f"it has no camera '{camera}'", "Name one that it has")
    same_size = (depth := manifest.streams.get(_DEPTH + camera)) is not None and depth.shape == spec.shape[:2]
    has_depth = same_size and manifest.counts[_DEPTH + camera] > 0
    device = manifest.devices.get(camera)
    optics = device.get("intrinsics", {}) if isinstance(device, dict) else {}
    return Look(spec.shape[1], spec.shape[0], spec.rate_hz, has_depth, optics if isinstance(optics, dict) else {})


def _nearest(times: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per time the index of the nearest of ``others`` (sorted, not empty), and how far it is."""
    after = np.clip(np.searchsorted(others, times), 1, max(1, len(others) - 1))
    after = np.minimum(after, len(others) - 1)
    before = np.maximum(after - 1, 0)
    best = np.where(np.abs(others[before] - times) <= np.abs(others[after] - times), before, after)
    return best, np.abs(others[best] - times)
