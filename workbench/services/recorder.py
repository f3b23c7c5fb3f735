"""The recorder: follows rings, writes a take, never shifts and never drops without saying so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.episode import EpisodeWriter, Manifest, StoreSettings
from storage.layout import Home
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Failed, RecorderChanged, TakeDiscarded, TakeSealed
from workbench.core.ring import Ring
from workbench.core.states import RECORDER, RecorderState, StateMachine
from workbench.core.types import Outcome, TakeInfo
from workbench.services.disk_room import LEAST_MINUTES, Room, estimate_bytes_per_s
from workbench.services.ring_follower import RingFollower

_POLL_S = 0.002
_LOOK_AT_DISK_S = 0.5


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """What the recorder does now.

    Attributes:
        items: per stream, items taken into the present take.
        gaps: items known to be missing in the present take, all streams together.
        error: the last failure in words, "" if none.
    """

    state: str
    episode_id: str = ""
    task: str = ""
    kind: str = ""
    elapsed_s: float = 0.0
    items: dict[str, int] = field(default_factory=dict)
    gaps: int = 0
    error: str = ""


class Recorder:
    """Owns one following thread per take. Methods may be called from any one thread.

    A recorder never waits for a viewer and no producer waits for it (lockstep simulation chooses to, by ``caught_up``).
    """

    def __init__(self, home: Home, store: StoreSettings, publish: Callable[[object], None]) -> None:
        self._home = home
        self._store = store
        self._publish = publish
        self._machine: StateMachine[RecorderState] = StateMachine(
            "recorder", RECORDER, RecorderState.IDLE, self._announce
        )
        self._writer: EpisodeWriter | None = None
        self._info: TakeInfo | None = None
        self._followers: dict[str, RingFollower] = {}
        self._gaps = 0
        self._started_ns = 0
        self._bytes_per_s = 0.0
        self._error = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> RecorderState:
        return self._machine.state

    def status(self) -> RecorderStatus:
        """A snapshot; cheap, any thread."""
        writer, info = self._writer, self._info
        if writer is None or info is None:
            return RecorderStatus(self.state, error=self._error)
        elapsed_s = (time.monotonic_ns() - self._started_ns) / 1e9
        return RecorderStatus(
            self.state, writer.episode_id, info.task, info.kind, elapsed_s, dict(writer.counts), self._gaps, self._error
        )

    def start(self, info: TakeInfo, rings: Mapping[str, Ring]) -> str:
        """Begin a take with everything the rings receive from now on. Returns the episode's id.

        WorkbenchError if the disk would be full within a minute.
        """
        self._bytes_per_s = estimate_bytes_per_s((ring.spec for ring in rings.values()), self._store.color_codec)
        self._refuse_full_disk()
        thread = self._thread
        if self.state is RecorderState.FAULTED and thread is not None:
            thread.join()  # it is still sealing what it had
        if self.state is RecorderState.FAULTED:
            self._machine.to(RecorderState.IDLE)
        self._machine.to(RecorderState.ARMED)
        try:
            specs = [ring.spec for ring in rings.values()]
            self._writer = EpisodeWriter.create(self._home, info, specs, settings=self._store)
        except Exception:
            self._machine.to(RecorderState.IDLE)
            raise
        self._info, self._gaps, self._error = info, 0, ""
        self._followers = {name: RingFollower(ring) for name, ring in rings.items()}
        self._started_ns = time.monotonic_ns()
        self._stop.clear()
        self._machine.to(RecorderState.RECORDING)
        self._thread = threading.Thread(target=self._follow, name="recorder", daemon=True)
        self._thread.start()
        return self._writer.episode_id

    def caught_up(self) -> bool:
        """True when every item written so far is in the take (or the take has failed)."""
        if self.state is not RecorderState.RECORDING:
            return True
        return all(follower.caught_up for follower in self._followers.values())

    def stop(
        self, outcome: Outcome = Outcome.UNLABELLED, extra: dict[str, Any] | None = None, notes: str = ""
    ) -> Manifest:
        """End the take with what is still in the rings and seal it. WorkbenchError if it could not be kept whole."""
        writer = self._finish_following()
        self._machine.to(RecorderState.SEALING)
        try:
            manifest = writer.seal(outcome, notes=notes, extra=extra)
        except Exception as error:
            raise self._fault(error) from error
        self._clear()
        self._machine.to(RecorderState.IDLE)
        self._announce_sealed(manifest)
        return manifest

    def discard(self) -> None:
        """End the take and move it to the trash."""
        writer = self._finish_following()
        self._machine.to(RecorderState.SEALING)
        episode_id = writer.episode_id
        try:
            writer.discard()
        except Exception as error:
            raise self._fault(error) from error
        self._clear()
        self._machine.to(RecorderState.IDLE)
        self._publish(TakeDiscarded(episode_id))

    def _finish_following(self) -> EpisodeWriter:
        if self.state is not RecorderState.RECORDING or self._writer is None:
            hint = self._error or "Start a take first"
            raise StateError("no take is being recorded", hint)
        thread = self._thread
        self._stop.set()
        if thread is not None:
            thread.join()
        if self._error:
            raise self._ended_already()
        return self._writer

    def _ended_already(self) -> StateError:
        word = "failed" if self.state is RecorderState.FAULTED else "ended by itself and is kept"
        return StateError(f"the take has {word}", self._error)

    def _follow(self) -> None:
        """The thread: take new items until told to stop, then what is left."""
        try:
            look_s = 0.0
            while not self._stop.is_set():
                if not self._take_new():
                    self._stop.wait(_POLL_S)
                if time.monotonic() >= look_s:
                    look_s = time.monotonic() + _LOOK_AT_DISK_S
                    room = self._room()
                    if room is not None and room.is_nearly_full:
                        return self._seal_early(room)
            self._take_new()
        except Exception as error:
            self._fault(error)

    def _room(self) -> Room | None:
        """What is left on the disk, or None where even that cannot be asked: writing will say why."""
        try:
            return Room(self._home.free_bytes(), self._bytes_per_s)
        except OSError:
            return None

    def _refuse_full_disk(self) -> None:
        room = self._room()
        if room is not None and room.minutes < LEAST_MINUTES:
            raise WorkbenchError(
                f"the disk of {self._home.path} is full in less than a minute of recording ({room.words()})",
                "Free space on it, purge the trash, or choose another data folder with --home",
            )

    def _seal_early(self, room: Room) -> None:
        """The following thread's own end of a take, while the disk still has room for rows, hash and manifest."""
        writer = self._writer
        if writer is None:
            return
        reason = f"the disk is nearly full ({room.words()}); the take was ended and sealed. Free space on it"
        self._error = reason
        self._machine.to(RecorderState.SEALING)
        manifest = writer.seal(extra={"ended_by": reason})
        self._clear()
        self._machine.to(RecorderState.IDLE)
        self._announce_sealed(manifest)
        self._publish(Failed("recorder", reason))

    def _take_new(self) -> int:
        return sum(self._take_from(name, follower) for name, follower in self._followers.items())

    def _take_from(self, name: str, follower: RingFollower) -> int:
        """Append everything new of one ring; what was overwritten before we came becomes a recorded gap."""
        writer = self._writer
        if writer is None:
            return 0
        taken = 0
        for frame in follower.new():
            self._gaps += frame.gap_before
            writer.append(name, frame)
            follower.ring.ack(follower.next + 1)
            taken += 1
        return taken

    def _fault(self, error: Exception) -> WorkbenchError:
        """Remember the failure and seal what was recorded; only what cannot be sealed stays for the doctor."""
        self._error = str(error) if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {error}"
        self._machine.to(RecorderState.FAULTED)
        sealed = self._writer.end_early(self._error) if self._writer is not None else None
        self._clear()
        if sealed is not None:
            self._machine.to(RecorderState.IDLE)
            self._announce_sealed(sealed)
        self._publish(Failed("recorder", self._error))
        kept = "What was written is kept; run `python main.py doctor --fix`"
        return error if isinstance(error, WorkbenchError) else WorkbenchError(f"recording failed ({error})", kept)

    def _clear(self) -> None:
        self._writer, self._info, self._thread = None, None, None

    def _announce_sealed(self, manifest: Manifest) -> None:
        self._publish(sealed_event(manifest))

    def _announce(self, _: RecorderState, after: RecorderState) -> None:
        self._publish(RecorderChanged(after, self._writer.episode_id if self._writer else ""))


def sealed_event(manifest: Manifest) -> TakeSealed:
    """What the others hear of a sealed take."""
    frames = sum(n for name, n in manifest.counts.items() if ".images." in name)
    return TakeSealed(manifest.id, frames, manifest.duration_s)
