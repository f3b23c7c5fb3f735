"""A really full, read-only, vanished or forbidden disk: the take is sealed as far as it goes, the next can begin."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.doctor import examine
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.storage.takes import DEPTH, STATE, frame, info, item
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Failed, TakeSealed
from workbench.core.ring import Ring
from workbench.core.types import EpisodeKind, Frame, StreamSpec, TakeInfo
from workbench.services import recorder as recorder_module
from workbench.services.recorder import Recorder

MIB = 1 << 20
NOBODY = 65534


def mount(*arguments: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def unmount(path: Path) -> None:
    subprocess.run(["umount", "-l", str(path)], capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB of our own."""
    path = tmp_path / "disk"
    path.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)):
        pytest.skip("mounting a small file system needs root")
    yield path
    unmount(path)


def fill(disk: Path, leave: int) -> Path:
    """Occupy everything but ``leave`` bytes."""
    ballast = disk / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leave)
    return ballast


def record_until_full(writer: EpisodeWriter, most: int = 20_000) -> tuple[int, WorkbenchError]:
    """Append pictures and states, a block now and then, until the disk refuses; returns how many were taken in."""
    for index in range(most):
        try:
            writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
            writer.append(STATE.name, frame(STATE, index, t_ns=1 + index))
            if index % 10 == 6:
                writer.flush()
        except WorkbenchError as error:
            return index, error
    raise AssertionError("the disk never filled up")


def check_prefix(home: Home, episode_id: str) -> dict[str, int]:
    """A sealed take that is whole and holds the items from the first on."""
    with Episode.open(home, episode_id) as episode:
        assert episode.verify() == []
        for name, spec in ((DEPTH.name, DEPTH), (STATE.name, STATE)):
            for index in range(episode.manifest.counts[name]):
                np.testing.assert_array_equal(episode.read(name, index), item(spec, index))
        return episode.manifest.counts


@pytest.mark.parametrize("seed", range(4))
def test_a_full_disk_seals_the_take_and_loses_nothing(small_disk: Path, seed: int) -> None:
    home = Home.open(small_disk / "home")
    settings = StoreSettings(color_codec="lossless", rows_hz=10.0, reserve_bytes=2 * MIB, sync=seed % 2 == 0)
    writer = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=settings)
    ballast = fill(small_disk, random.Random(seed).randrange(20_000, 300_000))
    taken, error = record_until_full(writer)
    assert "No space left" in str(error) and "is sealed" in str(error) and "Free space" in str(error)
    assert writer.rescued is not None and "No space left" in writer.rescued.extra["ended_by"]
    assert "unwritten" not in writer.rescued.extra
    counts = check_prefix(home, writer.episode_id)
    assert taken - 1 <= min(counts.values()) and max(counts.values()) <= taken + 1
    assert examine(home, deep=True).clean and not list(home.path.rglob("reserve"))
    with pytest.raises(StateError):
        writer.flush()
    with pytest.raises(WorkbenchError, match="No space left"):
        EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=settings)
    assert not list(home.episodes.glob("*.partial")) and not list(home.episodes.glob("*.begun"))
    ballast.unlink()
    again = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=settings)
    again.append(DEPTH.name, frame(DEPTH, 0))
    assert again.seal().sealed


def test_a_disk_that_fills_while_sealing_costs_nothing(small_disk: Path) -> None:
    home = Home.open(small_disk / "home")
    settings = StoreSettings(rows_hz=10.0, reserve_bytes=2 * MIB)
    writer = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=settings)
    for index in range(30):
        writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
        writer.append(STATE.name, frame(STATE, index, t_ns=1 + index))
    fill(small_disk, 0)
    manifest = writer.seal(notes="all of it")
    assert manifest.notes == "all of it" and set(check_prefix(home, manifest.id).values()) == {30}


@pytest.mark.parametrize("leave", [4_096, 100_000])
def test_without_a_reserve_the_doctor_finishes_once_there_is_room(small_disk: Path, leave: int) -> None:
    home = Home.open(small_disk / "home")
    settings = StoreSettings(color_codec="lossless", rows_hz=10.0, reserve_bytes=0, sync=False)
    writer = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=settings)
    for index in range(7):
        writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
        writer.append(STATE.name, frame(STATE, index, t_ns=1 + index))
    writer.flush()
    ballast = fill(small_disk, leave)
    with pytest.raises(WorkbenchError, match="No space left"):
        for index in range(7, 3000):
            writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
            writer.append(STATE.name, frame(STATE, index, t_ns=1 + index))
    durable = dict(writer.durable)
    ballast.unlink()
    examine(home, fix=True)
    counts = check_prefix(home, writer.episode_id)
    assert counts == durable or writer.rescued is not None
    assert min(counts.values()) >= 7 and examine(home, deep=True).clean


PICTURES = StreamSpec("observation.images.front", (24, 32, 3), "uint8", "", 30.0)


def put(ring: Ring, number: int) -> None:
    data = np.random.default_rng(number).integers(0, 255, ring.spec.shape).astype(np.uint8)
    ring.write(data, sequence=number, t_device_ns=number, t_host_ns=1 + number * 33_000_000)


