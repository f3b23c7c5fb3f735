"""What is known of one take beside its row in the list: why it is flagged, what it is part of, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.blurring import blurred_of
from storage.marks import ARCHIVE, QUALITY, SPLIT_OF, model_of
from storage.quality_thresholds import Flag
from storage.records import EpisodeRecord
from workbench.services.chores import NOT_WORTH
from workbench.services.library import Library

FLAGS: tuple[str, ...] = tuple(str(flag) for flag in Flag)


@dataclass(frozen=True, slots=True)
class Archived:
    """The compact form of a take: bytes before and after, and the worst likeness of its pictures."""

    before: int
    after: int
    psnr_db: float | None


@dataclass(frozen=True, slots=True)
class TakeFacts:
    """Everything that the pane beside a take says.

    Attributes:
        remarks: (flag, sentence) of the quality check. checked: whether it has looked.
        still: stretches (start, end) in seconds at head and tail in which nothing moves.
        sets: collections and snapshots. models: (id, stage) of those that learnt from the take, oldest first.
        driven_by: the model that drove it, "" if none. split_of: the take it was cut from, "" if none.
        blurred: how many of its pictures have blurred faces; blurred_of: the take as it was, "" if none has.
        archived: its compact form, None while it is as recorded; not_worth: compacting would not have helped.
    """

    remarks: tuple[tuple[str, str], ...] = ()
    checked: bool = False
    still: tuple[tuple[float, float], ...] = ()
    tags: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    models: tuple[tuple[str, str], ...] = ()
    driven_by: str = ""
    split_of: str = ""
    blurred: int = 0
    blurred_of: str = ""
    archived: Archived | None = None
    not_worth: bool = False


def take_facts(library: Library, episode_id: str) -> TakeFacts:
    """Ask the catalogue. NotFoundError for a take that it does not know."""
    record = library.find(episode_id)
    split_of = record.extra.get(SPLIT_OF)
    blurred = blurred_of(record.extra)
    return TakeFacts(
        remarks=remarks_of(record),
        checked=record.quality_version is not None,
        still=_still(record),
        tags=record.tags,
        sets=library.sets_of(record.id),
        models=tuple((model.id, model.stage) for model in library.models_of(record.id)),
        driven_by=model_of(record.extra),
        split_of=split_of if isinstance(split_of, str) else "",
        blurred=blurred.pictures if blurred is not None else 0,
        blurred_of=blurred.episode_id if blurred is not None else "",
        archived=_archived(record.extra.get(ARCHIVE)),
        not_worth=NOT_WORTH in record.extra,
    )


def remarks_of(record: EpisodeRecord) -> tuple[tuple[str, str], ...]:
    """(flag, sentence) of every remark; a flag without one (from an older check) stands alone."""
    quality = record.extra.get(QUALITY)
    stored = quality.get("remarks") if isinstance(quality, Mapping) else None
    found = [
        (str(remark.get("flag", "")), str(remark.get("sentence", "")))
        for remark in (stored if isinstance(stored, list) else [])
        if isinstance(remark, Mapping)
    ]
    said = {flag for flag, _ in found}
    return (*found, *((flag, "") for flag in record.flags if flag not in said))


def _still(record: EpisodeRecord) -> tuple[tuple[float, float], ...]:
    """Only where the check flagged it: a short pause at either end is no news."""
    quality = record.extra.get(QUALITY)
    figures = quality.get("figures") if isinstance(quality, Mapping) else None
    if not isinstance(figures, Mapping):
        return ()
    head, tail = (_number(figures.get(name)) for name in ("idle_head_s", "idle_tail_s"))
    found = []
    if head and Flag.IDLE_HEAD in record.flags:
        found.append((0.0, head))
    if tail and Flag.IDLE_TAIL in record.flags:
        found.append((max(0.0, record.duration_s - tail), record.duration_s))
    return tuple(found)


def _archived(told: Any) -> Archived | None:
    if not isinstance(told, Mapping):
        return None
    before, after = (int(_number(told.get(name)) or 0) for name in ("bytes_before", "bytes_after"))
    return Archived(before, after, _number(told.get("psnr_db")))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
