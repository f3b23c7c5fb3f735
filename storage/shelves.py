"""Collections and snapshots: named sets of takes, each a file that the catalogue indexes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.editing import Editor
from storage.entering import now
from storage.lineage import take_uses, uses
from storage.records import CollectionRecord, TakeUse, amount
from storage.sets import Member, TakeSet, check_name, compare, file_is_true, frozen_members, parse_set
from storage.steps import Step, drop, put
from storage.tables import CollectionRow, CollectionTakeRow, EpisodeRow
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import new_id, read_json


class Shelves:
    """The sets of takes of one catalogue. Thread-safe. Made by ``Catalog``."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._engine = editor.engine
        self._home = editor.home

    def all(self, *, frozen: bool | None = None) -> tuple[CollectionRecord, ...]:
        """Collections, snapshots or (None) both, by name."""
        count = func.count(CollectionTakeRow.episode_id)
        query = select(CollectionRow, count).outerjoin(CollectionTakeRow).group_by(CollectionRow.id)
        if frozen is not None:
            query = query.where(CollectionRow.frozen == frozen)
        with Session(self._engine) as session:
            rows = session.execute(query.order_by(CollectionRow.name)).all()
        return tuple(CollectionRecord(r.id, r.name, r.created_at.isoformat(), takes, r.frozen) for r, takes in rows)

    def takes(self, name: str) -> tuple[TakeUse, ...]:
        """The takes of a set, in its order, and what has become of them. NotFoundError names the nearest set."""
        with Session(self._engine) as session:
            row = _row(session, name)
            query = uses(CollectionTakeRow.episode_id, CollectionTakeRow.content_hash)
            query = query.where(CollectionTakeRow.collection_id == row.id)
            return take_uses(session, query.order_by(CollectionTakeRow.place))

    def names_of(self, episode_id: str) -> tuple[str, ...]:
        """The sets that a take is in, by name."""
        query = select(CollectionRow.name).join(CollectionTakeRow).where(CollectionTakeRow.episode_id == episode_id)
        with Session(self._engine) as session:
            return tuple(session.scalars(query.order_by(CollectionRow.name)))

    def collect(self, name: str, episode_ids: Sequence[str]) -> None:
        """Put takes at the end of a collection, which is made if there is none; those in it stay where they are."""
        with self._editor.transaction() as session:
            _check_known(session, episode_ids)
            what = self._collection(session, name)
            known = {member.id for member in what.members}
            new = tuple(Member(take) for take in dict.fromkeys(episode_ids) if take not in known)
            if new or not known:
                self._replace(session, what, (*what.members, *new), f"adding {amount(len(new))} to '{what.name}'")

    def uncollect(self, name: str, episode_ids: Sequence[str]) -> None:
        """Take takes out of a collection; those not in it are passed over."""
        with self._editor.transaction() as session:
            what, going = self._read(_row(session, name, frozen=False)), set(episode_ids)
            kept = tuple(member for member in what.members if member.id not in going)
            if len(kept) < len(what.members):
                words = f"removal of {amount(len(what.members) - len(kept))} from '{what.name}'"
                self._replace(session, what, kept, words)

    def merge(self, name: str, others: Sequence[str]) -> None:
        """Put the takes of other sets at the end of a collection; the others stay as they are."""
        with Session(self._engine) as session:
            sets = [self._read(_row(session, other)) for other in others]
            here = set(_known(session, [member.id for what in sets for member in what.members]))
        self.collect(name, [member.id for what in sets for member in what.members if member.id in here])

    def rename(self, name: str, new_name: str) -> None:
        """Give a collection another name."""
        with self._editor.transaction() as session:
            what = self._read(_row(session, name, frozen=False))
            clean = check_name(new_name)
            _check_free(session, clean)
            renamed = TakeSet(what.id, clean, what.created_at, what.members)
            self._editor.perform(session, f"renaming of '{name}'", [put(renamed)])

    def drop(self, name: str) -> None:
        """Remove a collection or a snapshot; its takes stay."""
        with self._editor.transaction() as session:
            what = self._read(_row(session, name))
            self._editor.perform(session, f"removal of the set '{name}'", [drop(what)])

    def freeze(self, name: str, episode_ids: Sequence[str]) -> CollectionRecord:
        """Write down which takes there are and what they hold. WorkbenchError for a name that is taken or no takes."""
        clean = check_name(name)
        if not episode_ids:
            raise WorkbenchError("there is no take to freeze", "Choose at least one")
        with self._editor.transaction() as session:
            _check_free(session, clean)
            members = frozen_members(self._home, episode_ids)
            what = TakeSet(new_id(), clean, now().isoformat(), members, frozen=True)
            self._editor.perform(session, f"freezing of '{clean}'", [put(what)])
        return CollectionRecord(what.id, clean, what.created_at, len(members), True)

    def verify(self, name: str, *, deep: bool = True) -> dict[str, str]:
        """What is no longer as it was frozen, in words by take id; {} when all is as it was.

        ``deep`` reads every take in full. The key "" stands for the snapshot's own file.
        """
        with Session(self._engine) as session:
            row = _row(session, name, frozen=True)
        what = self._read(row)
        found = {member.id: compare(self._home, member, deep=deep) for member in what.members}
        if not file_is_true(self._home.path / what.file):
            found[""] = "the snapshot's own file was changed after it was written"
        return {episode_id: words for episode_id, words in found.items() if words}

    def forget_takes(self, session: Session, episode_ids: Iterable[str]) -> None:
        """Strike takes that are gone for good from collections; snapshots keep saying what they held."""
        going = set(episode_ids)
        for row in session.scalars(select(CollectionRow).where(CollectionRow.frozen.is_(False))).all():
            what = self._read(row)
            kept = tuple(member for member in what.members if member.id not in going)
            if len(kept) < len(what.members):
                self._editor.write(session, [put(TakeSet(what.id, what.name, what.created_at, kept))])

    def replacing(self, session: Session, old: str, new: str) -> list[Step]:
        """The steps that put one take in the place of another in every collection."""
        rows = session.scalars(
            select(CollectionRow)
            .join(CollectionTakeRow)
            .where(CollectionTakeRow.episode_id == old, CollectionRow.frozen.is_(False))
        )
        steps = []
        for what in map(self._read, rows.all()):
            members = tuple(Member(new) if member.id == old else member for member in what.members)
            steps.append(put(TakeSet(what.id, what.name, what.created_at, members)))
        return steps

    def _collection(self, session: Session, name: str) -> TakeSet:
        clean = check_name(name)
        row = session.scalar(select(CollectionRow).where(CollectionRow.name == clean))
        if row is None:
            return TakeSet(new_id(), clean, now().isoformat(), ())
        return self._read(_row(session, clean, frozen=False))

    def _replace(self, session: Session, what: TakeSet, members: tuple[Member, ...], words: str) -> None:
        self._editor.perform(session, words, [put(TakeSet(what.id, what.name, what.created_at, members))])

    def _read(self, row: CollectionRow) -> TakeSet:
        file = TakeSet(row.id, row.name, "", (), row.frozen).file
        return parse_set(file, read_json(self._home.path / file))


def _row(session: Session, name: str, *, frozen: bool | None = None) -> CollectionRow:
    row = session.scalar(select(CollectionRow).where(CollectionRow.name == name))
    if row is None:
        raise NotFoundError.of("set of takes", name, session.scalars(select(CollectionRow.name)))
    if frozen is False and row.frozen:
        raise WorkbenchError(f"'{name}' is a frozen snapshot and never changes", "Choose another name")
    if frozen and not row.frozen:
        raise WorkbenchError(f"'{name}' is a collection, not a frozen snapshot", "Freeze it under another name first")
    return row


def _check_free(session: Session, name: str) -> None:
    if session.scalar(select(CollectionRow.id).where(CollectionRow.name == name)) is not None:
        raise WorkbenchError(f"there is a set of takes named '{name}' already", "Choose another name")


def _known(session: Session, episode_ids: Sequence[str]) -> Iterable[str]:
    return session.scalars(select(EpisodeRow.id).where(EpisodeRow.id.in_(episode_ids)))


def _check_known(session: Session, episode_ids: Sequence[str]) -> None:
    missing = set(episode_ids) - set(_known(session, episode_ids))
    if missing:
        raise NotFoundError(f"there is no take {min(missing)}", "List them with `python main.py episodes list`")
