"""Reading other people's video files, frame by frame, with the times the file gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError

_LARGEST_SIDE_PX = 8192
_EDGE_NS = 1_000_000  # a picture this little before a part begins belongs to it: times are rounded in the files
_MISSING_S, _MISSING_SHARE = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Video:
    """A readable video file, or a part of one.

    Attributes:
        height, width: of the pictures as they are shown, after an optional reduction.
        rate_hz: nominal; the pictures' own times count.
        seconds: as the file's header says, 0 if it does not.
        quarter_turns: counter-clockwise, that the file asks for before a picture is shown (a phone held upright).
        start_ns, end_ns: the part of the file, end excluded; its times count from ``start_ns``. None: to the end.
    """

    path: Path
    height: int
    width: int
    rate_hz: float
    seconds: float = 0.0
    quarter_turns: int = 0
    start_ns: int = 0
    end_ns: int | None = None

    @classmethod
    def open(cls, path: Path, max_side_px: int | None = None) -> Video:
        """Look at a file's header and first picture. WorkbenchError if there is none. Reduced sides are even."""
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise WorkbenchError(f"{path.name} holds no pictures", "Check the file")
                stream = container.streams.video[0]
                first = next(iter(container.decode(stream)), None)
                if first is None:
                    raise WorkbenchError(f"the video {path.name} holds no pictures", "Check the file")
                width, height, rate = first.width, first.height, stream.average_rate
                seconds = _seconds(container, stream)
        except (av.error.FFmpegError, OSError) as error:
            raise WorkbenchError(f"the video {path.name} cannot be opened ({error})", "Check the file") from error
        if not (0 < width <= _LARGEST_SIDE_PX and 0 < height <= _LARGEST_SIDE_PX):
            raise WorkbenchError(f"the video {path.name} has a strange size {width}x{height}", "Check the file")
        turns = round(first.rotation / 90) % 4
        if turns % 2:
            width, height = height, width
        if max_side_px is not None and max(width, height) > max_side_px:
            scale = max_side_px / max(width, height)
            width, height = (max(2, round(side * scale / 2) * 2) for side in (width, height))
        return cls(path, height, width, float(rate) if rate else 30.0, seconds, turns)

    def part(self, start_s: float, end_s: float) -> Video:
        """The pictures from one time of the file up to another, in seconds."""
        return replace(self, start_ns=round(start_s * 1e9), end_ns=round(end_s * 1e9), seconds=end_s - start_s)

    def frames(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """(time in ns from the file, (H, W, 3) uint8 RGB) of every picture, in order of time.

        WorkbenchError at the first picture that cannot be decoded, has no time or does not come after the one before.
        """
        before = None
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                if self.start_ns > 0 and stream.time_base is not None:
                    container.seek(int(self.start_ns / 1e9 / stream.time_base), stream=stream)
                for frame in container.decode(stream):
                    t_ns = self._time(frame) - self.start_ns
                    if t_ns < -_EDGE_NS:
                        continue
                    if self.end_ns is not None and t_ns + self.start_ns >= self.end_ns - _EDGE_NS:
                        return
                    if before is not None and t_ns <= before:
                        raise WorkbenchError(f"the times of {self.path.name} do not rise", "Re-encode the video")
                    if frame.is_corrupt:
                        raise WorkbenchError(f"a picture of {self.path.name} is damaged", "Fetch the file anew")
                    before = t_ns
                    yield t_ns, self._picture(frame)
            self._check_end(before)
        except av.error.FFmpegError as error:
            raise WorkbenchError(f"the video {self.path.name} is damaged ({error})", "Check the file") from error

    def _check_end(self, last_ns: int | None) -> None:
        """A file that was cut off has fewer pictures than its header says; sound may outlast them a little."""
        missing_s = self.seconds - (last_ns or 0) / 1e9
        if self.end_ns is None and missing_s > max(_MISSING_S, _MISSING_SHARE * self.seconds):
            ended_s = self.seconds - missing_s
            raise WorkbenchError(
                f"{self.path.name} ends after {ended_s:.1f} of {self.seconds:.1f} s", "Fetch the file anew, or cut it"
            )

    def _time(self, frame: av.VideoFrame) -> int:
        if frame.pts is None or frame.time_base is None:
            raise WorkbenchError(f"a picture of {self.path.name} has no time", "Re-encode the video")
        return int(frame.pts * frame.time_base.numerator * 1_000_000_000 // frame.time_base.denominator)

    def _picture(self, frame: av.VideoFrame) -> NDArray[Any]:
        width, height = (self.height, self.width) if self.quarter_turns % 2 else (self.width, self.height)
        reduced = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(reduced, self.quarter_turns) if self.quarter_turns else reduced)


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration / av.time_base) if container.duration is not None else 0.0


def write_video(
    path: Path, pictures: Iterable[NDArray[Any]], rate_hz: float, watch: Callable[[], None] = lambda: None
) -> tuple[int, int]:
    """Encode (H, W, 3) uint8 RGB pictures as H.264, one every 1 / ``rate_hz`` s; returns the stored (H, W).

    Every second picture is a key frame, so that training can seek. 4:2:0 needs even sides: odd ones gain an edge pixel.
    ``watch`` is called before each picture; what it raises ends the work.
    """
    rate = Fraction(rate_hz).limit_denominator(1000)
    size = (0, 0)
    try:
        with av.open(str(path), "w") as container:
            stream = None
            for number, picture in enumerate(pictures):
                watch()
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
