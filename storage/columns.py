"""Streams of numbers: plain Zarr chunks, appended in place.

A chunk file always has its full size (never-written rows are holes that read as zero), so any Zarr reader accepts it;
how many rows are true is the journal's business.
"""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from storage.disk import open_for_reading, read_exactly, write_range
from workbench.core.errors import CorruptTakeError

TIME_ROWS = 1024
VECTOR_ROWS = 256


class ColumnWriter:
    """Appends rows of shape ``item``; ``save`` writes what was added since.

    Attributes:
        name: of the column, which is its folder's.
        digest, crc: SHA-256 and crc32c of all saved rows.
        block_crc: crc32c of the rows saved since ``begin_block``.
    """

    def __init__(self, folder: Path, item: tuple[int, ...], dtype: str, per_chunk: int, *, sync: bool) -> None:
        self.name = folder.name
        self._folder = str(folder)
        self._item = item
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._per_chunk = per_chunk
        self._row_bytes = math.prod(item) * self._dtype.itemsize
        self._sync = sync
        self._pending: list[Any] = []
        self._written = 0
        self.digest = hashlib.sha256()
        self.crc = self.block_crc = 0
        folder.mkdir()

    def add(self, row: Any) -> None:
        """Keep one row (an array of shape ``item``, copied, or a number)."""
        self._pending.append(row)

    def save(self) -> bool:
        """Write the pending rows. Returns True if that made a new file."""
        if not self._pending:
            return False
        rows = np.array(self._pending, dtype=self._dtype).reshape(len(self._pending), *self._item)
        new = self._write(rows)
        raw = rows.tobytes()
        self.digest.update(raw)
        self.crc, self.block_crc = google_crc32c.extend(self.crc, raw), google_crc32c.extend(self.block_crc, raw)
        self._written += len(rows)
        self._pending = []
        return new

    def begin_block(self) -> None:
        """The rows saved so far are in the journal."""
        self.block_crc = 0

    def _write(self, rows: NDArray[Any]) -> bool:
        at, done, new = self._written, 0, False
        while done < len(rows):
            chunk, row = divmod(at + done, self._per_chunk)
            part = rows[done : done + self._per_chunk - row]
            path = f"{self._folder}/{chunk_name(chunk, len(self._item))}"
            size = self._per_chunk * self._row_bytes
            write_range(path, part.tobytes(), row * self._row_bytes, size, sync=self._sync)
            new = new or row == 0
            done += len(part)
        return new


def chunk_name(chunk: int, dimensions: int) -> str:
    """File name of a chunk of a column whose rows have ``dimensions`` dimensions."""
    return "c." + ".".join([str(chunk), *["0"] * dimensions])


def read_column(folder: Path, item: tuple[int, ...], dtype: str, per_chunk: int, count: int) -> NDArray[Any]:
    """The first ``count`` rows, (count, *item). CorruptTakeError if the files do not hold them."""
    kind = np.dtype(dtype).newbyteorder("<")
    row_bytes = math.prod(item) * kind.itemsize
    parts = []
    for chunk in range(-(-count // per_chunk)):
        rows = min(per_chunk, count - chunk * per_chunk)
        path = folder / chunk_name(chunk, len(item))
        try:
            parts.append(_read_up_to(path, rows * row_bytes, exactly=True))
        except (OSError, EOFError) as error:
            raise CorruptTakeError(
                f"{path.parent.name} is not complete ({error})", "Run `python main.py doctor`"
            ) from error
    return rows_of(b"".join(parts), item, dtype)


def salvage_column(folder: Path, item: tuple[int, ...], dtype: str, per_chunk: int, count: int) -> tuple[bytes, int]:
    """The bytes of the first ``count`` rows with zeros for what is gone, and the number of the first row that is."""
    row_bytes = math.prod(item) * np.dtype(dtype).itemsize
    parts, lost = [], count
    for chunk in range(-(-count // per_chunk)):
        size = min(per_chunk, count - chunk * per_chunk) * row_bytes
        try:
            raw = _read_up_to(folder / chunk_name(chunk, len(item)), size, exactly=False)
        except OSError:
            raw = b""
        if len(raw) < size:
            lost = min(lost, chunk * per_chunk + len(raw) // row_bytes)
        parts.append(raw.ljust(size, b"\0"))
    return b"".join(parts), lost


def rows_of(raw: bytes, item: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Little-endian bytes as a fresh, writable array of rows (T, *item)."""
    kind = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(bytearray(raw), dtype=kind).astype(dtype, copy=False).reshape(-1, *item)


def _read_up_to(path: Path, size: int, *, exactly: bool) -> bytes:
    handle = open_for_reading(path)
    try:
        return read_exactly(handle, size, 0) if exactly else os.pread(handle, size, 0)
    finally:
        os.close(handle)