def test_the_recorder_says_so_and_can_record_again(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills between two looks at it: sealed, told, idle; and the next take needs no restart."""
    monkeypatch.setattr(recorder_module, "_LOOK_AT_DISK_S", 1e9)
    home = Home.open(small_disk / "home")
    events: list[object] = []
    store = StoreSettings(color_codec="lossless", block_s=0.05, reserve_bytes=2 * MIB)
    recorder = Recorder(home, store, events.append)
    ring = Ring.create(small_disk.parent / "ring", PICTURES, 64)
    take = TakeInfo(EpisodeKind.TELEOP, "task", "do the task")
    try:
        episode_id = recorder.start(take, {PICTURES.name: ring})
        time.sleep(0.05)  # the first look at the disk is over
        ballast = fill(small_disk, 100_000)
        end = time.monotonic() + 10
        number = 0
        while recorder.state == "recording" and time.monotonic() < end:
            put(ring, number)
            number += 1
            time.sleep(0.001)
        while recorder.state != "idle" and time.monotonic() < end:
            time.sleep(0.01)
        assert recorder.state == "idle" and "No space left" in recorder.status().error
        assert any("No space left" in event.message for event in events if isinstance(event, Failed))
        assert [event.episode_id for event in events if isinstance(event, TakeSealed)] == [episode_id]
        with Episode.open(home, episode_id) as episode:
            assert episode.verify() == [] and episode.manifest.counts[PICTURES.name] >= ring.acked > 5
            assert "No space left" in episode.manifest.extra["ended_by"]
        with pytest.raises(StateError, match="No space left"):
            recorder.stop()
        ballast.unlink()
        recorder.start(take, {PICTURES.name: ring})
        put(ring, number)
        assert recorder.stop().counts[PICTURES.name] == 1
    finally:
        ring.close()


def test_any_other_failure_seals_what_was_recorded(tmp_path: Path) -> None:
    """A stream that sends something else than it said ends the take, and the take is kept and free for the doctor."""
    home = Home.open(tmp_path / "home")
    events: list[object] = []
    recorder = Recorder(home, StoreSettings(sync=False), events.append)
    ring = Ring.create(tmp_path / "ring", PICTURES, 64)
    try:
        episode_id = recorder.start(TakeInfo(EpisodeKind.TELEOP, "task", "do it"), {PICTURES.name: ring})
        put(ring, 0)
        end = time.monotonic() + 10
        while not recorder.caught_up() and time.monotonic() < end:
            time.sleep(0.001)
        honest = ring.read
        ring.read = lambda index: Frame(index, 1, 1, 0, np.zeros((2, 2), np.uint8))  # type: ignore[method-assign]
        put(ring, 1)
        while recorder.state != "idle" and time.monotonic() < end:
            time.sleep(0.01)
        ring.read = honest  # type: ignore[method-assign]
        assert recorder.state == "idle"
        with Episode.open(home, episode_id) as episode:
            assert episode.manifest.counts == {PICTURES.name: 1} and "instead of" in episode.manifest.extra["ended_by"]
    finally:
        ring.close()


def leftover(home: Home) -> EpisodeWriter:
    writer = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=StoreSettings(rows_hz=10.0, block_s=60.0))
    for index in range(12):
        writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
        writer.append(STATE.name, frame(STATE, index, t_ns=1 + index))
        if index == 8:
            writer.flush()
    return writer


def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    writer = leftover(home)
    if not mount("--bind", str(home.path), str(home.path)):
        pytest.skip("mounting needs root")
    try:
        assert mount("-o", "remount,bind,ro", str(home.path))
        with pytest.raises(WorkbenchError, match=r"Read-only file system.*kept: 9 of .*doctor"):
            writer.flush()
        with pytest.raises(WorkbenchError, match=r"Read-only"):
            EpisodeWriter.create(home, info(), [STATE])
        assert not examine(home, fix=True).clean, "looking at a read-only disk does not raise"
    finally:
        unmount(home.path)
    examine(home, fix=True)
    assert set(check_prefix(home, writer.episode_id).values()) == {9}


def test_a_data_folder_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    writer = leftover(home)
    home.path.rename(tmp_path / "unplugged")
    with pytest.raises(WorkbenchError, match="No such file"):
        writer.flush()
    (tmp_path / "unplugged").rename(home.path)
    examine(home, fix=True)
    assert set(check_prefix(home, writer.episode_id).values()) == {9}


def test_permission_that_is_taken_away(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    with as_nobody(tmp_path):
        writer = leftover(home)
        folders = [writer.folder, *(path for path in writer.folder.iterdir() if path.is_dir())]
        files = [path for path in writer.folder.rglob("c.*") if path.is_file()]
        for path in (*folders, *files):
            path.chmod(0o555)
        with pytest.raises(WorkbenchError, match="Permission denied"):
            writer.flush()
        for path in (*folders, *files):
            path.chmod(0o755)
    examine(home, fix=True)
    assert set(check_prefix(home, writer.episode_id).values()) == {9}


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give up being root for a while, for whom there are no forbidden files."""
    if os.geteuid() != 0:
        yield
        return
    for path in (*folder.parents[:2], folder):
        path.chmod(path.stat().st_mode | 0o755)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
