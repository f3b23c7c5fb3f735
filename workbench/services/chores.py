"""What is done with sealed takes once they lie on disk: one table of chores, the same for the background process and
for the command line.

What is due is read from the disk and the catalogue, never remembered: a chore that was killed is due again.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from storage.catalog import Catalog
from storage.layout import Home
from storage.marks import ARCHIVE
from storage.quality import KEY, Quality, Reference, assess_at, is_current
from storage.reader import read_manifest
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.services.archiving import archive_one, archive_settings
from workbench.services.library import sealed_ids
from workbench.services.settings import Settings

_log = logging.getLogger(__name__)
NOT_WORTH = "archive_not_worth"  # in a manifest's ``extra``: the archived form would not be smaller
Between = Callable[[], None]


class Workshop:
    """A data folder with its catalogue, as the chores see it. One thread; close it, or use it as a context.

    Args:
        between: called often during a chore; what it raises ends the chore with nothing half-done.
    """

    def __init__(self, home: Home, settings: Settings, between: Between = lambda: None) -> None:
        self.home = home
        self.settings = settings
        self.between = between
        self.limits = settings.thresholds()
        self.catalog = Catalog(home)
        self._lengths: dict[tuple[str, str], dict[str, float]] = {}
        self._assessed: set[str] = set()
        self._archived: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read from the catalogue how long the takes of each task are and which need no work."""
        self._lengths.clear()
        self._assessed.clear()
        self._archived.clear()
        for record in self.catalog.episodes():
            self._lengths.setdefault((record.task, str(record.kind)), {})[record.id] = record.duration_s
            if is_current(record.extra.get(KEY), self.limits):
                self._assessed.add(record.id)
            if ARCHIVE in record.extra or NOT_WORTH in record.extra:
                self._archived.add(record.id)

    def unassessed(self) -> list[str]:
        """Sealed takes without an assessment of this version and these thresholds, newest first."""
        return sorted(sealed_ids(self.home) - self._assessed, reverse=True)

    def assess(self, episode_id: str, *, again: bool = False) -> Quality | None:
        """Assess one take, store the answer in its manifest and the catalogue.

        Returns None if it had a current assessment already (unless ``again``). A take whose manifest cannot be read
        is answered but left as it is, and not due again before ``refresh``: the doctor deals with it.
        """
        folder = self.home.sealed(episode_id)
        try:
            manifest = read_manifest(folder)
        except CorruptTakeError:
            self._assessed.add(episode_id)
            return assess_at(folder, limits=self.limits)
        if again or not is_current(manifest.extra.get(KEY), self.limits):
            lengths = self._lengths.setdefault((manifest.task, str(manifest.kind)), {})
            others = tuple(length for other, length in lengths.items() if other != episode_id)
            quality = assess_at(folder, Reference(others), self.limits, between=self.between)
            self._note(episode_id, {KEY: {**quality.to_json(), "assessed_at": _now().isoformat()}})
            lengths[episode_id] = manifest.duration_s
        else:
            quality = None
            self.catalog.refresh([episode_id])  # a kill between manifest and catalogue, or a take from elsewhere
        self._assessed.add(episode_id)
        return quality

    def unarchived(self) -> list[str]:
        """Sealed takes that are old enough, not archived and worth it as far as is known, oldest first."""
        oldest_ms = (_now() - datetime.timedelta(days=self.settings.archive.after_days)).timestamp() * 1e3
        waiting = sealed_ids(self.home) - self._archived
        return sorted(episode_id for episode_id in waiting if created_ms(episode_id) <= oldest_ms)

    def archive(self, episode_id: str) -> None:
        """Store one take in its smaller form; one that would not become smaller is noted as such and left."""
        how = archive_settings(self.settings)
        if not archive_one(self.home, self.catalog, episode_id, how, lambda *_: self.between()).changed:
            self._note(episode_id, {NOT_WORTH: {"at": _now().isoformat()}})
        self._archived.add(episode_id)

    def _note(self, episode_id: str, extra: dict[str, Any]) -> None:
        self.catalog.refresh([episode_id])  # it may not be entered yet
        self.catalog.annotate(episode_id, extra)

    def close(self) -> None:
        """Let go of the catalogue; safe to call twice."""
        self.catalog.close()

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Chore:
    """One kind of background work.

    Attributes:
        wanted: whether the settings ask for it.
        due: ids of the takes that need it, most urgent first.
        do: does it for one take, whole or not at all; WorkbenchError in a sentence.
    """

    name: str
    wanted: Callable[[Settings], bool]
    due: Callable[[Workshop], list[str]]
    do: Callable[[Workshop, str], object]


CHORES = (
    Chore("assess", lambda settings: settings.upkeep.assess, Workshop.unassessed, Workshop.assess),
    Chore("archive", lambda settings: settings.upkeep.archive, Workshop.unarchived, Workshop.archive),
)


def created_ms(episode_id: str) -> int:
    """When a take began, as its id tells it (UUIDv7): milliseconds since 1970, wall clock."""
    return int(episode_id[:12], 16)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Round:
    """One pass after another over everything that is due.

    Args:
        announce: told (chore, done, total) as the work goes on.
        failed: told a sentence about each take that a chore gave up on.

    Attributes:
        changed: takes that were worked on; whoever announces them empties it.
    """

    def __init__(
        self, workshop: Workshop, announce: Callable[[str, int, int], None], failed: Callable[[str], None]
    ) -> None:
        self.changed: list[str] = []
        self._workshop = workshop
        self._announce = announce
        self._failed = failed
        self._given_up: set[tuple[str, str]] = set()

    def run(self, chores: Iterable[Chore] = CHORES) -> int:
        """Do all chores that are wanted and due; returns how many takes were worked on."""
        return sum(self._run_one(chore) for chore in chores if chore.wanted(self._workshop.settings))

    def _run_one(self, chore: Chore) -> int:
        due = [take for take in chore.due(self._workshop) if (chore.name, take) not in self._given_up]
        for number, episode_id in enumerate(due):
            self._announce(chore.name, number, len(due))
            self._workshop.between()
            try:
                chore.do(self._workshop, episode_id)
                self.changed.append(episode_id)
            except WorkbenchError as error:
                self._give_up(chore, episode_id, error)
        if due:
            self._announce(chore.name, len(due), len(due))
        return len(due)

    def _give_up(self, chore: Chore, episode_id: str, error: WorkbenchError) -> None:
        """Not tried again by this process."""
        self._given_up.add((chore.name, episode_id))
        if self._workshop.home.sealed(episode_id).is_dir():  # else it was moved to the trash meanwhile
            _log.warning("%s of %s: %s", chore.name, episode_id, error)
            self._failed(f"{chore.name} of take {episode_id}: {error}")
