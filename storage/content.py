"""What a take holds, byte by byte: the hash that makes two takes the same take, and where damage lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from storage.columns import TIME_ROWS, chunk_name, read_column, rows_of, salvage_column
from storage.journal import BlockSum, read_journal
from storage.layout import JOURNAL_NAME, ROWS_NAME
from storage.manifest import DAMAGED, Manifest
from storage.picture_readers import open_chunks
from storage.rows import Rows, Times, make_rows
from workbench.core.errors import CorruptTakeError

Sums = Mapping[str, Sequence[BlockSum]]
_MISSING = b"\xff" * 8


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a take: its path below the take, and how its rows lie in files."""

    path: str
    item: tuple[int, ...]
    dtype: str
    per_file: int
    count: int

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.item, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Damage:
    """Items ``first`` .. ``stop`` - 1 of a stream, or of its times, that are not what was written."""

    path: str
    first: int
    stop: int
    reason: str

    def __str__(self) -> str:
        last = self.stop - 1
        items = f"item {last}" if last == self.first else f"items {self.first} to {last}"
        return f"{items} of {self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """SHA-256, hex, of a stream's stored items (compressed pictures, raw rows) and of its times; crc32c of its columns.

    Attributes:
        sums: crc32c per column (its path below the take); DAMAGED where the rows are not those that were written.
    """

    items: str
    device_times: str
    host_times: str
    sums: dict[str, int] = field(default_factory=dict)


def columns_of(manifest: Manifest, stream: str) -> list[Column]:
    """The stream's own column if it is no picture, then its device and host times."""
    spec, layout, count = manifest.streams[stream], manifest.layout[stream], manifest.counts[stream]
    times = [Column(f"{stream}.t_{clock}_ns", (), "int64", TIME_ROWS, count) for clock in ("device", "host")]
    own = [Column(stream, spec.shape, spec.dtype, layout.per_file, count)] if layout.codec is None else []
    return own + times


def row_columns(manifest: Manifest) -> list[Column]:
    """The three columns of the regular grid: times, index, age. Sealing writes each as one file."""
    count, width = manifest.rows, len(manifest.streams)
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = (("t_host_ns", ()), ("index", (width,)), ("age_ns", (width,)))
    return [Column(f"{ROWS_NAME}/{name}", item, "int64", max(count, 1), count) for name, item in shapes]


def content_hash(manifest: Manifest, digests: dict[str, StreamDigest], rows: Rows) -> str:
    """SHA-256 over streams, counts, gaps and digests in name order, then the rows. Labels and notes are not in it."""
    whole = hashlib.sha256()
    for name in sorted(manifest.streams):
        digest = digests[name]
        part = {
            "stream": manifest.streams[name].to_json(),
            "count": manifest.counts[name],
            "gaps": [list(gap) for gap in manifest.gap_positions[name]],
            "digests": [digest.items, digest.device_times, digest.host_times],
        }
        whole.update(json.dumps(part, sort_keys=True).encode())
    for array in (rows.times_ns, rows.index, rows.age_ns):
        whole.update(little(array))
    return whole.hexdigest()


def read_checked(folder: Path, manifest: Manifest, column: Column) -> NDArray[Any]:
    """The rows of a column. CorruptTakeError names those that are not what was written."""
    told = manifest.sums.get(column.path)
    if told is None:
        return read_column(folder / column.path, column.item, column.dtype, column.per_file, column.count)
    raw, lost = _salvage(folder, column)
    if lost == column.count and google_crc32c.value(raw) == told:
        return rows_of(raw, column.item, column.dtype)
    damage = column_damage(column, raw, lost, journal_sums(folder), told)
    raise CorruptTakeError("; ".join(map(str, damage)), "The rest can be read item by item")


def read_row(folder: Path, manifest: Manifest, column: Column, index: int) -> NDArray[Any]:
    """One row of a column, also where others are damaged. CorruptTakeError if this one is."""
    raw, lost = _salvage(folder, column)
    told = manifest.sums.get(column.path)
    for damage in column_damage(column, raw, lost, journal_sums(folder), told):
        if damage.first <= index < damage.stop:
            raise CorruptTakeError(str(damage), "The other items can be read")
    row: NDArray[Any] = rows_of(raw, column.item, column.dtype)[index]
    return row


def journal_sums(folder: Path) -> Sums:
    """The checksums that the journal knows; none if it cannot be read."""
    try:
        return read_journal(folder / JOURNAL_NAME).sums
    except CorruptTakeError:
        return {}


