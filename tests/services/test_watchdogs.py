"""Watchdogs with real processes: the arm holds within two ticks of whatever has failed, and stays inside its limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import psutil
import pytest

from hardware.arm import ARMS
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.remote import RemoteStation
from hardware.sim.stance import arm_kinematics
from tests.hardware.limit_check import broken
from workbench.core.chunks import chunk_spec, pack_chunk
from workbench.core.clock import MonotonicClock, Pacer
from workbench.core.errors import StateError
from workbench.core.events import DriverChanged, StopCleared
from workbench.core.ring import Ring, runtime_directory
from workbench.core.types import ActionChunk, StreamSpec
from workbench.services.capture import ring_path
from workbench.services.control import Control
from workbench.services.driver import HEARTBEAT_S, PICTURE_AGE_S, Driver, arm_streams
from workbench.services.hosting import Host
from workbench.services.inference import pose_target
from workbench.services.settings import ArmSettings, simulated_settings
from workbench.services.stop_log import StopLog

ROOT = Path(__file__).parents[2]
HZ = 100.0
ROUNDING = 5e-4  # rad/s: joints are stored as float32
TASK = "red_cube_to_white_plate"


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


@pytest.fixture(scope="module")
def world():
    """The simulated world in a process of its own, without cameras."""
    folder = runtime_directory() / f"{os.getpid()}-watchdogs"
    with Host() as host:
        child = host.start("simulation", "hardware.sim.server:main", folder=str(folder), seed=0, cameras=[])
        child.call("ready", timeout_s=60)
        station = RemoteStation(folder)
        station.pid = child.pid
        yield station
        station.close()
    for path in folder.glob("*"):
        path.unlink()
    folder.rmdir()


class Cockpit:
    """A control tick in real time with two picture rings and a policy that swings the arm to and fro."""

    def __init__(self, world, folder: Path, stops: StopLog | None = None) -> None:
        world.reset(TASK, 1)
        self.folder, self.events = folder, []
        self.pictures = {}
        for name in ("front", "wrist"):
            spec = StreamSpec(f"observation.images.{name}", (4, 4, 3), "uint8", rate_hz=30.0)
            self.pictures[name] = Ring.create(ring_path(folder, spec.name), spec)
        settings = simulated_settings().model_copy(
            update={"arm": ArmSettings(kind="simulated", options={"address": world.address}), "control_hz": HZ}
        )
        self.control = Control(settings, folder, self.events.append, stops)
        self.driver = self.control._driver
        self.chunks = Ring.create(folder / "chunks", chunk_spec(8))
        self.unplugged, self.beating = set(), True
        self.sent, self.authority, self.states = [], [], []
        self._rings = {n: Ring.attach(ring_path(folder, n)) for n in ("action", "authority", "observation.state")}
        self._read = dict.fromkeys(self._rings, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _live(self):
        """Cameras, window and policy."""
        count, begun = 0, time.monotonic()
        while not self._stop.wait(0.02):
            count += 1
            now_ns = time.monotonic_ns()
            stamps = {"sequence": count, "t_device_ns": now_ns, "t_host_ns": now_ns}
            for name, ring in self.pictures.items():
                if name not in self.unplugged:
                    ring.write(np.zeros((4, 4, 3), np.uint8), **stamps)
            if self.beating:
                self.driver.beat()
            if count % 4 == 0:
                at = 0.44, 0.12 * np.sin(3.0 * (time.monotonic() - begun)), 0.22
                targets = np.tile([*at, 0.0, 1.0, 0.0, 0.0, 1.0], (8, 1))
                self.chunks.write(pack_chunk(ActionChunk(now_ns, 0.1, targets, "swing")), **stamps)
            self.follow()

    def follow(self):
        for name, kept in (("action", self.sent), ("authority", self.authority), ("observation.state", self.states)):
            while self._read[name] < self._rings[name].written:
                kept.append(self._rings[name].read(self._read[name]))
                self._read[name] += 1

    def drive(self):
        until(lambda: all(ring.written for ring in self.pictures.values()), 5, "no picture came")
        self.control.handlers()["ready"]()
        self.control.drive(str(self.chunks.path), "swing")
        until(lambda: self.speed() > 0.1 or self.driver.state != "driving", 10, "the arm never moved")
        assert self.driver.state == "driving", self.driver.status().reason

    def speed(self):
        last = [frame.data[:6] for frame in self.sent[-2:]]
        return float(np.abs(last[-1] - last[0]).max() * HZ) if len(last) == 2 else 0.0

    def held_after(self, failed_ns):
        """Ticks under the policy after ``failed_ns``; waits for the hold."""
        until(lambda: self.driver.state in ("holding", "stopped"), 6, "it drives on")
        time.sleep(0.15)
        codes = [(frame.t_host_ns, float(frame.data[0])) for frame in self.authority]
        return sum(1 for t_ns, code in codes if t_ns > failed_ns and code == 2.0)

    def close(self):
        self._stop.set()
        self._thread.join()
        self.control.close()
        self.follow()
        for ring in (*self._rings.values(), *self.pictures.values(), self.chunks):
            ring.close()

    def judge(self):
        joints = np.array([frame.data[:6] for frame in self.sent], float)
        kinematics = arm_kinematics()
        assert broken(joints, DEFAULT_LIMITS, 1 / HZ, kinematics.path(joints, False)[0], None, ROUNDING) == {}


@pytest.fixture
def cockpit(world, tmp_path):
    made = Cockpit(world, tmp_path)
    yield made
    made.close()


def test_a_world_that_stands_still_is_a_stale_state(cockpit, world):
    cockpit.drive()
    os.kill(world.pid, signal.SIGSTOP)
    try:
        until(lambda: cockpit.driver.state == "holding", 4, "it drives on blindly")
        assert "too old" in cockpit.driver.status().reason
        time.sleep(0.2)
        assert cockpit.driver.at_rest
    finally:
        os.kill(world.pid, signal.SIGCONT)
    limit_ns = DEFAULT_LIMITS.state_age_s * 1e9
    blind = [f.t_host_ns for f in cockpit.states if f.t_host_ns - f.t_device_ns > limit_ns]
    assert cockpit.held_after(blind[0] - 1) <= 2
    time.sleep(0.3)
    assert cockpit.driver.state == "holding", "it went on by itself"
    cockpit.judge()


def test_one_unplugged_camera_of_two_holds_a_policy(cockpit):
    cockpit.drive()
    cockpit.unplugged.add("wrist")
    last_ns = cockpit.pictures["wrist"].newest_host_ns()
    assert cockpit.held_after(last_ns + PICTURE_AGE_S * 1e9) <= 2
    assert "picture" in cockpit.driver.status().reason
    cockpit.judge()


def test_a_silent_window_holds_an_operator_too(cockpit):
    """The window hangs with a key held down: the arm does not follow the key for ever."""
    cockpit.control.handlers()["ready"]()
    cockpit.control.operate("keyboard", {"speed_m_s": 0.02})
    cockpit.control.set_keys(frozenset({"d"}))
    until(lambda: cockpit.speed() > 0.01, 5, "the arm never moved")
    cockpit.beating = False
    silent_ns = time.monotonic_ns()
    until(lambda: cockpit.driver.state == "holding", HEARTBEAT_S + 2, "it follows a dead window")
    assert time.monotonic_ns() - silent_ns < (HEARTBEAT_S + 0.4) * 1e9
    assert "window" in cockpit.driver.status().reason
    cockpit.judge()


class DelayedArm:
    """The simulated arm over a link that takes a while in both directions once ``delay_s`` is set."""

    def __init__(self, arm) -> None:
        self._arm, self.delay_s = arm, 0.0
        self._seen, self._waiting = deque(), deque()

    def __getattr__(self, name):
        return getattr(self._arm, name)

    def read(self):
        now_ns = time.monotonic_ns()
        self._seen.append(self._arm.read())
        while self._waiting and self._waiting[0][0] <= now_ns:
            self._arm.send(self._waiting.popleft()[1])
        old = [state for state in self._seen if state.t_host_ns <= now_ns - self.delay_s * 1e9]
        return old[-1] if old else self._seen[0]

    def send(self, command):
        self._waiting.append((time.monotonic_ns() + self.delay_s * 1e9, command))


def test_an_arm_link_delayed_by_200_ms_holds(world, tmp_path):
    world.reset(TASK, 1)
    arm = DelayedArm(ARMS.build("simulated", address=world.address))
    arm.connect()
    rings = {s.name: Ring.create(tmp_path / s.name, s, 512) for s in arm_streams(6, HZ)}
    driver = Driver(arm, DEFAULT_LIMITS, rings, MonotonicClock(), 1 / HZ)
    driver.ready()

    def swing():
        state = arm.read()
        targets = np.tile(pose_target(state.pose, 1.0), (8, 1))
        targets[:, 1] += 0.05
        return ActionChunk(time.monotonic_ns(), 0.1, targets, "m")

    driver.drive(swing)
    pacer, sick = Pacer(HZ), 0
    for tick in range(200):
        pacer.wait()
        if tick == 80:
            arm.delay_s = DEFAULT_LIMITS.state_age_s + 0.002
        driver.tick()
        sick += tick >= 80 and driver.state == "driving"
    assert driver.state == "holding" and "too old" in driver.status().reason
    assert sick <= 2
    sent = np.array([rings["action"].read(i).data[:6] for i in range(rings["action"].written)], float)
    assert broken(sent, DEFAULT_LIMITS, 1 / HZ, arm_kinematics().path(sent, False)[0], None, ROUNDING) == {}
    arm.close()
    for ring in rings.values():
        ring.close()


WINDOW = """
import sys, time
from pathlib import Path
from workbench.services.hosting import Host
from workbench.services.settings import ArmSettings, simulated_settings
if __name__ == "__main__":
    address, folder, home = sys.argv[1:]
    arm = ArmSettings(kind="simulated", options={"address": address})
    settings = simulated_settings().model_copy(update={"arm": arm, "cameras": ()})
    plain = {"settings": settings.plain(), "folder": folder, "home": home}
    child = Host().start("arm", "tests.services.listening_arm:main", **plain)
    child.call("ready", timeout_s=60)
    print(*child.call("modules"), flush=True)
    child.call("operate", kind="keyboard", options={"speed_m_s": 0.03})
    child.call("set_keys", keys=frozenset({"a"}))
    while True:
        child.call("beat")
        time.sleep(0.1)
