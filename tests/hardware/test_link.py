"""The lockstep station: exposures wake cameras, commands expire, closing wakes everyone."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from hardware.arm import ARMS
from hardware.camera import CAMERAS
from hardware.sim.link import LocalStation, find
from hardware.sim.world import World
from workbench.core.clock import LockstepClock
from workbench.core.errors import DeviceError
from workbench.core.types import ArmCommand

WORLD = []


@pytest.fixture
def station():
    if not WORLD:
        WORLD.append(World())
    WORLD[0].reset("red_cube_to_white_plate", 0)
    station = LocalStation(WORLD[0], LockstepClock(10**9))
    yield station
    station.close()


def camera(station, name="front", depth=False):
    return CAMERAS.build(
        "simulated", name=name, address=station.address, camera=name, width=64, height=48, rate_hz=10.0, depth=depth
    )


def step(station, seconds):
    station.world.step(seconds)
    station.clock.advance_ns(round(seconds * 1e9))


def test_every_camera_gets_every_exposure_with_the_simulated_time(station):
    cameras = [camera(station, "front", depth=True), camera(station, "wrist")]
    for one in cameras:
        info = one.open()
        assert info.clock_domain == "simulated" and info.intrinsics["color"]["width"] == 64
    times = []
    for _ in range(3):
        step(station, 0.1)
        times.append(station.clock.now_ns())
        station.expose()
    for one in cameras:
        shots = [one.read(5.0) for _ in range(3)]
        assert [shot.sequence for shot in shots] == [0, 1, 2]
        assert [shot.t_device_ns for shot in shots] == times == [shot.t_host_ns for shot in shots]
        assert [set(shot.images) for shot in shots] == [{spec.name for spec in one.streams}] * 3
        assert one.read(0.01) is None
        one.close()


def test_a_reader_that_falls_behind_sees_a_gap_not_a_lie(station):
    one = camera(station)
    one.open()
    for _ in range(30):
        station.expose()
    sequences = []
    while (shot := one.read(0.01)) is not None:
        sequences.append(shot.sequence)
    assert sequences == list(range(sequences[0], 30)) and sequences[0] > 0
    one.close()


def test_closing_the_station_wakes_a_waiting_reader_with_an_error(station):
    errors, opened = [], threading.Event()

    def wait():
        one = camera(station)
        one.open()
        opened.set()
        try:
            one.read(30.0)
        except DeviceError as error:
            errors.append(error)
        one.close()

    thread = threading.Thread(target=wait)
    thread.start()
    assert opened.wait(30)
    time.sleep(0.02)
    station.close()
    thread.join(10)
    assert not thread.is_alive() and len(errors) == 1
    with pytest.raises(DeviceError, match="no simulated station"):
        find(station.address)


def test_the_arm_follows_a_command_until_it_expires_and_then_holds(station):
    arm = ARMS.build("simulated", address=station.address)
    arm.connect()
    target = arm.read().joints_rad + np.array([0.3, 0, 0, 0, 0, 0])
    arm.send(ArmCommand(target, 1.0, station.clock.now_ns() + 60_000_000))
    for _ in range(3):
        step(station, 0.02)
    moving = arm.read()
    assert 0.01 < moving.joints_rad[0] - (target[0] - 0.3) < 0.28
    for _ in range(60):
        step(station, 0.02)
        state = arm.read()
    assert target[0] - state.joints_rad[0] > 0.05 and abs(state.velocities_rad_s[0]) < 1e-3
    assert state.t_host_ns == station.clock.now_ns()
    arm.send(ArmCommand(target, 1.0, station.clock.now_ns() - 1))
    step(station, 0.5)
    assert target[0] - arm.read().joints_rad[0] > 0.05, "an expired command must not move the arm"
    arm.close()


def test_commands_that_are_not_numbers_never_reach_the_arm(station):
    arm = ARMS.build("simulated", address=station.address)
    arm.connect()
    with pytest.raises(DeviceError, match="not finite"):
        arm.send(ArmCommand(np.full(6, np.nan), 1.0, 10**18))
    arm.close()
    with pytest.raises(DeviceError, match="not connected"):
        arm.read()


def test_a_folder_without_a_station_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(DeviceError, match="Start the station first"):
        find(str(tmp_path))
