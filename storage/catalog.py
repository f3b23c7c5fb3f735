"""The index of takes and trials: quick to search, every edit undoable, rebuilt from disk at any time.

The takes on disk are the truth. An edit first changes the take (its manifest, or the folder it lies in), then the
index; if the program dies in between, ``rebuild`` brings the index back in line.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from storage.database import locked, open_database
from storage.edits import change_manifest, move_take, take_folder
from storage.layout import SEALED_SUFFIX, Home
from storage.manifest import Manifest
from storage.reader import read_manifest
from storage.records import EpisodeRecord, TrialRecord, episode_record, episode_row, trial_record, trial_row
from storage.tables import EditRow, EpisodeRow, TrialRow
from workbench.core.errors import CorruptTakeError, NotFoundError, WorkbenchError
from workbench.core.files import new_id
from workbench.core.types import Outcome

_log = logging.getLogger(__name__)
_MOST_EDITS = 1000


class Catalog:
    """The index of one data root. Thread-safe; several processes may have it open. Close it, or use it as a context."""

    def __init__(self, home: Home, url: str | None = None) -> None:
        """Open and bring up to date. ``url`` overrides ``home.catalog_url``. WorkbenchError if it cannot be opened."""
        self.home = home
        self._lock_path = home.path / ".catalog.lock"
        self._engine = open_database(url or home.catalog_url, self._lock_path)

    def add(self, manifest: Manifest) -> EpisodeRecord:
        """Enter a sealed take, or refresh its entry."""
        row = episode_row(manifest, trashed=False)
        with Session(self._engine) as session, session.begin():
            return episode_record(session.merge(row))

    def episodes(
        self,
        kind: str | None = None,
        task: str | None = None,
        outcome: str | None = None,
        text: str = "",
        trashed: bool = False,
        ids: Iterable[str] | None = None,
    ) -> tuple[EpisodeRecord, ...]:
        """Takes that fit all given conditions, newest first.

        ``text``: every word must occur in the id, task, instruction, notes, operator, scene or station.
        """
        query = select(EpisodeRow).where(EpisodeRow.trashed == trashed).order_by(EpisodeRow.id.desc())
        for column, value in ((EpisodeRow.kind, kind), (EpisodeRow.task, task), (EpisodeRow.outcome, outcome)):
            if value is not None:
                query = query.where(column == str(value))
        for word in text.split():
            columns = (EpisodeRow.id, EpisodeRow.task, EpisodeRow.instruction, EpisodeRow.notes)
            more = (EpisodeRow.operator, EpisodeRow.scene, EpisodeRow.station)
            query = query.where(or_(*(column.icontains(word, autoescape=True) for column in (*columns, *more))))
        if ids is not None:
            query = query.where(EpisodeRow.id.in_(list(ids)))
        with Session(self._engine) as session:
            return tuple(episode_record(row) for row in session.scalars(query))

    def episode(self, episode_id: str) -> EpisodeRecord:
        """One take, trashed or not. NotFoundError names the nearest id."""
        with Session(self._engine) as session:
            return episode_record(_row(session, episode_id))

    def label(self, episode_id: str, outcome: Outcome) -> None:
        """Say how a take ended."""
        with self._edit() as session:
            before = str(_row(session, episode_id).outcome)
            self._set(session, episode_id, "outcome", str(outcome))
            _remember(session, f"label '{outcome}'", {"set": "outcome", "values": {episode_id: before}})

    def note(self, episode_id: str, text: str) -> None:
        """Replace a take's notes."""
        with self._edit() as session:
            before = _row(session, episode_id).notes
            self._set(session, episode_id, "notes", text)
            _remember(session, "change of notes", {"set": "notes", "values": {episode_id: before}})

    def trash(self, episode_ids: Sequence[str]) -> None:
        """Move takes to the trash; those already there stay."""
        self._move(episode_ids, to_trash=True)

    def restore(self, episode_ids: Sequence[str]) -> None:
        """Bring takes back from the trash."""
        self._move(episode_ids, to_trash=False)

    def undo(self) -> str | None:
        """Take back the newest edit; says in words what was undone, or None if there is nothing left.

        WorkbenchError if that is no longer possible; the edit is then forgotten, so that earlier ones can be undone.
        """
        with Session(self._engine) as session:
            edit = session.scalars(select(EditRow).order_by(EditRow.id.desc()).limit(1)).first()
        if edit is None:
            return None
        try:
            with self._edit() as session:
                self._invert(session, edit.inverse)
                session.execute(delete(EditRow).where(EditRow.id == edit.id))
        except WorkbenchError:
            with self._edit() as session:
                session.execute(delete(EditRow).where(EditRow.id == edit.id))
            raise
        return f"Undone: {edit.description}"

    def rebuild(self) -> int:
        """Read every take on disk again; returns how many there are. Edits before it can no longer be undone."""
        found = [(read, False) for read in _manifests(self.home.episodes)]
        found += [(read, True) for read in _manifests(self.home.trash)]
        with self._edit() as session:
            session.execute(delete(EpisodeRow))
            session.execute(delete(EditRow))
            for manifest, trashed in {read.id: (read, trashed) for read, trashed in reversed(found)}.values():
                session.merge(episode_row(manifest, trashed=trashed))
                if "trial" in manifest.extra:
                    _recover_trial(session, manifest)
            return session.scalar(select(func.count()).select_from(EpisodeRow)) or 0

    def add_trial(
        self,
        model_id: str,
        task: str,
        success: bool,
        *,
        episode_id: str = "",
        head: str = "",
        seed: int = 0,
        seconds: float = 0.0,
        latency_ms: float = 0.0,
        note: str = "",
        extra: dict[str, Any] | None = None,
    ) -> TrialRecord:
        """Record one try of a model. With ``episode_id`` it is also written into that take, so that it survives."""
        at = datetime.datetime.now(datetime.UTC).isoformat()
        trial_id = new_id()
        record = TrialRecord(
            trial_id, at, model_id, task, success, episode_id, head, seed, seconds, latency_ms, note, extra or {}
        )
        with self._edit() as session:
            if episode_id:
                trial = {name: getattr(record, name) for name in TrialRecord.__dataclass_fields__}
                changed = change_manifest(take_folder(self.home, episode_id), extra={"trial": trial})
                session.merge(episode_row(changed, trashed=_row(session, episode_id).trashed))
            session.add(trial_row(record))
        return record

    def trials(self, model_id: str | None = None, task: str | None = None) -> tuple[TrialRecord, ...]:
        """Trials, oldest first."""
        query = select(TrialRow).order_by(TrialRow.id)
        if model_id is not None:
            query = query.where(TrialRow.model_id == model_id)
        if task is not None:
            query = query.where(TrialRow.task == task)
        with Session(self._engine) as session:
            return tuple(trial_record(row) for row in session.scalars(query))

    def close(self) -> None:
        """Let go of the database; safe to call twice."""
        self._engine.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _edit(self) -> Iterator[Session]:
        with locked(self._lock_path), Session(self._engine) as session, session.begin():
            yield session

    def _invert(self, session: Session, inverse: dict[str, Any]) -> None:
        if "move" in inverse:
            self._move_rows(session, inverse["ids"], to_trash=bool(inverse["move"]))
            return
        for episode_id, value in inverse["values"].items():
            self._set(session, episode_id, inverse["set"], value)

    def _set(self, session: Session, episode_id: str, name: str, value: str) -> None:
        row = _row(session, episode_id)
        folder = take_folder(self.home, episode_id)
        if name == "outcome":
            changed = change_manifest(folder, outcome=value)
        else:
            changed = change_manifest(folder, notes=value)
        session.merge(episode_row(changed, trashed=row.trashed))

    def _move(self, episode_ids: Sequence[str], *, to_trash: bool) -> None:
        with self._edit() as session:
            moving = [row_id for row_id in dict.fromkeys(episode_ids) if _row(session, row_id).trashed != to_trash]
            if not moving:
                return
            self._move_rows(session, moving, to_trash=to_trash)
            verb = "deletion" if to_trash else "restoring"
            _remember(session, f"{verb} of {_takes(len(moving))}", {"move": not to_trash, "ids": moving})

    def _move_rows(self, session: Session, episode_ids: Sequence[str], *, to_trash: bool) -> None:
        for episode_id in episode_ids:
            row = _row(session, episode_id)
            move_take(self.home, episode_id, to_trash=to_trash)
            row.trashed = to_trash


