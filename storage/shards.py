"""Streams of pictures: shards of independently compressed frames, byte for byte as Zarr v3 ``sharding_indexed``.

A shard file is the frames' compressed bytes one after another, then for each place in the shard its (offset, size) as
little-endian uint64 (all ones where there is no frame), then a crc32c of that index.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from storage.checksum import is_whole
from storage.codecs import PictureCodec
from storage.disk import open_for_reading, read_exactly, replace_file, write_file
from workbench.core.errors import CorruptTakeError
from workbench.core.types import StreamSpec

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_OPEN_SHARDS = 8
_DOCTOR = "Run `python main.py doctor`"


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


def mend_index(handle: int, places: int) -> NDArray[np.uint64]:
    """The (places, 2) index of a shard whose own is damaged, as far as the payloads' checksums prove it.

    Payloads lie one behind the other, so that each boundary is known several times: by an offset, by the end of the one
    before, by the size of the one behind. Only for payloads that end with a checksum. CorruptTakeError if
    the file is too short for an index.
    """
    body = os.fstat(handle).st_size - places * 16 - 4
    if body < 0:
        raise CorruptTakeError("a shard of pictures is too short")
    data = read_exactly(handle, body, 0)
    told = np.frombuffer(read_exactly(handle, places * 16, body), dtype="<u8").reshape(places, 2)
    found = np.full((places, 2), _EMPTY, dtype="<u8")
    offsets, sizes = ([*map(int, told[:, at]), body, 0] for at in (0, 1))
    end = 0
    for place in range(places):
        starts = (offsets[place], end, offsets[place + 1] - sizes[place])
        ends = (offsets[place + 1], offsets[min(place + 2, places)] - sizes[place + 1], body)
        tries = (
            (start, stop) for start in starts for stop in (start + sizes[place], *ends) if 0 <= start < stop <= body
        )
        extent = next(((start, stop) for start, stop in tries if is_whole(data[start:stop])), None)
        if extent is not None:
            found[place] = extent[0], extent[1] - extent[0]
        end = min(extent[1] if extent is not None else starts[0] + sizes[place], body)
    return found


def mend_shard(path: Path, places: int) -> bool:
    """Write a shard's index anew if it is damaged and every payload up to the last one found is there. True if done."""
    handle = open_for_reading(path)
    try:
        with contextlib.suppress(CorruptTakeError):
            unpack_index(handle, places)
            return False
        table = mend_index(handle, places)
        used = table[: int(np.flatnonzero(table[:, 0] != _EMPTY).max(initial=-1)) + 1]
        if not len(used) or np.any(used[:, 0] == _EMPTY):
            return False
        payloads = [read_exactly(handle, int(size), int(offset)) for offset, size in used]
    finally:
        os.close(handle)
    replace_file(path, pack_shard(payloads, places), sync=True)
    return True


def count_places(handle: int, places: int) -> int:
    """How many items an open shard file holds. CorruptTakeError if it is broken."""
    return int(np.count_nonzero(unpack_index(handle, places)[:, 0] != _EMPTY))


def shard_name(shard: int, dimensions: int) -> str:
    """File name of a shard: its place along time, zeros along the picture's own dimensions."""
    return "c." + ".".join([str(shard), *["0"] * dimensions])


def _words(error: Exception) -> str:
    return error.what if isinstance(error, CorruptTakeError) else str(error)


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
        """Encode and keep one picture. OSError if a full shard cannot be written; the picture is then not kept."""
        self.add_payload(self._codec.encode(np.ascontiguousarray(picture)))

    def add_payload(self, payload: bytes) -> None:
        """Keep one picture that was encoded before, with the stream's own codec. OSError as ``add``."""
        self._spill()
        self._payloads.append(payload)
        self.digest.update(len(payload).to_bytes(8, "little"))
        self.digest.update(payload)

    def save(self) -> bool:
        """Write what is only in memory. Returns True if there are new files since the last call."""
        if len(self._payloads) > self._saved:
            self._save()
        self._spill()
        new, self._new_files = self._new_files, False
        return new

    def _spill(self) -> None:
        """Write a full shard and begin the next."""
        if len(self._payloads) < self._per_shard:
            return
        if len(self._payloads) > self._saved:
            self._save()
        self._shard += 1
        self._payloads, self._saved = [], 0

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
        self._open: dict[int, tuple[int, NDArray[np.uint64]]] = {}
        self._folder = str(folder)
        self._spec = spec
        self._dtype = np.dtype(spec.dtype)
        self._codec = codec
        self._per_shard = per_shard
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
                f"item {index} of {self._spec.name} cannot be read ({_words(error)})", _DOCTOR
            ) from error

    def read(self, index: int) -> NDArray[Any]:
        """One decoded picture, a fresh writable array. CorruptTakeError names a damaged one."""
        payload = self.payload(index)
        try:
            return self._codec.decode(payload, self._spec.shape, self._dtype)
        except CorruptTakeError as error:
            raise CorruptTakeError(f"item {index} of {self._spec.name} is damaged ({error.what})", _DOCTOR) from error

    def check(self, index: int) -> bytes:
        """Compressed bytes of one picture that match their checksum, if they have one. CorruptTakeError otherwise."""
        payload = self.payload(index)
        if self._codec.crc32c and not is_whole(payload):
            raise CorruptTakeError(f"item {index} of {self._spec.name} does not match its checksum", _DOCTOR)
        return payload

    def close(self) -> None:
        """Close the files; safe to call twice."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def __del__(self) -> None:
        """Whoever forgot to close it keeps no files open: they are plain numbers, which nobody else would close."""
        self.close()

    def _shard(self, shard: int) -> tuple[int, NDArray[np.uint64]]:
        known = self._open.get(shard)
        if known is not None:
            return known
        while len(self._open) >= _OPEN_SHARDS:
            os.close(self._open.pop(next(iter(self._open)))[0])
        handle = open_for_reading(f"{self._folder}/{shard_name(shard, len(self._spec.shape))}")
        try:
            table = self._index(handle)
        except BaseException:
            os.close(handle)
            raise
        self._open[shard] = handle, table
        return handle, table

    def _index(self, handle: int) -> NDArray[np.uint64]:
        try:
            return unpack_index(handle, self._per_shard)
        except CorruptTakeError:
            if not self._codec.crc32c:
                raise
            return mend_index(handle, self._per_shard)
