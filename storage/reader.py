"""Reading a take: the manifest, single items, whole vectors, times and the regular grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.columns import TIME_ROWS, read_column
from storage.content import check_arrays, content_hash, digests_on_disk
from storage.layout import GROUP_NAME, ROWS_NAME, SEALED_SUFFIX, Home, is_episode_id
from storage.manifest import Manifest
from storage.rows import Rows
from storage.shards import FrameReader
from workbench.core.errors import CorruptTakeError, NotFoundError
from workbench.core.types import StreamSpec

_LARGEST_MANIFEST = 64 << 20


class Episode:
    """One sealed take. Reads on demand; not thread-safe, open one per thread. Close it, or use it as a context."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._frames: dict[str, FrameReader] = {}
        self._rows: Rows | None = None

    @classmethod
    def open(cls, home: Home, episode_id: str, *, trashed: bool = False) -> Episode:
        """The take with this id. NotFoundError names the nearest id, CorruptTakeError says what is broken."""
        base = home.trash if trashed else home.episodes
        folder = base / f"{episode_id}{SEALED_SUFFIX}"
        if not is_episode_id(episode_id) or not folder.is_dir():
            raise NotFoundError.of("take", episode_id, (path.name.partition(".")[0] for path in base.glob("*.zarr")))
        return cls.at(folder)

    @classmethod
    def at(cls, folder: Path) -> Episode:
        """The sealed take in a folder, for example one brought from another station."""
        manifest = read_manifest(folder)
        if not manifest.sealed:
            raise CorruptTakeError(f"the take {manifest.id} is not sealed", "Run `python main.py doctor`")
        return cls(folder, manifest)

    def read(self, stream: str, index: int) -> NDArray[Any]:
        """One item: a decoded picture (H, W, 3) or (H, W), or a vector (D,). IndexError outside the take."""
        spec = self._spec(stream)
        if self.manifest.layout[stream].codec is None:
            if not 0 <= index < self.manifest.counts[stream]:
                raise IndexError(f"{stream} has {self.manifest.counts[stream]} items, not an item {index}")
            item: NDArray[Any] = self.vectors(stream)[index].reshape(spec.shape)
            return item
        return self.frames(stream).read(index)

    def frames(self, stream: str) -> FrameReader:
        """The reader of a stream of pictures."""
        spec = self._spec(stream)
        layout = self.manifest.layout[stream]
        if layout.codec is None:
            raise NotFoundError(f"the stream {stream} holds vectors, not pictures", "Use vectors()")
        if stream not in self._frames:
            count = self.manifest.counts[stream]
            self._frames[stream] = FrameReader(self.folder / stream, spec, layout.codec, layout.per_file, count)
        return self._frames[stream]

    def vectors(self, stream: str) -> NDArray[Any]:
        """(T, D) all items of a vector stream, in the stream's dtype."""
        spec = self._spec(stream)
        layout = self.manifest.layout[stream]
        if layout.codec is not None:
            raise NotFoundError(f"the stream {stream} holds pictures, not vectors", "Use read()")
        return read_column(self.folder / stream, spec.shape, spec.dtype, layout.per_file, self.manifest.counts[stream])

    def times(self, stream: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(T,) device times and (T,) host times of a stream, ns."""
        self._spec(stream)
        count = self.manifest.counts[stream]
        return read_times(self.folder, stream, "device", count), read_times(self.folder, stream, "host", count)

    def row_times(self) -> NDArray[np.int64]:
        """(K,) host times of the regular grid, ns."""
        return self.rows().times_ns

    def row_index(self, stream: str) -> NDArray[np.int64]:
        """(K,) index into the stream per row, -1 = none."""
        self._spec(stream)
        rows = self.rows()
        return rows.index[:, rows.streams.index(stream)]

    def row_age_ns(self, stream: str) -> NDArray[np.int64]:
        """(K,) row time minus the item's host time; slightly negative within the grid's tolerance."""
        self._spec(stream)
        rows = self.rows()
        return rows.age_ns[:, rows.streams.index(stream)]

    def rows(self) -> Rows:
        """The regular grid of all streams; see ``storage.rows``."""
        if self._rows is None:
            self._rows = _read_rows(self.folder / ROWS_NAME, self.manifest)
        return self._rows

    def verify(self) -> list[str]:
        """Problems in words; [] means bit-true to the content hash. Reads the whole take."""
        problems = check_arrays(self.folder, self.manifest)
        try:
            digests = digests_on_disk(self.folder, self.manifest)
            if content_hash(self.manifest, digests, self.rows()) != self.manifest.content_hash:
                problems.append("the contents do not match the content hash")
        except CorruptTakeError as error:
            problems.append(str(error))
        return problems

    def close(self) -> None:
        """Close open files; safe to call twice, reading opens them again."""
        for reader in self._frames.values():
            reader.close()
        self._frames.clear()

    def __enter__(self) -> Episode:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spec(self, stream: str) -> StreamSpec:
        if stream not in self.manifest.streams:
            raise NotFoundError.of("stream", stream, self.manifest.streams)
        return self.manifest.streams[stream]


def read_manifest(folder: Path) -> Manifest:
    """The checked manifest of a take, sealed or partial. CorruptTakeError also if its id is not the folder's."""
    path = folder / GROUP_NAME
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise CorruptTakeError(f"the manifest of {folder.name} is too large")
        attributes = json.loads(path.read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptTakeError(
            f"the manifest of {folder.name} cannot be read ({error})", "Run `python main.py doctor`"
        ) from error
    manifest = Manifest.from_json(attributes)
    if folder.name.partition(".")[0] != manifest.id:
        raise CorruptTakeError(f"the folder {folder.name} holds the take {manifest.id}", "Give the folder its own name")
    return manifest


def read_times(folder: Path, stream: str, clock: str, count: int) -> NDArray[np.int64]:
    """(count,) ``device`` or ``host`` times of a stream, ns."""
    return read_column(folder / f"{stream}.t_{clock}_ns", (), "int64", TIME_ROWS, count)


def _read_rows(folder: Path, manifest: Manifest) -> Rows:
    streams = tuple(sorted(manifest.streams))
    count, width = manifest.rows, len(streams)
    # Sealing writes each array of the grid as one chunk, as long as the grid.
    index = read_column(folder / "index", (width,), "int64", max(count, 1), count)
    if np.any(index < -1) or np.any(index >= np.array([manifest.counts[name] for name in streams], dtype=np.int64)):
        raise CorruptTakeError("the rows point outside the take", "Run `python main.py doctor`")
    return Rows(
        read_column(folder / "t_host_ns", (), "int64", max(count, 1), count),
        streams,
        index,
        read_column(folder / "age_ns", (width,), "int64", max(count, 1), count),
    )
