"""Streams of pictures: shards of independently compressed frames, byte for byte as Zarr v3 ``sharding_indexed``.

A shard file is the frames' compressed bytes one after another, then for each place in the shard its (offset, size) as
little-endian uint64 (all ones where there is no frame), then a crc32c of that index.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from storage.codecs import PictureCodec
from storage.disk import open_for_reading, read_exactly, replace_file, write_file
from workbench.core.errors import CorruptTakeError
from workbench.core.types import StreamSpec

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_OPEN_SHARDS = 8


def pack_shard(payloads: Sequence[bytes], places: int) -> bytes:
    """The shard file of up to ``places`` frames, in order."""
    index = np.full((places, 2), _EMPTY, dtype="<u8")
    sizes = np.fromiter(map(len, payloads), dtype="<u8", count=len(payloads))
    index[: len(payloads), 0] = np.cumsum(sizes) - sizes
    index[: len(payloads), 1] = sizes
    table = index.tobytes()
    return b"".join((*payloads, table, struct.pack("<I", google_crc32c.value(table))))


def unpack_index(handle: int, places: int) -> NDArray[np.uint64]:
    """The (places, 2) index of an open shard file; CorruptTakeError unless its checksum and ranges hold."""
    table_bytes = places * 16
    body = os.fstat(handle).st_size - table_bytes - 4
    if body < 0:
        raise CorruptTakeError("a shard of pictures is too short")
    tail = read_exactly(handle, table_bytes + 4, body)
    if google_crc32c.value(tail[:table_bytes]) != struct.unpack("<I", tail[table_bytes:])[0]:
        raise CorruptTakeError("a shard's index does not match its checksum")
    index = np.frombuffer(tail, dtype="<u8", count=places * 2).reshape(places, 2)
    used = index[index[:, 0] != _EMPTY]
    if np.any(used[:, 0] > body) or np.any(used[:, 1] > body - used[:, 0]):
        raise CorruptTakeError("a shard's index points outside its file")
    return index


def count_places(handle: int, places: int) -> int:
    """How many items an open shard file holds. CorruptTakeError if it is broken."""
    return int(np.count_nonzero(unpack_index(handle, places)[:, 0] != _EMPTY))


def shard_name(shard: int, dimensions: int) -> str:
    """File name of a shard: its place along time, zeros along the picture's own dimensions."""
    return "c." + ".".join([str(shard), *["0"] * dimensions])


class FrameWriter:
    """Appends pictures of one stream. Encodes at once, holds at most one shard in memory."""

    def __init__(self, folder: Path, spec: StreamSpec, codec: PictureCodec, per_shard: int, *, sync: bool) -> None:
        self._folder = str(folder)
        self._spec = spec
        self._codec = codec
        self._per_shard = per_shard
        self._sync = sync
        self._shard = 0
        self._payloads: list[bytes] = []
        self._saved = 0
        self._new_files = False
        self.digest = hashlib.sha256()
        folder.mkdir()

    def add(self, picture: NDArray[Any]) -> None:
        """Encode and keep one picture; a full shard is written."""
        payload = self._codec.encode(np.ascontiguousarray(picture))
        self._payloads.append(payload)
        self.digest.update(len(payload).to_bytes(8, "little"))
        self.digest.update(payload)
        if len(self._payloads) == self._per_shard:
            self._save()
            self._shard += 1
            self._payloads, self._saved = [], 0

    def save(self) -> bool:
        """Write what is only in memory. Returns True if there are new files since the last call."""
        if len(self._payloads) > self._saved:
            self._save()
        new, self._new_files = self._new_files, False
        return new

    def _save(self) -> None:
        path = f"{self._folder}/{shard_name(self._shard, len(self._spec.shape))}"
        data = pack_shard(self._payloads, self._per_shard)
        # A shard that the journal already relies on is replaced whole, never changed in place.
        if self._saved:
            replace_file(path, data, sync=self._sync)
        else:
            write_file(path, data, sync=self._sync)
        self._saved = len(self._payloads)
        self._new_files = True


class FrameReader:
    """Reads single pictures of one stream by ``pread``. Not thread-safe: one per thread."""

    def __init__(self, folder: Path, spec: StreamSpec, codec: PictureCodec, per_shard: int, count: int) -> None:
        self._folder = str(folder)
        self._spec = spec
        self._dtype = np.dtype(spec.dtype)
        self._codec = codec
        self._per_shard = per_shard
        self._open: dict[int, tuple[int, NDArray[np.uint64]]] = {}
        self.count = count

    def payload(self, index: int) -> bytes:
        """Compressed bytes of one picture. IndexError outside the take, CorruptTakeError if they are not there."""
        if not 0 <= index < self.count:
            raise IndexError(f"{self._spec.name} has {self.count} items, not an item {index}")
        shard, place = divmod(index, self._per_shard)
        try:
            handle, table = self._shard(shard)
            offset, size = (int(value) for value in table[place])
            if offset == int(_EMPTY):
                raise CorruptTakeError("it is not in its shard")
            return read_exactly(handle, size, offset)
        except (OSError, EOFError, CorruptTakeError) as error:
            raise CorruptTakeError(
                f"item {index} of {self._spec.name} cannot be read ({error})", "Run `python main.py doctor`"
            ) from error

    def read(self, index: int) -> NDArray[Any]:
        """One decoded picture, a fresh writable array."""
        return self._codec.decode(self.payload(index), self._spec.shape, self._dtype)

    def close(self) -> None:
        """Close the files; safe to call twice."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def _shard(self, shard: int) -> tuple[int, NDArray[np.uint64]]:
        known = self._open.get(shard)
        if known is not None:
            return known
        while len(self._open) >= _OPEN_SHARDS:
            os.close(self._open.pop(next(iter(self._open)))[0])
        handle = open_for_reading(f"{self._folder}/{shard_name(shard, len(self._spec.shape))}")
        try:
            table = unpack_index(handle, self._per_shard)
        except BaseException:
            os.close(handle)
            raise
        self._open[shard] = handle, table
        return handle, table
