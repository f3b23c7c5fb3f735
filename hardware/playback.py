"""Recorded pictures that a playback camera shows again: videos, folders of pictures; others add theirs by ``register``.

A take lies below ``storage``, which this room does not know, so whoever starts cameras registers how takes are opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DeviceError

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_DEPTH = re.compile(r"[._-]depth$")
_COLOR = re.compile(r"[._-](color|colour|rgb)$")


@dataclass(frozen=True, slots=True)
class Look:
    """What a source will deliver: pixels, nominal rate, whether there is depth, and optics if it knows them."""

    width: int
    height: int
    rate_hz: float
    depth: bool
    intrinsics: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Shown:
    """One recorded exposure.

    Attributes:
        t_ns: the recording's own time, from any origin; rises.
        color: (H, W, 3) uint8.
        depth: (H, W) uint16 mm, 0 = no reading; None without depth.
    """

    t_ns: int
    color: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None


class Source(Protocol):
    """A recording. ``look`` reads its header only. All methods raise DeviceError for a broken or missing file."""

    def look(self) -> Look: ...

    def play(self) -> Iterator[Shown]:
        """Every exposure in order, from the beginning each time it is called."""


Opener = Callable[[Path, str], Source]
_OPENERS: list[tuple[Callable[[Path], bool], Opener]] = []


def register(accepts: Callable[[Path], bool], opener: Opener) -> None:
    """Say how paths that ``accepts`` are opened. ``opener`` gets the path and the name of the camera in it."""
    _OPENERS.append((accepts, opener))


def open_source(path: Path, camera: str) -> Source:
    """The source at ``path``; DeviceError if there is none or nobody knows it."""
    if not path.name or not path.exists():
        raise DeviceError(f"there is no recording at {path}", "Correct the camera's path in station.toml")
    for accepts, opener in _OPENERS:
        if accepts(path):
            return opener(path, camera)
    raise DeviceError(f"{path} is no recording that can be played", "Give a take, a video or a folder of pictures")


class VideoSource:
    """A video file, with the times that the file gives."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self) -> Look:
        try:
            with av.open(str(self._path)) as container:
                if not container.streams.video:
                    raise DeviceError(f"{self._path} holds no pictures", "Choose another file")
                stream = container.streams.video[0]
                return Look(stream.width, stream.height, float(stream.average_rate or 30), False, {})
        except (av.error.FFmpegError, OSError) as error:
            raise self._broken(error) from error

    def play(self) -> Iterator[Shown]:
        try:
            with av.open(str(self._path)) as container:
                for frame in container.decode(container.streams.video[0]):
                    if frame.pts is not None and frame.time_base is not None:
                        yield Shown(int(frame.pts * frame.time_base * 10**9), frame.to_ndarray(format="rgb24"), None)
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> DeviceError:
        return DeviceError(f"the video {self._path} cannot be read ({error})", "Choose another file")


class FolderSource:
    """Pictures in a folder by name, shown at 30 Hz; ``x.depth.png`` (16 bit, mm) belongs to ``x.color.png``."""

    RATE_HZ = 30.0

    def __init__(self, folder: Path) -> None:
        pictures = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURE_SUFFIXES}
        depths = {_DEPTH.sub("", stem): file for stem, file in pictures.items() if _DEPTH.search(stem)}
        self._pairs = [
            (file, depths.get(_COLOR.sub("", stem))) for stem, file in pictures.items() if not _DEPTH.search(stem)
        ]
        if not self._pairs:
            raise DeviceError(f"{folder} holds no pictures", "Choose a folder of .png or .jpg files")
        self._depth = all(depth is not None for _, depth in self._pairs)

    def look(self) -> Look:
        height, width = _color(self._pairs[0][0]).shape[:2]
        return Look(width, height, self.RATE_HZ, self._depth, {})

    def play(self) -> Iterator[Shown]:
        for number, (color, depth) in enumerate(self._pairs):
            t_ns = round(number * 1e9 / self.RATE_HZ)
            yield Shown(t_ns, _color(color), _depth(depth) if depth is not None and self._depth else None)


def _color(path: Path) -> NDArray[np.uint8]:
    picture = _decode(path)
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.dtype != np.uint8:
        raise DeviceError(f"{path} is no 8-bit picture", "Choose another folder")
    return np.ascontiguousarray(picture[..., :3])


def _depth(path: Path) -> NDArray[np.uint16]:
    picture = _decode(path)
    if picture.dtype != np.uint16 or picture.ndim != 2:
        raise DeviceError(f"{path} is no 16-bit depth picture", "Depth is one channel of 16 bit, in mm")
    return picture


def _decode(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(imagecodecs.imread(str(path)))
    except (OSError, ValueError, RuntimeError) as error:
        raise DeviceError(
            f"the picture {path} cannot be read ({error})", "Remove it or choose another folder"
        ) from error


register(lambda path: path.suffix.lower() in VIDEO_SUFFIXES, lambda path, _: VideoSource(path))
register(lambda path: path.is_dir() and path.suffix != ".zarr", lambda path, _: FolderSource(path))
