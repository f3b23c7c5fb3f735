"""The last half minute of everything, kept in memory while nothing is recorded: what happened can still be saved.

Pictures are encoded at once, by the codec that a take of theirs would have, and are written to disk as they are: a take
saved afterwards holds the same bytes as one recorded meanwhile. ``bench record --preroll`` measures what it costs, and
decision 19 has the figures.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from storage.codecs import PictureCodec, choose_codec, is_picture
from storage.episode import EpisodeWriter, Manifest, StoreSettings
from storage.layout import Home
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import Frame, Outcome, TakeInfo
from workbench.services.ring_follower import RingFollower

_POLL_S = 0.005
_NOTHING = np.zeros(0, np.uint8)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PrerollStatus:
    """How much could be saved now, and what it takes in memory."""

    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    """One item; ``payload`` is the encoded picture, None for a vector, whose numbers are in the frame."""

    frame: Frame
    payload: bytes | None

    @property
    def bytes(self) -> int:
        return len(self.payload) if self.payload is not None else self.frame.data.nbytes


class Preroll:
    """Follows rings in a thread of its own. Methods may be called from any one thread.

    Args:
        seconds: how far back it goes; most_bytes: the oldest go earlier if all take more than this.
        busy: True while a take is recorded: then nothing is kept, and what was kept is forgotten.
    """

    def __init__(self, store: StoreSettings, seconds: float, most_bytes: int, busy: Callable[[], bool]) -> None:
        self._store, self._seconds, self._most_bytes, self._busy = store, seconds, most_bytes, busy
        self._followers: dict[str, RingFollower] = {}
        self._codecs: dict[str, PictureCodec] = {}
        self._kept: dict[str, deque[_Kept]] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preroll", daemon=True)

    def start(self, rings: Mapping[str, Ring]) -> None:
        """Begin to keep what these rings receive."""
        for name, ring in rings.items():
            self._followers[name] = RingFollower(ring)
            self._kept[name] = deque()
            if is_picture(ring.spec):
                self._codecs[name] = choose_codec(ring.spec, self._store.color_codec, self._store.jpeg_quality)
        self._thread.start()

    def close(self) -> None:
        """End the thread and forget everything. Safe to call twice."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5)
        with self._lock:
            self._forget()

    def status(self) -> PrerollStatus:
        """A snapshot; any thread."""
        with self._lock:
            newest, oldest = self._newest_ns(), self._oldest_ns()
            return PrerollStatus((newest - oldest) / 1e9 if newest else 0.0, self._bytes)

    def save(self, home: Home, info: TakeInfo, seconds: float) -> Manifest:
        """Write the last ``seconds`` as a sealed take; they stay in memory until they are too old.

        Raises StateError if nothing is kept or a take is being recorded.
        """
        if self._busy():
            raise StateError("a take is being recorded", "Stop it first; what it holds is safe")
        with self._lock:
            newest_ns = self._newest_ns()
            since_ns = newest_ns - round(seconds * 1e9)
            chosen = {
                name: [item for item in kept if item.frame.t_host_ns >= since_ns] for name, kept in self._kept.items()
            }
        items = sorted(
            ((item.frame.t_host_ns, name, item) for name, found in chosen.items() for item in found),
            key=lambda entry: entry[0],
        )
        if not items:
            raise StateError("there is nothing to save yet", "Wait until the cameras deliver")
        first_ns = items[0][0]
        asked = {"saved_afterwards": {"asked_s": seconds, "kept_s": round((newest_ns - first_ns) / 1e9, 3)}}
        info = replace(info, extra={**info.extra, **asked})
        specs = [self._followers[name].ring.spec for name in chosen]
        ago_s = (time.monotonic_ns() - first_ns) / 1e9
        writer = EpisodeWriter.create(home, info, specs, settings=self._store, began_s_ago=ago_s)
        try:
            for _, name, item in items:
                writer.append(name, item.frame, item.payload)
            return writer.seal(Outcome.UNLABELLED)
        except WorkbenchError:
            writer.end_early("it could not be written completely")
            raise

    def _run(self) -> None:
        while not self._stop.wait(_POLL_S):
            try:
                self._keep_new()
            except Exception:
                _log.exception("the last seconds are no longer kept")
                return

    def _keep_new(self) -> None:
        busy = self._busy()
        for name, follower in self._followers.items():
            for frame in follower.new():
                if busy:
                    continue
                item = self._encoded(name, frame)
                with self._lock:
                    self._kept[name].append(item)
                    self._bytes += item.bytes
        with self._lock:
            if busy:
                self._forget()
            else:
                self._drop_old()

    def _encoded(self, name: str, frame: Frame) -> _Kept:
        codec = self._codecs.get(name)
        if codec is None:
            return _Kept(frame, None)
        return _Kept(replace(frame, data=_NOTHING), codec.encode(np.ascontiguousarray(frame.data)))

    def _drop_old(self) -> None:
        since_ns = self._newest_ns() - round(self._seconds * 1e9)
        for kept in self._kept.values():
            while kept and kept[0].frame.t_host_ns < since_ns:
                self._bytes -= kept.popleft().bytes
        while self._bytes > self._most_bytes:
            oldest = min((kept for kept in self._kept.values() if kept), key=lambda kept: kept[0].frame.t_host_ns)
            self._bytes -= oldest.popleft().bytes

    def _newest_ns(self) -> int:
        return max((kept[-1].frame.t_host_ns for kept in self._kept.values() if kept), default=0)

    def _oldest_ns(self) -> int:
        return min((kept[0].frame.t_host_ns for kept in self._kept.values() if kept), default=0)

    def _forget(self) -> None:
        for kept in self._kept.values():
            kept.clear()
        self._bytes = 0
