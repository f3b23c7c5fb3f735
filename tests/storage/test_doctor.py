"""The doctor on whatever a crash may leave: it never raises, never invents an item, and has nothing to add after."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.doctor import examine, finish_leftovers
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.journal import read_journal
from storage.layout import JOURNAL_NAME, Home, newest_id
from tests.storage.takes import DEPTH, SPECS, STATE, frame, info, item, write_take
from workbench.core.types import EpisodeKind


def leftover(home: Home, items: int = 14, flushes: tuple[int, ...] = (4, 9)) -> Path:
    """A take whose writer died; blocks after so many pictures."""
    settings = StoreSettings(color_codec="lossless", rows_hz=10.0, block_s=0.6, sync=False, reserve_bytes=4096)
    writer = EpisodeWriter.create(home, info(), SPECS, settings=settings)
    for index in range(items):
        for spec in SPECS:
            writer.append(spec.name, frame(spec, index, gap=index % 5 == 3, t_ns=1 + round(index * 1e8)))
        if index in flushes:
            writer.flush()
    for stream in writer._streams.values():
        stream.save()  # on disk, but not in the journal
    writer._journal.close()
    return writer.folder


@pytest.fixture(scope="module")
def corpse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return leftover(Home.open(tmp_path_factory.mktemp("corpse")))


def check_home(home: Home) -> None:
    """Whatever is sealed holds only what was recorded; examining again finds nothing more."""
    for folder in home.episodes.glob("*.zarr"):
        with Episode.at(folder) as episode:
            damaged = set()
            for spec in SPECS:
                assert episode.manifest.counts[spec.name] <= 10, "an item that the journal never promised"
                for index in range(episode.manifest.counts[spec.name]):
                    try:
                        found = episode.read(spec.name, index)
                    except Exception as error:
                        assert spec.name in str(error)
                        damaged.add(spec.name)
                    else:
                        np.testing.assert_array_equal(found, item(spec, index))
            problems = episode.verify()
            assert all(any(name in text for text in problems) for name in damaged)
            assert bool(problems) >= bool(damaged)
    assert not list(home.episodes.glob("*.partial"))
    before = snapshot(home.path)
    again = examine(home, fix=True)
    assert not (again.finished or again.truncated or again.quarantined or again.mended or again.untreated)
    assert snapshot(home.path) == before


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@settings(max_examples=25)
@given(data=st.data())
def test_any_truncation_of_a_leftover_is_treated(tmp_path: Path, corpse: Path, data: st.DataObject) -> None:
    """Files may be missing, short or zeroed at the end, as a power cut leaves them."""
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
    home = Home.open(tmp_path / "home")
    copy = home.episodes / corpse.name
    shutil.copytree(corpse, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=4, unique=True)):
        size = path.stat().st_size
        keep = data.draw(st.integers(0, size))
        deed = data.draw(st.sampled_from(["cut", "zero", "gone"]))
        if deed == "gone":
            path.unlink()
            continue
        os.truncate(path, keep)
        if deed == "zero":
            os.truncate(path, size)
    looked = examine(home)
    assert copy.is_dir(), "looking changes nothing"
    done = examine(home, fix=True)
    assert not done.untreated, done.messages
    assert len(looked.finished + looked.truncated + looked.quarantined) == 1
    assert len(list(home.episodes.glob("*.zarr"))) + len(list(home.quarantine.iterdir())) == 1
    check_home(home)


def test_a_cut_back_take_ends_at_the_newest_true_block(tmp_path: Path) -> None:
    """A power cut without waiting for the disk: the journal arrived, the last block's data did not."""
    home = Home.open(tmp_path)
    folder = leftover(home)
    assert read_journal(folder / JOURNAL_NAME).counts[DEPTH.name] == 10
    os.truncate(folder / DEPTH.name / "c.1.0.0", 0)
    report = examine(home, fix=True)
    with Episode.at(home.sealed(report.truncated[0])) as episode:
        assert set(episode.manifest.counts.values()) == {5} and episode.verify() == []
        assert episode.manifest.gaps[DEPTH.name] == 1


def test_the_doctor_says_what_it_kept_and_cut(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    leftover(home)
    steps: list[tuple[int, int]] = []
    report = finish_leftovers(home, lambda done, total: steps.append((done, total)))
    words = report.messages[0]
    assert f"kept 10 of '{DEPTH.name}' (1.0 s)" in words and f"10 of '{STATE.name}' (0.2 s)" in words
    assert f"4 pictures of {DEPTH.name} written after the last durable block" in words
    assert f"4 items of {STATE.name} written after" in words
    assert steps == [(0, 1)] and not list(home.path.rglob("reserve"))


def test_a_take_that_had_just_begun_is_no_leftover_and_an_old_one_is_swept(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    folder = home.begun(newest_id(home) or "0" * 32)
    folder.mkdir()
    (folder / JOURNAL_NAME).touch()
    assert examine(home, fix=True).clean and folder.is_dir(), "it may become a take at any moment"


def test_interrupted_imports_and_empty_takes_are_put_aside_with_a_reason(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    for kind in (EpisodeKind.IMPORTED, EpisodeKind.TELEOP):
        writer = EpisodeWriter.create(home, info(kind=kind), [STATE])
        if kind is EpisodeKind.IMPORTED:
            writer.append(STATE.name, frame(STATE, 0))
            writer.flush()
        writer._journal.close()
    report = examine(home, fix=True)
    assert len(report.quarantined) == 2 and sorted(text.split(": ", 2)[2][:20] for text in report.messages) == [
        "its import was inter",
        "nothing was recorded",
    ]


def test_a_healthy_home_costs_no_writes(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    for _ in range(3):
        write_take(home, 0.5)
    before = snapshot(home.path)
    assert examine(home, fix=True, deep=True).messages == [] and snapshot(home.path) == before
