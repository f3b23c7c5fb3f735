"""Writing a take: data first, then the disk's word for it, then a line in the journal."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storage import zarr_meta
from storage.codecs import choose_codec, is_picture
from storage.columns import VECTOR_ROWS
from storage.disk import Reserve, sync_paths, write_file
from storage.journal import JournalWriter
from storage.layout import COPY_NAME, GROUP_NAME, JOURNAL_NAME, RESERVE_NAME, Home, newest_id
from storage.manifest import Manifest, StoreSettings, StreamLayout
from storage.sealing import seal_folder
from storage.stream_writer import StreamWriter
from storage.trimming import trim
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.files import new_id
from workbench.core.types import Frame, Outcome, StreamSpec, TakeInfo

_log = logging.getLogger(__name__)
_DEFAULTS = StoreSettings()
_FULL = (errno.ENOSPC, errno.EDQUOT)


class EpisodeWriter:
    """Records one take. Make it with ``create``; every method is called from one thread, the recorder's.

    When the disk refuses, the take is closed and sealed as it is, if that is still possible: a full disk gets back the
    reserve kept beside the take. Otherwise everything up to the last journalled block is left for ``doctor``.

    Attributes:
        counts: items taken in; durable: items that the journal promises.
        rescued: the take as it was sealed after the disk refused, else None.
    """

    def __init__(self, home: Home, draft: Manifest, settings: StoreSettings) -> None:
        self.home = home
        self.episode_id = draft.id
        self.folder = home.partial(draft.id)
        self.counts: dict[str, int] = dict.fromkeys(draft.streams, 0)
        self.durable: dict[str, int] = dict(self.counts)
        self.rescued: Manifest | None = None
        self._draft = draft
        self._settings = settings
        self._streams: dict[str, StreamWriter] = {}
        self._gaps: dict[str, list[tuple[int, int]]] = {name: [] for name in draft.streams}
        self._new_gaps: list[tuple[str, int, int]] = []
        self._reserve = Reserve(self.folder / RESERVE_NAME)
        self._target = home.sealed(draft.id)
        self._words: dict[str, Any] = {}
        self._open = True
        try:
            with self._disk():
                self._start()
        except WorkbenchError:
            self.abandon()
            raise
        self._last_block_s = time.monotonic()

    @classmethod
    def create(
        cls,
        home: Home,
        info: TakeInfo,
        streams: Sequence[StreamSpec],
        *,
        settings: StoreSettings = _DEFAULTS,
        began_s_ago: float = 0.0,
    ) -> EpisodeWriter:
        """Begin a take with these streams. WorkbenchError if the disk refuses or a stream cannot be stored.

        ``began_s_ago``: how long ago its first item was measured, where it is written afterwards.
        """
        specs = {spec.name: spec for spec in streams}
        if len(specs) != len(streams) or not specs:
            raise WorkbenchError("a take needs at least one stream, each named once", "Check the station's settings")
        for spec in streams:
            if any(f"{spec.name}.t_{clock}_ns" in specs for clock in ("device", "host")):
                raise WorkbenchError(f"a stream may not be named like the times of {spec.name}", "Rename the stream")
        return cls(home, _as_read(_draft(home, info, specs, settings, began_s_ago)), settings)

    def append(self, stream: str, frame: Frame, payload: bytes | None = None) -> None:
        """Take one item; ``frame.gap_before`` is recorded. Encodes at once; about every ``block_s`` writes a block.

        With ``payload``, a picture encoded before by the codec that ``choose_codec`` gives the stream, the frame's data
        are not looked at.
        """
        self._check_open()
        if stream not in self._streams:
            raise NotFoundError.of("stream", stream, self._streams)
        with self._disk():
            if payload is None:
                self._streams[stream].add(frame)
            else:
                self._streams[stream].add_encoded(frame, payload)
            if frame.gap_before > 0:
                self._gaps[stream].append((self.counts[stream], frame.gap_before))
                self._new_gaps.append((stream, self.counts[stream], frame.gap_before))
            self.counts[stream] += 1
            if time.monotonic() - self._last_block_s >= self._settings.block_s:
                self._write_block()

    def flush(self) -> None:
        """Write a durable block now."""
        self._check_open()
        with self._disk():
            self._write_block()

    def seal(
        self, outcome: Outcome = Outcome.UNLABELLED, *, notes: str = "", extra: dict[str, Any] | None = None
    ) -> Manifest:
        """Finish the take: rows, hash, manifest, rename. ``extra`` is added to what was given at the start.

        A disk that is full only now costs nothing: the reserve holds what sealing writes.
        """
        return self._seal(self.home.sealed(self.episode_id), outcome, notes, extra or {})

    def discard(self) -> None:
        """Move the take to the trash, sealed, so that it can be restored; one without items disappears."""
        if any(self.counts.values()) and self._open:
            self._seal(self.home.trashed(self.episode_id), Outcome.UNLABELLED, "", {"discarded": True})
        elif self._open:
            self.abandon()

    def end_early(self, reason: str) -> Manifest | None:
        """Seal what was recorded because something went wrong elsewhere, or return what the disk's refusal left sealed.

        None if there is nothing to keep or it cannot be sealed; the doctor looks after the rest. Never raises.
        """
        if self._open and not any(self.counts.values()):
            self.abandon()
        elif self._open:
            try:
                sealed = self.home.sealed(self.episode_id)
                self.rescued = self._seal(sealed, Outcome.UNLABELLED, "", {"ended_by": reason})
            except WorkbenchError:
                _log.exception("the take %s could not be sealed; the doctor will", self.episode_id)
        self._close()
        return self.rescued

    def abandon(self) -> None:
        """Give the take up and remove it: for imports, whose source still exists. Recordings use ``discard``."""
        self._close()
        for folder in (self.folder, self.home.begun(self.episode_id)):
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> None:
        sync = self._settings.sync
        # The folder gets the name that a doctor looks for when its journal is locked and its manifest is there.
        begun = self.home.begun(self.episode_id)
        begun.mkdir()
        self._journal = JournalWriter(begun / JOURNAL_NAME, sync=sync)
        self._journal.append(self.counts, [])
        group = zarr_meta.to_bytes(zarr_meta.group(self._draft.to_json()))
        for name in (GROUP_NAME, COPY_NAME):
            write_file(begun / name, group, sync=sync)
        begun.rename(self.folder)
        self._reserve.take(self._settings.reserve_bytes)
        for name, spec in self._draft.streams.items():
            self._streams[name] = StreamWriter(self.folder, spec, self._draft.layout[name], sync=sync)
        if sync:
            sync_paths([self.folder, self.folder.parent])

    def _write_block(self) -> None:
        folders = [folder for stream in self._streams.values() for folder in stream.save()]
        if self._settings.sync:
            sync_paths(folders)
        if self.counts != self.durable:
            sums = {}
            for name, stream in self._streams.items():
                sums.update(stream.block_sums(self.durable[name]))
            self._journal.append(self.counts, self._new_gaps, sums)
            for stream in self._streams.values():
                stream.journalled()
            self.durable = dict(self.counts)
            self._new_gaps = []
        self._last_block_s = time.monotonic()

    def _seal(self, target: Path, outcome: Outcome, notes: str, extra: dict[str, Any]) -> Manifest:
        self._check_open()
        words: dict[str, Any] = {"outcome": outcome, "notes": notes, "extra": {**self._draft.extra, **extra}}
        _as_read(dataclasses.replace(self._draft, **words))  # a value that cannot be stored is refused before sealing
        self._target, self._words = target, words
        with self._disk():
            try:
                self._write_block()
            except OSError as error:
                if error.errno not in _FULL or not self._reserve.give_back():
                    raise
                self._write_block()
            manifest = self._finish(words)
        self._close()
        return manifest

    def _finish(self, words: dict[str, Any]) -> Manifest:
        """Seal what the journal promises."""
        gaps = {name: tuple(gap for gap in gaps if gap[0] < self.durable[name]) for name, gaps in self._gaps.items()}
        changed = dataclasses.replace(
            self._draft,
            **words,
            counts=dict(self.durable),
            gaps={name: sum(missing for _, missing in found) for name, found in gaps.items()},
            gap_positions=gaps,
        )
        digests = {name: stream.durable for name, stream in self._streams.items()}
        times = {name: np.array(s.host_ns[: self.durable[name]], np.int64) for name, s in self._streams.items()}
        self._reserve.give_back()
        return seal_folder(
            self.folder, self._target, _as_read(changed), digests=digests, times=times, sync=self._settings.sync
        )

    def _check_open(self) -> None:
        if not self._open:
            raise StateError(f"the take {self.episode_id} is closed", "Start a new take")

    def _close(self) -> None:
        self._open = False
        if hasattr(self, "_journal"):
            self._journal.close()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn the disk's refusals into a sentence that says what was kept, and seal that if it is possible."""
        try:
            yield
        except OSError as error:
            _log.exception("the take %s could not be written", self.episode_id)
            why = error.strerror or str(error)
            self.rescued = self._rescue(error.errno, why) if self._open else None
            self._close()
            kept = ", ".join(f"{count} of {name}" for name, count in sorted(self.durable.items()) if count) or "nothing"
            full = error.errno in _FULL
            advice = (
                f"Free space on the disk of {self.home.path}" if full else f"Look after the disk of {self.home.path}"
            )
            if self.rescued is not None:
                what = f"the take {self.episode_id} had to end early ({why}) and is sealed; kept: {kept}"
                raise WorkbenchError(what, advice) from error
            raise WorkbenchError(
                f"the take {self.episode_id} could not be written ({why}); kept: {kept}",
                f"{advice}, then run `python main.py doctor --fix`",
            ) from error

    def _rescue(self, number: int | None, why: str) -> Manifest | None:
        """Seal the take as far as the disk lets us. With room again, everything in memory is kept; else what the
        journal promises. None if neither works or nothing was recorded."""
        if number in _FULL and self._reserve.give_back():
            with contextlib.suppress(OSError):  # it may be full again; what is durable needs less
                self._write_block()
        if not any(self.durable.values()) or not self.folder.is_dir():
            return None
        lost = {name: count - self.durable[name] for name, count in self.counts.items() if count > self.durable[name]}
        extra = {
            **self._words.get("extra", self._draft.extra),
            "ended_by": f"the disk: {why}",
            **({"unwritten": lost} if lost else {}),
        }
        try:
            trim(self.folder, dataclasses.replace(self._draft, counts=dict(self.durable)))
            return self._finish({**self._words, "extra": extra})
        except (OSError, WorkbenchError):
            _log.exception("the take %s could not be sealed; the doctor will", self.episode_id)
            return None


