"""A running simulated station under a scripted policy, every part a process of its own, and what its takes prove."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.stance import arm_kinematics
from hardware.sim.tasks import DEMONSTRATED
from storage.episode import Episode
from storage.layout import Home
from tests.faults.scripted_policy import STEPS
from tests.faults.test_processes import small_settings
from tests.hardware.limit_check import broken
from workbench.core.chunks import chunk_spec
from workbench.core.events import TakeSealed
from workbench.core.files import new_id
from workbench.core.ring import Ring
from workbench.core.types import Authority
from workbench.services.capture import ring_path
from workbench.services.station import Station

TASK = DEMONSTRATED[0]
ROUNDING = 5e-4  # rad/s: joints are stored as float32
FRESH_NS = 150_000_000
PATIENT_S = 1.5  # a busy machine's simulated world may pause; what is tested is another fault


def until(condition: Callable[[], object], seconds: float, what: str | Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what if isinstance(what, str) else what()
        time.sleep(0.01)


class Rig:
    """The station, its policy and the takes that it has sealed."""

    def __init__(self, home: Path, kind: type[Station] = Station, state_age_s: float = PATIENT_S) -> None:
        settings = small_settings()
        limits = settings.limits.model_copy(update={"state_age_s": state_age_s})
        self.station = kind(home, settings.model_copy(update={"limits": limits}))
        self.sealed: queue.SimpleQueue[TakeSealed] = queue.SimpleQueue()
        self.station.bus.subscribe(TakeSealed, self.sealed.put)
        self.station.start()
        until(lambda: self.station.latest("observation.images.front"), 30, "no picture came")

    def close(self) -> None:
        self.station.close()

    def state(self):
        return self.station._child("arm").call("status")

    def load(self) -> None:
        """The scripted policy in the place of a model's."""
        station = self.station
        path = ring_path(station._folder, f"policy.{new_id()[-6:]}")
        station._chunks = Ring.create(path, chunk_spec(STEPS))
        station._start_child("policy", "tests.faults.scripted_policy:main", chunks=str(path))
        station._policy = ("scripted", "rf")

    def drive(self) -> None:
        """The policy swings the arm to and fro, recorded."""
        station = self.station
        until(self.pictures_are_fresh, 20, "a camera does not deliver")
        station._child("policy").call("be", manner="swing")
        station.drive(TASK)
        until(lambda: self.speed() > 0.1 or self.state().state != "driving", 15, "the arm never moved")
        assert self.state().state == "driving", self.state().reason
        time.sleep(0.5)  # so that there is something to lose

    def pictures_are_fresh(self) -> bool:
        rings = [ring for name, ring in self.station._rings.items() if ".images." in name]
        return min(ring.newest_host_ns() for ring in rings) > time.monotonic_ns() - FRESH_NS

    def speed(self) -> float:
        """The fastest joint, rad/s, from the newest two commands."""
        ring = self.station._rings["action"]
        last = [ring.read(ring.written - k) for k in (2, 1)] if ring.written > 1 else []
        if len(last) < 2 or None in last:
            return 0.0
        return float(np.abs(last[1].data[:6] - last[0].data[:6]).max() * 100.0)

    def take(self, seconds: float = 15.0) -> str:
        """The id of the take that was sealed."""
        return self.sealed.get(timeout=seconds).episode_id


class Proof:
    """What a sealed take says about a fault."""

    def __init__(self, home: Path, episode_id: str) -> None:
        with Episode.open(Home.open(home), episode_id) as take:
            self.problems = take.verify()
            self.manifest = take.manifest
            self.ended_by = str(take.manifest.extra.get("ended_by"))
            _, self.times_ns = take.times("authority")
            self.codes = np.asarray(take.vectors("authority"))[:, 0]
            self.joints = np.asarray(take.vectors("action"), float)[:, :6]
            self.gripper = np.asarray(take.vectors("action"), float)[:, 6]
            self.gaps = take.manifest.gaps

    def driven_after(self, failed_ns: int) -> int:
        """Ticks under the policy's authority after a moment."""
        driving = self.codes == Authority.POLICY.code
        return int(np.count_nonzero(driving & (self.times_ns > failed_ns)))

    def rest_s(self, failed_ns: int) -> float:
        """From a moment until the last command that differs from its predecessor by more than rounding."""
        moving = np.flatnonzero(np.abs(np.diff(self.joints, axis=0)).max(axis=1) > 1e-5)
        return (int(self.times_ns[moving[-1] + 1]) - failed_ns) / 1e9 if len(moving) else 0.0

    def judge(self, hz: float = 100.0) -> None:
        """Nothing that was sent left a limit, by the checker that shares no code with the guard."""
        assert not self.gaps.get("action"), "the recorder missed commands: nothing is proved"
        assert self.problems == []
        tool = arm_kinematics().path(self.joints, False)[0]
        assert broken(self.joints, DEFAULT_LIMITS, 1 / hz, tool, self.gripper, ROUNDING) == {}
