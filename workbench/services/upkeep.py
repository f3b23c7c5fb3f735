"""Chores in the background while the window is open, in a process of their own that gives way to everything else.

The process runs at the lowest priority but a few, waits while a take is being recorded unless the processor is idle,
and can be paused. It keeps no list of work: what is due is seen on disk (``workbench.services.chores``), so it may be
killed at any moment and goes on where it was after the next start.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, LibraryChanged, TakeSealed, UpkeepProgressed
from workbench.core.link import Handler, Link
from workbench.core.priority import run_after
from workbench.services.chores import Round, Workshop
from workbench.services.giving_way import GIVE_WAY_S, GiveWay
from workbench.services.hosting import Child, Host
from workbench.services.settings import Settings

NICENESS = 15
_LOOK_S = 10.0  # how often takes of other programs are looked for; those of this one are told
_TELL_S = 1.0
_START_S = 3.0  # the window, the cameras and the arm come first
_RESTART_S = 2.0
_MOST_RESTARTS = 3
_STOP_S = 1.0  # then it is killed, which it must bear at any moment anyway


@dataclass(frozen=True, slots=True)
class UpkeepStatus:
    """What the background process does now.

    Attributes:
        state: ``idle`` (nothing is due), ``working``, ``paused`` or ``waiting`` (a take is being recorded).
        chore, done, total: the chore at work, or the last one.
        rounds: how often everything was looked through since the process began.
    """

    state: str
    chore: str = ""
    done: int = 0
    total: int = 0
    rounds: int = 0


class _Ended(Exception):  # noqa: N818 - a way out of the work, not a failure
    """The parent wants the process to end."""


class Worker:
    """The process's own side: serves its parent between pictures and does what is due. One thread."""

    def __init__(self, link: Link, home: Home, settings: Settings) -> None:
        self._link = link
        self._home = home
        self._paused = False
        self._woken = True
        self._status = UpkeepStatus("idle")
        self._next_tell_s = 0.0
        self._give_way = GiveWay(home)
        self._workshop = Workshop(home, settings, self._between)
        self._round = Round(self._workshop, self._announce, lambda text: link.publish(Failed("upkeep", text)))

    def handlers(self) -> dict[str, Handler]:
        """What the parent may ask."""
        return {"wake": self._wake, "pause": self._pause, "resume": self._resume, "status": self._now}

    def run(self) -> None:
        """Work until the parent says stop or is gone."""
        look_s = 0.0
        try:
            while self._serve(GIVE_WAY_S):
                if not self._paused and (self._woken or time.monotonic() >= look_s):
                    self._woken = False
                    self._give_way.look_again()
                    self._round.run()
                    self._tell(now=True)
                    self._status = replace(self._status, state="idle", rounds=self._status.rounds + 1)
                    look_s = time.monotonic() + _LOOK_S
        except _Ended:
            self._tell(now=True)
        finally:
            self._workshop.close()

    def _between(self) -> None:
        """Called often during the work: answer the parent, give way, end."""
        if not self._serve(0.0):
            raise _Ended
        while self._paused or self._give_way.must_wait():
            self._say("waiting")
            if not self._serve(GIVE_WAY_S):
                raise _Ended
            self._give_way.look_again()
        self._say("working")

    def _serve(self, timeout_s: float) -> bool:
        return self._link.serve_pending(self.handlers(), timeout_s=timeout_s)

    def _announce(self, chore: str, done: int, total: int) -> None:
        self._status = UpkeepStatus("working", chore, done, total, self._status.rounds)
        self._link.publish(UpkeepProgressed(chore, done, total))
        self._tell()

    def _tell(self, *, now: bool = False) -> None:
        """Say which takes have changed, at most once a second: a listener reads the whole list anew."""
        if self._round.changed and (now or time.monotonic() >= self._next_tell_s):
            self._next_tell_s = time.monotonic() + _TELL_S
            self._link.publish(LibraryChanged(tuple(self._round.changed)))
            self._round.changed.clear()

    def _say(self, state: str) -> None:
        self._status = replace(self._status, state=state)

    def _now(self) -> UpkeepStatus:
        return replace(self._status, state="paused") if self._paused else self._status

    def _wake(self) -> None:
        self._woken = True

    def _pause(self) -> None:
        self._paused = True

    def _resume(self) -> None:
        self._paused, self._woken = False, True


def main(link: Link, home: str, settings: dict[str, Any]) -> None:
    """The background process."""
    run_after(NICENESS)
    Worker(link, Home.open(Path(home)), Settings(**settings)).run()


class Upkeep:
    """The parent's side: starts the process, wakes it for each sealed take, starts it again should it die.

    Requests may come from any thread. Close it, or use it as a context.
    """

    def __init__(self, home: Path, bus: Bus, *, threads: bool = False) -> None:
        self._home = home
        self._bus = bus
        self._host = Host(bus, threads=threads)
        self._settings: Settings | None = None
        self._child: Child | None = None
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._watch: threading.Thread | None = None
        self._subscription = bus.subscribe(TakeSealed, lambda _: self._wake.set())

    def start(self, settings: Settings) -> None:
        """Begin in a moment, if the settings ask for any chore; nothing when it runs already. Returns at once."""
        with self._lock:
            wanted = settings.upkeep.assess or settings.upkeep.archive
            if self._watch is not None or self._ended.is_set() or not wanted:
                return
            self._settings = settings
            self._watch = threading.Thread(target=self._follow, name="upkeep-watch", daemon=True)
            self._watch.start()

    def status(self) -> UpkeepStatus:
        """What the process does now. WorkbenchError if it does not run."""
        status: UpkeepStatus = self._running().call("status")
        return status

    def pause(self) -> None:
        """Stop working within one picture, until ``resume``."""
        self._running().call("pause")

    def resume(self) -> None:
        """Go on."""
        self._running().call("resume")

    def close(self) -> None:
        """End the process; a take in work is left as it was. Safe to call twice."""
        self._ended.set()
        self._wake.set()
        self._subscription.close()
        if self._watch is not None:
            self._watch.join(10)
        if self._child is not None:
            self._child.stop(_STOP_S)
        self._host.close()

    def __enter__(self) -> Upkeep:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self) -> None:
        """The watching thread: hand on wake-ups; start the process again a few times should it die."""
        if self._ended.wait(_START_S):
            return
        self._start_child()
        restarts = 0
        while True:
            woken = self._wake.wait(_RESTART_S)
            self._wake.clear()
            if self._ended.is_set():
                return
            if not self._running().alive:
                if restarts == _MOST_RESTARTS:
                    self._bus.publish(Failed("upkeep", "background work keeps failing and is off until the next start"))
                    return
                restarts += 1
                self._start_child()
            elif woken:
                with contextlib.suppress(WorkbenchError):  # it has died just now: seen at the next look
                    self._running().call("wake", timeout_s=60)

    def _start_child(self) -> None:
        if self._settings is not None:
            target, plain = "workbench.services.upkeep:main", self._settings.plain()
            self._child = self._host.start("upkeep", target, home=str(self._home), settings=plain)

    def _running(self) -> Child:
        if self._child is None:
            raise WorkbenchError(
                "no background work is running", "Switch it on in the section [upkeep] of station.toml"
            )
        return self._child
