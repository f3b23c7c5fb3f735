"""What lies in the data root, and bringing the catalogue in line with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage.edits import stamp_of
from storage.entering import Found, enter, enter_trials, forget
from storage.history import enter_events
from storage.layout import SEALED_SUFFIX, Home, is_episode_id
from storage.reader import read_manifest
from storage.sets import COLLECTIONS, SNAPSHOTS, read_sets
from storage.steps import enter_set
from storage.tables import CollectionRow, EpisodeRow, EventRow
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.files import read_json, write_json

TRIALS = "trials"
_log = logging.getLogger(__name__)
Standing = dict[str, tuple[str, bool]]  # by take: its manifest's stamp, and whether it is in the trash


@dataclass(frozen=True, slots=True)
class Differences:
    """Ids of takes that the catalogue does not know, knows otherwise, or knows although they are gone."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.added, *self.changed, *self.gone)


def on_disk(home: Home) -> Standing:
    """The sealed takes on disk; of a take that lies in both places the one in use counts."""
    found: Standing = {}
    for folder, trashed in ((home.trash, True), (home.episodes, False)):
        with os.scandir(folder) as entries:
            for entry in entries:
                episode_id = entry.name.removesuffix(SEALED_SUFFIX)
                if entry.name.endswith(SEALED_SUFFIX) and is_episode_id(episode_id):
                    found[episode_id] = stamp_of(Path(entry.path)), trashed
    return found


def in_catalog(session: Session) -> Standing:
    """The takes as the catalogue knows them."""
    rows = session.execute(select(EpisodeRow.id, EpisodeRow.stamp, EpisodeRow.trashed))
    return {episode_id: (stamp, trashed) for episode_id, stamp, trashed in rows}


def differences(disk: Standing, known: Standing) -> Differences:
    """What the catalogue has to learn."""
    added = sorted(disk.keys() - known.keys())
    changed = sorted(episode_id for episode_id in disk.keys() & known.keys() if disk[episode_id] != known[episode_id])
    return Differences(tuple(added), tuple(changed), tuple(sorted(known.keys() - disk.keys())))


def catch_up(session: Session, home: Home) -> Differences:
    """Bring takes, sets and events in line with the disk. A take that cannot be read is left to the doctor."""
    disk = on_disk(home)
    found = differences(disk, in_catalog(session))
    read = _read(home, disk, (*found.added, *found.changed))
    enter(session, read.values())
    forget(session, found.gone)
    _catch_up_sets(session, home)
    enter_events(session, home)
    return Differences(
        tuple(i for i in found.added if i in read), tuple(i for i in found.changed if i in read), found.gone
    )


def sets_differ(session: Session, home: Home) -> bool:
    """Whether sets of takes appeared or vanished on disk."""
    return _set_files(home) != set(session.scalars(select(CollectionRow.id)))


def enter_everything(session: Session, home: Home) -> None:
    """Empty the tables of what lies in takes and sets, and read all of it again. What can be undone stays so."""
    for table in (EpisodeRow, CollectionRow, EventRow):
        session.execute(delete(table))
    disk = on_disk(home)
    enter(session, _read(home, disk, sorted(disk)).values())
    for what in read_sets(home):
        enter_set(session, what)
    enter_events(session, home)
    enter_trials(session, _trial_files(home))


def enter_trial_files(session: Session, home: Home) -> None:
    """Enter the trials that lie in files of their own."""
    enter_trials(session, _trial_files(home))


def keep_trial(home: Home, trial: Mapping[str, Any]) -> None:
    """Write down a trial that lies in no take, or whose take is about to go."""
    if is_episode_id(str(trial.get("id", ""))):
        write_json(home.path / TRIALS / f"{trial['id']}.json", dict(trial))


def _read(home: Home, disk: Standing, episode_ids: Sequence[str]) -> dict[str, Found]:
    found = {}
    for episode_id in episode_ids:
        stamp, trashed = disk[episode_id]
        try:
            manifest = read_manifest(home.trashed(episode_id) if trashed else home.sealed(episode_id))
        except CorruptTakeError as error:
            _log.warning("%s is left out of the catalogue: %s", episode_id, error)
            continue
        if manifest.sealed:
            found[episode_id] = Found(manifest, trashed, stamp)
    return found


def _catch_up_sets(session: Session, home: Home) -> None:
    if sets_differ(session, home):
        session.execute(delete(CollectionRow))
        for what in read_sets(home):
            enter_set(session, what)


def _set_files(home: Home) -> set[str]:
    return {path.stem for folder in (COLLECTIONS, SNAPSHOTS) for path in (home.path / folder).glob("*.json")}


def _trial_files(home: Home) -> Iterator[tuple[str, Any]]:
    for path in sorted((home.path / TRIALS).glob("*.json")):
        try:
            yield path.name, read_json(path)
        except WorkbenchError as error:
            _log.warning("%s", error)
