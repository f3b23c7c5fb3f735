"""Two programs on one data folder: the second station is refused by name, looking goes on, a dead one blocks nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.layout import Home
from tests.storage.takes import write_take
from workbench.core.errors import WorkbenchError
from workbench.services.home_lock import LOCK_NAME, HomeLock
from workbench.services.library import Library
from workbench.services.settings import simulated_settings
from workbench.services.station import Station

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from workbench.services.home_lock import HomeLock
HomeLock(Path(sys.argv[1])).take("another window")
print("held", flush=True)
time.sleep(60)
"""


def hold(home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_second_station_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    taken = write_take(home, 0.5)
    process = hold(tmp_path)
    try:
        station = Station(tmp_path, simulated_settings())
        with pytest.raises(WorkbenchError) as refused:
            station.start()
        words = str(refused.value)
        assert f"process {process.pid}" in words and "another window" in words and "since 20" in words
        station.close()
        with pytest.raises(WorkbenchError, match="another window"):
            HomeLock(tmp_path).take()
        with Library(tmp_path) as library:
            assert [record.id for record in library.episodes()] == [taken.id], "looking needs no lock"
    finally:
        end(process)
    lock = HomeLock(tmp_path)
    lock.take("the next")
    assert str(os.getpid()) in (tmp_path / LOCK_NAME).read_text()
    lock.release()


def test_two_stations_of_one_program_are_two(tmp_path: Path) -> None:
    first, second = HomeLock(tmp_path), HomeLock(tmp_path)
    first.take("first")
    first.take("first")
    with pytest.raises(WorkbenchError, match=r"`first`, process"):
        second.take("second")
    first.release()
    first.release()
    second.take("second")
    second.release()


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_lock_file_with_nonsense_is_still_a_lock(tmp_path: Path, text: bytes) -> None:
    first = HomeLock(tmp_path)
    first.take("first")
    (tmp_path / LOCK_NAME).write_bytes(text)
    with pytest.raises(WorkbenchError, match="does not say"):
        HomeLock(tmp_path).take()
    first.release()
    HomeLock(tmp_path).take()


@pytest.mark.slow
def test_a_killed_window_leaves_a_sealed_take_and_no_lock(tmp_path: Path) -> None:
    """The supervisor dies by SIGKILL in mid-take: its parts seal the take and end; the next start is not refused."""
    command = [sys.executable, "main.py", "record", "--home", str(tmp_path), "--seconds", "60"]
    command += ["--task", simulated_settings().tasks[0].name, "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    home = Home(tmp_path)
    try:
        until = time.monotonic() + 120
        while not any((path / "rows").exists() or path.suffix == ".partial" for path in home.episodes.glob("*")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until, "no take was begun"
            time.sleep(0.05)
        time.sleep(2.5)
        with pytest.raises(WorkbenchError, match=r"main.py record"):
            HomeLock(tmp_path).take()
    finally:
        end(process)
    until = time.monotonic() + 30
    while not list(home.episodes.glob("*.zarr")):
        assert time.monotonic() < until, "the take was not sealed by what the window left behind"
        time.sleep(0.05)
    with Library(tmp_path) as library:
        (record,) = library.episodes()
        with library.open(record.id) as view:
            assert view.verify() == () and view.manifest.counts["observation.state"] >= 80
    HomeLock(tmp_path).take()
