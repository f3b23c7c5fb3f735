"""A camera that shows a recording as if it were live: a take, a video file, or a folder of pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hardware.camera import CAMERAS, CameraInfo, CameraShot
from hardware.playback import Look, Shown, open_source
from workbench.core.errors import DeviceError
from workbench.core.registry import Plugin
from workbench.core.types import StreamSpec

_BUFFER = 4  # exposures a real camera's driver holds for a reader that is late; older ones are lost


@dataclass(frozen=True, slots=True)
class Config:
    """How a recording is shown.

    Attributes:
        path: a take (``.zarr``), a video, or a folder of pictures (see ``hardware.playback``).
        source: which camera of a take; "" takes its first.
        rate_hz: pictures per second; 0 keeps the recording's own times, its gaps included.
        depth: whether recorded depth is shown, too.
        loop: begin again at the end; else the camera falls silent there.
        first: show only the first so many exposures, decoded once and kept in memory; 0 = all, decoded as they come.
    """

    name: str = "front"
    path: str = ""
    source: str = ""
    rate_hz: float = 0.0
    depth: bool = True
    loop: bool = True
    first: int = 0

    def __post_init__(self) -> None:
        if self.rate_hz < 0 or self.first < 0:
            raise TypeError("rate_hz and first cannot be negative")


class PlaybackCamera:
    """Implements ``hardware.camera.Camera``.

    Like a real camera it does not wait for its reader: exposures that fall due while nobody reads are dropped beyond a
    small buffer, which shows as a jump of the sequence number. ``t_device_ns`` is the recording's clock, going on
    from one loop to the next; ``t_host_ns`` is when the exposure was handed out.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._path = Path(config.path).expanduser()
        self._source = open_source(self._path, config.source)
        self._look: Look = self._source.look()
        self._shown: Iterator[tuple[int, Shown]] | None = None
        self._kept: tuple[Shown, ...] = ()
        self._next: tuple[int, Shown] | None = None
        self._begin_ns = 0
        self._sequence = -1

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        look, name = self._look, self._config.name
        size, rate_hz = (look.height, look.width), self._config.rate_hz or look.rate_hz
        color = StreamSpec(f"observation.images.{name}", (*size, 3), "uint8", rate_hz=rate_hz)
        if not (look.depth and self._config.depth):
            return (color,)
        return color, StreamSpec(f"observation.depth.{name}", size, "uint16", "mm", rate_hz)

    def open(self) -> CameraInfo:
        self.close()
        if self._config.first and not self._kept:
            self._kept = tuple(islice(self._source.play(), self._config.first))
        self._shown = self._timed()
        self._next = next(self._shown, None)
        if self._next is None:
            raise DeviceError(f"the recording {self._path} is empty", "Choose another one")
        self._begin_ns = time.monotonic_ns() + self._period_ns()
        self._sequence = -1
        serial = f"{self._path.name}:{self._config.source}".rstrip(":")
        return CameraInfo("playback", serial, "recorded", self._look.intrinsics)

    def read(self, timeout_s: float) -> CameraShot | None:
        if self._shown is None:
            raise DeviceError("the playback camera is not open", "Open it first")
        if not self._path.exists():
            raise DeviceError(f"the recording {self._path} is gone", "Bring it back or choose another one")
        if self._next is None or not self._wait(timeout_s):
            return None
        self._drop_overdue()
        if self._next is None:
            return None
        t_ns, shown = self._take()
        images: dict[str, NDArray[Any]] = {}
        for stream, image in zip(self.streams, (shown.color, shown.depth)):
            if image is None or image.shape != stream.shape:
                raise DeviceError(f"the pictures of {self._path} change their size", "Choose another recording")
            images[stream.name] = image.copy() if self._kept else image
        return CameraShot(self._sequence, t_ns, time.monotonic_ns(), images)

    def close(self) -> None:
        self._shown = None
        self._next = None

    def _take(self) -> tuple[int, Shown]:
        if self._next is None or self._shown is None:
            raise DeviceError("the playback camera is not open", "Open it first")
        taken, self._next = self._next, next(self._shown, None)
        self._sequence += 1
        return taken

    def _wait(self, timeout_s: float) -> bool:
        """Sleep until the next exposure is due, at most ``timeout_s``."""
        left_s = (self._due_ns() - time.monotonic_ns()) / 1e9
        time.sleep(max(0.0, min(left_s, timeout_s)))
        return left_s <= timeout_s

    def _drop_overdue(self) -> None:
        limit_ns = time.monotonic_ns() - _BUFFER * self._period_ns()
        while self._next is not None and self._due_ns() < limit_ns:
            self._take()

    def _due_ns(self) -> int:
        return self._begin_ns + (self._next[0] if self._next else 0)

    def _period_ns(self) -> int:
        return round(1e9 / (self._config.rate_hz or self._look.rate_hz))

    def _timed(self) -> Iterator[tuple[int, Shown]]:
        """Exposures with the time since the first, on and on when looping."""
        count = start = last = 0
        while True:
            origin: int | None = None
            for shown in self._kept or self._source.play():
                origin = shown.t_ns if origin is None else origin
                last = count * self._period_ns() if self._config.rate_hz else start + shown.t_ns - origin
                count += 1
                yield last, shown
            if not self._config.loop or origin is None:
                return
            start = last + self._period_ns()


CAMERAS.register(Plugin("playback", "Recording played as a camera", Config, PlaybackCamera))