def column_damage(column: Column, raw: bytes, lost: int, sums: Sums, told: int | None) -> list[Damage]:
    """Which rows of a column are gone (from ``lost`` on) or do not match the journal's or the manifest's checksum."""
    size, spans = column.row_bytes, []
    covered = np.zeros(column.count + 1, bool)
    for block in sums.get(column.path, ()):
        stop = min(block.stop, column.count)
        if block.stop > column.count or block.first >= stop:
            continue
        covered[block.first : stop] = True
        if google_crc32c.value(raw[block.first * size : stop * size]) != block.crc32c:
            spans.append((block.first, stop))
    if lost < column.count and not any(first <= lost < stop for first, stop in spans):
        spans.append((lost, column.count))
    if not spans and told not in (None, google_crc32c.value(raw)):
        unknown = np.flatnonzero(~covered[: column.count])
        spans.append((int(unknown[0]), int(unknown[-1]) + 1) if len(unknown) else (0, column.count))
    reason = "the bytes do not match their checksum" if lost == column.count else "the file is not whole"
    return [Damage(column.path, first, stop, reason) for first, stop in spans]


def examine_stream(folder: Path, manifest: Manifest, name: str, sums: Sums) -> tuple[StreamDigest, list[Damage]]:
    """The digest of what is stored, read in full, and where it is not what was written. Never raises for damage."""
    found, crcs, damage = [], {}, []
    for column in columns_of(manifest, name):
        raw, lost = _salvage(folder, column)
        bad = column_damage(column, raw, lost, sums, manifest.sums.get(column.path))
        found.append(hashlib.sha256(raw).hexdigest())
        crcs[column.path] = DAMAGED if bad else google_crc32c.value(raw)
        damage += bad
    if manifest.layout[name].codec is not None:
        digest, bad = _pictures(folder, manifest, name)
        found.insert(0, digest)
        damage += bad
    return StreamDigest(found[0], found[1], found[2], crcs), damage


def stray_bytes(folder: Path, column: Column) -> str:
    """What is wrong behind a column's last row, where nothing but zeros may be; "" if nothing."""
    chunk, rows = divmod(column.count, column.per_file)
    path = folder / column.path / chunk_name(chunk, len(column.item))
    if not rows or not path.is_file():
        return ""
    tail = path.read_bytes()[rows * column.row_bytes :]
    whole = len(tail) == (column.per_file - rows) * column.row_bytes and not any(tail)
    return "" if whole else f"the unused end of {column.path} is damaged"


def grid_of(folder: Path, manifest: Manifest, sums: Sums) -> Rows:
    """The regular grid made anew from the host times; items whose time is damaged belong to no row."""
    times, kept = {}, {}
    for name in manifest.streams:
        column = columns_of(manifest, name)[-1]
        raw, lost = _salvage(folder, column)
        good = np.ones(column.count, bool)
        for bad in column_damage(column, raw, lost, sums, manifest.sums.get(column.path)):
            good[bad.first : bad.stop] = False
        kept[name] = np.flatnonzero(good)
        times[name] = rows_of(raw, (), "int64")[kept[name]]
    rows = make_rows(manifest.streams, times, manifest.rows_hz)
    for at, name in enumerate(rows.streams):
        found = rows.index[:, at] >= 0
        rows.index[found, at] = kept[name][rows.index[found, at]]
    return rows


def read_grid(folder: Path, manifest: Manifest) -> Rows:
    """The stored grid. CorruptTakeError if it is not what was written or points outside the take."""
    streams = tuple(sorted(manifest.streams))
    times_ns, index, age_ns = (read_checked(folder, manifest, column) for column in row_columns(manifest))
    if np.any(index < -1) or np.any(index >= np.array([manifest.counts[name] for name in streams], dtype=np.int64)):
        raise CorruptTakeError("the rows point outside the take", "Run `python main.py doctor --fix`")
    return Rows(times_ns, streams, index, age_ns)


def rows_sums(manifest: Manifest, rows: Rows) -> dict[str, int]:
    """crc32c of the grid's columns, as the manifest keeps them."""
    arrays = (rows.times_ns, rows.index, rows.age_ns)
    return {
        column.path: google_crc32c.value(little(array))
        for column, array in zip(row_columns(manifest), arrays, strict=True)
    }


def little(array: NDArray[Any] | Times) -> bytes:
    """The array's bytes as they are stored."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def _salvage(folder: Path, column: Column) -> tuple[bytes, int]:
    return salvage_column(folder / column.path, column.item, column.dtype, column.per_file, column.count)


def _pictures(folder: Path, manifest: Manifest, name: str) -> tuple[str, list[Damage]]:
    spec, layout, count = manifest.streams[name], manifest.layout[name], manifest.counts[name]
    damage: list[Damage] = []
    digest = hashlib.sha256()
    reader = open_chunks(folder, spec, layout, count)
    try:
        for index in range(reader.count):
            try:
                payload = reader.check(index)
            except CorruptTakeError as error:
                _add(damage, name, index, error.what)
                digest.update(_MISSING)
                continue
            digest.update(len(payload).to_bytes(8, "little"))
            digest.update(payload)
    finally:
        reader.close()
    return digest.hexdigest(), damage


def _add(damage: list[Damage], name: str, index: int, reason: str) -> None:
    """Note one damaged picture; neighbours become one entry."""
    if damage and damage[-1].stop == index:
        damage[-1] = Damage(name, damage[-1].first, index + 1, "the pictures cannot be read")
    else:
        damage.append(Damage(name, index, index + 1, reason))
