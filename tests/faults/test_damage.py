"""One byte of a sealed take changes, in any of its files: it is noticed and named, and everything else can be read."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import writer as writer_module
from storage.codecs import JpegCodec, ZstdCodec
from storage.doctor import examine
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import COPY_NAME, GROUP_NAME, Home
from tests.storage.takes import DEPTH, FRONT, SPECS, STATE, frame, info, item, rewrite_manifest
from workbench.core.errors import CorruptTakeError

BLOCK = 0.5  # seconds between journal lines


def make_take(home: Home, seconds: float = 1.5) -> Path:
    """A lossless take with a journal line every half second and a few gaps."""
    settings = StoreSettings(color_codec="lossless", rows_hz=10.0, block_s=BLOCK, sync=False)
    writer = EpisodeWriter.create(home, info(), SPECS, settings=settings)
    for tick in range(round(seconds * 50)):
        for spec in SPECS:
            every = round(50 / spec.rate_hz)
            if tick % every == 0:
                index = tick // every
                writer.append(spec.name, frame(spec, index, gap=2 if index % 7 == 3 else 0))
        if tick % round(50 * BLOCK) == round(50 * BLOCK) - 1:
            writer.flush()
    return home.sealed(writer.seal().id)


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_take(Home.open(tmp_path_factory.mktemp("damage")))
    with Episode.at(folder) as episode:
        assert episode.verify() == []
    return folder


expected = functools.cache(item)


def files_of(take: Path) -> list[Path]:
    return sorted(path for path in take.rglob("*") if path.is_file())


def unreadable(take: Path) -> dict[str, set[int]]:
    """Per stream the items that cannot be read; every other one is compared with what was recorded."""
    lost: dict[str, set[int]] = {spec.name: set() for spec in SPECS}
    with Episode.at(take) as episode:
        for spec in SPECS:
            for index in range(episode.manifest.counts[spec.name]):
                try:
                    found = episode.read(spec.name, index)
                except CorruptTakeError as error:
                    assert spec.name in str(error)
                    lost[spec.name].add(index)
                else:
                    np.testing.assert_array_equal(found, expected(spec, index))
    return lost


def named_items(problems: list[str], stream: str) -> set[int]:
    """Items of a stream's own data that the problems name."""
    named: set[int] = set()
    for text in problems:
        if match := re.match(rf"items? (\d+)(?: to (\d+))? of {re.escape(stream)}(?![.\w])", text):
            named |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return named


@settings(max_examples=50)
@given(data=st.data())
def test_any_flipped_byte_is_named_and_the_rest_can_be_read(take: Path, data: st.DataObject) -> None:
    check_flip(take, data)


@pytest.mark.slow
@settings(max_examples=1500)
@given(data=st.data())
def test_very_many_flipped_bytes_are_named(take: Path, data: st.DataObject) -> None:
    check_flip(take, data)


def check_flip(take: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files_of(take)))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
    try:
        with Episode.at(take) as episode:
            problems = episode.verify()
            host = episode.times(STATE.name)[1] if f"{STATE.name}.t_" not in str(path) else None
            grid = episode.row_index(DEPTH.name)
        lost = unreadable(take)
    finally:
        path.write_bytes(whole)
    assert problems, f"byte {at} of {path.relative_to(take)} went unnoticed"
    place = path.parent.name if path.parent != take else path.name.split(".")[0]
    assert any(place.replace("zarr", "zarr.json") in text for text in problems), (place, problems)
    for spec in SPECS:
        assert lost[spec.name] <= named_items(problems, spec.name), problems
    pictures = lost[FRONT.name] | lost[DEPTH.name]
    assert len(pictures) <= 1 and len(lost[STATE.name]) <= 50 * BLOCK
    if not path.name.startswith("c.") or ".t_" in str(path) or "rows" in str(path):
        assert not any(lost.values()), "only an item's own bytes make it unreadable"
    assert host is None or np.array_equal(host, np.arange(75) * 20_000_000)
    np.testing.assert_array_equal(grid, np.arange(15))


def test_a_damaged_shard_index_costs_no_picture(take: Path) -> None:
    path = take / DEPTH.name / "c.1.0.0"
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(40):
        broken = bytearray(whole)
        for at in rng.integers(len(whole) - 5 * 16 - 4, len(whole), 2):
            broken[at] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        with Episode.at(take) as episode:
            found = [np.array_equal(episode.read(DEPTH.name, 5 + k), item(DEPTH, 5 + k)) for k in range(5)]
        assert all(found)
    path.write_bytes(whole)


