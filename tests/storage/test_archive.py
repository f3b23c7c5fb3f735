"""Archived takes: smaller, true, and with a way back at any moment."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import storage.zarr_jpeg
import storage.zarr_jxl
import storage.zarr_video  # noqa: F401  (tells zarr about our codecs)
from storage.archive import ArchiveStoppedError, archive_take, can_unarchive, unarchive
from storage.archive_swap import original_folder, original_hash, settle, work_folder
from storage.catalog import Catalog
from storage.dense_codecs import JxlCodec, VideoCodec
from storage.doctor import examine
from storage.edits import change_manifest
from storage.episode import Episode, EpisodeWriter, Manifest, StoreSettings
from storage.layout import Home
from storage.likeness import psnr_db
from storage.recoding import ArchiveSettings
from storage.splitting import split_take
from storage.videos import Video
from tests.storage.takes import STATE, frame, info
from tests.storage.test_zarr_codecs import moving
from workbench.core.errors import CorruptTakeError, NotFoundError, StateError, WorkbenchError
from workbench.core.types import Frame, Outcome, StreamSpec

ROOT = Path(__file__).parents[2]
FAST = ArchiveSettings(frames=5, sync=False)
COLOR = StreamSpec("observation.images.front", (61, 95, 3), "uint8", rate_hz=10.0)
GREY = StreamSpec("observation.images.infrared", (40, 32), "uint8", rate_hz=10.0)
DEEP = StreamSpec("observation.depth.front", (61, 95), "uint16", unit="mm", rate_hz=10.0)
MASK = StreamSpec("observation.mask.front", (20, 24), "uint8", rate_hz=10.0)
ALL = (COLOR, GREY, DEEP, MASK, STATE)


def record(home: Home, count: int = 13, specs: tuple[StreamSpec, ...] = ALL, *, lossless: bool = False) -> Manifest:
    """A take of pictures that move smoothly, with a gap."""
    store = StoreSettings(color_codec="lossless" if lossless else "jpeg", rows_hz=10.0, sync=False)
    writer = EpisodeWriter.create(home, info(), specs, settings=store)
    for spec in specs:
        if spec is STATE:
            items = [frame(spec, index).data for index in range(5 * count)]
        else:
            items = list(moving(count, *spec.shape[:2], 3 if len(spec.shape) == 3 else 1))
            if spec.dtype == "uint16":
                items = [item.astype(np.uint16) * 13 + np.arange(95, dtype=np.uint16) for item in items]
        for index, item in enumerate(items):
            t_ns = round((index + (index >= 7) * 2) * 1e9 / spec.rate_hz)
            writer.append(spec.name, Frame(index, t_ns + 7, t_ns, 2 if index == 7 else 0, item.astype(spec.dtype)))
    return writer.seal(Outcome.SUCCESS)


def everything(home: Home, episode_id: str) -> dict[str, np.ndarray]:
    with Episode.open(home, episode_id) as take:
        assert take.verify() == []
        found = {}
        for name, count in take.manifest.counts.items():
            found[name] = np.stack([take.read(name, index) for index in range(count)])
            found[f"{name} device"], found[f"{name} host"] = take.times(name)
        rows = take.rows()
        return {**found, "rows": rows.times_ns, "index": rows.index, "age": rows.age_ns}


def test_an_archived_take_is_small_and_the_same_but_for_lossy_pictures(home: Home) -> None:
    before = record(home, 33)
    old = everything(home, before.id)
    files = {
        path.relative_to(home.sealed(before.id)): path.read_bytes() for path in home.sealed(before.id).rglob("c.*")
    }
    told: list[tuple[int, int]] = []
    report = archive_take(home, before.id, FAST, lambda done, total: told.append((done, total)))
    with Episode.open(home, before.id) as take:
        after = take.manifest
    assert report.changed and report.bytes_after < report.bytes_before
    assert told[-1] == (4 * 33, 4 * 33) and told == sorted(told)
    new = everything(home, before.id)
    for name in new:
        if name in (COLOR.name, GREY.name):
            assert psnr_db(old[name], new[name]) >= FAST.least_psnr_db
        else:
            np.testing.assert_array_equal(new[name], old[name])
    assert isinstance(after.layout[COLOR.name].codec, VideoCodec)
    assert isinstance(after.layout[DEEP.name].codec, JxlCodec)
    assert after.content_hash != before.content_hash and original_hash(after) == before.content_hash
    told_archive = after.extra["archive"]
    assert told_archive["original_hash"] == before.content_hash and told_archive["psnr_db"] == report.psnr_db
    assert (after.counts, after.gaps, after.gap_positions) == (before.counts, before.gaps, before.gap_positions)
    for name, data in files.items():
        if "images" not in str(name) and "depth" not in str(name) and "mask" not in str(name):
            assert (home.sealed(before.id) / name).read_bytes() == data
    assert original_folder(home, before.id).is_dir() and not work_folder(home, before.id).exists()
    with pytest.raises(StateError, match="archived already"):
        archive_take(home, before.id, FAST)


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.parametrize("lossless", [False, True])
def test_any_length_comes_out_whole_for_zarr_too(home: Home, count: int, lossless: bool) -> None:
    before = record(home, count, lossless=lossless)
    archive_take(home, before.id, dataclasses.replace(FAST, least_ssim=-1.0))
    new = everything(home, before.id)
    group = zarr.open_group(str(home.sealed(before.id)), mode="r")
    for spec in ALL:
        np.testing.assert_array_equal(group[spec.name][:], new[spec.name])
    np.testing.assert_array_equal(group[COLOR.name][count - 1], new[COLOR.name][count - 1])


@settings(max_examples=10)
@given(st.lists(st.integers(0, 22), min_size=1, max_size=40))
def test_the_order_of_reading_does_not_matter(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    home, episode_id, pictures = _shared(tmp_path_factory)
    with Episode.open(home, episode_id) as take:
        for index in order:
            found = take.read(COLOR.name, index)
            np.testing.assert_array_equal(found, pictures[index])
            found[:] = 0  # a reader may draw into what it got
        with pytest.raises(IndexError):
            take.read(COLOR.name, 23)


_made: list[tuple[Home, str, np.ndarray]] = []


def _shared(factory: pytest.TempPathFactory) -> tuple[Home, str, np.ndarray]:
    if not _made:
        home = Home.open(factory.mktemp("archived") / "home")
        manifest = record(home, 23, (COLOR, STATE))
        assert archive_take(home, manifest.id, FAST).changed
        _made.append((home, manifest.id, everything(home, manifest.id)[COLOR.name]))
    return _made[0]


def test_noise_is_kept_as_it_was_and_a_take_without_gain_is_left_alone(home: Home) -> None:
    rng = np.random.default_rng(0)
    writer = EpisodeWriter.create(home, info(), (COLOR,), settings=StoreSettings(rows_hz=10.0, sync=False))
    calm = moving(20, 61, 95)
    for index in range(20):
        wild = rng.integers(0, 256, COLOR.shape, dtype=np.uint8)
        writer.append(COLOR.name, Frame(index, index, index * 10**8, 0, wild if index < 5 else calm[index]))
    mixed = writer.seal()
    old = everything(home, mixed.id)[COLOR.name]
    report = archive_take(home, mixed.id, dataclasses.replace(FAST, least_psnr_db=45.0, least_ssim=0.999))
    pieces = report.streams[COLOR.name]["pieces"] if report.changed else {}
    if report.changed:
        assert pieces["kept"] >= 1
        np.testing.assert_array_equal(everything(home, mixed.id)[COLOR.name][:5], old[:5])
    dull = record(home, 5, (STATE,))
    report = archive_take(home, dull.id, FAST)
    assert not report.changed and report.bytes_before == report.bytes_after
    assert not can_unarchive(home, dull.id) and everything(home, dull.id)


def test_labels_given_meanwhile_and_since_survive_both_ways(home: Home) -> None:
    before = record(home, 11)
    old = everything(home, before.id)

    def label(done: int, total: int) -> None:
        if done == 5:
            change_manifest(home.sealed(before.id), outcome="failure", extra={"tags": ["wet"]})

    archive_take(home, before.id, FAST, label)
    with Catalog(home) as catalog:
        catalog.rebuild()
        (entry,) = catalog.episodes()
        assert (str(entry.outcome), entry.extra["tags"]) == ("failure", ["wet"])
        assert catalog.episodes(trashed=True) == ()
        catalog.note(before.id, "later")
        restored = unarchive(home, before.id)
        assert (restored.notes, str(restored.outcome)) == ("later", "failure")
        assert restored.extra["tags"] == ["wet"] and "archive" not in restored.extra
        assert restored.content_hash == before.content_hash == original_hash(restored)
    new = everything(home, before.id)
    for name in old:
        np.testing.assert_array_equal(new[name], old[name])
    assert not can_unarchive(home, before.id) and not work_folder(home, before.id).exists()
    with pytest.raises(StateError, match="not archived"):
        unarchive(home, before.id)
    assert archive_take(home, before.id, FAST).changed
    shutil.rmtree(original_folder(home, before.id))
    with pytest.raises(NotFoundError, match="purged"):
        unarchive(home, before.id)


def test_a_damaged_take_is_not_archived(home: Home) -> None:
    before = record(home, 11)
    shard = next((home.sealed(before.id) / COLOR.name).glob("c.*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptTakeError, match="damaged"):
        archive_take(home, before.id, FAST)
    assert not work_folder(home, before.id).exists() and not can_unarchive(home, before.id)
    with pytest.raises(NotFoundError):
        archive_take(home, "0" * 32, FAST)


def test_stopping_and_trashing_meanwhile_leave_the_take_as_it_was(home: Home) -> None:
    before = record(home, 11)
    with pytest.raises(ArchiveStoppedError):
        archive_take(home, before.id, FAST, cancel=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        archive_take(home, before.id, FAST, lambda done, total: (_ for _ in ()).throw(KeyboardInterrupt))

    def trash(done: int, total: int) -> None:
        if done == total and home.sealed(before.id).exists():
            home.sealed(before.id).rename(home.trashed(before.id))

    with pytest.raises((StateError, NotFoundError)):
        archive_take(home, before.id, FAST, trash)
    home.trashed(before.id).rename(home.sealed(before.id))
    assert not work_folder(home, before.id).exists() and not can_unarchive(home, before.id)
    assert Episode.open(home, before.id).manifest == before and everything(home, before.id)


def test_flipped_bytes_of_an_archived_take_are_named(home: Home) -> None:
    before = record(home, 11, (COLOR, STATE))
    archive_take(home, before.id, FAST)
    shard = next((home.sealed(before.id) / COLOR.name).glob("c.*"))
    whole = shard.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        data = bytearray(whole)
        data[at] ^= 16
        shard.write_bytes(bytes(data))
        with Episode.open(home, before.id) as take:
            assert take.verify() != []
    shard.write_bytes(whole)
    assert everything(home, before.id)


KILLED = """
import os, signal, sys
from pathlib import Path
import storage.archive_swap as swap
from storage.archive import archive_take, unarchive
from storage.layout import Home
from storage.recoding import ArchiveSettings
from storage.splitting import split_take
from storage.videos import Video

