"""What a journal vouches for: the counts a leftover take may be sealed with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from storage.columns import salvage_column
from storage.content import column_damage, columns_of
from storage.journal import JournalState
from storage.manifest import Manifest
from storage.shards import FrameReader
from workbench.core.errors import CorruptTakeError
from workbench.core.types import EpisodeKind


def promised(folder: Path, manifest: Manifest, journal: JournalState) -> Manifest:
    """The manifest with what the journal vouches for. CorruptTakeError if that is nothing or fits no stream."""
    if manifest.kind is EpisodeKind.IMPORTED:
        raise CorruptTakeError("its import was interrupted", "Import it again")
    if set(journal.counts) != set(manifest.streams):
        raise CorruptTakeError("the journal and the manifest name different streams")
    if not any(journal.counts.values()):
        raise CorruptTakeError("nothing was recorded before the end")
    counts = _last_true_block(folder, manifest, journal)
    gaps = {name: tuple(gap for gap in journal.gaps.get(name, ()) if gap[0] < counts[name]) for name in counts}
    draft = dataclasses.replace(
        manifest,
        counts=counts,
        gap_positions=gaps,
        gaps={name: sum(missing for _, missing in items) for name, items in gaps.items()},
        extra={**manifest.extra, "recovered": True},
    )
    return Manifest.from_json(draft.to_json())


def _last_true_block(folder: Path, manifest: Manifest, journal: JournalState) -> dict[str, int]:
    """Counts of the newest block whose own items are there.

    A killed program never breaks the journal's promise; a power cut may, at the end. Damage further back is no reason
    to give up what came after it. Where no block is whole, the damage is no end that was cut off: nothing is given up.
    """
    blocks = [{}, *journal.history]
    for before, after in zip(reversed(blocks[:-1]), reversed(blocks[1:]), strict=True):
        if any(after.values()) and _is_true(folder, manifest, before, after, journal):
            return after
    return journal.counts


def _is_true(
    folder: Path, manifest: Manifest, before: dict[str, int], after: dict[str, int], journal: JournalState
) -> bool:
    """True if the items that a block added can be read and match their checksums."""
    draft = dataclasses.replace(manifest, counts=after)
    for name in manifest.streams:
        if after[name] == before.get(name, 0):
            continue
        for column in columns_of(draft, name):
            raw, lost = salvage_column(folder / column.path, column.item, column.dtype, column.per_file, column.count)
            mine = {column.path: [block for block in journal.sums.get(column.path, ()) if block.stop == column.count]}
            if lost < column.count or column_damage(column, raw, lost, mine, None):
                return False
        if not _is_readable(folder, draft, name):
            return False
    return True


def _is_readable(folder: Path, draft: Manifest, name: str) -> bool:
    """True for a stream of numbers, and for pictures whose newest can be read."""
    layout, count = draft.layout[name], draft.counts[name]
    if layout.codec is None:
        return True
    reader = FrameReader(folder / name, draft.streams[name], layout.codec, layout.per_file, count)
    try:
        reader.check(count - 1)
    except CorruptTakeError:
        return False
    finally:
        reader.close()
    return True


def kept_words(draft: Manifest) -> str:
    """What of a leftover is kept, for people: per stream the items and the seconds they last at the nominal rate."""
    return "kept " + ", ".join(_kept(draft, name) for name in sorted(draft.counts) if draft.counts[name])


def _kept(draft: Manifest, name: str) -> str:
    count, rate_hz = draft.counts[name], draft.streams[name].rate_hz
    return f"{count} of '{name}' ({count / rate_hz:.1f} s)"
