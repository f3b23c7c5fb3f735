"""Reading a take: the manifest, single items, whole vectors, times and the regular grid."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.checks import verify_take
from storage.content import columns_of, grid_of, journal_sums, read_checked, read_grid, read_row
from storage.layout import COPY_NAME, GROUP_NAME, SEALED_SUFFIX, Home, is_episode_id
from storage.manifest import Manifest, NewerTakeError
from storage.picture_readers import PictureReader, open_pictures
from storage.rows import Rows
from workbench.core.errors import CorruptTakeError, NotFoundError
from workbench.core.types import StreamSpec

_log = logging.getLogger(__name__)
_LARGEST_MANIFEST = 64 << 20


class Episode:
    """One sealed take. Reads on demand; not thread-safe, open one per thread. Close it, or use it as a context.

    Reading a take that was thrown away or removed meanwhile raises NotFoundError: nothing is damaged.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._frames: dict[str, PictureReader] = {}
        self._rows: Rows | None = None

    @classmethod
    def open(cls, home: Home, episode_id: str, *, trashed: bool = False) -> Episode:
        """The take with this id. NotFoundError names the nearest id, CorruptTakeError says what is broken."""
        base = home.trash if trashed else home.episodes
        folder = base / f"{episode_id}{SEALED_SUFFIX}"
        if not is_episode_id(episode_id) or not folder.is_dir():
            raise NotFoundError.of("take", episode_id, (path.name.partition(".")[0] for path in base.glob("*.zarr")))
        with _unless_gone(folder):
            return cls.at(folder)

    @classmethod
    def at(cls, folder: Path) -> Episode:
        """The sealed take in a folder, for example one brought from another station."""
        manifest = read_manifest(folder)
        if not manifest.sealed:
            raise CorruptTakeError(f"the take {manifest.id} is not sealed", "Run `python main.py doctor`")
        return cls(folder, manifest)

    def read(self, stream: str, index: int) -> NDArray[Any]:
        """One item: a decoded picture (H, W, 3) or (H, W), or a vector (D,).

        IndexError outside the take; CorruptTakeError if this item is damaged, whatever has become of others.
        """
        spec = self._spec(stream)
        if self.manifest.layout[stream].codec is None:
            if not 0 <= index < self.manifest.counts[stream]:
                raise IndexError(f"{stream} has {self.manifest.counts[stream]} items, not an item {index}")
            try:
                item: NDArray[Any] = self.vectors(stream)[index]
            except CorruptTakeError:
                item = read_row(self.folder, self.manifest, columns_of(self.manifest, stream)[0], index)
            return item.reshape(spec.shape)
        with _unless_gone(self.folder):
            return self.frames(stream).read(index)

    def frames(self, stream: str) -> PictureReader:
        """The reader of a stream of pictures."""
        spec = self._spec(stream)
        layout = self.manifest.layout[stream]
        if layout.codec is None:
            raise NotFoundError(f"the stream {stream} holds vectors, not pictures", "Use vectors()")
        if stream not in self._frames:
            count = self.manifest.counts[stream]
            self._frames[stream] = open_pictures(self.folder, spec, layout, count)
        return self._frames[stream]

    def vectors(self, stream: str) -> NDArray[Any]:
        """(T, D) all items of a vector stream, in the stream's dtype. CorruptTakeError names those that are damaged."""
        self._spec(stream)
        layout = self.manifest.layout[stream]
        if layout.codec is not None:
            raise NotFoundError(f"the stream {stream} holds pictures, not vectors", "Use read()")
        with _unless_gone(self.folder):
            return read_checked(self.folder, self.manifest, columns_of(self.manifest, stream)[0])

    def times(self, stream: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(T,) device times and (T,) host times of a stream, ns."""
        self._spec(stream)
        device, host = columns_of(self.manifest, stream)[-2:]
        with _unless_gone(self.folder):
            return read_checked(self.folder, self.manifest, device), read_checked(self.folder, self.manifest, host)

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
        """The regular grid of all streams; see ``storage.rows``. A damaged one is made anew from the times."""
        if self._rows is None:
            try:
                with _unless_gone(self.folder):
                    self._rows = read_grid(self.folder, self.manifest)
            except CorruptTakeError as error:
                self._rows = grid_of(self.folder, self.manifest, journal_sums(self.folder))
                _log.warning("take %s: %s", self.manifest.id, error)
                if len(self._rows.times_ns) != self.manifest.rows:
                    self._rows = None
                    raise
        return self._rows

    def verify(self) -> list[str]:
        """Problems in words, by stream and item or by file; [] means bit-true to what was recorded. Reads all of it."""
        return verify_take(self.folder, self.manifest)

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


@contextlib.contextmanager
def _unless_gone(folder: Path) -> Iterator[None]:
    """What reads as damage in a folder that is not there any more is none: the take was moved while it was read."""
    try:
        yield
    except CorruptTakeError as error:
        if folder.is_dir():
            raise
        raise NotFoundError(
            f"the take {folder.name.partition('.')[0]} is not there any more", "Look for it in the trash"
        ) from error


def read_manifest(folder: Path) -> Manifest:
    """The checked manifest of a take, sealed or partial; its copy where the first is damaged.

    CorruptTakeError also if its id is not the folder's.
    """
    try:
        manifest = _read_manifest(folder, GROUP_NAME)
    except NewerTakeError:
        raise
    except CorruptTakeError as error:
        if not (folder / COPY_NAME).is_file():
            raise
        try:
            manifest = _read_manifest(folder, COPY_NAME)
        except CorruptTakeError:
            raise error from None
        _log.warning("take %s: %s; its copy is used", manifest.id, error.what)
    if folder.name.partition(".")[0] != manifest.id:
        raise CorruptTakeError(f"the folder {folder.name} holds the take {manifest.id}", "Give the folder its own name")
    return manifest


def _read_manifest(folder: Path, name: str) -> Manifest:
    path = folder / name
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise CorruptTakeError(f"the manifest of {folder.name} is too large")
        attributes = json.loads(path.read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptTakeError(
            f"the manifest of {folder.name} cannot be read ({error})", "Run `python main.py doctor`"
        ) from error
    return Manifest.from_json(attributes)