home, episode_id, verb, step = Home.open(Path(sys.argv[1])), sys.argv[2], sys.argv[3], int(sys.argv[4])
taken = 0

def dies(real):
    def call(*arguments, **more):
        global taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*arguments, **more)
        if taken == -step:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return call

Path.rename = dies(Path.rename)
swap.shutil.rmtree = dies(swap.shutil.rmtree)
swap.exchange = dies(swap.exchange) if sys.argv[5] == "exchange" else (lambda first, second: False)
def half_way(done, total):
    if step == 0 and done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

if verb == "archive":
    archive_take(home, episode_id, ArchiveSettings(frames=5, sync=False), half_way)
else:
    unarchive(home, episode_id)
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchange", "two steps"])
@pytest.mark.parametrize("verb", ["archive", "unarchive"])
def test_killed_at_any_step_the_take_is_whole(home: Home, verb: str, way: str) -> None:
    first = record(home, 11, (COLOR, STATE))
    for step in (*range(1, 6), *range(-5, 0)):
        _kill_once(home, first, verb, step, way)


def test_killed_in_the_middle_of_the_swap_the_take_is_whole(home: Home) -> None:
    first = record(home, 11, (COLOR, STATE))
    for verb, step in (("archive", 0), ("archive", -2)):
        _kill_once(home, first, verb, step, "exchange")


