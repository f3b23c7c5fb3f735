"""Turning a journalled folder into a sealed take: rows, hash, Zarr metadata, manifest, rename. Used by the writer and
by the doctor, who finishes what a crashed writer left."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from storage import zarr_meta
from storage.columns import TIME_ROWS, chunk_name
from storage.content import StreamDigest, content_hash, digests_on_disk
from storage.disk import replace_file, sync_paths, write_file
from storage.layout import GROUP_NAME, ROWS_NAME
from storage.manifest import Manifest
from storage.reader import read_times
from storage.rows import Rows, make_rows


def seal_folder(
    folder: Path, target: Path, draft: Manifest, *, digests: dict[str, StreamDigest] | None, sync: bool
) -> Manifest:
    """Finish ``folder`` whose data and journal hold ``draft.counts``, and rename it to ``target``.

    Without ``digests`` they are computed from disk. Raises OSError if the disk is full, CorruptTakeError if data that
    the counts promise is not there; the folder then stays as it is.
    """
    times = {name: read_times(folder, name, "host", count) for name, count in draft.counts.items()}
    rows = make_rows(draft.streams, times, draft.rows_hz)
    duration_ns = int(rows.times_ns[-1] - rows.times_ns[0]) if len(rows.times_ns) else 0
    manifest = dataclasses.replace(draft, sealed=True, rows=len(rows.times_ns), duration_s=duration_ns / 1e9)
    digests = digests or digests_on_disk(folder, manifest)
    manifest = dataclasses.replace(manifest, content_hash=content_hash(manifest, digests, rows))
    _write_rows(folder / ROWS_NAME, rows, sync=sync)
    _write_documents(folder, manifest, sync=sync)
    write_manifest(folder, manifest, sync=sync)
    folder.rename(target)
    if sync:
        sync_paths([target.parent])
    return manifest


def write_manifest(folder: Path, manifest: Manifest, *, sync: bool) -> None:
    """Replace the group metadata of a sealed take."""
    group = zarr_meta.group(manifest.to_json(), array_documents(manifest))
    replace_file(folder / GROUP_NAME, zarr_meta.to_bytes(group), sync=sync)
    if sync:
        sync_paths([folder])


def array_documents(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The Zarr metadata of everything below the take's group, by path."""
    documents = {}
    for name, spec in manifest.streams.items():
        layout, count = manifest.layout[name], manifest.counts[name]
        about: dict[str, Any] = {"unit": spec.unit, "rate_hz": spec.rate_hz, "axes": list(spec.axes)}
        if layout.codec is None:
            documents[name] = zarr_meta.column(count, spec.shape, layout.per_file, spec.dtype, about)
        else:
            documents[name] = zarr_meta.frames(count, spec.shape, layout.per_file, spec.dtype, layout.codec, about)
        for clock in ("device", "host"):
            documents[f"{name}.t_{clock}_ns"] = zarr_meta.column(count, (), TIME_ROWS, "int64", {"unit": "ns"})
    streams, rows = sorted(manifest.streams), manifest.rows
    about = {"streams": streams}
    documents[ROWS_NAME] = zarr_meta.group({})
    documents[f"{ROWS_NAME}/t_host_ns"] = zarr_meta.column(rows, (), max(rows, 1), "int64", {"unit": "ns"})
    for name, unit in (("index", ""), ("age_ns", "ns")):
        attributes = {"unit": unit, **about}
        documents[f"{ROWS_NAME}/{name}"] = zarr_meta.column(rows, (len(streams),), max(rows, 1), "int64", attributes)
    return documents


def _write_rows(folder: Path, rows: Rows, *, sync: bool) -> None:
    for name, array in (("t_host_ns", rows.times_ns), ("index", rows.index), ("age_ns", rows.age_ns)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        if array.size:
            data = np.ascontiguousarray(array, dtype="<i8").tobytes()
            write_file(folder / name / chunk_name(0, array.ndim - 1), data, sync=sync)


def _write_documents(folder: Path, manifest: Manifest, *, sync: bool) -> None:
    for path, document in array_documents(manifest).items():
        write_file(folder / path / GROUP_NAME, zarr_meta.to_bytes(document), sync=sync)
        if sync:
            sync_paths([folder / path])
