"""A recording shown as a camera: its pictures, its times, its end, and what happens to a reader that is late."""

from __future__ import annotations

import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from hardware.camera import CAMERAS
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.videos import write_video
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.types import EpisodeKind, Frame, StreamSpec, TakeInfo
from workbench.services import capture  # noqa: F401  (teaches playback cameras to open takes)

SIZE = (48, 64)


def painted(number: int) -> np.ndarray:
    return np.full((*SIZE, 3), 20 * number + 10, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    for k in range(5):
        (place / f"frame-{k:03}.color.png").write_bytes(imagecodecs.png_encode(painted(k)))
        (place / f"frame-{k:03}.depth.png").write_bytes(imagecodecs.png_encode(np.full(SIZE, 500 + k, np.uint16)))
    return place


@pytest.fixture
def take(tmp_path: Path) -> Path:
    """Ten exposures at 50 Hz, the third missing, depth once lost."""
    home = Home.open(tmp_path / "home")
    specs = [
        StreamSpec("observation.images.top", (*SIZE, 3), "uint8", rate_hz=50.0),
        StreamSpec("observation.depth.top", SIZE, "uint16", "mm", 50.0),
    ]
    info = TakeInfo(
        kind=EpisodeKind.HUMAN, task="t", instruction="t", operator="", scene="", station="", clock="realtime"
    )
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(color_codec="lossless"))
    for k in [0, 1, 3, 4, 5]:
        t_ns = 10**9 + k * 20_000_000
        gap = int(k == 3)
        writer.append(specs[0].name, Frame(k, t_ns, t_ns, gap, painted(k)))
        if k != 4:
            writer.append(specs[1].name, Frame(k, t_ns + 100, t_ns, gap, np.full(SIZE, 700 + k, np.uint16)))
    return home.sealed(writer.seal().id)


def shots(camera, count: int):
    return [camera.read(2.0) for _ in range(count)]


def test_a_folder_shows_color_with_its_depth_and_begins_again(folder: Path) -> None:
    camera = CAMERAS.build("playback", name="a", path=str(folder), rate_hz=100.0)
    assert [spec.name for spec in camera.streams] == ["observation.images.a", "observation.depth.a"]
    assert camera.open().clock_domain == "recorded"
    seen = shots(camera, 7)
    assert [shot.sequence for shot in seen] == list(range(7))
    for k, shot in enumerate(seen):
        assert (shot.images["observation.images.a"] == painted(k % 5)).all()
        assert (shot.images["observation.depth.a"] == 500 + k % 5).all()
    assert np.diff([shot.t_device_ns for shot in seen]).tolist() == [10_000_000] * 6


def test_a_take_keeps_its_own_times_and_gaps(take: Path) -> None:
    camera = CAMERAS.build("playback", name="a", path=str(take), loop=False)
    assert camera.streams[0].rate_hz == 50.0
    camera.open()
    seen = shots(camera, 5)
    assert [shot.t_device_ns // 20_000_000 for shot in seen] == [0, 1, 3, 4, 5]
    assert [int(shot.images["observation.images.a"][0, 0, 0]) for shot in seen] == [10, 30, 70, 90, 110]
    assert [int(shot.images["observation.depth.a"][0, 0]) for shot in seen] == [700, 701, 703, 0, 705]
    assert camera.read(0.1) is None, "it has ended and does not loop"


def test_a_video_plays_in_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, [painted(k) for k in range(6)], 50.0)
    camera = CAMERAS.build("playback", name="a", path=str(path), loop=False)
    camera.open()
    seen = shots(camera, 6)
    assert [round(shot.t_device_ns / 2e7) for shot in seen] == list(range(6))
    assert np.abs(seen[4].images["observation.images.a"].astype(int) - painted(4)).max() < 8


def test_pictures_kept_in_memory_are_copies_and_only_the_first(folder: Path) -> None:
    camera = CAMERAS.build("playback", name="a", path=str(folder), rate_hz=100.0, first=2)
    camera.open()
    first = camera.read(1.0)
    first.images["observation.images.a"][:] = 0
    assert [int(shot.images["observation.images.a"][0, 0, 0]) for shot in shots(camera, 3)] == [30, 10, 30]


def test_a_late_reader_finds_a_jump_in_the_numbers_not_old_pictures(folder: Path) -> None:
    camera = CAMERAS.build("playback", name="a", path=str(folder), rate_hz=100.0)
    camera.open()
    camera.read(1.0)
    time.sleep(0.3)
    late = camera.read(1.0)
    assert late.sequence >= 20
    assert late.t_device_ns == late.sequence * 10_000_000


@pytest.mark.parametrize("name", ["nothing", "empty", "note.txt", "broken.mp4", "broken.zarr", ""])
def test_what_cannot_be_played_is_said_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(DeviceError) as caught:
        CAMERAS.build("playback", name="a", path=str(tmp_path / name) if name else "").open()
    assert caught.value.next_step


def test_a_recording_that_disappears_is_an_unplugged_camera(folder: Path) -> None:
    camera = CAMERAS.build("playback", name="a", path=str(folder), rate_hz=100.0)
    camera.open()
    camera.read(1.0)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(DeviceError, match="gone"):
        camera.read(1.0)


def test_settings_that_make_no_sense_are_a_sentence(folder: Path) -> None:
    with pytest.raises(WorkbenchError, match="cannot be negative"):
        CAMERAS.build("playback", name="a", path=str(folder), rate_hz=-1.0)
