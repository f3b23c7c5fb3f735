"""Camera threads: gaps per stream, restarts, outages that are told with the take."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.camera import CAMERAS, CameraInfo, CameraShot, Stamp
from workbench.core.errors import DeviceError
from workbench.core.types import StreamSpec
from workbench.services import capture
from workbench.services.capture import CameraThread
from workbench.services.gaps import GapCounter

COLOR = StreamSpec("observation.images.front", (4, 6, 3), "uint8", rate_hz=10.0)
DEPTH = StreamSpec("observation.depth.front", (4, 6), "uint16", "mm", 10.0)
TENTH_NS = 100_000_000


class ScriptedCamera:
    """Delivers what the test puts in; an exception put in is raised, as by a camera that went away."""

    streams = (COLOR, DEPTH)

    def __init__(self) -> None:
        self.shots: queue.Queue[CameraShot | Exception] = queue.Queue()
        self.opened = 0

    def open(self) -> CameraInfo:
        self.opened += 1
        return CameraInfo("scripted", "1", "hardware", warnings=("USB 2.1",))

    def read(self, timeout_s: float) -> CameraShot | None:
        try:
            shot = self.shots.get(timeout=0.01)
        except queue.Empty:
            return None
        if isinstance(shot, Exception):
            raise shot
        return shot

    def close(self) -> None:
        pass

    def put(self, sequence: int, t_host_ns: int, depth: int | None = None, note: str = "") -> None:
        images = {COLOR.name: np.full(COLOR.shape, sequence % 250, np.uint8)}
        stamps = {}
        if depth is not None:
            images[DEPTH.name] = np.full(DEPTH.shape, depth, np.uint16)
            stamps[DEPTH.name] = Stamp(depth, 7 * depth, t_host_ns + 3)
        self.shots.put(CameraShot(sequence, sequence, t_host_ns, images, stamps, note))


@pytest.fixture
def camera() -> ScriptedCamera:
    return ScriptedCamera()


@pytest.fixture
def thread(camera: ScriptedCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CameraThread]:
    monkeypatch.setattr(capture, "_RETRY_S", 0.01)
    made = CameraThread("front", camera, tmp_path)
    made.start()
    yield made
    made.close()


def written(thread: CameraThread, stream: StreamSpec, count: int) -> list[tuple[int, int]]:
    """(sequence, gap before) of the first ``count`` items of a stream."""
    ring = thread.rings[stream.name]
    end = time.monotonic() + 5
    while ring.written < count:
        assert time.monotonic() < end, f"only {ring.written} of {count} came"
        time.sleep(0.002)
    frames = [ring.read(index) for index in range(count)]
    return [(frame.sequence, frame.gap_before) for frame in frames if frame]


def test_a_missing_depth_picture_is_a_gap_of_depth_alone(camera: ScriptedCamera, thread: CameraThread) -> None:
    camera.put(5, TENTH_NS, depth=100)
    camera.put(6, 2 * TENTH_NS)
    camera.put(7, 3 * TENTH_NS, depth=102)
    camera.put(10, 6 * TENTH_NS, depth=105)
    assert written(thread, COLOR, 4) == [(5, 0), (6, 0), (7, 0), (10, 2)]
    assert written(thread, DEPTH, 3) == [(100, 0), (102, 1), (105, 2)]
    depth = thread.rings[DEPTH.name].read(1)
    assert depth is not None and (depth.t_device_ns, depth.t_host_ns) == (7 * 102, 3 * TENTH_NS + 3)
    assert thread.status().drops == 3


def test_the_temperature_a_camera_tells_is_in_its_status_while_it_delivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyrealsense2")
    from hardware import realsense_library
    from tests.emulators.realsense_device import Bus, Model

    with Bus(Model()) as bus:
        monkeypatch.setattr(realsense_library, "open_context", bus.open_context)
        camera = CAMERAS.build("realsense", name="front", serial="SIM1", width=64, height=48, warm_up_s=0.0)
        thread = CameraThread("front", camera, tmp_path)
        assert thread.status().temperature_c is None
        thread.start()
        try:
            wait_for(lambda: thread.status().state == "live")
            assert thread.status().temperature_c is None, "none was said"
            bus.said = {"temperature": 47}
            wait_for(lambda: thread.status().temperature_c == 47.0)
            bus.unplug()
            wait_for(lambda: thread.status().temperature_c is None)
        finally:
            thread.close()


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("first_after", [0, 8, 500])
def test_numbers_that_begin_anew_after_an_unplug_leave_a_gap_of_the_time_that_passed(
    camera: ScriptedCamera, thread: CameraThread, first_after: int
) -> None:
    """Whatever the first number after the restart is, even one that looks like the next or like a huge jump."""
    camera.put(7, 10 * TENTH_NS)
    camera.shots.put(DeviceError("it was unplugged", "Plug it in"))
    camera.put(first_after, 25 * TENTH_NS)
    camera.put(first_after + 1, 26 * TENTH_NS)
    assert written(thread, COLOR, 3) == [(7, 0), (first_after, 14), (first_after + 1, 0)]
    assert camera.opened == 2


def test_outages_returns_and_changes_of_the_clock_are_told(camera: ScriptedCamera, thread: CameraThread) -> None:
    before_ns = time.monotonic_ns()
    camera.put(1, TENTH_NS)
    camera.shots.put(DeviceError("it was unplugged", "Plug it in"))
    camera.put(1, 2 * TENTH_NS, note="the clock changed")
    written(thread, COLOR, 2)
    said = [entry["what"] for entry in thread.notes_since(before_ns)]
    assert said == ["it was unplugged. Plug it in.", "it delivers again", "the clock changed"]
    assert thread.notes_since(time.monotonic_ns()) == []
    status = thread.status()
    assert status.error == "" and status.warnings == ("USB 2.1",)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 2**40))
def test_jumps_of_the_number_are_counted_exactly_whatever_the_times(skips: list[int], start: int) -> None:
    gaps = GapCounter(30.0)
    number, found = start, [gaps.gap_before(start, 0)]
    for at, skip in enumerate(skips):
        number += 1 + skip
        found.append(gaps.gap_before(number, (at * 7919) % 1000))
    assert found == [0, *skips]


@given(st.integers(0, 10_000), st.integers(0, 300), st.booleans())
def test_after_a_restart_time_says_how_many_are_missing_and_never_less_than_none(
    number: int, periods: int, reopened: bool
) -> None:
    gaps = GapCounter(10.0)
    gaps.gap_before(10_000, 0)
    if reopened:
        gaps.restarted()
    assert gaps.gap_before(number, periods * TENTH_NS) == max(0, periods - 1)
    assert gaps.gap_before(number + 1, (periods + 1) * TENTH_NS) == 0
