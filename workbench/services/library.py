"""The shelf of takes: find, watch, label, throw away, bring back. The disk is the truth, the catalogue its index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.catalog import Catalog
from storage.episode import Episode
from storage.importing import ImportReport, ImportSettings
from storage.interop import import_takes
from storage.layout import Home
from storage.records import EpisodeRecord
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import LibraryChanged
from workbench.core.types import EpisodeKind, Outcome, StreamSpec

Progress = Callable[[int, int], None]


class TakeView:
    """One take, opened for looking. Used from one thread; reads from disk on demand.

    Attributes:
        streams: what was recorded, by stream name.
        row_times_s: (K,) seconds since the first row of the regular grid.
    """

    def __init__(self, record: EpisodeRecord, episode: Episode) -> None:
        self.record = record
        self.streams: dict[str, StreamSpec] = dict(episode.manifest.streams)
        self.manifest = episode.manifest
        self._episode = episode
        self._row_times_ns = np.asarray(episode.row_times(), np.int64)
        self._start_ns = int(self._row_times_ns[0]) if len(self._row_times_ns) else 0
        self.row_times_s: NDArray[np.float64] = (self._row_times_ns - self._start_ns) / 1e9
        self._rows: dict[str, NDArray[np.int64]] = {}

    @property
    def rows(self) -> int:
        return len(self.row_times_s)

    def picture(self, stream: str, row: int) -> NDArray[Any] | None:
        """The picture (H, W, 3) uint8 or depth (H, W) uint16 mm that is valid at a row; None before the first one."""
        index = int(self._index(stream)[row])
        return None if index < 0 else self._episode.read(stream, index)

    def signal(self, stream: str) -> tuple[NDArray[np.float64], NDArray[np.float32], tuple[str, ...]]:
        """A whole vector stream at its own rate.

        Returns seconds on the axis of ``row_times_s`` (T,), values (T, D) and the axes' names.
        """
        spec = self._spec(stream)
        _, host_ns = self._episode.times(stream)
        values = np.asarray(self._episode.vectors(stream), np.float32)
        return (np.asarray(host_ns, np.int64) - self._start_ns) / 1e9, values, spec.axes

    def verify(self) -> tuple[str, ...]:
        """Problems in words; empty when the take is bit-true to its content hash."""
        return tuple(self._episode.verify())

    def close(self) -> None:
        """Close open files; looking again opens them again."""
        self._episode.close()

    def __enter__(self) -> TakeView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spec(self, stream: str) -> StreamSpec:
        if stream not in self.streams:
            raise NotFoundError.of("stream", stream, self.streams)
        return self.streams[stream]

    def _index(self, stream: str) -> NDArray[np.int64]:
        if stream not in self._rows:
            self._spec(stream)
            self._rows[stream] = np.asarray(self._episode.row_index(stream), np.int64)
        return self._rows[stream]


class Library:
    """Every take of one data folder. Methods are quick and may be called from any one thread at a time.

    Close it, or use it as a context. Changes are announced as ``LibraryChanged`` on the bus. Nothing is ever deleted:
    takes move to the trash and back.
    """

    def __init__(self, home: Path, bus: Bus | None = None) -> None:
        self._home = Home.open(home)
        self._catalog = Catalog(self._home)
        self._bus = bus or Bus()
        self.sync()

    def close(self) -> None:
        """Let go of the catalogue; safe to call twice."""
        self._catalog.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sync(self) -> tuple[str, ...]:
        """Add sealed takes that appeared on disk to the catalogue and return their ids.

        A take that cannot be read is left to ``doctor``.
        """
        known = {record.id for trashed in (False, True) for record in self._catalog.episodes(trashed=trashed)}
        added = []
        for episode_id in sorted(sealed_ids(self._home) - known):
            try:
                self._catalog.add(Episode.open(self._home, episode_id).manifest)
            except WorkbenchError:  # damaged: `doctor` names it and puts it aside
                continue
            added.append(episode_id)
        if added:
            self._bus.publish(LibraryChanged(tuple(added)))
        return tuple(added)

    def episodes(
        self,
        kind: EpisodeKind | None = None,
        task: str | None = None,
        outcome: Outcome | None = None,
        text: str = "",
        trashed: bool = False,
    ) -> tuple[EpisodeRecord, ...]:
        """Takes that match all given filters, newest first."""
        return self._catalog.episodes(kind=kind, task=task, outcome=outcome, text=text, trashed=trashed)

    def find(self, episode_id: str) -> EpisodeRecord:
        """The record of one take by its id or an unambiguous beginning of it; NotFoundError otherwise."""
        records = [r for trashed in (False, True) for r in self._catalog.episodes(trashed=trashed)]
        matches = [record for record in records if record.id.startswith(episode_id)] if episode_id else []
        if len(matches) > 1 and episode_id not in {record.id for record in matches}:
            raise WorkbenchError(f"'{episode_id}' is the beginning of {len(matches)} takes", "Give more of the id")
        exact = [record for record in matches if record.id == episode_id] or matches
        if not exact:
            raise NotFoundError.of("take", episode_id, (record.id for record in records))
        return exact[0]

    def open(self, episode_id: str) -> TakeView:
        """Open a take for looking. NotFoundError or CorruptTakeError in one sentence."""
        record = self.find(episode_id)
        return TakeView(record, Episode.open(self._home, record.id))

    def label(self, episode_id: str, outcome: Outcome) -> None:
        """Say how a take ended."""
        self._catalog.label(episode_id, outcome)
        self._changed(episode_id)

    def note(self, episode_id: str, text: str) -> None:
        """Replace the note of a take."""
        self._catalog.note(episode_id, text)
        self._changed(episode_id)

    def trash(self, episode_ids: Sequence[str]) -> None:
        """Move takes out of the way; ``restore`` and ``undo`` bring them back."""
        self._catalog.trash(list(episode_ids))
        self._changed(*episode_ids)

    def restore(self, episode_ids: Sequence[str]) -> None:
        """Bring takes back from the trash."""
        self._catalog.restore(list(episode_ids))
        self._changed(*episode_ids)

    def undo(self) -> str | None:
        """Take back the last label, note, trash or restore. Returns what was undone in words, or None."""
        undone = self._catalog.undo()
        if undone is not None:
            self._changed()
        return undone

    def counts(self) -> dict[str, int]:
        """Number of takes by kind; every kind is named."""
        found = [str(record.kind) for record in self._catalog.episodes()]
        return {str(kind): found.count(str(kind)) for kind in EpisodeKind}

    def import_from(
        self, path: Path, kind: str = "", progress: Progress | None = None, *, max_side_px: int | None = None
    ) -> ImportReport:
        """Copy foreign recordings below ``path`` in as takes of kind ``imported``. Blocks.

        Args:
            kind: the format's name; "" finds it out.
            max_side_px: larger pictures are reduced to this longer side; None keeps them as they are.

        The report names new takes, those imported before, and what was left out and why.
        """
        report = import_takes(path, self._home, progress, kind=kind, settings=ImportSettings(max_side_px))
        self.sync()
        self._changed(*report.ids)
        return report

    def _changed(self, *episode_ids: str) -> None:
        self._bus.publish(LibraryChanged(tuple(episode_ids)))


def sealed_ids(home: Home) -> set[str]:
    """Ids of the sealed takes on disk; takes still being written end in ``.partial`` and are not listed."""
    return {path.name.removesuffix(".zarr") for path in home.episodes.glob("*.zarr")}
