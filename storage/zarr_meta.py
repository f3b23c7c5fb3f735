"""Zarr v3 metadata as we write it, without asking zarr: standard groups and arrays, one JSON document each.

Chunk keys use "." as separator (``c.0.0``), so that an array is one flat folder.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from storage.codecs import RAW_CODEC, PictureCodec
from storage.dense_codecs import frames_per_chunk
from workbench.core.errors import WorkbenchError


def to_bytes(document: dict[str, Any]) -> bytes:
    """JSON text; WorkbenchError for values that JSON cannot hold (NaN included)."""
    try:
        return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise WorkbenchError(
            f"the take's description holds a value that cannot be stored ({error})",
            "Use plain numbers, texts, lists and dictionaries",
        ) from error


def parse(text: bytes) -> dict[str, Any] | None:
    """The JSON object, or None if it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def group(attributes: dict[str, Any], members: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """A group with its attributes; with ``members`` (path to document) as inline consolidated metadata.

    Consolidated metadata spares a reader one file per array, and keeps it from stumbling over the journal.
    """
    document: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    if members is not None:
        document["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": members}
    return document


def column(count: int, item: tuple[int, ...], per_chunk: int, dtype: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Array (count, *item) in plain, uncompressed chunks of ``per_chunk`` rows."""
    return _array((count, *item), (per_chunk, *item), dtype, [RAW_CODEC], attributes)


def frames(
    count: int, item: tuple[int, ...], per_shard: int, dtype: str, codec: PictureCodec, attributes: dict[str, Any]
) -> dict[str, Any]:
    """Array (count, *item) in shards of ``per_shard`` items; index at the end, crc32c.

    A chunk is one item; in a video, several.
    """
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [frames_per_chunk(codec), *item],
            "codecs": codec.zarr_codecs(),
            "index_codecs": [RAW_CODEC, {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    return _array((count, *item), (per_shard, *item), dtype, [sharding], attributes)


def _array(
    shape: tuple[int, ...], grid: tuple[int, ...], dtype: str, codecs: list[dict[str, Any]], attributes: dict[str, Any]
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(grid)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0.0 if np.dtype(dtype).kind == "f" else 0,
        "codecs": codecs,
        "attributes": attributes,
        "storage_transformers": [],
    }
