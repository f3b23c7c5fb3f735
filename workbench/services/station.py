"""Everything attached, running: what the window and the command line talk to. Owns the processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from storage.evaluation import write_truth
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.replay import ReplayingStation
from workbench.services.station_core import RECORDED, StationCore, StationStatus

__all__ = ["RECORDED", "Station", "StationCore", "StationStatus"]
_PLAY_S = 40.0


class Station(ReplayingStation):
    """The running station. Methods return quickly and may be called from any one thread at a time.

    Long work (a played demonstration, a drive that ends by success) goes on in the background and tells the bus.
    """

    def operate(self) -> None:
        """Let the station's own teleoperation device drive."""
        self._ready()
        teleop = self.settings.teleop
        self._child("arm").call("operate", kind=teleop.kind, options=teleop.options)

    def set_keys(self, keys: frozenset[str]) -> None:
        """Teleoperation keys held down now; the first one makes the operator drive, with the keyboard.

        In the middle of a policy's attempt a key takes over, and letting go holds: see ``driver_watch.DeadMan``.
        """
        driver = self._snapshot.driver
        taking_over = driver.watching == "keyboard" and driver.state in ("driving", "holding")
        if keys and not taking_over and driver.state in ("parked", "ready", "holding", "driving"):
            self._ready()
            options = self.settings.teleop.options if self.settings.teleop.kind == "keyboard" else {}
            self._child("arm").call("operate", kind="keyboard", options=options)
        self._child("arm").call("set_keys", keys=keys)

    def play(self, task: str, kind: EpisodeKind) -> None:
        """Simulated station: the scripted operator or the simulated hand does the task once, recorded as a take."""
        self._simulation()
        self.settings.instruction(task)
        work = self._play_hand if kind is EpisodeKind.HUMAN else self._play_operator
        self._background.run(lambda: work(task), "station-play")

    def reset_scene(self, task: str, actor: str = "robot", seed: int | None = None) -> int:
        """Simulated station: place the objects anew for a task, by ``seed`` or at random; the arm is home afterwards.

        Returns the seed, which brings the same scene back.
        """
        self.settings.instruction(task)
        self.hold()
        seed = _seed() if seed is None else seed
        self._simulation().reset(task, seed, actor)
        self._success, self._scene = None, seed
        return seed

    def _play_operator(self, task: str) -> None:
        scene = self.reset_scene(task)
        self._ready()
        options = {"address": self._simulation().address, "task": task, "seed": _seed()}
        self._child("arm").call("operate", kind="scripted", options=options)
        self._played(task, EpisodeKind.TELEOP, scene, lambda: bool(self._child("arm").call("operated")))
        self.hold()

    def _play_hand(self, task: str) -> None:
        scene = self.reset_scene(task, actor="human")
        world = self._simulation()
        world.start_hand(task, _seed())
        episode_id = self._played(task, EpisodeKind.HUMAN, scene, world.hand_done)
        if episode_id:
            write_truth(self.home, episode_id, *world.hand_truth())
        world.stop_hand()

    def _played(self, task: str, kind: EpisodeKind, scene: int, finished: Callable[[], bool]) -> str:
        """Record until finished; returns the take's id, "" if the station closed meanwhile (it seals the take)."""
        self.start_take(task, kind, {"played": True, "seed": scene})
        end = time.monotonic() + _PLAY_S
        while time.monotonic() < end and not finished() and not self._closing.wait(0.05):
            pass
        if self._closing.is_set():
            return ""
        success = self._simulation().succeeded(task)
        return self.stop_take(Outcome.SUCCESS if success else Outcome.FAILURE)


def _seed() -> int:
    return int.from_bytes(os.urandom(3), "little")
