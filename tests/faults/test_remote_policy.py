"""A policy server dies in the middle of a drive.

The arm holds within two ticks of the moment at which the loss is known, the take is sealed with the reason, and a
server that is back moves nothing until a person says so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.arm import ARMS
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.link import LocalStation
from hardware.sim.world import World
from tests.faults.drive_rig import TASK, Proof, Rig, until
from tests.services.serving_kit import STEPS
from workbench.core.bus import Bus
from workbench.core.chunks import Withdrawal, chunk_spec, unpack_chunk
from workbench.core.clock import MonotonicClock
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, StreamSpec
from workbench.services.driver import Driver, arm_streams
from workbench.services.hosting import Host
from workbench.services.inference import Answer
from workbench.services.remote_policy import REMOTE_MAIN, child_values
from workbench.services.settings import simulated_settings

ROOT = Path(__file__).parents[2]
HZ = 50.0
KNOWN_S = 0.5  # a killed process's connection is closed by the kernel; the rest is the load of the machine


class Server:
    """A server that moves the tool, in a process of its own."""

    def __init__(self, port: int = 0) -> None:
        words = [sys.executable, "-m", "tests.services.serving_kit", str(port)]
        self._process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"ws://127.0.0.1:{self.port}"

    def kill(self) -> int:
        """SIGKILL; returns when."""
        now_ns = time.monotonic_ns()
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        return now_ns

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


class Bench:
    """A driver that ticks when the test says so, its simulated arm, and a policy process of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        clock = MonotonicClock()
        self.world = World()
        self.world.reset(TASK, 1)
        self.station = LocalStation(self.world, clock)
        self.arm = ARMS.build("simulated", address=self.station.address)
        self.arm.connect()
        specs = arm_streams(self.arm.joints, HZ)
        pictures = [StreamSpec(f"observation.images.{name}", (24, 32, 3), "uint8") for name in ("front", "wrist")]
        self.rings = {s.name: Ring.create(folder / f"{s.name}.ring", s, 64) for s in (*specs, *pictures)}
        self.chunks = Ring.create(folder / "chunks.ring", chunk_spec(STEPS), 16)
        self.driver = Driver(self.arm, DEFAULT_LIMITS, self.rings, clock, 1 / HZ)
        self.driver.ready()
        self.said: list[Failed] = []
        bus = Bus()
        bus.subscribe(Failed, self.said.append)
        self.host = Host(bus)
        paths = {name: str(ring.path) for name, ring in self.rings.items()}
        self.policy = self.host.start("policy", REMOTE_MAIN, rings=paths, **child_values(simulated_settings(), url))

    def tick(self) -> None:
        now = time.monotonic_ns()
        for name, ring in self.rings.items():
            if name.startswith("observation.images."):
                ring.write(np.zeros(ring.spec.shape, np.uint8), sequence=0, t_device_ns=now, t_host_ns=now)
        self.driver.tick()
        self.world.step(1 / HZ)
        time.sleep(1 / HZ)

    def start(self) -> None:
        self.policy.call("set_task", instruction="move")
        self.policy.call("start")
        self.driver.drive(self.newest)

    def newest(self) -> ActionChunk | None:
        frame = self.chunks.latest()
        return unpack_chunk(frame, "remote") if frame is not None else None

    def run_until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: {self.driver.status().reason}"
            self.tick()

    def x_m(self) -> float:
        return float(self.arm.read().pose.position_m[0])

    def close(self) -> None:
        self.host.close()
        self.station.close()
        self.arm.close()
        for ring in (*self.rings.values(), self.chunks):
            ring.close()


def test_the_tick_after_the_loss_holds_and_a_server_that_is_back_moves_nothing(server: Server, tmp_path: Path) -> None:
    """Policy and server are processes; the ticks are the test's, so that a busy machine cannot blur the count."""
    bench = Bench(tmp_path, server.url)
    try:
        for _ in range(3):
            bench.tick()
        served = bench.policy.call("describe")
        assert served["steps"] == STEPS
        bench.policy.call("give_ring", chunks=str(bench.chunks.path))
        bench.start()
        before_m = bench.x_m()
        bench.run_until(lambda: bench.x_m() - before_m > 0.01, 20, "it does not move")

        killed_ns = server.kill()
        lost = -float(Withdrawal.LOST)
        bench.run_until(lambda: (chunk := bench.newest()) is not None and chunk.step_s == lost, 5, "nobody noticed")
        assert bench.driver.state == "driving" or "lost" in bench.driver.status().reason
        for _ in range(2):
            bench.tick()
        assert bench.driver.state == "holding" and bench.driver.status().fault == Answer.LOST
        newest = bench.newest()
        assert newest is not None and newest.t_observed_ns > killed_ns

        again = Server(server.port)
        try:
            bench.run_until(lambda: bench.policy.call("stats")["connected"], 15, "the line did not come back")
            stands_m, settled = bench.x_m(), bench.chunks.written
            for _ in range(25):
                bench.tick()
            assert bench.driver.state == "holding" and bench.chunks.written == settled
            assert abs(bench.x_m() - stands_m) < 1e-3, "it went on by itself"
            bench.start()
            bench.run_until(lambda: bench.x_m() - stands_m > 0.01, 20, "a person's word was not enough")
        finally:
            again.close()
        assert any("until a person" in event.message for event in bench.said)
    finally:
        bench.close()


def moves(rig: Rig) -> None:
    until(
        lambda: rig.speed() > 0.02 and rig.state().state == "driving", 15, lambda: f"not moving: {rig.state().reason}"
    )


def withdrawn_ns(rig: Rig) -> int:
    """When the policy process knew of the loss."""
    assert rig.station._chunks is not None
    frame = rig.station._chunks.latest()
    assert frame is not None and unpack_chunk(frame, "").step_s == -float(Withdrawal.LOST)
    return frame.t_host_ns


@pytest.mark.slow
def test_a_killed_server_stops_the_drive_until_a_person_lets_it_go_on(rig: Rig, server: Server, tmp_path: Path) -> None:
    failed: list[Failed] = []
    rig.station.bus.subscribe(Failed, failed.append)
    rig.station.load_policy(server.url)
    rig.station.drive(TASK)
    moves(rig)
    time.sleep(0.5)

    killed_ns = server.kill()
    until(lambda: rig.state().state == "holding", 5, "it did not hold")
    status = rig.state()
    assert "policy server is lost" in status.reason and "policy server is lost" in status.fault
    known_ns = withdrawn_ns(rig)
    assert 0 < known_ns - killed_ns < KNOWN_S * 1e9

    proof = Proof(tmp_path, rig.take())
    assert proof.driven_after(known_ns) <= 2
    assert "policy server is lost" in proof.ended_by
    assert proof.manifest.outcome == "unlabelled" and proof.manifest.extra["model"] == f"mover@127.0.0.1:{server.port}"
    proof.judge()
    assert any("is lost" in event.message and "until a person" in event.message for event in failed)
    with pytest.raises(WorkbenchError, match="cannot be reached"):
        rig.station.resume()
    assert rig.state().state == "holding" and not rig.station._recording()

    again = Server(server.port)
    try:
        until(lambda: rig.station.policy_stats()["connected"], 15, "the line did not come back")
        time.sleep(0.7)
        assert rig.state().state == "holding" and rig.speed() < 1e-6, "it went on by itself"
        assert rig.station.policy_stats()["running"] is False
        rig.station.resume()
        moves(rig)
        rig.station.end_drive("enough")
        assert Proof(tmp_path, rig.take()).ended_by == "enough"
    finally:
        again.close()