def _as_read(manifest: Manifest) -> Manifest:
    """The manifest as a reader will see it, so that a value it would refuse is noticed now, not after the take."""
    return Manifest.from_json(json.loads(zarr_meta.to_bytes(manifest.to_json())))


def _draft(
    home: Home, info: TakeInfo, specs: dict[str, StreamSpec], settings: StoreSettings, began_s_ago: float
) -> Manifest:
    layout = {}
    for name, spec in specs.items():
        if is_picture(spec):
            codec = choose_codec(spec, settings.color_codec, settings.jpeg_quality)
            layout[name] = StreamLayout(max(1, round(spec.rate_hz * settings.block_s)), codec)
        else:
            layout[name] = StreamLayout(VECTOR_ROWS, None)
    return Manifest(
        id=new_id(after=newest_id(home)),
        kind=info.kind,
        task=info.task,
        instruction=info.instruction,
        operator=info.operator,
        scene=info.scene,
        station=info.station,
        clock=info.clock,
        outcome=Outcome.UNLABELLED,
        notes="",
        streams=specs,
        counts=dict.fromkeys(specs, 0),
        gaps=dict.fromkeys(specs, 0),
        rows=0,
        rows_hz=float(settings.rows_hz),
        duration_s=0.0,
        started_at=(datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=began_s_ago)).isoformat(),
        content_hash="",
        sealed=False,
        devices=info.devices,
        settings=info.settings,
        extra=info.extra,
        gap_positions=dict.fromkeys(specs, ()),
        layout=layout,
    )
