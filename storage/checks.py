"""Everything that can be wrong with a sealed take, in words, and the repairs that need no guessing.

Descriptions follow from the manifest, the grid from the times, a shard's index from its pictures' checksums, the
manifest from its copy: those are written anew. Pictures and numbers exist once; damage there is named and stays.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from storage import zarr_meta
from storage.content import (
    columns_of,
    content_hash,
    examine_stream,
    grid_of,
    journal_sums,
    read_grid,
    row_columns,
    stray_bytes,
)
from storage.disk import open_for_reading, replace_file
from storage.journal import read_journal
from storage.layout import COPY_NAME, GROUP_NAME, JOURNAL_NAME
from storage.manifest import Manifest
from storage.sealing import array_documents, group_document, write_manifest, write_rows
from storage.shards import mend_shard, shard_name, unpack_index
from workbench.core.errors import CorruptTakeError


def verify_take(folder: Path, manifest: Manifest) -> list[str]:
    """Problems in words; [] means bit-true to what was recorded. Reads the whole take."""
    problems = [
        *check_documents(folder, manifest),
        *_check_journal(folder, manifest),
        *_check_indexes(folder, manifest),
    ]
    sums, digests = journal_sums(folder), {}
    for name in manifest.streams:
        digests[name], damage = examine_stream(folder, manifest, name, sums)
        problems += map(str, damage)
        problems += filter(None, (stray_bytes(folder, column) for column in columns_of(manifest, name)))
    problems += filter(None, (stray_bytes(folder, column) for column in row_columns(manifest)))
    try:
        if content_hash(manifest, digests, read_grid(folder, manifest)) != manifest.content_hash and not problems:
            problems.append("the contents do not match the content hash")
    except CorruptTakeError as error:
        problems.append(error.what)
    return problems


def check_documents(folder: Path, manifest: Manifest) -> list[str]:
    """Descriptions that are not what the manifest says. Quick: small files only."""
    if not manifest.sums:
        return _check_old_documents(folder, manifest)
    wrong = [path for path, text in _documents(manifest).items() if _read(folder / path) != text]
    if COPY_NAME in wrong and _is_of_same_take(_read(folder / COPY_NAME), manifest):
        wrong.remove(COPY_NAME)
    return [f"the description {path} is damaged" for path in wrong]


def _is_of_same_take(text: bytes, manifest: Manifest) -> bool:
    """True for a valid manifest of this take, perhaps with other labels: a crash between the manifest and its copy."""
    try:
        other = Manifest.from_json(json.loads(text)["attributes"])
    except (ValueError, KeyError, TypeError, RecursionError, CorruptTakeError):
        return False
    return (other.id, other.content_hash) == (manifest.id, manifest.content_hash)


def mend_take(folder: Path, manifest: Manifest) -> list[str]:
    """Repair what follows from the rest; says what was written anew. OSError if the disk refuses."""
    if not manifest.sums:
        return []
    done = []
    damaged = check_documents(folder, manifest)
    if damaged:
        write_manifest(folder, manifest, sync=True)
        for path, text in _documents(manifest).items():
            if path not in (GROUP_NAME, COPY_NAME):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                replace_file(folder / path, text, sync=True)
        done += [f"{text}; written anew from the manifest" for text in damaged]
    done += [
        f"the index of {path.name} of {name} written anew"
        for name, path in _shards(folder, manifest)
        if _mended(manifest, name, path)
    ]
    done += _mend_rows(folder, manifest)
    return done


def _mend_rows(folder: Path, manifest: Manifest) -> list[str]:
    stray = [text for column in row_columns(manifest) if (text := stray_bytes(folder, column))]
    try:
        read_grid(folder, manifest)
        if not stray:
            return []
    except CorruptTakeError as error:
        stray.append(error.what)
    rows = grid_of(folder, manifest, journal_sums(folder))
    if len(rows.times_ns) != manifest.rows:
        return []
    write_rows(folder, rows, sync=True)
    return [f"{'; '.join(stray)}; made anew from the times"]


def _documents(manifest: Manifest) -> dict[str, bytes]:
    """Every description of the take and its exact text."""
    texts = {f"{path}/{GROUP_NAME}": zarr_meta.to_bytes(text) for path, text in array_documents(manifest).items()}
    copy = zarr_meta.to_bytes(zarr_meta.group(manifest.to_json()))
    return {GROUP_NAME: zarr_meta.to_bytes(group_document(manifest)), COPY_NAME: copy, **texts}


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):  # a missing file is a damaged one
        return path.read_bytes()
    return b""


def _check_old_documents(folder: Path, manifest: Manifest) -> list[str]:
    """Takes of older versions: what a plain Zarr reader would be told wrongly."""
    problems = []
    for name, spec in manifest.streams.items():
        try:
            document = json.loads(_read(folder / name / GROUP_NAME))
        except ValueError as error:
            problems.append(f"the description of {name} cannot be read ({error})")
            continue
        if not isinstance(document, dict):
            problems.append(f"the description of {name} is none")
        elif document.get("shape") != [manifest.counts[name], *spec.shape] or document.get("data_type") != spec.dtype:
            problems.append(f"the description of {name} does not match the manifest")
    return problems


def _check_journal(folder: Path, manifest: Manifest) -> list[str]:
    if not manifest.sums:
        return []
    try:
        state = read_journal(folder / JOURNAL_NAME)
    except CorruptTakeError as error:
        return [error.what]
    problems = [f"line {number} of the journal is damaged" for number in state.damaged]
    if state.torn:
        problems.append("the end of the journal is damaged")
    if manifest.counts not in state.history and not problems:
        problems.append("the journal does not vouch for what the manifest counts")
    return problems


def _check_indexes(folder: Path, manifest: Manifest) -> list[str]:
    problems = []
    for name, path in _shards(folder, manifest):
        with contextlib.suppress(OSError):  # a missing shard is told by its pictures
            handle = open_for_reading(path)
            try:
                unpack_index(handle, manifest.layout[name].places)
            except CorruptTakeError as error:
                problems.append(f"{path.name} of {name}: {error.what}")
            finally:
                os.close(handle)
    return problems


def _shards(folder: Path, manifest: Manifest) -> list[tuple[str, Path]]:
    found = []
    for name, spec in manifest.streams.items():
        per_file = manifest.layout[name].per_file
        if manifest.layout[name].codec is not None:
            shards = range(-(-manifest.counts[name] // per_file))
            found += [(name, folder / name / shard_name(shard, len(spec.shape))) for shard in shards]
    return found


def _mended(manifest: Manifest, name: str, path: Path) -> bool:
    codec = manifest.layout[name].codec
    if codec is None or not codec.crc32c:
        return False
    try:
        return mend_shard(path, manifest.layout[name].places)
    except (OSError, CorruptTakeError):  # gone or cut short: named by verify, nothing to mend it from
        return False
