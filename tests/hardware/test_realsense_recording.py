"""RealSense recordings made and played by the real library, and a whole take over an unplugged camera."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyrealsense2")

from hardware import realsense_library
from hardware.camera import CAMERAS
from storage.episode import Episode
from storage.layout import Home
from tests.emulators.realsense_device import Bus, Model, intrinsics
from workbench.core.errors import DeviceError
from workbench.services import capture
from workbench.services.capture import Capture
from workbench.services.settings import CameraSettings, Settings

COLOR, DEPTH, WORDS = "observation.images.front", "observation.depth.front", "camera.front.metadata"
SIZE = (48, 64)


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 65535, SIZE).astype(np.uint16)


def colour(number: int) -> np.ndarray:
    return np.random.default_rng(-number % 2**32).integers(0, 255, (*SIZE, 3)).astype(np.uint8)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    lens = intrinsics(64, 48, 61.5, 31.0, 25.0)
    with Bus(Model(serial="987", color_eye=lens, baseline_m=(0.015, 0.0, 0.0))) as made:
        made.color, made.depth = colour, noise
        monkeypatch.setattr(realsense_library, "open_context", made.open_context)
        yield made


@pytest.fixture
def recording(bus: Bus, tmp_path: Path) -> tuple[Path, list[int]]:
    """A .db3 file written by the plug-in itself: seven exposures, the third without depth, one number missing."""
    path = tmp_path / "bench.db3"
    camera = build(record_to=str(path), align_depth=False)
    camera.open()
    bus.hold()
    while camera.read(0.2) is not None:
        pass
    bus.said = {"actual_exposure": 42}
    numbers = []
    for k in range(7):
        numbers.append(bus.expose(depth=k != 2, skip=int(k == 5)))
        camera.read(0.5)
        time.sleep(0.02)
    camera.close()
    return path, numbers


def build(**values):
    values = {"width": 64, "height": 48, "warm_up_s": 0.0, **values}
    return CAMERAS.build("realsense", **values)


def everything(camera, limit_s: float = 5.0):
    """All shots until nothing comes for 0.4 s."""
    shots, end = [], time.monotonic() + limit_s
    while time.monotonic() < end and (shot := camera.read(0.4)) is not None:
        shots.append(shot)
    return shots


def test_a_recording_plays_back_bit_equal_with_numbers_times_gaps_and_lenses(bus, recording):
    path, numbers = recording
    bus.unplug()  # a recording needs no camera
    camera = build(recording=str(path), loop=False, align_depth=False, serial="987")
    info = camera.open()
    shots = [shot for shot in everything(camera) if shot.sequence >= numbers[0]]
    assert camera.read(0.05) is None  # the end, for as long as one asks
    camera.close()
    assert [shot.sequence for shot in shots] == numbers
    for k, shot in enumerate(shots):
        assert np.array_equal(shot.images[COLOR], colour(shot.sequence))
        assert (DEPTH in shot.images) == (k != 2)
        if k != 2:
            assert np.array_equal(shot.images[DEPTH], noise(shot.sequence))
            assert shot.stamps[DEPTH].sequence == shot.sequence
        assert shot.t_device_ns == pytest.approx((1000 + shot.sequence * 1000 / 30) * 1e6, abs=1000)
        assert shot.images[WORDS][0] == 4200 and shot.images[WORDS][3] in (42, pytest.approx(np.nan, nan_ok=True))
    assert info.serial == "987" and info.clock_domain == "hardware"
    lens = info.intrinsics["color"]
    assert (lens["fx"], lens["cx"], lens["cy"]) == (61.5, 31.0, 25.0)
    assert info.extrinsics["depth_to_color"]["translation_m"] == pytest.approx([0.015, 0, 0])


def test_a_recording_takes_as_long_as_it_took_and_loops_on(recording):
    path, numbers = recording
    camera = build(recording=str(path), align_depth=False)
    camera.open()
    shots, end = [], time.monotonic() + 6
    while (len(shots) < 3 or shots[-1].sequence < 2 * numbers[-1]) and time.monotonic() < end:
        shot = camera.read(0.5)
        if shot is not None:
            shots.append(shot)
    camera.close()
    sequences = [shot.sequence for shot in shots]
    assert sequences == sorted(set(sequences)) and sequences[-1] >= 2 * numbers[-1]
    assert all(b.t_device_ns > a.t_device_ns for a, b in itertools.pairwise(shots))
    again = {shot.sequence: shot for shot in shots}[numbers[0] + numbers[-1] - sequences[0] + 1]
    assert np.array_equal(again.images[COLOR], colour(numbers[0]))


def test_a_recording_is_never_written_over(bus, tmp_path):
    path = tmp_path / "new folder" / "a.db3"
    for _ in range(2):
        camera = build(record_to=str(path))
        camera.open()
        camera.read(1.0)
        camera.close()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["a-2.db3", "a.db3"]
    with pytest.raises(DeviceError, match=r"not a .db3 file"):
        build(record_to=str(tmp_path / "a.bag")).open()


def test_recordings_that_cannot_be_played_are_said(bus, recording, tmp_path):
    (tmp_path / "broken.db3").write_bytes(b"this is no database" * 100)
    for values, words in (
        ({"recording": str(tmp_path / "none.db3")}, "there is no recording"),
        ({"recording": str(tmp_path / "broken.db3")}, "cannot be played"),
        ({"recording": str(recording[0]), "width": 640}, "nearest: 64x48"),
    ):
        with pytest.raises(DeviceError, match=words):
            build(**values).open()


def test_a_take_goes_on_over_lost_depth_and_an_unplugged_camera(bus, tmp_path, monkeypatch):
    """Camera thread, rings, recorder and disk as they are; gaps per stream, depth bit-equal, the outage told."""
    monkeypatch.setattr(capture, "_RETRY_S", 0.05)
    options = {"serial": "987", "width": 64, "height": 48, "warm_up_s": 0.0, "align_depth": False}
    settings = Settings(cameras=(CameraSettings(name="front", kind="realsense", options=options),))
    home = Home.open(tmp_path / "home")
    folder = tmp_path / "run"
    folder.mkdir()
    taken = Capture(home, settings, folder, lambda _: None, sync=False)
    try:
        (thread,) = taken.cameras
        wait_for(lambda: thread.rings[DEPTH.replace("depth", "images")].written > 3)
        bus.hold()
        time.sleep(0.2)
        episode_id = taken.start_take("task", "human", "do it", [])
        begun = bus.number
        bus.expose()
        bus.expose(depth=False)
        bus.expose(skip=2)
        wait_for(lambda: taken.recorder.status().items.get(COLOR) == 3)
        bus.unplug()
        wait_for(lambda: thread.status().state == "offline")
        bus.plug()
        bus.go_on()
        wait_for(lambda: thread.status().state == "live" and taken.recorder.status().items[COLOR] > 6)
        taken.stop_take()
    finally:
        taken.close()
    episode = Episode.open(home, episode_id)
    manifest = episode.manifest
    gaps = {name: manifest.gap_positions[name] for name in (COLOR, DEPTH, WORDS)}
    assert gaps[COLOR][0] == (2, 2) and gaps[DEPTH][0] == (1, 3)
    (at, missing), device, host = gaps[COLOR][1], *episode.times(COLOR)
    assert at == 3 and missing == round((host[3] - host[2]) * 30 / 1e9) - 1 > 10
    assert gaps[WORDS] == gaps[COLOR] and len(gaps[DEPTH]) == 2
    depth = [episode.read(DEPTH, index) for index in range(2)]
    assert np.array_equal(depth[0], noise(begun + 1)) and np.array_equal(depth[1], noise(begun + 5))
    assert episode.vectors(WORDS).shape == (manifest.counts[COLOR], 10)
    said = [note["what"] for note in manifest.extra["camera_notes"]["front"]]
    assert any("unplugged" in what for what in said) and said[-1] == "it delivers again"
    assert manifest.devices["front"]["serial"] == "987" and manifest.devices["front"]["usb"] == "3.2"
    assert device[3] < device[2]  # its clock began anew; recorded as it is


def wait_for(condition, timeout_s: float = 15.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)
