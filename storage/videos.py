"""Reading other people's video files, frame by frame, with the times the file gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError

_LARGEST_SIDE_PX = 8192


@dataclass(frozen=True, slots=True)
class Video:
    """A readable video file: its size after an optional reduction, its nominal rate."""

    path: Path
    height: int
    width: int
    rate_hz: float

    @classmethod
    def open(cls, path: Path, max_side_px: int | None = None) -> Video:
        """Look at a file's header. WorkbenchError if it is no video. Sides are made even when reduced."""
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise WorkbenchError(f"{path.name} holds no pictures", "Check the file")
                stream = container.streams.video[0]
                width, height, rate = stream.width, stream.height, stream.average_rate
        except (av.error.FFmpegError, OSError) as error:
            raise WorkbenchError(f"the video {path.name} cannot be opened ({error})", "Check the file") from error
        if not (0 < width <= _LARGEST_SIDE_PX and 0 < height <= _LARGEST_SIDE_PX):
            raise WorkbenchError(f"the video {path.name} has a strange size {width}x{height}", "Check the file")
        if max_side_px is not None and max(width, height) > max_side_px:
            scale = max_side_px / max(width, height)
            width, height = (max(2, round(side * scale / 2) * 2) for side in (width, height))
        return cls(path, height, width, float(rate) if rate else 30.0)

    def frames(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """(time in ns from the file, (H, W, 3) uint8 RGB) of every picture, in order of time.

        WorkbenchError at the first picture that cannot be decoded or has no time.
        """
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                for frame in container.decode(stream):
                    if frame.pts is None or frame.time_base is None:
                        raise WorkbenchError(f"a picture of {self.path.name} has no time", "Re-encode the video")
                    reduced = frame.reformat(width=self.width, height=self.height, format="rgb24", interpolation="AREA")
                    t_ns = frame.pts * frame.time_base.numerator * 1_000_000_000 // frame.time_base.denominator
                    yield t_ns, np.ascontiguousarray(reduced.to_ndarray())
        except av.error.FFmpegError as error:
            raise WorkbenchError(f"the video {self.path.name} is damaged ({error})", "Check the file") from error


def write_video(path: Path, pictures: Iterable[NDArray[Any]], rate_hz: float) -> tuple[int, int]:
    """Encode (H, W, 3) uint8 RGB pictures as H.264, one every 1 / ``rate_hz`` s; returns the stored (H, W).

    Every second picture is a key frame, so that training can seek. 4:2:0 needs even sides: odd ones gain an edge pixel.
    """
    rate = Fraction(rate_hz).limit_denominator(1000)
    size = (0, 0)
    try:
        with av.open(str(path), "w") as container:
            stream = None
            for number, picture in enumerate(pictures):
                even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate)
                    size = stream.height, stream.width = even.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"crf": "18", "g": "2", "preset": "veryfast"}
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
                frame.pts, frame.time_base = number, 1 / rate
                container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise WorkbenchError(f"the video {path.name} cannot be written ({error})", "Check the free space") from error
    return size
