"""One take, opened for looking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode
from storage.marks import kept_rows
from storage.records import EpisodeRecord
from workbench.core.errors import NotFoundError
from workbench.core.types import StreamSpec

_SILENT_PERIODS = 2.5


class TakeView:
    """One take, opened for looking. Used from one thread; reads from disk on demand.

    Attributes:
        streams: what was recorded, by stream name.
        row_times_s: (K,) seconds since the first row of the regular grid.
    """

    def __init__(self, record: EpisodeRecord, episode: Episode) -> None:
        self.record = record
        self.streams: dict[str, StreamSpec] = dict(episode.manifest.streams)
        self.manifest = episode.manifest
        self._episode = episode
        self._row_times_ns = np.asarray(episode.row_times(), np.int64)
        self._start_ns = int(self._row_times_ns[0]) if len(self._row_times_ns) else 0
        self.row_times_s: NDArray[np.float64] = (self._row_times_ns - self._start_ns) / 1e9
        self._rows: dict[str, NDArray[np.int64]] = {}

    @property
    def rows(self) -> int:
        return len(self.row_times_s)

    @property
    def used_rows(self) -> slice:
        """The rows between the trim marks, or all of them."""
        return kept_rows(self._row_times_ns, self.record.extra)

    def host_ns(self, seconds: float) -> int:
        """The host time of a place on the axis of ``row_times_s``."""
        return self._start_ns + round(seconds * 1e9)

    def seconds(self, host_ns: int) -> float:
        """Where a host time lies on the axis of ``row_times_s``; ``host_ns`` inverts it."""
        return (host_ns - self._start_ns) / 1e9

    def picture(self, stream: str, row: int) -> NDArray[Any] | None:
        """The picture (H, W, 3) uint8 or depth (H, W) uint16 mm that is valid at a row; None before the first one."""
        index = int(self._index(stream)[row])
        return None if index < 0 else self._episode.read(stream, index)

    def signal(self, stream: str) -> tuple[NDArray[np.float64], NDArray[np.float32], tuple[str, ...]]:
        """A whole vector stream at its own rate.

        Returns seconds on the axis of ``row_times_s`` (T,), values (T, D) and the axes' names.
        """
        spec = self._spec(stream)
        _, host_ns = self._episode.times(stream)
        values = np.asarray(self._episode.vectors(stream), np.float32)
        return (np.asarray(host_ns, np.int64) - self._start_ns) / 1e9, values, spec.axes

    def silences(self, stream: str) -> tuple[tuple[float, float], ...]:
        """Where a stream lacks items: (start, end) in seconds on the axis of ``row_times_s``.

        A silence is an interval of more than two and a half periods, and what lies before the first and after the last
        item.
        """
        spec, end_s = self._spec(stream), float(self.row_times_s[-1]) if self.rows else 0.0
        if spec.rate_hz <= 0 or not self.rows:
            return ()
        _, host_ns = self._episode.times(stream)
        inside_s = (np.asarray(host_ns, np.int64) - self._start_ns) / 1e9
        edges_s = np.concatenate([[0.0], inside_s[(inside_s > 0) & (inside_s < end_s)], [end_s]])
        long = np.flatnonzero(np.diff(edges_s) > _SILENT_PERIODS / spec.rate_hz)
        return tuple((float(edges_s[i]), float(edges_s[i + 1])) for i in long)

    def verify(self) -> tuple[str, ...]:
        """Problems in words; empty when the take is bit-true to its content hash."""
        return tuple(self._episode.verify())

    def close(self) -> None:
        """Close open files; looking again opens them again."""
        self._episode.close()

    def __enter__(self) -> TakeView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spec(self, stream: str) -> StreamSpec:
        if stream not in self.streams:
            raise NotFoundError.of("stream", stream, self.streams)
        return self.streams[stream]

    def _index(self, stream: str) -> NDArray[np.int64]:
        if stream not in self._rows:
            self._spec(stream)
            self._rows[stream] = np.asarray(self._episode.row_index(stream), np.int64)
        return self._rows[stream]
