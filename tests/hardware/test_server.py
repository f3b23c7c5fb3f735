"""The simulated station in real time: honest sequences, words for those who hold the key, nothing left behind."""

from __future__ import annotations

import os
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import numpy as np
import pytest

from hardware.arm import ARMS
from hardware.camera import CAMERAS
from hardware.sim.remote import KEY_FILE, SOCKET, RemoteStation
from hardware.sim.render import SceneRenderer
from hardware.teleops.scripted import Config as ScriptConfig
from hardware.teleops.scripted import ScriptedTeleop
from workbench.core.errors import DeviceError, NotFoundError, WorkbenchError
from workbench.core.ring import runtime_directory
from workbench.core.types import ArmCommand
from workbench.services.hosting import Host

FRONT = {"camera": "front", "width": 64, "height": 48, "rate_hz": 20.0, "depth": True}
WRIST = {"camera": "wrist", "width": 64, "height": 48, "rate_hz": 20.0, "depth": False}
TASK = "blue_cylinder_to_cyan_tray"


@pytest.fixture(scope="module")
def folder():
    path = runtime_directory() / f"{os.getpid()}-test-sim"
    with Host(threads=True) as host:
        child = host.start("sim", "hardware.sim.server:main", folder=str(path), seed=0, cameras=[FRONT, WRIST])
        assert child.call("ready", timeout_s=120)
        yield path
    assert list(path.iterdir()) == [], "rings, socket and key must be gone"
    path.rmdir()


@pytest.fixture
def station(folder):
    station = RemoteStation(folder)
    station.reset(TASK, 3)
    yield station
    station.close()


def camera(folder, entry):
    return CAMERAS.build("simulated", name=entry["camera"], address=str(folder), **entry)


def wait_until(condition, most_s=60.0):
    until = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_all_cameras_show_the_same_instants_also_when_one_is_slow_to_draw(folder, station, monkeypatch):
    """Then what a policy sees is never torn apart by the time that drawing takes."""
    draw = SceneRenderer.render

    def slowly(self, snapshot):
        if self.depth:
            time.sleep(0.12)  # longer than two periods
        return draw(self, snapshot)

    monkeypatch.setattr(SceneRenderer, "render", slowly)
    cameras = [camera(folder, entry) for entry in (FRONT, WRIST)]
    try:
        for one in cameras:
            one.open()
        times = [{shot.t_host_ns for shot in (one.read(2.0) for _ in range(8)) if shot is not None} for one in cameras]
    finally:
        for one in cameras:
            one.close()
    front, wrist = times
    both = front & wrist
    first, last = max(min(front), min(wrist)), min(max(front), max(wrist))
    assert len(both) >= 3 and {t for t in front | wrist if first <= t <= last} == both


def test_sequence_numbers_count_the_exposures_that_should_have_happened(folder, station):
    one = camera(folder, FRONT)
    info = one.open()
    assert info.clock_domain == "system" and info.pose is not None
    shots = []
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        shot = one.read(0.5)
        if shot is not None:
            shots.append(shot)
    one.close()
    sequences = np.array([shot.sequence for shot in shots])
    times = np.array([shot.t_host_ns for shot in shots]) / 1e9
    assert len(shots) >= 3 and np.all(np.diff(sequences) >= 1)
    expected = (times - times[0]) * FRONT["rate_hz"]
    assert np.max(np.abs(sequences - sequences[0] - expected)) < 1.001
    assert {name: image.shape for name, image in shots[0].images.items()} == {
        "observation.images.front": (48, 64, 3),
        "observation.depth.front": (48, 64),
    }


def test_the_arm_follows_expires_and_reports_in_real_time(folder, station):
    arm = ARMS.build("simulated", address=str(folder))
    arm.connect()
    wait_until(lambda: np.max(np.abs(arm.read().velocities_rad_s)) < 1e-3)
    before = arm.read()
    assert before.mode == "hold" and abs(time.monotonic_ns() - before.t_host_ns) < 3e9
    target = before.joints_rad + np.array([0.1, 0, 0, 0, 0, 0])

    def push():
        arm.send(ArmCommand(target, 1.0, time.monotonic_ns() + 500_000_000))
        return abs(arm.read().joints_rad[0] - target[0]) < 0.005

    wait_until(push)
    wait_until(lambda: arm.read().mode == "hold")
    arm.close()


def test_the_operator_sees_the_scene_and_the_hand_does_its_task(folder, station):
    wait_until(lambda: "blue_cylinder" in station.scene())
    asked, seen = station.ask("scene"), station.scene()
    assert asked.keys() == seen.keys()
    arm = ARMS.build("simulated", address=str(folder))
    arm.connect()
    teleop = ScriptedTeleop(ScriptConfig(address=str(folder), task=TASK, seed=1))
    teleop.open()
    action = teleop.read(arm.read(), time.monotonic_ns(), 0.02)
    assert action is not None and np.linalg.norm(action.linear_m) > 0
    teleop.close()
    arm.close()
    station.reset(TASK, 5, actor="human")
    assert station.ask("actor") == "human" and not station.succeeded(TASK)
    station.start_hand(TASK, 5)
    wait_until(station.hand_done)
    wait_until(lambda: station.succeeded(TASK), 10.0)
    times, poses = station.hand_truth()
    assert poses.shape == (len(times), 8) and len(times) > 5 and np.all(np.diff(times) > 0)


def test_errors_come_back_as_sentences(station):
    with pytest.raises(WorkbenchError, match="blue_cylinder_to_cyan_tray"):
        station.reset("blue_cylinder_to_cyan_tra", 0)
    with pytest.raises(WorkbenchError, match="does not know"):
        station.ask("world")
    assert issubclass(NotFoundError, WorkbenchError)


def test_a_camera_that_is_not_there_is_refused(folder, station):
    with pytest.raises(DeviceError, match="Restart the station"):
        camera(folder, {**FRONT, "width": 320}).open()


def test_strangers_are_turned_away_and_the_key_is_private(folder, station):
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client(str(folder / SOCKET), "AF_UNIX", authkey=b"guess")
    assert station.succeeded(TASK) is False, "the station still answers"


def test_two_stations_in_two_threads_do_not_mix_answers(folder):
    wrong = []

    def ask(word, expected):
        station = RemoteStation(folder)
        for _ in range(20):
            if not isinstance(station.ask(word, **({"task": TASK} if word == "succeeded" else {})), expected):
                wrong.append(word)
        station.close()

    threads = [threading.Thread(target=ask, args=pair) for pair in (("succeeded", bool), ("scene", dict))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_a_camera_that_cannot_draw_is_reported_when_asked_ready(tmp_path):
    with Host(threads=True) as host:
        entry = {**FRONT, "camera": "side"}
        child = host.start("sim", "hardware.sim.server:main", folder=str(tmp_path / "s"), seed=0, cameras=[entry])
        with pytest.raises(WorkbenchError, match="cannot draw"):
            child.call("ready", timeout_s=60)
    assert list((tmp_path / "s").iterdir()) == []