def test_plain_zarr_notices_a_flipped_byte_of_a_picture(take: Path) -> None:
    path = take / DEPTH.name / "c.0.0.0"
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    try:
        with pytest.raises(Exception, match=r"(?i)checksum|crc"):
            zarr.open_array(str(take / DEPTH.name), mode="r")[0]
    finally:
        path.write_bytes(whole)


def test_whole_files_may_disappear(take: Path) -> None:
    for path in files_of(take):
        aside = path.rename(path.with_name("aside"))
        try:
            with Episode.at(take) as episode:
                assert episode.verify(), f"{path} is not missed"
            lost = unreadable(take)
            assert len(lost[FRONT.name] | lost[DEPTH.name]) <= 5 and len(lost[STATE.name]) in (0, 75)
        finally:
            aside.rename(path)


@pytest.mark.parametrize("inside", [GROUP_NAME, COPY_NAME, "rows/index/c.0.0", f"{STATE.name}/{GROUP_NAME}", "index"])
def test_the_doctor_writes_anew_what_follows_from_the_rest(tmp_path: Path, inside: str) -> None:
    home = Home.open(tmp_path)
    folder = make_take(home, 1.0)
    path = folder / (f"{FRONT.name}/c.0.0.0.0" if inside == "index" else inside)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:])
    told = examine(home, deep=True)
    assert told.damaged and path.read_bytes() != whole, "looking changes nothing"
    done = examine(home, fix=True, deep=True)
    assert done.mended == [folder.name.split(".")[0]] and not done.damaged, done.messages
    assert path.read_bytes() == whole
    assert examine(home, fix=True, deep=True).messages == []


def test_a_sealed_take_with_damage_stays_and_is_told(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    folder = make_take(home, 1.0)
    path = folder / STATE.name / "c.0.0"
    whole = path.read_bytes()
    path.write_bytes(b"\xff" + whole[1:])
    for _ in range(2):
        report = examine(home, fix=True, deep=True)
        assert report.damaged and folder.is_dir() and not report.quarantined
        assert any(f"items 0 to 24 of {STATE.name}" in text for text in report.messages)
    with Episode.at(folder) as episode:
        with pytest.raises(CorruptTakeError, match="items 0 to 24"):
            episode.vectors(STATE.name)
        np.testing.assert_array_equal(episode.read(STATE.name, 25), item(STATE, 25))


def test_damage_before_sealing_is_not_sealed_into_silence(tmp_path: Path) -> None:
    """A byte flips while the take is a leftover: the doctor seals it, but never as if it were whole."""
    home = Home.open(tmp_path)
    writer = EpisodeWriter.create(home, info(), SPECS, settings=StoreSettings(color_codec="lossless", sync=False))
    for index in range(20):
        for spec in SPECS:
            writer.append(spec.name, frame(spec, index))
        if index in (9, 14, 19):
            writer.flush()
    writer._journal.close()
    for name, at in ((STATE.name, 11 * 14 * 4), (DEPTH.name, 30), (f"{FRONT.name}.t_host_ns", 12 * 8 + 3)):
        path = next((writer.folder / name).glob("c.0*"))
        whole = path.read_bytes()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :])
    examine(home, fix=True)
    with Episode.open(home, writer.episode_id) as episode:
        assert len(episode.manifest.extra["damaged"]) == 3
        problems = "; ".join(episode.verify())
        assert f"items 10 to 14 of {STATE.name}" in problems and f"item 0 of {DEPTH.name}" in problems
        assert f"items 10 to 14 of {FRONT.name}.t_host_ns" in problems
        assert not set(episode.row_index(FRONT.name)) & set(range(10, 15)), "no row trusts a damaged time"
        with pytest.raises(CorruptTakeError):
            episode.vectors(STATE.name)
        np.testing.assert_array_equal(episode.read(STATE.name, 9), item(STATE, 9))
        np.testing.assert_array_equal(episode.read(FRONT.name, 12), item(FRONT, 12))


def test_takes_without_checksums_still_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier version wrote them: nothing behind the pictures, no sums, no copy of the manifest."""

    def plain(spec: object, color: str, quality: int) -> object:
        return ZstdCodec(crc32c=False) if "depth" in str(spec) else JpegCodec(100, "444", crc32c=False)

    monkeypatch.setattr(writer_module, "choose_codec", plain)
    home = Home.open(tmp_path)
    folder = make_take(home, 1.0)
    rewrite_manifest(
        folder, lambda a: (a.pop("sums"), [v["codec"].pop("crc32c") for v in a["layout"].values() if v["codec"]])
    )
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert all("sums" in line for line in lines)
    with Episode.at(folder) as episode:
        assert episode.manifest.layout[DEPTH.name].codec == ZstdCodec(crc32c=False)
        assert episode.verify() == []
        np.testing.assert_array_equal(episode.read(DEPTH.name, 4), item(DEPTH, 4))
