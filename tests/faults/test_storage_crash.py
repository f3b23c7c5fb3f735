"""Kill a real writer at random moments; everything its journal promised must come back bit by bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from storage.doctor import Verdict, diagnose, examine
from storage.episode import Episode, EpisodeWriter
from storage.journal import read_journal
from storage.layout import COPY_NAME, GROUP_NAME, JOURNAL_NAME, REASON_NAME, Home
from tests.storage.takes import DEPTH, EXACT, SPECS, STATE, frame, info, item, rewrite_manifest, write_take
from workbench.core.errors import WorkbenchError

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.storage.takes import SPECS, frame, info

home = Home.open(Path(sys.argv[1]))
settings = StoreSettings(color_codec="lossless", rows_hz=10.0, block_s=0.02, sync=sys.argv[2] == "sync")
writer = EpisodeWriter.create(home, info(), SPECS, settings=settings)
print("recording", flush=True)
for step in range(1000000):
    for spec in SPECS:
        for part in range(round(spec.rate_hz / 10)):
            index = step * round(spec.rate_hz / 10) + part
            t_ns = 1 + round(index * 1e9 / spec.rate_hz)
            writer.append(spec.name, frame(spec, index, gap=2 if index % 7 == 3 else 0, t_ns=t_ns))
"""


def _kill_a_writer(home: Home, after_s: float, sync: str) -> None:
    command = [sys.executable, "-c", WRITER, str(home.path), sync]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        assert process.stdout.readline() == "recording\n", process.stderr.read()
        time.sleep(after_s)
        assert process.poll() is None, process.stderr.read()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_killed_writers_lose_nothing_that_was_journalled(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    moments = random.Random(3)
    for attempt in range(3):
        _kill_a_writer(home, moments.uniform(0.05, 0.5), "sync" if attempt % 2 else "fast")
    promised = {}
    for folder in home.episodes.iterdir():
        promised[folder.name.partition(".")[0]] = read_journal(folder / JOURNAL_NAME)
    assert len(promised) == 3 and all(any(state.counts.values()) for state in promised.values())

    told = examine(home)
    done = examine(home, fix=True)
    assert (told.finished, told.truncated, told.quarantined) == (done.finished, done.truncated, done.quarantined)
    assert sorted(done.finished + done.truncated) == sorted(promised)
    for episode_id, state in promised.items():
        _check_recovered(home, episode_id, state.counts)
    assert examine(home, deep=True).clean


def _check_recovered(home: Home, episode_id: str, counts: dict[str, int]) -> None:
    with Episode.open(home, episode_id) as episode:
        assert episode.manifest.counts == counts and episode.verify() == []
        for spec in SPECS:
            count = counts[spec.name]
            expected = tuple((index, 2) for index in range(count) if index % 7 == 3)
            assert episode.manifest.gap_positions[spec.name] == expected
            for index in range(count):
                np.testing.assert_array_equal(episode.read(spec.name, index), item(spec, index))
            host = episode.times(spec.name)[1]
            np.testing.assert_array_equal(host, [1 + round(k * 1e9 / spec.rate_hz) for k in range(count)])


def _leftover(home: Home, items: int = 12, flush_at: int = 12) -> EpisodeWriter:
    """A take whose writer went away after ``items`` depth pictures, ``flush_at`` of them journalled."""
    writer = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=EXACT)
    for index in range(items):
        writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
        writer.append(STATE.name, frame(STATE, index, t_ns=1 + index))
        if index + 1 == flush_at:
            writer.flush()
    return writer


