"""The index of takes and of what came of them: quick to search, every edit undoable, rebuilt from disk at any time.

What lies on disk is the truth. An edit first changes the take (its manifest, or the folder it lies in) or the file of
a set of takes, then the index; if the program dies in between, ``sync`` brings the index back in line.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from storage import marks
from storage.archive_swap import set_originals_free
from storage.blurring import FacesFound, Tick, kept_remarks, write_blurred
from storage.database import BrokenDatabaseError, Opened, check_file, locked, open_database, set_aside
from storage.derived import forget_derived
from storage.editing import Editor
from storage.edits import change_manifest, stamp_of, take_folder
from storage.entering import Found, enter, enter_trials, in_batches, now
from storage.history import append_event, enter_events, events
from storage.layout import Home
from storage.lineage import Lineage, pins
from storage.manifest import Manifest
from storage.marks import Trim, check_tag
from storage.merging import merge_takes
from storage.reader import Episode, read_manifest
from storage.records import EpisodeRecord, StationEvent, TrialRecord, amount, episode_record, episode_values
from storage.scanning import (
    Differences,
    catch_up,
    differences,
    enter_everything,
    enter_trial_files,
    in_catalog,
    keep_trial,
    on_disk,
    sets_differ,
)
from storage.searching import Searching, known_takes
from storage.shelves import Shelves
from storage.splitting import split_take
from storage.steps import change, move
from storage.tables import EpisodeRow
from storage.trashing import PurgeReport, doom, sweep
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.files import new_id
from workbench.core.types import Outcome

_log = logging.getLogger(__name__)


class Catalog(Searching):
    """The index of one data root. Thread-safe; several processes may have it open. Close it, or use it as a context.

    Attributes:
        lineage: models, runs and the takes that they learnt from.
        sets: collections and snapshots.
        notices: what was found wrong while opening and what was done about it, in words.
    """

    def __init__(self, home: Home, url: str | None = None) -> None:
        """Open and bring up to date; a new index, or one whose file was damaged, is filled from the takes on disk.

        ``url`` overrides ``home.catalog_url``. WorkbenchError if it cannot be opened.
        """
        self.home = home
        self.notices: tuple[str, ...] = ()
        opened = self._open(url or home.catalog_url)
        super().__init__(opened.engine)
        self._editor = Editor(home, self._engine)
        self.lineage = Lineage(self._engine, self._editor.transaction)
        self.sets = Shelves(self._editor)
        if opened.fresh:
            with self._editor.transaction() as session:
                catch_up(session, home)
                enter_trial_files(session, home)

    def add(self, manifest: Manifest) -> EpisodeRecord:
        """Enter a sealed take, or refresh its entry; it is in use unless it lies in the trash by now."""
        with self._editor.transaction() as session:
            trashed = self.home.trashed(manifest.id).is_dir() and not self.home.sealed(manifest.id).is_dir()
            stamp = stamp_of(self.home.trashed(manifest.id) if trashed else self.home.sealed(manifest.id))
            enter(session, [Found(manifest, trashed, stamp)])
        return episode_record(episode_values(manifest, trashed=trashed, stamp=stamp))

    def add_many(self, manifests: Iterable[Manifest]) -> None:
        """Enter very many takes in use in one go, without looking at the disk; ``sync`` does that."""
        with self._editor.transaction() as session:
            enter(session, (Found(manifest, False, "") for manifest in manifests))

    def label(self, episode_ids: str | Sequence[str], outcome: Outcome) -> None:
        """Say how takes ended."""
        takes = [episode_ids] if isinstance(episode_ids, str) else episode_ids
        self._change(f"label '{outcome}'", {episode_id: {"outcome": str(outcome)} for episode_id in takes})

    def note(self, episode_id: str, text: str) -> None:
        """Replace a take's notes."""
        self._change("change of notes", {episode_id: {"notes": text}})

    def tag(self, episode_ids: Sequence[str], tags: Sequence[str]) -> None:
        """Put tags on takes; those that are there stay."""
        words = {check_tag(tag) for tag in tags}
        self._retag(episode_ids, lambda old: old | words, f"tag {_quoted(words)}")

    def untag(self, episode_ids: Sequence[str], tags: Sequence[str]) -> None:
        """Take tags off takes; what is not there is passed over."""
        words = {check_tag(tag) for tag in tags}
        self._retag(episode_ids, lambda old: old - words, f"removal of the tag {_quoted(words)}")

    def trim(self, episode_id: str, trim: Trim | None) -> None:
        """Mark the part of a take that is to be used, or (None) all of it. WorkbenchError if no row is left."""
        if trim is not None:
            with Episode.at(take_folder(self.home, episode_id)) as take:
                kept = marks.kept_rows(take.row_times(), {marks.TRIM: trim.to_json()})
            if kept.start >= kept.stop:
                raise WorkbenchError(
                    "nothing of the take would be left", "Choose an end after the start, inside the take"
                )
        words = "trimming of 1 take" if trim else "removal of the trim marks of 1 take"
        self._change(words, {episode_id: {"extra": {marks.TRIM: trim and trim.to_json()}}})

    def annotate(self, episode_id: str, extra: Mapping[str, Any]) -> EpisodeRecord:
        """Write remarks into a take that nobody needs to undo, such as measured quality; None removes a key."""
        with self._editor.transaction() as session:
            self._annotate(session, episode_id, extra)
        return self.episode(episode_id)

    def split(self, episode_id: str, at_ns: int) -> tuple[str, str]:
        """Make two takes of one, cut at a host time; the one goes to the trash. Returns the ids of the halves."""
        with self._editor.transaction() as session:
            if known_takes(session, [episode_id])[episode_id]:
                raise WorkbenchError(f"the take {episode_id} is in the trash", "Restore it first")
            halves = split_take(self.home, episode_id, at_ns)
            ids = [half.id for half in halves]
            enter(session, [Found(half, True, stamp_of(self.home.trashed(half.id))) for half in halves])
            steps = [move(ids, to_trash=False), move([episode_id], to_trash=True)]
            self._editor.perform(session, "splitting of 1 take", steps)
        return ids[0], ids[1]

    def merge(self, episode_ids: Sequence[str]) -> str:
        """Make one take of several that follow one another; those go to the trash. Returns the id of the one."""
        with self._editor.transaction() as session:
            for episode_id, trashed in known_takes(session, episode_ids).items():
                if trashed:
                    raise WorkbenchError(f"the take {episode_id} is in the trash", "Restore it first")
            whole = merge_takes(self.home, episode_ids)
            enter(session, [Found(whole, True, stamp_of(self.home.trashed(whole.id)))])
            steps = [move([whole.id], to_trash=False), move(list(dict.fromkeys(episode_ids)), to_trash=True)]
            self._editor.perform(session, f"merging of {amount(len(set(episode_ids)))}", steps)
        return whole.id

    def blur(self, found: FacesFound, tick: Tick = lambda _pictures: None) -> str:
        """Put a copy with blurred faces in the place of a take, also in collections; the take goes to the trash.

        What was computed from its pictures is removed. Returns the id of the copy. The copy is made without keeping
        others from the catalogue; labels and remarks that change meanwhile are taken over. ``tick`` is told of every
        picture; if it raises, or the take was changed meanwhile (StateError), nothing is left.
        """
        copy = write_blurred(self.home, found, tick)
        try:
            with self._editor.transaction() as session:
                self._put_in_place(session, found, copy)
        except BaseException:
            shutil.rmtree(self.home.trashed(copy.id), ignore_errors=True)
            raise
        forget_derived(self.home, found.episode_id)
        return copy.id

    def trash(self, episode_ids: Sequence[str]) -> dict[str, list[str]]:
        """Move takes to the trash; those already there stay. Returns what needs them, in words by take."""
        self._move(episode_ids, to_trash=True)
        return self.pinned(episode_ids)

    def restore(self, episode_ids: Sequence[str]) -> None:
        """Bring takes back from the trash."""
        self._move(episode_ids, to_trash=False)

    def purge(
        self, episode_ids: Sequence[str] | None = None, *, confirm: bool = False, force: bool = False
    ) -> PurgeReport:
        """Remove takes in the trash (None: all of it) for good. WorkbenchError without ``confirm``, or for one in use.

        All of it: the originals of archived takes too, which can then not be brought back to their first form.

        What snapshots, models or unfinished runs need stays, unless ``force``.
        """
        if not confirm:
            raise WorkbenchError("what is purged can never be brought back", "Confirm it, for example with --confirm")
        with self._editor.transaction() as session:
            if episode_ids is None:
                episode_ids = session.scalars(select(EpisodeRow.id).where(EpisodeRow.trashed)).all()
                set_originals_free(self.home)
            for episode_id, trashed in known_takes(session, episode_ids).items():
                if not trashed:
                    raise WorkbenchError(f"the take {episode_id} is not in the trash", "Delete it first")
            refused = {} if force else pins(session, episode_ids)
            going = [episode_id for episode_id in dict.fromkeys(episode_ids) if episode_id not in refused]
            for episode_id in going:
                doom(self.home, episode_id)
            for some in in_batches(going):
                session.execute(delete(EpisodeRow).where(EpisodeRow.id.in_(some)))
            enter_trial_files(session, self.home)
            self.sets.forget_takes(session, going)
            self._editor.forget_edits_of(session, set(going))
        return PurgeReport(tuple(going), sweep(self.home), refused)

    def undo(self) -> str | None:
        """Take back the newest edit; says in words what was undone, or None if there is nothing left.

        WorkbenchError if that is no longer possible; the edit is then forgotten, so that earlier ones can be undone.
        """
        done = self._editor.undo()
        return done and f"Undone: {done[0]}"

    def redo(self) -> str | None:
        """Do again what was undone last; says in words what, or None if nothing was undone since the last edit."""
        done = self._editor.redo()
        return done and f"Done again: {done[0]}"

    def sync(self) -> Differences:
        """Learn what changed on disk behind the catalogue's back. Quick when nothing did."""
        with Session(self._engine) as session:
            same = not differences(on_disk(self.home), in_catalog(session)).all and not sets_differ(session, self.home)
        with self._editor.transaction() as session:
            if same:
                enter_events(session, self.home)
                return Differences()
            return catch_up(session, self.home)

    def refresh(self, episode_ids: Iterable[str]) -> None:
        """Read takes' manifests again that somebody else has changed. NotFoundError for one that is not on disk."""
        with self._editor.transaction() as session:
            takes = []
            for episode_id in dict.fromkeys(episode_ids):
                folder = take_folder(self.home, episode_id)
                stamp = stamp_of(folder)
                takes.append(Found(read_manifest(folder), folder.parent == self.home.trash, stamp))
            enter(session, takes)

    def rebuild(self) -> int:
        """Read every take, set and event on disk again; returns how many takes. What can be undone stays so.

        Models and runs are entered anew by who can read them.
        """
        with self._editor.transaction() as session:
            enter_everything(session, self.home)
            return session.scalar(select(func.count()).select_from(EpisodeRow)) or 0

    def check(self) -> None:
        """Look through the whole database file. BrokenDatabaseError if it contradicts itself."""
        check_file(self._engine, fully=True)

    def log_event(self, source: str, words: str, severity: str = "info") -> None:
        """Write down something that happened to the station (``info``, ``warning`` or ``error``)."""
        append_event(self.home, source, words, severity)

    def events(
        self, *, since: str | None = None, severity: str | None = None, limit: int = 200
    ) -> tuple[StationEvent, ...]:
        """What happened to the station, newest first."""
        with self._editor.transaction() as session:
            enter_events(session, self.home)
            return events(session, since=since, severity=severity, limit=limit)

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
        """Record one try of a model, in the take that ``episode_id`` names or else in a file of its own."""
        at, trial_id = now().isoformat(), new_id()
        record = TrialRecord(
            trial_id, at, model_id, task, success, episode_id, head, seed, seconds, latency_ms, note, extra or {}
        )
        trial = {name: getattr(record, name) for name in TrialRecord.__dataclass_fields__}
        with self._editor.transaction() as session:
            if episode_id:
                self._annotate(session, episode_id, {marks.TRIAL: trial})  # which enters the trial too
            else:
                keep_trial(self.home, trial)
                enter_trials(session, [(trial_id, trial)])
        return record

    def close(self) -> None:
        """Let go of the database; safe to call twice."""
        self._engine.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put_in_place(self, session: Session, found: FacesFound, copy: Manifest) -> None:
        """The blurred copy out of the trash with what was noted meanwhile, the take into it."""
        if known_takes(session, [found.episode_id])[found.episode_id]:
            raise StateError(f"the take {found.episode_id} is in the trash", "Restore it first")
        current = read_manifest(self.home.sealed(found.episode_id))
        if current.content_hash != found.content_hash:
            raise StateError(f"the take {found.episode_id} was changed meanwhile", "Look at it again")
        folder = self.home.trashed(copy.id)
        dropped = dict.fromkeys(kept_remarks(copy))
        copy = change_manifest(
            folder, outcome=str(current.outcome), notes=current.notes, extra={**dropped, **kept_remarks(current)}
        )
        enter(session, [Found(copy, True, stamp_of(folder))])
        steps = [move([copy.id], to_trash=False), move([found.episode_id], to_trash=True)]
        steps += self.sets.replacing(session, found.episode_id, copy.id)
        self._editor.perform(session, "blurring of faces in 1 take", steps)

    def _open(self, url: str) -> Opened:
        """The database, instead of a damaged file a new one; what happened is told in ``notices``."""
        lock_path = self.home.path / ".catalog.lock"
        try:
            return open_database(url, lock_path)
        except BrokenDatabaseError as error:
            with locked(lock_path):
                self._set_aside(url, error)
            return open_database(url, lock_path)

    def _set_aside(self, url: str, error: BrokenDatabaseError) -> None:
        try:
            open_database(url, lock_path=None).engine.dispose()  # another process was quicker
        except BrokenDatabaseError:
            words = f"{error.what}; it was set aside as {set_aside(error.path).name} and rebuilt from the takes on disk"
            self.notices = (words[:1].upper() + words[1:],)
            _log.warning("%s", words)
            append_event(self.home, "catalogue", self.notices[0], "warning")

    def _annotate(self, session: Session, episode_id: str, extra: Mapping[str, Any]) -> None:
        trashed = known_takes(session, [episode_id])[episode_id]
        folder = take_folder(self.home, episode_id)
        enter(session, [Found(change_manifest(folder, extra=dict(extra)), trashed, stamp_of(folder))])

    def _retag(self, episode_ids: Sequence[str], new: Callable[[set[str]], set[str]], words: str) -> None:
        with self._editor.transaction() as session:
            changed: dict[str, dict[str, Any]] = {}
            for episode_id in known_takes(session, episode_ids):
                old = set(marks.tags_of(read_manifest(take_folder(self.home, episode_id)).extra))
                tags = new(set(old))
                if tags != old:
                    changed[episode_id] = {"extra": {marks.TAGS: sorted(tags) or None}}
            if changed:
                self._editor.perform(session, f"{words} on {amount(len(changed))}", [change(changed)])

    def _change(self, words: str, takes: Mapping[str, Mapping[str, Any]]) -> None:
        with self._editor.transaction() as session:
            known_takes(session, list(takes))
            self._editor.perform(session, words, [change(takes)])

    def _move(self, episode_ids: Sequence[str], *, to_trash: bool) -> None:
        with self._editor.transaction() as session:
            known = known_takes(session, episode_ids)
            moving = [episode_id for episode_id, trashed in known.items() if trashed != to_trash]
            if moving:
                verb = "deletion" if to_trash else "restoring"
                steps = [move(moving, to_trash=to_trash)]
                self._editor.perform(session, f"{verb} of {amount(len(moving))}", steps)


def _quoted(words: set[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))
