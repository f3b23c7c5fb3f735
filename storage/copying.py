"""New takes made of stored ones: items are copied as they are, nothing is encoded anew unless the caller does it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from storage import zarr_meta
from storage.columns import TIME_ROWS, ColumnWriter
from storage.disk import replace_file, sync_paths, write_file
from storage.journal import JournalWriter
from storage.layout import GROUP_NAME, JOURNAL_NAME, Home
from storage.manifest import Manifest
from storage.reader import Episode
from storage.sealing import seal_folder
from storage.shards import FrameReader, pack_shard, shard_name


@dataclass(frozen=True, slots=True)
class Part:
    """Items of a take that is not archived: by stream the first one and the one after the last."""

    take: Episode
    ranges: Mapping[str, tuple[int, int]]


Pictures = Callable[[Sequence[Part], str], Iterator[bytes]]


def stored_pictures(parts: Sequence[Part], name: str) -> Iterator[bytes]:
    """The stored bytes of every picture of a stream, in order."""
    for part in parts:
        manifest = part.take.manifest
        codec = manifest.layout[name].codec
        if codec is None:
            continue
        spec, layout, count = manifest.streams[name], manifest.layout[name], manifest.counts[name]
        reader = FrameReader(part.take.folder / name, spec, codec, layout.per_file, count)
        try:
            for index in range(*part.ranges[name]):
                yield reader.payload(index)
        finally:
            reader.close()


def write_copy(home: Home, draft: Manifest, parts: Sequence[Part], pictures: Pictures = stored_pictures) -> Manifest:
    """Write the take of ``draft`` from the parts, one after another, into the trash, from where the caller moves it.

    All parts have the draft's streams. ``pictures`` tells the bytes of every picture of a stream, in the draft's
    layout. CorruptTakeError if an item is missing; nothing is left then, nor if ``pictures`` raises.
    """
    folder = home.partial(draft.id)
    folder.mkdir()
    try:
        journal = JournalWriter(folder / JOURNAL_NAME, sync=True)  # its lock tells the doctor to leave the folder alone
        try:
            write_file(folder / GROUP_NAME, zarr_meta.to_bytes(zarr_meta.group(draft.to_json())), sync=True)
            for name in draft.streams:
                _copy_items(draft, parts, folder, name, pictures)
                _copy_times(parts, folder, name)
            gaps = [(name, index, missing) for name, items in draft.gap_positions.items() for index, missing in items]
            journal.append(draft.counts, gaps)
            return seal_folder(folder, home.trashed(draft.id), draft, digests=None, sync=True)
        finally:
            journal.close()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy_items(draft: Manifest, parts: Sequence[Part], folder: Path, name: str, pictures: Pictures) -> None:
    spec, layout = draft.streams[name], draft.layout[name]
    if layout.codec is None:
        writer = ColumnWriter(folder / name, spec.shape, spec.dtype, layout.per_file, sync=True)
        for part in parts:
            first, end = part.ranges[name]
            for row in part.take.vectors(name)[first:end]:
                writer.add(row)
        writer.save()
        sync_paths([folder / name])
        return
    (folder / name).mkdir()
    payloads = pictures(parts, name)
    for shard in range(-(-draft.counts[name] // layout.per_file)):
        path = folder / name / shard_name(shard, len(spec.shape))
        replace_file(path, pack_shard(list(islice(payloads, layout.per_file)), layout.per_file), sync=True)
    sync_paths([folder / name])


def _copy_times(parts: Sequence[Part], folder: Path, name: str) -> None:
    for clock, column in (("device", 0), ("host", 1)):
        writer = ColumnWriter(folder / f"{name}.t_{clock}_ns", (), "int64", TIME_ROWS, sync=True)
        for part in parts:
            first, end = part.ranges[name]
            for at in part.take.times(name)[column][first:end]:
                writer.add(at)
        writer.save()
        sync_paths([folder / f"{name}.t_{clock}_ns"])