def _kill_once(home: Home, first: Manifest, verb: str, step: int, way: str) -> None:
    archived = "archive" in Episode.open(home, first.id).manifest.extra
    if verb == "unarchive" and not archived:
        archive_take(home, first.id, FAST)
    elif verb == "archive" and archived:
        unarchive(home, first.id)
    command = [sys.executable, "-c", KILLED, str(home.path), first.id, verb, str(step), way]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL or "done" in ended.stdout, ended.stderr
    if way == "exchange":
        assert home.sealed(first.id).is_dir()  # also before anybody cleans up
    settle(home)
    found = everything(home, first.id)
    manifest = Episode.open(home, first.id).manifest
    assert original_hash(manifest) == first.content_hash and len(found[COLOR.name]) == 11
    assert can_unarchive(home, first.id) == ("archive" in manifest.extra)
    assert not list((home.path / "archiving").glob("*"))
    assert not any(home.trash.glob("*.zarr")) and examine(home).clean


def test_a_full_disk_leaves_the_take_as_it_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = record(home, 11)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.recoding.write_file", refuse)
    with pytest.raises(WorkbenchError, match="No space left"):
        archive_take(home, before.id, FAST)
    assert not work_folder(home, before.id).exists() and everything(home, before.id)


def test_one_archiving_at_a_time(home: Home) -> None:
    before, other = record(home, 6), record(home, 6)
    inside: list[str] = []

    def again(done: int, total: int) -> None:
        with pytest.raises(StateError, match="another process"):
            archive_take(home, other.id, FAST)
        inside.append(other.id)

    archive_take(home, before.id, FAST, again)
    assert inside


