"""Joining takes that follow one another on one clock into one: what splitting did, or a take that was ended too early.

The time between them stays: it shows as a silence, nothing is moved together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from storage import marks
from storage.copying import Part, write_copy
from storage.layout import Home
from storage.manifest import Gaps, Manifest
from storage.reader import Episode
from workbench.core.errors import WorkbenchError
from workbench.core.files import new_id
from workbench.core.types import Outcome

MERGED_OF = "merged_of"
_LONGEST_PAUSE_S = 10.0
_SAME_CLOCK_S = 2.0  # what the wall clock may have been set by between two takes
_NOT_OF_THE_WHOLE = (marks.QUALITY, marks.TRIAL, marks.TRIM, marks.SPLIT_OF, "split_part")


def merge_takes(home: Home, episode_ids: Sequence[str]) -> Manifest:
    """Write two or more takes in use as one into the trash, from where the caller moves it; they stay as they are.

    The order is that of time. WorkbenchError says why they do not follow one another, CorruptTakeError if an item is
    missing.
    """
    if len(set(episode_ids)) < 2:
        raise WorkbenchError("one take alone cannot be merged", "Choose two or more that follow one another")
    with contextlib.ExitStack() as stack:
        takes = [stack.enter_context(Episode.open(home, episode_id)) for episode_id in dict.fromkeys(episode_ids)]
        takes.sort(key=lambda take: _span(take)[0])
        for before, after in itertools.pairwise(takes):
            _check(before, after)
        parts = [Part(takes[0], {name: (0, count) for name, count in takes[0].manifest.counts.items()})]
        for before, after in itertools.pairwise(takes):
            parts.append(Part(after, {name: _rest(before, after, name) for name in after.manifest.streams}))
        return write_copy(home, _draft(parts), parts)


def _check(before: Episode, after: Episode) -> None:
    """WorkbenchError unless the second goes on where the first ended."""
    first, second = before.manifest, after.manifest
    for take in (first, second):
        if marks.ARCHIVE in take.extra:
            raise WorkbenchError(
                f"the take {take.id} is archived and cannot be merged without loss",
                "Bring its original back first: episodes archive --undo",
            )
    alike = ("kind", "task", "station", "clock", "streams", "layout", "rows_hz")
    differing = [name for name in alike if getattr(first, name) != getattr(second, name)]
    if differing:
        raise WorkbenchError(
            f"the takes {first.id} and {second.id} differ in {', '.join(differing)}",
            "Choose takes that belong together",
        )
    pause_s = (_span(after)[0] - _span(before)[1]) / 1e9
    if not -1.0 / first.rows_hz <= pause_s <= _LONGEST_PAUSE_S or _clock_shift_s(before, after) > _SAME_CLOCK_S:
        raise WorkbenchError(
            f"the take {second.id} does not go on where {first.id} ended",
            f"Choose takes of one session with at most {_LONGEST_PAUSE_S:g} s between them",
        )


def _clock_shift_s(before: Episode, after: Episode) -> float:
    """How much the host's clock and the calendar disagree about the time between: large after a restart."""
    walls = [datetime.datetime.fromisoformat(take.manifest.started_at).timestamp() for take in (before, after)]
    hosts = [_span(take)[0] / 1e9 for take in (before, after)]
    lockstep = before.manifest.clock == "lockstep"  # the calendar says when it was computed, not when it happened
    return 0.0 if lockstep else abs((walls[1] - walls[0]) - (hosts[1] - hosts[0]))


def _span(take: Episode) -> tuple[int, int]:
    """Host times of the first and last item, ns."""
    times = [take.times(name)[1] for name, count in take.manifest.counts.items() if count]
    if not times:
        raise WorkbenchError(f"the take {take.manifest.id} is empty", "Choose other takes")
    return min(int(at.min()) for at in times), max(int(at.max()) for at in times)


def _rest(before: Episode, after: Episode, name: str) -> tuple[int, int]:
    """The items of the second take; one that a split has put into both halves is left out."""
    count = after.manifest.counts[name]
    if not count or not before.manifest.counts[name]:
        return 0, count
    last_ns, times_ns = int(before.times(name)[1][-1]), after.times(name)[1]
    twice = int(np.count_nonzero(times_ns <= last_ns))
    if twice > 1 or (twice == 1 and int(times_ns[0]) != last_ns):
        raise WorkbenchError(
            f"the takes {before.manifest.id} and {after.manifest.id} overlap", "Choose takes that follow one another"
        )
    return twice, count


def _draft(parts: Sequence[Part]) -> Manifest:
    manifests = [part.take.manifest for part in parts]
    first, last = manifests[0], manifests[-1]
    gaps = {name: _gaps(parts, name) for name in first.streams}
    extra = {key: value for key, value in first.extra.items() if key not in _NOT_OF_THE_WHOLE}
    tags = sorted({tag for manifest in manifests for tag in marks.tags_of(manifest.extra)})
    labels = [manifest.outcome for manifest in manifests if manifest.outcome is not Outcome.UNLABELLED]
    notes = dict.fromkeys(manifest.notes for manifest in manifests if manifest.notes)
    return dataclasses.replace(
        first,
        id=new_id(),
        counts={name: sum(part.ranges[name][1] - part.ranges[name][0] for part in parts) for name in first.streams},
        gap_positions=gaps,
        gaps={name: sum(missing for _, missing in items) for name, items in gaps.items()},
        outcome=last.outcome if last.outcome is not Outcome.UNLABELLED else next(iter(labels), Outcome.UNLABELLED),
        notes="\n".join(notes),
        rows=0,
        duration_s=0.0,
        content_hash="",
        sealed=False,
        sums={},
        extra={**extra, **({marks.TAGS: tags} if tags else {}), MERGED_OF: [manifest.id for manifest in manifests]},
    )


def _gaps(parts: Sequence[Part], name: str) -> Gaps:
    """The gaps of all parts, counted through."""
    found: list[tuple[int, int]] = []
    before = 0
    for part in parts:
        first, end = part.ranges[name]
        inside: Mapping[str, Gaps] = part.take.manifest.gap_positions
        found += [(before + index - first, missing) for index, missing in inside[name] if index >= first]
        before += end - first
    return tuple(found)
