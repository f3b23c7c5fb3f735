"""How plug-ins reach a simulated station: one in this process (lockstep), or one in a process of its own (real time).

``find(address)`` gives either; cameras, arm and scripted operator do not know which.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraInfo
from hardware.sim.exposure import Exposure
from hardware.sim.look import Look
from hardware.sim.remote import RemoteStation
from hardware.sim.render import SceneRenderer
from hardware.sim.station import LOCAL, find, forget, register
from hardware.sim.world import Snapshot, World
from workbench.core.clock import LockstepClock
from workbench.core.errors import DeviceError
from workbench.core.types import ArmCommand, ArmState, Pose

__all__ = ["LocalFeed", "LocalStation", "RemoteStation", "find"]
_WAITING = 16  # exposures a slow reader may be behind before it loses the oldest


class LocalStation:
    """A world in this process, moved by whoever owns it: ``step`` the world, advance the clock, ``expose``.

    ``lock`` guards the world: hold it while stepping if another thread reads the arm meanwhile.
    """

    _numbers = itertools.count(1)

    def __init__(self, world: World, clock: LockstepClock) -> None:
        self.world, self.clock = world, clock
        self.lock = threading.RLock()
        self.address = f"{LOCAL}{next(self._numbers)}"
        self._feeds: list[LocalFeed] = []
        self._sequence = 0
        self._expires_ns: int | None = None
        self._closed = False
        register(self)

    def reset(self, task: str, seed: int, actor: str = "robot", look: Look | None = None) -> None:
        """``World.reset`` under the lock; the last command no longer counts."""
        with self.lock:
            self.world.reset(task, seed, actor=actor, look=look)
            self._expires_ns = None

    def succeeded(self, task: str) -> bool:
        with self.lock:
            return self.world.succeeded(task)

    def scene(self) -> Mapping[str, NDArray[np.float64]]:
        with self.lock:
            return self.world.scene()

    def expose(self) -> int:
        """Every attached camera takes a picture of this instant. Returns the exposure's sequence number."""
        with self.lock:
            self._expire()
            snapshot, t_ns, sequence = self.world.snapshot(), self.clock.now_ns(), self._sequence
            self._sequence += 1
            feeds = list(self._feeds)
        for feed in feeds:
            feed.push(sequence, t_ns, snapshot)
        return sequence

    def feed(self, camera: str, width: int, height: int, depth: bool, rate_hz: float) -> LocalFeed:
        """Attach a camera; its rate is whatever ``expose`` is called at."""
        with self.lock:
            self._refuse_if_closed()
            feed = LocalFeed(self, camera, width, height, depth)
            self._feeds.append(feed)
        return feed

    def detach(self, feed: LocalFeed) -> None:
        with self.lock:
            if feed in self._feeds:
                self._feeds.remove(feed)

    def arm_state(self) -> ArmState:
        with self.lock:
            self._refuse_if_closed()
            self._expire()
            joints, velocities, gripper, position, quaternion = self.world.arm()
            now_ns = self.clock.now_ns()
        return ArmState(now_ns, now_ns, joints, velocities, gripper, Pose(position, quaternion))

    def arm_command(self, command: ArmCommand) -> None:
        with self.lock:
            self._refuse_if_closed()
            if command.expires_ns < self.clock.now_ns():
                self.arm_hold()
                return
            self.world.command(command.joints_rad, command.gripper)
            self._expires_ns = command.expires_ns

    def arm_hold(self) -> None:
        with self.lock:
            self.world.hold()
            self._expires_ns = None

    def _expire(self) -> None:
        if self._expires_ns is not None and self.clock.now_ns() > self._expires_ns:
            self.arm_hold()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise DeviceError("the simulated station is closed", "Start the station again")

    def close(self) -> None:
        """Wake every reader with an error and forget the address; safe to call twice."""
        with self.lock:
            self._closed = True
            feeds, self._feeds = self._feeds, []
        forget(self.address)
        for feed in feeds:
            feed.end()


class LocalFeed:
    """A camera's end of a ``LocalStation``: waits for exposures and draws them in the reader's thread."""

    def __init__(self, station: LocalStation, camera: str, width: int, height: int, depth: bool) -> None:
        self._station = station
        self._renderer = SceneRenderer(camera, width, height, depth)
        self._waiting: deque[tuple[int, int, Snapshot]] = deque(maxlen=_WAITING)
        self._arrived = threading.Condition()
        self._ended = False
        pose = self._renderer.pose(station.world.snapshot()).tolist() if camera == "front" else None
        optics: dict[str, dict[str, Any]] = {"color": self._renderer.intrinsics()}
        if depth:
            optics["depth"] = self._renderer.intrinsics()
        self.info = CameraInfo("simulated", f"{station.address}/{camera}", "simulated", optics, pose)

    def push(self, sequence: int, t_ns: int, snapshot: Snapshot) -> None:
        with self._arrived:
            self._waiting.append((sequence, t_ns, snapshot))
            self._arrived.notify()

    def end(self) -> None:
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def read(self, timeout_s: float) -> Exposure | None:
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting or self._ended, timeout_s)
            if not self._waiting:
                if self._ended:
                    raise DeviceError("the simulated station is closed", "Start the station again")
                return None
            sequence, t_ns, snapshot = self._waiting.popleft()
        rgb, depth = self._renderer.render(snapshot)
        return Exposure(sequence, t_ns, rgb, depth)

    def close(self) -> None:
        self._station.detach(self)
        self._renderer.close()
