"""The RealSense plug-in on the real library, with software devices fed from arrays in place of cameras."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

pytest.importorskip("pyrealsense2")

from hardware import realsense_library
from hardware.camera import CAMERAS
from hardware.cameras import realsense
from hardware.realsense_frames import AXES
from tests.emulators.realsense_device import Bus, Model, intrinsics
from workbench.core.errors import DeviceError
from workbench.services.devices import list_devices
from workbench.services.settings import CameraSettings, Settings

COLOR, DEPTH, WORDS = "observation.images.front", "observation.depth.front", "camera.front.metadata"
EXPOSURE = {
    "exposure": (1, 10000, 1, 166),
    "gain": (0, 128, 1, 64),
    "enable_auto_exposure": (0, 1, 1, 1),
    "auto_exposure_priority": (0, 1, 1, 1),
}


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    with attach(monkeypatch, Model()) as made:
        yield made


def attach(monkeypatch: pytest.MonkeyPatch, model: Model) -> Bus:
    made = Bus(model)
    monkeypatch.setattr(realsense_library, "open_context", made.open_context)
    return made


def build(**values):
    values = {"serial": "SIM1", "width": 64, "height": 48, "warm_up_s": 0.0, **values}
    return CAMERAS.build("realsense", **values)


def upto(camera, number):
    """Every shot until the one with this number."""
    shots = []
    while not shots or shots[-1].sequence < number:
        shot = camera.read(5.0)
        assert shot is not None, f"{number} did not come"
        shots.append(shot)
    return shots


def quiet(bus, camera):
    """Nothing is delivered by itself from now on, and nothing is on its way."""
    bus.hold()
    upto(camera, bus.expose())


def fresh(bus, camera):
    """One exposure, asked for by the test, as the camera delivers it."""
    bus.hold()
    return upto(camera, bus.expose())[-1]


def test_pictures_arrive_unchanged_with_their_numbers_and_times(bus):
    bus.color = lambda n: np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8)
    bus.depth = lambda n: np.random.default_rng(n).integers(0, 65535, (48, 64), np.uint16)
    camera = build(align_depth=False)
    info = camera.open()
    assert (info.kind, info.serial, info.clock_domain, info.usb) == ("realsense", "SIM1", "hardware", "3.2")
    before_ns = time.monotonic_ns()
    shot = fresh(bus, camera)
    assert np.array_equal(shot.images[COLOR], bus.color(bus.number))
    assert np.array_equal(shot.images[DEPTH], bus.depth(bus.number))
    assert shot.sequence == shot.stamps[DEPTH].sequence == bus.number
    assert shot.t_device_ns == round((1000 + bus.number * 1000 / 30) * 1e6)
    assert before_ns < shot.t_host_ns < time.monotonic_ns()
    camera.close()


def test_lost_pictures_show_as_jumps_and_colour_is_kept_without_depth(bus):
    camera = build()
    camera.open()
    quiet(bus, camera)
    first = bus.expose()
    bus.expose(depth=False)
    bus.expose(color=False)
    last = bus.expose(skip=3)
    shots = upto(camera, last)
    camera.close()
    assert [shot.sequence for shot in shots] == [first, first + 1, last] == [first, first + 1, first + 6]
    assert [DEPTH in shot.images for shot in shots] == [True, False, True]
    assert shots[2].stamps[DEPTH].sequence - shots[0].stamps[DEPTH].sequence == 6


def test_a_reader_that_pauses_loses_nothing(bus):
    camera = build()
    camera.open()
    quiet(bus, camera)
    numbers = [bus.expose() for _ in range(12)]
    assert [shot.sequence for shot in upto(camera, numbers[-1])] == numbers
    camera.close()


def test_depth_is_aligned_to_colour_by_the_lenses(monkeypatch):
    """A plane at 0.5 m, colour 25 mm to the right: fx b / z = 60 * 0.025 / 0.5 = 3 pixels to the left."""
    with attach(monkeypatch, Model(baseline_m=(-0.025, 0.0, 0.0))) as bus:
        bus.depth = lambda n: np.where(np.arange(64) < 32, 500, 1000).astype(np.uint16) * np.ones((48, 1), np.uint16)
        camera = build()
        info = camera.open()
        depth = fresh(bus, camera).images[DEPTH]
        camera.close()
    edge = int(np.flatnonzero(depth[24] == 500)[-1])
    assert edge == 31 - 3
    assert np.all(depth[24, 40:60] == 1000)
    assert info.extrinsics["depth_to_color"]["translation_m"] == pytest.approx([-0.025, 0, 0])
    assert info.intrinsics["depth"] == info.intrinsics["color"] and info.intrinsics["depth_sensor"]["fx"] == 60


def test_extrinsic_rotations_are_given_by_rows(monkeypatch):
    quarter = (0, 1, 0, -1, 0, 0, 0, 0, 1)  # columns: x -> y
    with attach(monkeypatch, Model(rotation=quarter)) as bus:
        camera = build(align_depth=False)
        rotation = np.array(camera.open().extrinsics["depth_to_color"]["rotation"])
        camera.close()
        assert bus.number
    assert np.allclose(rotation @ [1, 0, 0], [0, 1, 0])


@pytest.mark.parametrize("unit_m", [0.0001, 0.00025, 0.01])
def test_any_depth_unit_becomes_millimetres(monkeypatch, unit_m):
    with attach(monkeypatch, Model(unit_m=unit_m)) as bus:
        bus.depth = lambda n: np.full((48, 64), 8000, np.uint16)
        camera = build(align_depth=False)
        camera.open()
        shot = fresh(bus, camera)
        camera.close()
    assert np.all(shot.images[DEPTH] == min(8000 * unit_m * 1000, 65535))
    said = dict(zip(AXES, shot.images[WORDS]))
    assert said["depth.saturated_px"] == (64 * 48 if unit_m == 0.01 else 0)


@pytest.mark.parametrize("domain", ["hardware", "global", "system"])
def test_the_clock_domain_is_told_and_a_change_is_reported(bus, domain):
    bus.domain = domain
    camera = build()
    assert camera.open().clock_domain == domain
    assert fresh(bus, camera).note == ""
    bus.domain = other = "system" if domain == "hardware" else "hardware"
    (shot,) = upto(camera, bus.expose())
    camera.close()
    assert domain in shot.note and other in shot.note


def test_what_the_picture_says_about_itself_is_delivered(bus):
    bus.said = {"actual_exposure": 85, "gain_level": 16, "frame_laser_power": 150}
    camera = build()
    camera.open()
    said = dict(zip(AXES, fresh(bus, camera).images[WORDS]))
    camera.close()
    assert said["color.exposure_us"] == 8500 and said["depth.exposure_us"] == 85  # RGB counts in 100 us
    assert said["color.gain"] == 16 and said["depth.laser_mw"] == 150
    assert np.isnan(said["color.white_balance_k"]) and said["clock_domain"] == 0 and said["depth.later_ms"] == 0


def test_the_library_notes_the_arrival_before_a_late_reader_asks(bus):
    camera = build()
    camera.open()
    quiet(bus, camera)
    bus.said = {"time_of_arrival": round(time.time() * 1000)}
    arrived_ns = time.monotonic_ns()
    number = bus.expose()
    time.sleep(0.15)
    (shot,) = upto(camera, number)
    assert abs(shot.t_host_ns - arrived_ns) < 30_000_000
    bus.said = {"time_of_arrival": round(time.time() * 1000) - 86_400_000}  # yesterday: a clock was set
    asked_ns = time.monotonic_ns()
    (shot,) = upto(camera, bus.expose())
    camera.close()
    assert shot.t_host_ns >= asked_ns


def test_fixed_options_are_set_read_back_and_told(monkeypatch):
    with attach(monkeypatch, Model(options=EXPOSURE)) as bus:
        camera = build(exposure_us=8300, gain=32)
        info = camera.open()
        camera.close()
        assert bus.plugged is not None
    told = info.settings["color"]
    assert (told["exposure_us"], told["exposure"], told["gain"], told["enable_auto_exposure"]) == (8300, 83, 32, 0)
    assert told["auto_exposure_priority"] == 0  # an automatic exposure may never lower the rate
    assert info.warnings == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"exposure_us": 2_000_000}, "Choose between 100 and 1e\\+06"),
        ({"white_balance_k": 4600}, "has no setting 'white_balance_k'"),
        ({"sync_role": "master"}, "has no setting 'sync_role'"),
        ({"emitter": False}, "has no setting 'emitter'"),
        ({"preset_json": "/no/such/file.json"}, "cannot be read"),
        ({"filters": ("temporal:alpha=7",)}, "refuses alpha = 7"),
        ({"width": 640}, "nearest: 64x48 at 30 Hz, 80x60 at 15 Hz"),
        ({"rate_hz": 60}, "does not offer color 64x48 at 60 Hz"),
    ],
)
def test_what_the_camera_cannot_do_is_said_with_what_it_can(monkeypatch, values, words):
    with attach(monkeypatch, Model(options=EXPOSURE, more=((80, 60, 15),))) as bus:
        camera = build(**values)
        with pytest.raises(DeviceError, match=words):
            camera.open()
        camera.close()
        assert bus.plugged is not None


def test_a_preset_for_a_camera_without_advanced_mode_is_refused(bus, tmp_path):
    (tmp_path / "preset.json").write_text("{}")
    with pytest.raises(DeviceError, match="no advanced mode"):
        build(preset_json=str(tmp_path / "preset.json")).open()


def test_old_firmware_and_usb_2_are_warnings(monkeypatch):
    with attach(monkeypatch, Model(firmware="5.9.13.0", usb="2.1")):
        camera = build()
        info = camera.open()
        camera.close()
        assert len(info.warnings) == 2 and info.firmware == "5.9.13.0"
        assert "5.16.0.1" in info.warnings[0] and "USB 2.1" in info.warnings[1]
        (found,) = realsense_library.discover()
    assert found.id == "SIM1" and found.options == {"serial": "SIM1"} and "USB 2.1" in found.reason


def test_the_device_list_names_it_by_serial_and_says_which_one_is_missing(bus):
    chosen = CameraSettings(name="left", kind="realsense", options={"serial": "0815"})
    listed = [one for one in list_devices(Settings(cameras=(chosen,))).cameras if one.kind == "realsense"]
    assert [(one.id, one.status, one.chosen) for one in listed] == [
        ("left", "missing", True),
        ("SIM1", "attached", False),
    ]
    assert "D435 SIM1" in listed[0].reason and listed[1].options == {"serial": "SIM1"}


def test_a_missing_camera_is_said_at_once_with_what_is_attached(bus):
    start = time.monotonic()
    with pytest.raises(DeviceError, match=r"no RealSense camera with serial 0815.*D435 SIM1"):
        build(serial="0815").open()
    assert time.monotonic() - start < 2
    camera = build(serial="")  # the only one there is
    assert camera.open().serial == "SIM1"
    camera.close()
    bus.unplug()
    with pytest.raises(DeviceError, match="none at all"):
        build(serial="").open()


def test_two_programs_cannot_have_one_camera(bus):
    camera = build()
    camera.open()
    with pytest.raises(DeviceError, match="in use"):
        build().open()
    assert camera.read(1.0) is not None
    camera.close()


def test_unplugging_is_noticed_soon_and_the_same_serial_is_found_again(bus):
    camera = build()
    camera.open()
    assert camera.read(1.0) is not None
    start = time.monotonic()
    bus.unplug()
    with pytest.raises(DeviceError, match="unplugged"):
        for _ in range(30):
            camera.read(0.1)
    assert time.monotonic() - start < 2
    camera.close()
    bus.plug()
    assert camera.open().serial == "SIM1"
    assert camera.read(1.0) is not None
    camera.close()


def test_a_camera_that_is_there_but_silent_is_given_up_on_and_started_anew(bus, monkeypatch):
    monkeypatch.setattr(realsense, "SILENT_S", 0.05)
    monkeypatch.setattr(realsense, "STALLED_S", 0.3)
    camera = build()
    camera.open()
    bus.hold()
    with pytest.raises(DeviceError, match="sent no picture"):
        for _ in range(30):
            camera.read(0.1)
    camera.close()


def test_colour_without_any_depth_is_not_taken_for_a_working_camera(bus, monkeypatch):
    monkeypatch.setattr(realsense, "STALLED_S", 0.3)
    camera = build()
    camera.open()
    quiet(bus, camera)
    with pytest.raises(DeviceError, match="colour but no depth"):
        for _ in range(30):
            bus.expose(depth=False)
            camera.read(0.05)
    camera.close()


def test_a_camera_that_never_delivers_is_retried_and_then_given_up(bus, monkeypatch):
    """The reset that comes next needs real hardware; a software device refuses it, which is not the failure told."""
    monkeypatch.setattr(realsense, "FIRST_PICTURE_S", 0.1)
    monkeypatch.setattr(realsense, "PAUSE_S", 0.05)
    bus.hold()
    starts = []
    monkeypatch.setattr(realsense.Source, "start", counted(starts, realsense.Source.start))
    with pytest.raises(DeviceError, match=r"does not deliver .no colour and depth came"):
        build().open()
    assert len(starts) == 3
    starts.clear()
    bus.go_on()  # it was only slow
    camera = build()
    camera.open()
    camera.close()
    assert len(starts) == 1


class Resettable:
    """The library's device, but with the reset that only real hardware has: it leaves the bus and comes back well."""

    def __init__(self, device, bus: Bus) -> None:
        self._device, self._bus = device, bus

    def __getattr__(self, name: str):
        return getattr(self._device, name)

    def hardware_reset(self) -> None:
        self._bus.unplug()
        threading.Timer(0.3, lambda: (self._bus.plug(), self._bus.go_on())).start()