def test_the_manifest_says_what_was_done(home: Home) -> None:
    before = record(home, 11)
    archive_take(home, before.id, FAST)
    told = json.loads((home.sealed(before.id) / "zarr.json").read_bytes())["attributes"]["extra"]["archive"]
    assert {"at", "codec", "psnr_db", "ssim", "bytes_before", "bytes_after", "original_hash"} <= set(told)
    assert told["codec"] == "jxl+video" and told["streams"][DEEP.name]["lossless"] is True
    assert told["streams"][COLOR.name]["bytes_after"] < told["streams"][COLOR.name]["bytes_before"]


def test_purging_takes_the_originals_along(home: Home) -> None:
    first, second, third = (record(home, 6, (COLOR, STATE)) for _ in range(3))
    for manifest in (first, second, third):
        archive_take(home, manifest.id, FAST)
    with Catalog(home) as catalog:
        catalog.rebuild()
        catalog.trash([first.id])
        catalog.purge([first.id], confirm=True)
        assert not can_unarchive(home, first.id) and can_unarchive(home, second.id)
        assert unarchive(home, third.id).content_hash == third.content_hash
        assert catalog.purge(confirm=True).freed_bytes > 0
    assert not can_unarchive(home, second.id) and everything(home, second.id)
    assert not list(home.trash.glob("*.purging"))


def test_an_archived_take_is_not_cut_in_two_with_loss(home: Home) -> None:
    manifest = record(home, 11, (COLOR, STATE))
    archive_take(home, manifest.id, FAST)
    with pytest.raises(WorkbenchError, match="archived"):
        split_take(home, manifest.id, 5 * 10**8)


def test_the_doctor_finishes_what_a_kill_left(home: Home) -> None:
    manifest = record(home, 6, (COLOR, STATE))
    archive_take(home, manifest.id, FAST)
    work_folder(home, manifest.id).parent.mkdir(exist_ok=True)
    original_folder(home, manifest.id).rename(work_folder(home, manifest.id))
    assert any("put aside" in message for message in examine(home, fix=True).messages)
    assert unarchive(home, manifest.id).content_hash == manifest.content_hash


def test_real_pictures_become_small_and_stay_clean(home: Home, shared_data: Path) -> None:
    """640x480 as recorded, from a real video; depth of a real camera."""
    video = Video.open(sorted((shared_data / "dexwild_human").rglob("*.mp4"))[0])
    color = StreamSpec("observation.images.front", (480, 640, 3), "uint8", rate_hz=30.0)
    depth = StreamSpec("observation.depth.front", (480, 640), "uint16", unit="mm", rate_hz=30.0)
    paths = sorted((shared_data / "realsense_f200_apc").glob("*.depth.png"))[:3]
    tenths = [imagecodecs.png_decode(path.read_bytes()).astype(np.uint16) for path in paths]
    readings = [(((reading >> 3) | (reading << 13)) // 10).astype(np.uint16) for reading in tenths]
    writer = EpisodeWriter.create(home, info(), (color, depth), settings=StoreSettings(sync=False))
    for index, (_, picture) in enumerate(islice(video.frames(), 12)):
        t_ns = round(index * 1e9 / 30)
        picture = np.ascontiguousarray(picture[:480, :640])
        writer.append(color.name, Frame(index, t_ns, t_ns, 0, picture))
        writer.append(depth.name, Frame(index, t_ns, t_ns, 0, readings[index % 3]))
    report = archive_take(home, writer.seal().id, ArchiveSettings(sync=False))
    assert report.streams[color.name]["bytes_after"] / 12 < 15_000
    assert report.psnr_db is not None and report.psnr_db >= 35 and (report.ssim or 0) > 0.93
    told = report.streams[depth.name]
    assert told["lossless"] and told["bytes_after"] < 0.6 * told["bytes_before"]
    with Episode.open(home, report.episode_id) as take:
        np.testing.assert_array_equal(take.read(depth.name, 10), readings[1])
