"""Cutting a leftover take back to what its journal promises."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from storage.columns import TIME_ROWS, chunk_name
from storage.disk import open_for_reading, replace_file
from storage.layout import RESERVE_NAME
from storage.manifest import Manifest
from storage.shards import FrameReader, count_places, pack_shard, shard_name
from workbench.core.errors import CorruptTakeError


def find_surplus(folder: Path, draft: Manifest, *, torn: bool) -> list[str]:
    """What lies on disk beyond ``draft.counts``, in words; [] if nothing does."""
    found = ["a torn journal line"] if torn else []
    for name in draft.counts:
        pictures = draft.layout[name].codec is not None
        more = _extra_frames(folder, draft, name) if pictures else _extra_rows(folder, draft, name)
        if more:
            noun = ("picture" if pictures else "item") + ("" if more == 1 else "s")
            found.append(f"{more} {noun} of {name} written after the last durable block")
    # The take's own documents are no data: sealing writes them again.
    found += [f"an unfinished file of {path.parent.name}" for path in folder.glob("*/*.tmp")]
    return found


def trim(folder: Path, draft: Manifest) -> None:
    """Remove everything beyond ``draft.counts``, and the reserve first: a full disk needs its room.

    A shard that cannot be cut because its own pictures are damaged stays as it is; nobody reads beyond the counts.
    """
    (folder / RESERVE_NAME).unlink(missing_ok=True)
    for path in folder.rglob("*.tmp"):
        path.unlink()
    for name, spec in draft.streams.items():
        layout, count = draft.layout[name], draft.counts[name]
        if layout.codec is None:
            row_bytes = math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
            _trim_column(folder / name, len(spec.shape), layout.per_file, row_bytes, count)
        else:
            _trim_frames(folder, draft, name)
        for clock in ("device", "host"):
            _trim_column(folder / f"{name}.t_{clock}_ns", 0, TIME_ROWS, 8, count)


def _shard_files(folder: Path, draft: Manifest, name: str) -> list[tuple[int, Path]]:
    """The stream's shard files, numbered."""
    dimensions = len(draft.streams[name].shape)
    return _numbered(folder / name, lambda number: shard_name(number, dimensions))


def _numbered(folder: Path, name_of: Callable[[int], str]) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("c.*"):
        number = path.name.split(".")[1]
        if number.isdigit() and path.name == name_of(int(number)):
            found.append((int(number), path))
    return sorted(found)


def _places(path: Path, per_file: int) -> int:
    """How many items a shard file holds; 0 if it is broken."""
    try:
        handle = open_for_reading(path)
    except OSError:
        return 0
    try:
        return count_places(handle, per_file)
    except CorruptTakeError:
        return 0
    finally:
        os.close(handle)


def _extra_frames(folder: Path, draft: Manifest, name: str) -> int:
    """Items in shard files beyond the count; a broken surplus shard counts as one."""
    count, per_file = draft.counts[name], draft.layout[name].per_file
    extra = 0
    for number, path in _shard_files(folder, draft, name):
        kept = min(max(count - number * per_file, 0), per_file)
        extra += max(_places(path, per_file) - kept, 0 if kept else 1)
    return extra


def _extra_rows(folder: Path, draft: Manifest, name: str) -> int:
    """Rows of times beyond the count. Never-written rows read as 0; a simulated time of exactly 0 goes unnoticed."""
    count, extra = draft.counts[name], 0
    for number, path in _numbered(folder / f"{name}.t_host_ns", lambda number: chunk_name(number, 0)):
        raw = path.read_bytes()
        written = np.flatnonzero(np.frombuffer(raw[: len(raw) // 8 * 8], dtype="<i8")) + number * TIME_ROWS
        extra += int(np.count_nonzero(written >= count))
    return extra


def _trim_frames(folder: Path, draft: Manifest, name: str) -> None:
    spec, layout, count = draft.streams[name], draft.layout[name], draft.counts[name]
    if layout.codec is None:
        return
    reader = FrameReader(folder / name, spec, layout.codec, layout.per_file, count)
    try:
        for number, path in _shard_files(folder, draft, name):
            kept = count - number * layout.per_file
            if kept <= 0:
                path.unlink()
            elif _places(path, layout.per_file) > kept:
                with contextlib.suppress(CorruptTakeError):
                    payloads = [reader.payload(number * layout.per_file + place) for place in range(kept)]
                    replace_file(path, pack_shard(payloads, layout.per_file), sync=True)
    finally:
        reader.close()


def _trim_column(folder: Path, dimensions: int, per_chunk: int, row_bytes: int, count: int) -> None:
    for number, path in _numbered(folder, lambda number: chunk_name(number, dimensions)):
        kept = count - number * per_chunk
        if kept <= 0:
            path.unlink()
        elif kept < per_chunk:
            with open(path, "r+b") as file:
                file.truncate(kept * row_bytes)  # the tail comes back as a hole that reads as zeros
                file.truncate(per_chunk * row_bytes)
                os.fsync(file.fileno())