def test_a_stuck_camera_is_reset_waited_for_and_opened(bus, monkeypatch):
    monkeypatch.setattr(realsense, "FIRST_PICTURE_S", 0.25)
    monkeypatch.setattr(realsense, "PAUSE_S", 0.05)
    find = realsense_library.find
    monkeypatch.setattr(realsense_library, "find", lambda *wanted: Resettable(find(*wanted), bus))
    bus.hold()
    camera = build()
    assert camera.open().serial == "SIM1"
    assert camera.read(1.0) is not None
    camera.close()


def counted(calls, method):
    def call(self):
        calls.append(1)
        return method(self)

    return call


def test_filters_change_depth_but_not_its_size(bus):
    holes = np.full((48, 64), 800, np.uint16)
    holes[20:24, 30:34] = 0
    holes[:, :8] = 5000
    bus.depth = lambda n: holes
    camera = build(filters=("threshold:max_m=2", "to_disparity", "spatial", "to_depth", "hole_filling:mode=1"))
    camera.open()
    filled = fresh(bus, camera).images[DEPTH]
    camera.close()
    assert np.all(np.abs(filled[18:26, 28:36].astype(int) - 800) <= 2)
    assert filled.max() < 2000
    camera = build(filters=("decimation:magnitude=2",))
    bus.go_on()
    camera.open()
    assert fresh(bus, camera).images[DEPTH].shape == (48, 64)
    camera.close()