def test_a_take_being_recorded_is_left_alone(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    writer = _leftover(home)
    report = examine(home, fix=True)
    assert report.left_alone == [writer.episode_id] and report.clean
    writer.seal()
    assert examine(home).left_alone == []


@pytest.mark.parametrize(("flush_at", "verdict"), [(12, Verdict.FINISH), (7, Verdict.TRUNCATE)])
def test_the_verdict_tells_finished_from_cut(tmp_path: Path, flush_at: int, verdict: Verdict) -> None:
    home = Home.open(tmp_path)
    writer = _leftover(home, 12, flush_at)
    writer._journal.close()  # as the kernel does when the process dies
    assert diagnose(writer.folder).verdict is verdict
    assert diagnose(writer.folder).verdict is verdict, "looking must not change anything"
    examine(home, fix=True)
    with Episode.open(home, writer.episode_id) as episode:
        assert episode.manifest.counts == {DEPTH.name: flush_at, STATE.name: flush_at}
        assert episode.verify() == [] and episode.manifest.extra["recovered"] is True


def test_a_torn_journal_line_falls_back_to_the_line_before(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    writer = _leftover(home, 12, 5)
    writer.flush()
    writer._journal.close()
    journal = writer.folder / JOURNAL_NAME
    journal.write_bytes(journal.read_bytes()[:-4])
    report = examine(home, fix=True)
    assert report.truncated == [writer.episode_id] and "torn" in report.messages[0]
    with Episode.open(home, writer.episode_id) as episode:
        assert episode.manifest.counts[DEPTH.name] == 5
        np.testing.assert_array_equal(episode.read(DEPTH.name, 4), item(DEPTH, 4))


def test_what_nothing_vouches_for_is_quarantined_with_the_reason(tmp_path: Path) -> None:
    home = Home.open(tmp_path)

    def no_manifest(folder: Path) -> None:
        (folder / GROUP_NAME).write_text("{}")
        (folder / COPY_NAME).unlink()

    for damage in (no_manifest, lambda folder: (folder / JOURNAL_NAME).unlink()):
        writer = _leftover(home)
        writer._journal.close()
        damage(writer.folder)
    report = examine(home, fix=True)
    assert len(report.quarantined) == 2 and not report.finished
    for folder in home.quarantine.iterdir():
        assert len((folder / REASON_NAME).read_text()) > 10
    assert not list(home.episodes.iterdir()) and examine(home).clean


@pytest.mark.parametrize("damage", ["shard", "times", "manifest"])
def test_a_damaged_leftover_keeps_what_is_not_damaged(tmp_path: Path, damage: str) -> None:
    home = Home.open(tmp_path)
    writer = _leftover(home)
    writer._journal.close()
    if damage == "shard":
        (writer.folder / DEPTH.name / "c.0.0.0").write_bytes(b"short")
    elif damage == "times":
        (writer.folder / f"{STATE.name}.t_device_ns" / "c.0").unlink()
    else:
        (writer.folder / GROUP_NAME).write_text("{}")
    assert examine(home, fix=True).finished == [writer.episode_id]
    with Episode.open(home, writer.episode_id) as episode:
        np.testing.assert_array_equal(episode.vectors(STATE.name)[11], item(STATE, 11))
        problems = "; ".join(episode.verify())
        if damage == "shard":
            assert f"of {DEPTH.name}" in problems and "items 0 to 9" in problems
            np.testing.assert_array_equal(episode.read(DEPTH.name, 11), item(DEPTH, 11))
        elif damage == "times":
            assert f"items 0 to 11 of {STATE.name}.t_device_ns" in problems
            np.testing.assert_array_equal(episode.read(DEPTH.name, 5), item(DEPTH, 5))
        else:
            assert problems == ""


def test_a_take_that_only_lacks_its_final_name_gets_it(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    manifest = write_take(home, 1.0)
    home.sealed(manifest.id).rename(home.partial(manifest.id))
    assert examine(home, fix=True).finished == [manifest.id]
    with Episode.open(home, manifest.id) as episode:
        assert episode.manifest == manifest


def test_a_recorder_error_leaves_a_take_the_doctor_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up: the message says what is kept, and exactly that comes back."""
    import errno
    import os

    home = Home.open(tmp_path)
    writer = _leftover(home, 12, 12)
    real, room = os.pwrite, [3000]

    def full(handle: int, data: bytes, offset: int) -> int:
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WorkbenchError, match=r"No space left on device.*kept: 12 of observation.depth.front"):
        for index in range(12, 40):
            writer.append(DEPTH.name, frame(DEPTH, index, t_ns=1 + index))
    with pytest.raises(WorkbenchError):
        writer.append(DEPTH.name, frame(DEPTH, 40, t_ns=41))
    monkeypatch.undo()
    report = examine(home, fix=True)
    assert report.truncated + report.finished == [writer.episode_id]
    with Episode.open(home, writer.episode_id) as episode:
        assert episode.manifest.counts == {DEPTH.name: 12, STATE.name: 12} and episode.verify() == []


def test_a_full_disk_while_sealing_can_be_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    home = Home.open(tmp_path)
    writer = _leftover(home)
    real, left = os.pwrite, [6]

    def full(handle: int, data: bytes, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WorkbenchError, match="No space left"):
        writer.seal()
    monkeypatch.undo()
    assert examine(home, fix=True).finished == [writer.episode_id]
    with Episode.open(home, writer.episode_id) as episode:
        np.testing.assert_array_equal(episode.read(DEPTH.name, 11), item(DEPTH, 11))
        assert episode.verify() == []


def test_takes_of_a_newer_version_are_left_where_they_are(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    manifest = write_take(home, 0.5)
    rewrite_manifest(home.sealed(manifest.id), lambda attributes: attributes.update(format_version=2))
    report = examine(home, fix=True)
    assert report.clean and "newer version" in report.messages[0] and home.sealed(manifest.id).exists()