"""


def test_a_killed_window_leaves_a_held_arm_whose_process_never_knew_torch(world, tmp_path):
    """The real arm process under a program that dies by SIGKILL while the arm moves: braked, held, gone."""
    world.reset(TASK, 1)
    (tmp_path / "window.py").write_text(WINDOW)
    window = subprocess.Popen(
        [sys.executable, str(tmp_path / "window.py"), world.address, str(tmp_path), str(tmp_path)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    try:
        modules = set(window.stdout.readline().split())
        assert "workbench.services.control" in modules and "mink" in modules
        assert not {"torch", "zarr", "zarr.core", "PyQt6", "sqlalchemy"} & modules
        start = world.arm_state().pose.position_m.copy()
        until(lambda: np.linalg.norm(world.arm_state().pose.position_m - start) > 0.01, 10, "the arm never moved")
        action = Ring.attach(ring_path(tmp_path, "action"))
        children = psutil.Process(window.pid).children(recursive=True)
    finally:
        window.kill()
        window.wait()
        window.stdout.close()
    until(lambda: world.arm_state().mode == "hold", 2, "the arm still follows its last command")
    until(lambda: not [c for c in children if c.is_running() and c.status() != "zombie"], 10, "a process was left")
    place = world.arm_state().joints_rad.copy()
    time.sleep(0.3)
    assert np.abs(world.arm_state().joints_rad - place).max() < 1e-3
    kept = [action.read(i) for i in range(max(0, action.written - action.slots + 1), action.written)]
    joints = np.array([frame.data[:6] for frame in kept if frame], float)
    assert len(joints) > 20
    assert broken(joints, DEFAULT_LIMITS, 1 / HZ, arm_kinematics().path(joints, False)[0], None, ROUNDING) == {}
    assert np.abs(joints[-1] - joints[-2]).max() < 1e-6, "it was let go while still moving"
    action.close()


def test_a_stop_outlives_the_program_until_a_person_clears_it(world, tmp_path):
    stops = StopLog(tmp_path)
    first = Cockpit(world, tmp_path / "one", stops)
    first.drive()
    first.control.handlers()["stop_arm"](reason="the operator pressed stop")
    first.close()
    second = Cockpit(world, tmp_path / "two", stops)
    try:
        status = second.control.status()
        assert status.state == "stopped" and status.latched and "pressed stop" in status.reason
        with pytest.raises(StateError):
            second.control.handlers()["ready"]()
        second.control.handlers()["clear_stop"](operator="Ada")
        assert second.driver.state == "parked"
        assert [e.operator for e in second.events if isinstance(e, StopCleared)] == ["Ada"]
        assert [(e.what, e.operator) for e in stops.entries()] == [("stopped", ""), ("cleared", "Ada")]
    finally:
        second.close()
    assert stops.open_stop() is None
    assert any(isinstance(e, DriverChanged) and e.state == "stopped" for e in first.events)
    first.judge()


def test_a_record_of_stops_cut_short_by_a_crash_is_a_stop(tmp_path):
    stops = StopLog(tmp_path)
    assert stops.open_stop() is None
    stops.stopped("a")
    stops.cleared("Ada")
    with (tmp_path / "stops.jsonl").open("a") as file:
        file.write('{"what": "stop')
    assert stops.open_stop() is not None
    stops.cleared("Ada")
    assert stops.open_stop() is None
