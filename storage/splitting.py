"""Cutting a take in two: the stored items are copied as they are, nothing is encoded anew.

Items before the cut go to the first half, the others to the second. A vector whose first item of the second half comes
after the half's first picture would be missing in its first row; the newest item before the cut is then in both halves.
"""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import marks
from storage.codecs import is_picture
from storage.copying import Part, write_copy
from storage.layout import Home
from storage.manifest import Gaps, Manifest
from storage.marks import ARCHIVE, Trim
from storage.reader import Episode
from workbench.core.errors import WorkbenchError
from workbench.core.files import new_id

HostTimes = Mapping[str, NDArray[np.int64]]
_NOT_OF_A_HALF = (marks.QUALITY, marks.TRIAL, marks.TRIM)


@dataclasses.dataclass(frozen=True, slots=True)
class _Half:
    """Per stream the first item and the one after the last; ``cuts`` are the items at which the take is cut."""

    part: int
    at_ns: int
    ranges: dict[str, tuple[int, int]]
    cuts: dict[str, int]

    def gaps(self, name: str, gaps: Gaps) -> Gaps:
        """The gaps of this half; one directly before the cut belongs to the second."""
        first, cut = self.ranges[name][0], self.cuts[name]
        return tuple((index - first, missing) for index, missing in gaps if (index >= cut) == (self.part == 2))


def split_take(home: Home, episode_id: str, at_ns: int) -> tuple[Manifest, Manifest]:
    """Write the halves of a take in use into the trash, from where the caller moves them; the take stays as it is.

    ``at_ns`` is a host time. WorkbenchError if a half would have no row, CorruptTakeError if an item is missing.
    """
    with Episode.open(home, episode_id) as take:
        if ARCHIVE in take.manifest.extra:
            raise WorkbenchError(
                f"the take {episode_id} is archived and cannot be cut without loss",
                "Trim it, or bring its original back first: episodes archive --undo",
            )
        times = {name: take.times(name)[1] for name in take.manifest.streams}
        _check_rows(take, at_ns)
        halves = _halves(take.manifest, times, at_ns)
        drafts = [_draft(take.manifest, half, times) for half in halves]
        first = write_copy(home, drafts[0], [Part(take, halves[0].ranges)])
        try:
            return first, write_copy(home, drafts[1], [Part(take, halves[1].ranges)])
        except BaseException:
            shutil.rmtree(home.trashed(first.id), ignore_errors=True)
            raise


def _check_rows(take: Episode, at_ns: int) -> None:
    rows = take.row_times()
    before = int(np.count_nonzero(rows < at_ns))
    if not 0 < before < len(rows):
        raise WorkbenchError("one of the halves would be empty", "Choose a time inside the take")


def _halves(manifest: Manifest, times: HostTimes, at_ns: int) -> tuple[_Half, _Half]:
    cuts = {name: _first_at(host_ns, at_ns) for name, host_ns in times.items()}
    pictures = [
        int(times[name][cuts[name]])
        for name, spec in manifest.streams.items()
        if is_picture(spec) and cuts[name] < len(times[name])
    ]
    start_ns = max(pictures, default=at_ns)
    starts = {
        name: cut if is_picture(manifest.streams[name]) else _reaching(times[name], cut, start_ns)
        for name, cut in cuts.items()
    }
    before = {name: (0, cut) for name, cut in cuts.items()}
    after = {name: (start, len(times[name])) for name, start in starts.items()}
    return _Half(1, at_ns, before, cuts), _Half(2, at_ns, after, cuts)


def _first_at(host_ns: NDArray[np.int64], at_ns: int) -> int:
    later = np.flatnonzero(host_ns >= at_ns)
    return int(later[0]) if len(later) else len(host_ns)


def _reaching(host_ns: NDArray[np.int64], cut: int, start_ns: int) -> int:
    """The cut, or one item earlier if the first item from there on comes after ``start_ns``."""
    late = cut == len(host_ns) or host_ns[cut] > start_ns
    return cut - 1 if late and cut > 0 else cut


def _draft(manifest: Manifest, half: _Half, times: HostTimes) -> Manifest:
    gaps = {name: half.gaps(name, manifest.gap_positions[name]) for name in manifest.streams}
    extra = {key: value for key, value in manifest.extra.items() if key not in _NOT_OF_A_HALF}
    trim = _trim(marks.trim_of(manifest.extra), half.part, half.at_ns)
    begin_ns = min((int(host_ns.min()) for host_ns in times.values() if len(host_ns)), default=half.at_ns)
    started = datetime.datetime.fromisoformat(manifest.started_at)
    later = datetime.timedelta(microseconds=max(0, half.at_ns - begin_ns) // 1000 if half.part == 2 else 0)
    return dataclasses.replace(
        manifest,
        id=new_id(),
        counts={name: end - first for name, (first, end) in half.ranges.items()},
        gap_positions=gaps,
        gaps={name: sum(missing for _, missing in items) for name, items in gaps.items()},
        rows=0,
        duration_s=0.0,
        started_at=(started + later).isoformat(),
        content_hash="",
        sealed=False,
        sums={},
        extra={**extra, **trim, marks.SPLIT_OF: manifest.id, "split_part": half.part},
    )


def _trim(trim: Trim | None, part: int, at_ns: int) -> dict[str, Any]:
    """What of the trim marks lies in a half; none if they leave nothing of it."""
    if trim is None:
        return {}
    cut = (
        Trim(trim.start_ns, min(trim.end_ns, at_ns - 1)) if part == 1 else Trim(max(trim.start_ns, at_ns), trim.end_ns)
    )
    return {marks.TRIM: cut.to_json()} if cut.start_ns <= cut.end_ns else {}
