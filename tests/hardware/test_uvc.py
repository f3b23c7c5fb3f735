"""Webcams as far as they go without one: the search, the refusals, the reader on films, the kernel's control calls."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import v4l2
from hardware.camera import CAMERAS
from hardware.cameras.uvc import _Count
from storage.videos import write_video
from workbench.core.errors import DeviceError, WorkbenchError

NAME = "observation.images.front"


@pytest.fixture
def attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders as udev makes them: two webcams (one without a serial number), one RealSense, one metadata node each."""
    nodes, by_id, by_path, names = (tmp_path / name for name in ("dev", "by-id", "by-path", "names"))
    for folder in (nodes, by_id, by_path, names):
        folder.mkdir()
    titles = {"video0": "C920", "video2": "Endoscope", "video4": "Intel RealSense D435", "video1": "C920"}
    for node, title in titles.items():
        (nodes / node).touch()
        (names / node).mkdir()
        (names / node / "name").write_text(title + "\n")
    for folder, link, node in (
        (by_id, "usb-046d_C920_ABC-video-index0", "video0"),
        (by_id, "usb-046d_C920_ABC-video-index1", "video1"),
        (by_id, "usb-Intel_R__RealSense-video-index0", "video4"),
        (by_path, "pci-usb-0:1-video-index0", "video0"),
        (by_path, "pci-usb-0:2-video-index0", "video2"),
    ):
        (folder / link).symlink_to(nodes / node)
    for name, folder in (("BY_ID", by_id), ("BY_PATH", by_path), ("NAMES", names)):
        monkeypatch.setattr(v4l2, name, folder)
    return tmp_path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Ten pictures at 25 Hz, each of one grey."""
    path = tmp_path / "film.mp4"
    write_video(path, [np.full((48, 64, 3), 20 * k + 10, np.uint8) for k in range(10)], 25)
    return path


def build(**values):
    return CAMERAS.build("uvc", **{"width": 64, "height": 48, "rate_hz": 25.0, **values})


def test_the_search_finds_webcams_by_their_most_stable_name(attached):
    found = CAMERAS.get("uvc").look()
    assert found is not None
    assert [(one.title, Path(one.options["device"]).name) for one in found] == [
        ("C920", "usb-046d_C920_ABC-video-index0"),
        ("Endoscope", "pci-usb-0:2-video-index0"),
    ]


def test_without_a_device_the_choice_is_explained(attached, monkeypatch):
    with pytest.raises(DeviceError, match=r"several webcams are attached \(C920 .*Endoscope"):
        build().open()
    for name in ("BY_ID", "BY_PATH"):
        monkeypatch.setattr(v4l2, name, attached / "nowhere")
    with pytest.raises(DeviceError, match="no webcam is attached"):
        build().open()


def test_what_cannot_be_opened_is_said_with_what_is_attached(attached, tmp_path):
    with pytest.raises(DeviceError, match=r"/dev/video77 cannot be opened .*C920_ABC-video-index0"):
        build(device="/dev/video77").open()
    with pytest.raises(DeviceError, match="cannot be opened"):
        build(device="/dev/null").open()
    with pytest.raises(DeviceError, match="no control 'exposure'"):
        build(device="/dev/null", exposure_us=10_000).open()
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(DeviceError, match="cannot be opened"):
        build(device=str(tmp_path / "text.mp4")).open()
    with pytest.raises(WorkbenchError, match="Choose one of: MJPG, YUYV"):
        build(fourcc="JPEG")


def test_advice_fits_the_cause():
    assert "group 'video'" in v4l2.hint(PermissionError(errno.EACCES, "denied"))
    assert "other program" in v4l2.hint(OSError(errno.EBUSY, "busy"))


def test_a_film_comes_in_its_own_time_and_its_end_is_an_error(film):
    camera = build(device=str(film))
    start = time.monotonic()
    camera.open()
    shots = [camera.read(2.0) for _ in range(10)]
    passed_s = time.monotonic() - start
    assert [shot.sequence for shot in shots] == list(range(10))
    assert all(abs(int(shot.images[NAME].mean()) - (20 * k + 10)) <= 3 for k, shot in enumerate(shots))
    assert [shot.t_device_ns for shot in shots] == [40_000_000 * k for k in range(10)]
    assert passed_s >= 0.36
    with pytest.raises(DeviceError, match="ended"):
        camera.read(2.0)
    camera.close()


def test_what_a_late_reader_misses_is_a_jump(film, monkeypatch):
    monkeypatch.setattr("hardware.cameras.uvc._BUFFER", 3)
    camera = build(device=str(film))
    camera.open()
    first = camera.read(2.0)
    time.sleep(0.6)  # the other nine have come, the newest three are kept
    late = [camera.read(2.0).sequence for _ in range(3)]
    camera.close()
    assert first.sequence == 0 and late == [7, 8, 9]


@pytest.mark.parametrize("values", [{"width": 640}, {"rate_hz": 30.0}])
def test_a_camera_that_gives_something_else_is_refused(film, values):
    with pytest.raises(DeviceError, match="gives 64x48 at 25 Hz instead of"):
        build(device=str(film), **values).open()


@given(
    st.floats(5, 120),
    st.lists(st.tuples(st.integers(0, 6), st.floats(-0.4, 0.4)), min_size=1, max_size=60),
)
def test_missing_exposures_are_counted_from_times_that_jitter(rate_hz, steps):
    """Stamps that shake by up to 0.4 of the distance that is left to the next number still count right."""
    count, period_ns = _Count(rate_hz), 1e9 / rate_hz
    t_ns, expected, found = 10**9, 0, [count.of(10**9)]
    wanted = [0]
    for skipped, jitter in steps:
        t_ns += round((1 + skipped + jitter) * period_ns)
        expected += 1 + skipped
        found.append(count.of(t_ns))
        wanted.append(expected)
    assert found == wanted


class Query(ctypes.Structure):
    """struct v4l2_queryctrl of linux/videodev2.h."""

    _fields_ = [
        ("id", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("name", ctypes.c_uint8 * 32),
        ("minimum", ctypes.c_int32),
        ("maximum", ctypes.c_int32),
        ("step", ctypes.c_int32),
        ("default_value", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 2),
    ]


class Value(ctypes.Structure):
    """struct v4l2_control."""

    _fields_ = [("id", ctypes.c_uint32), ("value", ctypes.c_int32)]


class Kernel:
    """Answers the three control calls as the kernel's headers lay them out; focus moves in steps of 5."""

    def __init__(self) -> None:
        self.values = {v4l2.EXPOSURE.id: 250, v4l2.FOCUS.id: 0, v4l2.EXPOSURE_MODE.id: 3}
        self.disabled = {v4l2.GAIN.id}

    def ioctl(self, _handle: int, request: int, packed: bytes) -> bytes:
        size, number = request >> 16 & 0x3FFF, request & 0xFF
        kind = {27: Value, 28: Value, 36: Query}[number]
        assert size == len(packed) == ctypes.sizeof(kind) and request >> 30 == 3 and request >> 8 & 0xFF == ord("V")
        asked = kind.from_buffer_copy(packed)
        if asked.id not in self.values and asked.id not in self.disabled:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if number == 36:
            asked.minimum, asked.maximum, asked.flags = -5, 5000, int(asked.id in self.disabled)
        elif number == 28:
            step = 5 if asked.id == v4l2.FOCUS.id else 1
            self.values[asked.id] = asked.value // step * step
        else:
            asked.value = self.values[asked.id]
        return bytes(asked)


def test_controls_are_laid_out_as_the_kernel_wants_and_read_back(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(v4l2.fcntl, "ioctl", kernel.ioctl)
    with v4l2.Controls("/dev/null") as controls:
        assert controls.has(v4l2.EXPOSURE) and not controls.has(v4l2.GAIN) and not controls.has(v4l2.WHITE_BALANCE)
        assert controls.set(v4l2.EXPOSURE, 83) == "" and kernel.values[v4l2.EXPOSURE.id] == 83
        assert controls.set(v4l2.FOCUS, 33) == "asked for focus 33, the camera uses 30"
        assert controls.set(v4l2.EXPOSURE, -3) == "" and controls.get(v4l2.EXPOSURE) == -3
        with pytest.raises(DeviceError, match="Choose between -5 and 5000"):
            controls.set(v4l2.EXPOSURE, 5001)