def _row(session: Session, episode_id: str) -> EpisodeRow:
    row = session.get(EpisodeRow, episode_id)
    if row is None:
        raise NotFoundError.of("take", episode_id, session.scalars(select(EpisodeRow.id).limit(1000)))
    return row


def _remember(session: Session, description: str, inverse: dict[str, Any]) -> None:
    """Keep how to take an edit back; the oldest of very many are forgotten."""
    edit = EditRow(at=datetime.datetime.now(datetime.UTC), description=description, inverse=inverse)
    session.add(edit)
    session.flush()
    session.execute(delete(EditRow).where(EditRow.id <= edit.id - _MOST_EDITS))


def _recover_trial(session: Session, manifest: Manifest) -> None:
    try:
        session.merge(trial_row(TrialRecord(**manifest.extra["trial"])))
        session.flush()
    except (TypeError, ValueError) as error:
        _log.warning("the trial noted in take %s is not readable (%s)", manifest.id, error)


def _manifests(folder: Path) -> Iterator[Manifest]:
    """Manifests of the readable sealed takes in a folder; the doctor deals with the others."""
    for path in sorted(folder.glob("*" + SEALED_SUFFIX)):
        try:
            manifest = read_manifest(path)
        except CorruptTakeError as error:
            _log.warning("%s is left out of the catalogue: %s", path.name, error)
            continue
        if manifest.sealed:
            yield manifest


def _takes(count: int) -> str:
    return "1 take" if count == 1 else f"{count} takes"