def test_real_pictures_of_an_f200_keep_every_depth_reading(monkeypatch, shared_data):
    """Real colour and depth with their own lenses (unit 0.1 mm): unaligned depth equals the files to half a mm."""
    folder = shared_data / "realsense_f200_apc"
    color = imagecodecs.png_decode((folder / "frame-000000.color.png").read_bytes())
    turned = imagecodecs.png_decode((folder / "frame-000000.depth.png").read_bytes())
    depth = ((turned >> 3) | (turned << 13)).astype(np.uint16)
    model = Model(
        width=640,
        height=480,
        unit_m=0.0001,
        color_eye=intrinsics(640, 480, 615.195, 298.443, 247.519),
        depth_eye=intrinsics(640, 480, 477.584, 314.188, 245.884),
        baseline_m=(0.0257, -0.00073, 0.00427),
    )
    for align in (False, True):
        with attach(monkeypatch, replace(model)) as bus:
            bus.color, bus.depth = (lambda n: color), (lambda n: depth)
            camera = build(width=640, height=480, align_depth=align)
            camera.open()
            shot = fresh(bus, camera)
            camera.close()
        assert np.array_equal(shot.images[COLOR], color)
        found = shot.images[DEPTH]
        if not align:
            assert np.array_equal(found == 0, depth == 0)
            assert np.abs(found - depth / 10)[depth > 0].max() <= 0.5
        else:
            assert 0.2 < (found > 0).mean() < 0.7
            assert abs(np.median(found[found > 0]) - np.median(depth[depth > 0]) / 10) < 50
