"""The content hash: what makes two takes the same take, and how damage is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.columns import TIME_ROWS, read_column
from storage.layout import GROUP_NAME
from storage.manifest import Manifest
from storage.rows import Rows
from storage.shards import FrameReader


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """SHA-256, hex, of a stream's stored items (compressed pictures, raw rows) and of its times."""

    items: str
    device_times: str
    host_times: str


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
        whole.update(_little(array))
    return whole.hexdigest()


def digests_on_disk(folder: Path, manifest: Manifest) -> dict[str, StreamDigest]:
    """The digests of what is stored, read in full. CorruptTakeError if something is missing."""
    found = {}
    for name, count in manifest.counts.items():
        times = [
            hashlib.sha256(_little(read_column(folder / f"{name}.t_{clock}_ns", (), "int64", TIME_ROWS, count)))
            for clock in ("device", "host")
        ]
        items = _items_digest(folder, manifest, name)
        found[name] = StreamDigest(items, times[0].hexdigest(), times[1].hexdigest())
    return found


def check_arrays(folder: Path, manifest: Manifest) -> list[str]:
    """Problems with the Zarr metadata: what a plain Zarr reader would be told wrongly."""
    problems = []
    for name, spec in manifest.streams.items():
        try:
            document = json.loads((folder / name / GROUP_NAME).read_bytes())
        except (OSError, ValueError) as error:
            problems.append(f"the metadata of {name} cannot be read ({error})")
            continue
        if document.get("shape") != [manifest.counts[name], *spec.shape] or document.get("data_type") != spec.dtype:
            problems.append(f"the metadata of {name} does not match the manifest")
    return problems


def _items_digest(folder: Path, manifest: Manifest, name: str) -> str:
    spec, layout, count = manifest.streams[name], manifest.layout[name], manifest.counts[name]
    if layout.codec is None:
        rows = read_column(folder / name, spec.shape, spec.dtype, layout.per_file, count)
        return hashlib.sha256(_little(rows)).hexdigest()
    digest = hashlib.sha256()
    reader = FrameReader(folder / name, spec, layout.codec, layout.per_file, count)
    try:
        for index in range(count):
            payload = reader.payload(index)
            digest.update(len(payload).to_bytes(8, "little"))
            digest.update(payload)
    finally:
        reader.close()
    return digest.hexdigest()


def _little(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
