"""The shelf of takes: find, watch, label, mark, sort, throw away, bring back. The disk is the truth, the catalogue its
index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from storage.catalog import Catalog
from storage.episode import Episode
from storage.filters import ORDERS, MoreFilters, Page, TakeFilter
from storage.layout import Home
from storage.marks import Trim
from storage.records import (
    CalibrationRecord,
    CollectionRecord,
    DeviceRecord,
    EpisodeRecord,
    ModelEntry,
    StationEvent,
    TakeUse,
    TrialRecord,
)
from storage.trashing import PurgeReport
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import Failed, LibraryChanged
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library_exchange import LibraryExchange
from workbench.services.library_faces import LibraryFaces
from workbench.services.lineage_feed import enter_all, enter_new
from workbench.services.take_view import TakeView

__all__ = ["ORDERS", "Library", "Page", "PurgeReport", "TakeFilter", "TakeView", "Trim"]


class Library(LibraryExchange, LibraryFaces):
    """Every take of one data folder. Methods may be called from any thread; those that say so take their time.

    Close it, or use it as a context. Changes are announced as ``LibraryChanged`` on the bus; what fails on that bus is
    written down as an event of the station. Nothing is ever deleted but by ``purge``: takes move to the trash and back.

    Attributes:
        notices: what was wrong with the catalogue on opening and was put right, in words.
    """

    def __init__(self, home: Path, bus: Bus | None = None) -> None:
        self._home = Home.open(home)
        self._catalog = Catalog(self._home)
        self._bus = bus or Bus()
        self.notices = self._catalog.notices
        for words in self.notices:
            self._bus.publish(Failed("catalogue", words))
        self._listening = self._bus.subscribe(Failed, self._note_failure)
        self.sync()

    def close(self) -> None:
        """Let go of the catalogue; safe to call twice."""
        self._listening.close()
        self._catalog.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sync(self) -> tuple[str, ...]:
        """Learn what changed on disk: takes that appeared, were changed by others or vanished; new models and runs.

        Returns the ids of the takes that appeared. A take that cannot be read is left to ``doctor``.
        """
        found = self._catalog.sync()
        enter_new(self._home, self._catalog.lineage)
        if found.all:
            self._changed(*found.all)
        return found.added

    def rebuild(self) -> int:
        """Read takes, sets, events, models and runs from disk again; returns how many takes."""
        takes = self._catalog.rebuild()
        enter_all(self._home, self._catalog.lineage)
        self._catalog.log_event("catalogue", f"The catalogue was rebuilt from {takes} takes on disk")
        self._changed()
        return takes

    def check(self) -> None:
        """Look through the whole catalogue file; WorkbenchError if it is damaged."""
        self._catalog.check()

    def refresh(self, episode_ids: Sequence[str]) -> None:
        """Read takes again whose remarks were changed by something else than this library."""
        self._catalog.refresh(episode_ids)
        self._changed(*episode_ids)

    def episodes(
        self,
        kind: EpisodeKind | None = None,
        task: str | None = None,
        outcome: Outcome | None = None,
        text: str = "",
        trashed: bool | None = False,
        **more: Unpack[MoreFilters],
    ) -> tuple[EpisodeRecord, ...]:
        """Takes that match all given filters (see ``TakeFilter``), newest first."""
        return self._catalog.episodes(kind=kind, task=task, outcome=outcome, text=text, trashed=trashed, **more)

    def page(self, wanted: TakeFilter, offset: int = 0, limit: int = 100, order: str = "newest") -> Page:
        """Some of the takes that fit, in one of ``ORDERS``, and how many fit."""
        return self._catalog.page(wanted, offset, limit, order)

    def ids(self, wanted: TakeFilter, order: str = "newest") -> tuple[str, ...]:
        """Ids of the takes that fit, in one of ``ORDERS``."""
        return self._catalog.ids(wanted, order)

    def find(self, episode_id: str) -> EpisodeRecord:
        """The record of one take by its id or an unambiguous beginning of it; NotFoundError otherwise."""
        return self._catalog.find(episode_id)

    def open(self, episode_id: str) -> TakeView:
        """Open a take for looking, also one in the trash. NotFoundError or CorruptTakeError in one sentence."""
        record = self.find(episode_id)
        try:
            return TakeView(record, Episode.open(self._home, record.id, trashed=record.trashed))
        except NotFoundError:  # on its way to the trash or back: the folder moves before the catalogue says so
            return TakeView(record, Episode.open(self._home, record.id, trashed=not record.trashed))

    def counts(self) -> dict[str, int]:
        """Number of takes by kind; every kind is named."""
        found = self._catalog.counts_by("kind")
        return {str(kind): found.get(str(kind), 0) for kind in EpisodeKind}

    def counts_by(self, what: str, *, trashed: bool | None = False) -> dict[str, int]:
        """Number of takes by one property: see ``Catalog.counts_by``."""
        return self._catalog.counts_by(what, trashed=trashed)

    def total_s(self) -> float:
        """Seconds of all takes in use."""
        return self._catalog.total_s()

    def devices(self) -> tuple[DeviceRecord, ...]:
        """Every device that takes were recorded with."""
        return self._catalog.devices()

    def calibrations(self, serial: str | None = None) -> tuple[CalibrationRecord, ...]:
        """Every calibration that takes carry, of one device or of all, oldest first."""
        return self._catalog.calibrations(serial)

    def label(self, episode_id: str | Sequence[str], outcome: Outcome) -> None:
        """Say how one take or several ended."""
        self._catalog.label(episode_id, outcome)
        self._changed(*([episode_id] if isinstance(episode_id, str) else episode_id))

    def note(self, episode_id: str, text: str) -> None:
        """Replace the note of a take."""
        self._catalog.note(episode_id, text)
        self._changed(episode_id)

    def tag(self, episode_ids: Sequence[str], tags: Sequence[str]) -> None:
        """Put tags on takes."""
        self._catalog.tag(episode_ids, tags)
        self._changed(*episode_ids)

    def untag(self, episode_ids: Sequence[str], tags: Sequence[str]) -> None:
        """Take tags off takes."""
        self._catalog.untag(episode_ids, tags)
        self._changed(*episode_ids)

    def trim(self, episode_id: str, start_s: float | None = None, end_s: float | None = None) -> EpisodeRecord:
        """Use only what lies between two times, in seconds from the first row; None stands for the take's own end.

        Nothing is cut off; ``untrim`` takes the marks away.
        """
        with self.open(episode_id) as view:
            last_s = float(view.row_times_s[-1]) if view.rows else 0.0
            first, last = (0.0 if start_s is None else start_s), (last_s if end_s is None else end_s)
            if not 0 <= first <= last <= last_s + 1e-6:
                raise WorkbenchError(
                    f"{first:g} s to {last:g} s is no part of the take", f"Choose times between 0 and {last_s:.2f} s"
                )
            record, trim = view.record, Trim(view.host_ns(first), view.host_ns(last))
        self._catalog.trim(record.id, trim)
        self._changed(record.id)
        return self.find(record.id)

    def untrim(self, episode_id: str) -> None:
        """Use all of the take again."""
        self._catalog.trim(episode_id, None)
        self._changed(episode_id)

    def split(self, episode_id: str, at_s: float) -> tuple[str, str]:
        """Make two takes of one, cut at a time in seconds from the first row; returns their ids. Blocks while copying.

        The one goes to the trash; ``undo`` brings it back and throws the halves away.
        """
        with self.open(episode_id) as view:
            record, at_ns = view.record, view.host_ns(at_s)
        halves = self._catalog.split(record.id, at_ns)
        self._changed(record.id, *halves)
        return halves

    def merge(self, episode_ids: Sequence[str]) -> str:
        """Make one take of several that follow one another in time; returns its id. Blocks while copying.

        Those go to the trash; ``undo`` brings them back and throws the one away.
        """
        whole = self._catalog.merge(list(episode_ids))
        self._changed(*episode_ids, whole)
        return whole

    def trash(self, episode_ids: Sequence[str]) -> dict[str, list[str]]:
        """Move takes out of the way; ``restore`` and ``undo`` bring them back.

        Returns which of them something needs: by take the names of snapshots, models and unfinished runs.
        """
        pinned = self._catalog.trash(list(episode_ids))
        self._changed(*episode_ids)
        return pinned

    def restore(self, episode_ids: Sequence[str]) -> None:
        """Bring takes back from the trash."""
        self._catalog.restore(list(episode_ids))
        self._changed(*episode_ids)

    def purge(
        self, episode_ids: Sequence[str] | None = None, *, confirm: bool = False, force: bool = False
    ) -> PurgeReport:
        """Remove takes in the trash (None: all of it) for good: the one thing that cannot be undone.

        Needs ``confirm``. What a snapshot, a model or an unfinished run needs stays, unless ``force``.
        """
        report = self._catalog.purge(episode_ids, confirm=confirm, force=force)
        if report.ids:
            words = f"{len(report.ids)} takes were removed for good, {report.freed_bytes} bytes"
            self._catalog.log_event("library", words)
            self._changed(*report.ids)
        return report

    def undo(self) -> str | None:
        """Take back the last change of takes or sets. Returns what was undone in words, or None."""
        return self._told(self._catalog.undo())

    def redo(self) -> str | None:
        """Do again what was undone last. Returns what in words, or None."""
        return self._told(self._catalog.redo())

    def collections(self) -> tuple[CollectionRecord, ...]:
        """The collections, by name."""
        return self._catalog.sets.all(frozen=False)

    def snapshots(self) -> tuple[CollectionRecord, ...]:
        """The frozen snapshots, by name."""
        return self._catalog.sets.all(frozen=True)

    def takes_in(self, name: str) -> tuple[TakeUse, ...]:
        """The takes of a collection or snapshot, in its order."""
        return self._catalog.sets.takes(name)

    def sets_of(self, episode_id: str) -> tuple[str, ...]:
        """The collections and snapshots that a take is in."""
        return self._catalog.sets.names_of(episode_id)

    def collect(self, name: str, episode_ids: Sequence[str] = (), others: Sequence[str] = ()) -> None:
        """Put takes, and those of other sets, at the end of a collection; it is made if there is none."""
        if episode_ids or not others:
            self._catalog.sets.collect(name, episode_ids)
        if others:
            self._catalog.sets.merge(name, others)
        self._changed(*episode_ids)

    def uncollect(self, name: str, episode_ids: Sequence[str]) -> None:
        """Take takes out of a collection."""
        self._catalog.sets.uncollect(name, episode_ids)
        self._changed(*episode_ids)

    def rename_collection(self, name: str, new_name: str) -> None:
        """Give a collection another name."""
        self._catalog.sets.rename(name, new_name)
        self._changed()

    def drop(self, name: str) -> None:
        """Remove a collection or snapshot; its takes stay."""
        self._catalog.sets.drop(name)
        self._changed()

    def freeze(self, name: str, episode_ids: Sequence[str]) -> CollectionRecord:
        """Write down which takes there are and what they hold; it never changes."""
        record = self._catalog.sets.freeze(name, episode_ids)
        self._changed(*episode_ids)
        return record

    def verify_snapshot(self, name: str, *, deep: bool = True) -> dict[str, str]:
        """What is no longer as it was frozen, in words by take id ("": the snapshot's own file). ``deep`` reads all."""
        return self._catalog.sets.verify(name, deep=deep)

    def models(self) -> tuple[ModelEntry, ...]:
        """Every model that the catalogue knows, oldest first."""
        return self._catalog.lineage.models()

    def takes_of(self, model_id: str) -> tuple[TakeUse, ...]:
        """The takes that a model was trained on, and what has become of them."""
        return self._catalog.lineage.takes_of(model_id)

    def models_of(self, episode_id: str) -> tuple[ModelEntry, ...]:
        """The models that were trained on a take, oldest first."""
        return self._catalog.lineage.models_of(episode_id)

    def rollouts_of(self, model_id: str) -> tuple[str, ...]:
        """Ids of the takes that a model drove, newest first."""
        return self._catalog.lineage.rollouts_of(model_id)

    def trials(self, model_id: str) -> tuple[TrialRecord, ...]:
        """Every trial of a model, oldest first."""
        return self._catalog.trials(model_id)

    def ancestors(self, model_id: str) -> tuple[ModelEntry, ...]:
        """Every model that this one was built on, oldest first."""
        return self._catalog.lineage.ancestors(model_id)

    def descendants(self, model_id: str) -> tuple[ModelEntry, ...]:
        """Every model that was built on this one, oldest first."""
        return self._catalog.lineage.descendants(model_id)

    def note_event(self, source: str, words: str, severity: str = "info") -> None:
        """Write down something that happened to the station; may be called from any thread."""
        self._catalog.log_event(source, words, severity)

    def events(
        self, *, since: str | None = None, severity: str | None = None, limit: int = 200
    ) -> tuple[StationEvent, ...]:
        """What happened to the station, newest first."""
        return self._catalog.events(since=since, severity=severity, limit=limit)

    def _note_failure(self, event: Failed) -> None:
        self._catalog.log_event(event.where, event.message, "error")

    def _told(self, words: str | None) -> str | None:
        if words is not None:
            self._changed()
        return words

    def _changed(self, *episode_ids: str) -> None:
        self._bus.publish(LibraryChanged(tuple(episode_ids)))


def sealed_ids(home: Home) -> set[str]:
    """Ids of the sealed takes on disk; takes still being written end in ``.partial`` and are not listed."""
    return {path.name.removesuffix(".zarr") for path in home.episodes.glob("*.zarr")}
