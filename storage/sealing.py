"""Turning a journalled folder into a sealed take: rows, hash, Zarr metadata, manifest, rename. Used by the writer and
by the doctor, who finishes what a crashed writer left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage import zarr_meta
from storage.columns import TIME_ROWS, chunk_name
from storage.content import (
    Damage,
    StreamDigest,
    content_hash,
    examine_stream,
    grid_of,
    journal_sums,
    little,
    rows_sums,
)
from storage.disk import replace_file, sync_paths, write_file
from storage.layout import COPY_NAME, GROUP_NAME, ROWS_NAME
from storage.manifest import Manifest
from storage.rows import Rows, Times, make_rows

_MOST_DAMAGE = 100


def seal_folder(
    folder: Path,
    target: Path,
    draft: Manifest,
    *,
    digests: dict[str, StreamDigest] | None,
    times: Mapping[str, Times] | None = None,
    sync: bool,
) -> Manifest:
    """Finish ``folder`` whose data and journal hold ``draft.counts``, and rename it to ``target``.

    The writer knows ``digests`` and host ``times`` (ns), so that sealing does not depend on the length of the take; the
    doctor leaves them out and everything is read. Damage is then written down in ``extra["damaged"]``; what is not
    damaged stays readable. Raises OSError if the disk refuses; the folder then stays as it is.
    """
    if digests is None:
        draft, digests = _read_back(folder, draft)
    rows = (
        grid_of(folder, draft, journal_sums(folder))
        if times is None
        else make_rows(draft.streams, times, draft.rows_hz)
    )
    duration_ns = int(rows.times_ns[-1] - rows.times_ns[0]) if len(rows.times_ns) else 0
    manifest = dataclasses.replace(draft, sealed=True, rows=len(rows.times_ns), duration_s=duration_ns / 1e9)
    sums = {path: crc for digest in digests.values() for path, crc in digest.sums.items()}
    manifest = dataclasses.replace(
        manifest,
        content_hash=content_hash(manifest, digests, rows),
        sums={**sums, **rows_sums(manifest, rows)},
    )
    write_rows(folder, rows, sync=sync)
    _write_documents(folder, manifest)
    write_manifest(folder, manifest, sync=sync)
    folder.rename(target)
    if sync:
        sync_paths([target.parent])
    return manifest


def _read_back(folder: Path, draft: Manifest) -> tuple[Manifest, dict[str, StreamDigest]]:
    """Digests from disk, and the draft that tells what damage was found."""
    sums, digests = journal_sums(folder), {}
    damage: list[Damage] = []
    for name in draft.streams:
        digests[name], bad = examine_stream(folder, draft, name, sums)
        damage += bad
    if not damage:
        return draft, digests
    told = [str(bad) for bad in damage[:_MOST_DAMAGE]]
    return dataclasses.replace(draft, extra={**draft.extra, "damaged": told}), digests


def write_manifest(folder: Path, manifest: Manifest, *, sync: bool) -> None:
    """Replace the group metadata of a sealed take, and its copy, which stands in if a byte of the first is damaged."""
    copy = zarr_meta.to_bytes(zarr_meta.group(manifest.to_json()))
    replace_file(folder / COPY_NAME, copy, sync=sync)
    replace_file(folder / GROUP_NAME, zarr_meta.to_bytes(group_document(manifest)), sync=sync)
    if sync:
        sync_paths([folder])


def group_document(manifest: Manifest) -> dict[str, Any]:
    """The Zarr metadata of the take's group: the manifest, and everything below it."""
    return zarr_meta.group(manifest.to_json(), array_documents(manifest))


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


def write_rows(folder: Path, rows: Rows, *, sync: bool) -> None:
    """Write the regular grid below the take's folder."""
    folder = folder / ROWS_NAME
    for name, array in (("t_host_ns", rows.times_ns), ("index", rows.index), ("age_ns", rows.age_ns)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        if array.size:
            write_file(folder / name / chunk_name(0, array.ndim - 1), little(array), sync=sync)
        if sync:
            sync_paths([folder / name])


def _write_documents(folder: Path, manifest: Manifest) -> None:
    """Each array's own description. Not waited for: the group's document repeats them and the doctor writes them."""
    for path, document in array_documents(manifest).items():
        write_file(folder / path / GROUP_NAME, zarr_meta.to_bytes(document), sync=False)
