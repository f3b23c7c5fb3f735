"""Takes in their compact form: which ones, how, and the catalogue told of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from storage.archive import ArchiveReport, Progress, archive_take, unarchive
from storage.catalog import Catalog
from storage.layout import Home
from storage.marks import ARCHIVE
from storage.recoding import ArchiveSettings
from storage.records import EpisodeRecord
from workbench.core.errors import WorkbenchError
from workbench.services.settings import Settings

Refresh = Callable[[Sequence[str]], None]


@dataclass(slots=True)
class ArchiveRound:
    """What came of several takes.

    Attributes:
        done: takes that are in the new form now. unchanged: those that would not have become smaller.
        failed: why, by take; those are as they were.
    """

    done: list[ArchiveReport] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def archive_settings(settings: Settings) -> ArchiveSettings:
    """The section ``[archive]`` of the station's settings as storage understands it."""
    return ArchiveSettings(**settings.archive.model_dump(exclude={"after_days"}))


def due_for_archive(records: Iterable[EpisodeRecord], older_than_days: float) -> list[str]:
    """Ids of the takes, oldest first, that began so long ago and are not archived."""
    limit = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=older_than_days)
    due = [r for r in records if not r.trashed and ARCHIVE not in r.extra and _began(r) <= limit]
    return [record.id for record in sorted(due, key=_began)]


def archive_one(
    home: Home, catalog: Catalog, episode_id: str, settings: ArchiveSettings, progress: Progress | None = None
) -> ArchiveReport:
    """Archive one take and bring its entry in the catalogue in line. What ``progress`` raises ends it, undone."""
    report = archive_take(home, episode_id, settings, progress)
    catalog.refresh([episode_id])
    return report


def archive_many(
    home: Home,
    episode_ids: Sequence[str],
    settings: ArchiveSettings,
    refresh: Refresh,
    progress: Progress | None = None,
) -> ArchiveRound:
    """Archive takes one after the other; one that cannot be archived does not keep the others from it.

    Args:
        refresh: brings the catalogue in line after each take.
        progress: told (percent of the takes, 100); what it raises (Ctrl-C) ends the work with every finished take
            kept and the one at work as it was.
    """
    found = ArchiveRound()
    for number, episode_id in enumerate(episode_ids):

        def part(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(int(100 * (number + done / max(1, total)) / len(episode_ids)), 100)

        try:
            report = archive_take(home, episode_id, settings, part)
        except WorkbenchError as error:
            found.failed[episode_id] = str(error)
            continue
        if report.changed:
            found.done.append(report)
            refresh([episode_id])
        else:
            found.unchanged.append(episode_id)
    return found


def unarchive_many(
    home: Home, episode_ids: Sequence[str], refresh: Refresh, progress: Progress | None = None
) -> ArchiveRound:
    """Bring originals back; ``done`` stays empty, ``unchanged`` names the takes that are as recorded again."""
    found = ArchiveRound()
    for number, episode_id in enumerate(episode_ids):
        try:
            unarchive(home, episode_id)
            refresh([episode_id])
            found.unchanged.append(episode_id)
        except WorkbenchError as error:
            found.failed[episode_id] = str(error)
        if progress is not None:
            progress(number + 1, len(episode_ids))
    return found


def _began(record: EpisodeRecord) -> datetime.datetime:
    return datetime.datetime.fromisoformat(record.started_at)
