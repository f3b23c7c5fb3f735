"""Devices through the whole path: hand, device, driver, guard, simulated arm; a device's words and its buttons."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import numpy as np

from hardware.sim.tasks import DEMONSTRATED
from storage.episode import Episode
from tests.emulators.headset import HeadsetClient
from tests.emulators.joystick import VirtualGamepad
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.settings import TeleopSettings, simulated_settings
from workbench.services.station import Station

SPEED_M_S = 0.15


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def running(folder, kind, **options):
    """The simulated station without cameras, its device, and where its tool is."""
    teleop = TeleopSettings(kind=kind, options={"speed_m_s": SPEED_M_S, **options})
    station = Station(folder, simulated_settings().model_copy(update={"teleop": teleop, "cameras": ()}), threads=True)
    station.start()
    try:
        until(lambda: station.latest("observation.state") is not None)
        until(lambda: station.status().driver.state == "parked")
        station.operate()
        yield station
    finally:
        station.close()


def tool(station):
    names = station.streams["observation.state"].axes
    return station.latest("observation.state").data[[names.index(f"ee.{axis}") for axis in "xyz"]]


def check(station, hold, release):
    """Hold for two seconds with "to the left" wanted: the arm goes left at the pace; released, it stays."""
    start, started_s = tool(station), time.monotonic()
    hold()
    until(lambda: np.linalg.norm(tool(station) - start) > 0.01)
    time.sleep(max(0.0, started_s + 2.0 - time.monotonic()))
    moved, spent_s = tool(station) - start, time.monotonic() - started_s
    release()
    assert moved[1] > 0.1 and moved[1] < SPEED_M_S * spent_s + 0.01
    assert abs(moved[0]) < 0.02 and abs(moved[2]) < 0.02
    time.sleep(0.5)
    rest = tool(station)
    time.sleep(0.5)
    assert np.linalg.norm(tool(station) - rest) < 1e-3
    assert np.linalg.norm(rest - start - moved) < 0.03, "it brakes, it does not catch up"


def test_a_gamepad_drives_the_arm_judges_a_take_and_is_taken_up_again(tmp_path):
    pad = VirtualGamepad()
    try:
        with running(tmp_path, "gamepad") as station:
            until(lambda: "hold the button" in station.status().driver.device)

            def hold():
                pad.axis("leftx", -1.0)
                pad.button("leftshoulder", True)

            episode_id = station.start_take(DEMONSTRATED[0], EpisodeKind.TELEOP)
            check(station, hold, lambda: pad.button("leftshoulder", False))
            pad.button("start", True)
            until(lambda: not station.status().recorder.episode_id)
            assert Episode.open(station.home, episode_id).manifest.outcome == Outcome.SUCCESS
            station.hold()
            pad.button("leftshoulder", True)
            time.sleep(0.5)
            station.operate()
            start = tool(station)
            time.sleep(0.4)
            assert np.linalg.norm(tool(station) - start) < 2e-3, "held all the while: it must be let go first"
            pad.button("leftshoulder", False)
            until(lambda: "hold the button" in station.status().driver.device)
            pad.button("leftshoulder", True)
            until(lambda: tool(station)[1] - start[1] > 0.01)
            pad.unplug()
            until(lambda: "unplugged" in station.status().driver.device)
            rest = tool(station)
            time.sleep(0.3)
            assert np.linalg.norm(tool(station) - rest) < 2e-3
    finally:
        pad.close()


def test_a_headset_drives_the_arm_and_its_page_lives_on_between_take_overs(tmp_path):
    with running(tmp_path, "webxr", port=0, certificate_folder=str(tmp_path / "certificate")) as station:
        until(lambda: "https://" in station.status().driver.device)
        url = station.status().driver.device.split()[1]
        client, ended = HeadsetClient(url), threading.Event()
        wanted = {"held": False, "left_m": 0.0}

        def talk():
            while not ended.wait(0.015):
                if wanted["held"]:
                    wanted["left_m"] += 1.2 * SPEED_M_S * 0.015  # a little faster than the arm may go
                client.place(wanted["held"], (-wanted["left_m"], 1.5, 0))

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            until(lambda: station.status().driver.device == "hold to move")
            check(station, lambda: wanted.update(held=True), lambda: wanted.update(held=False))
            station.hold()
            station.operate()
            assert station.status().driver.device == "hold to move", "the page and its token are still the same"
            start = tool(station)
            wanted.update(held=True)
            until(lambda: tool(station)[1] - start[1] > 0.02)
        finally:
            ended.set()
            thread.join()
        client.drop()
        time.sleep(0.4)
        rest = tool(station)
        time.sleep(0.3)
        assert np.linalg.norm(tool(station) - rest) < 1e-3
