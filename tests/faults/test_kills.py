"""SIGKILL at random: while a take begins, is recorded or sealed, while the doctor works, while the shelf moves.

No sealed take is ever lost, an open one loses less than a second, no item is invented, and the next take can begin.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.doctor import examine
from storage.episode import Episode
from storage.layout import Home
from tests.faults.nursery import BLOCK_S, SPECS, Nursery, check_items, nursery
from workbench.core.types import Outcome


@dataclass
class Told:
    """What a producer's own log says about one take, up to the kill."""

    token: int
    items: dict[str, list[float]] = field(default_factory=lambda: {spec.name: [] for spec in SPECS})
    sealed: dict[str, int] | None = None
    discarding: bool = False


def read_log(path: Path) -> dict[str, Told]:
    takes: dict[str, Told] = {}
    told = None
    for line in path.read_text().splitlines() if path.exists() else ():
        words = json.loads(line)
        if "begun" in words:
            told = takes[words["begun"]] = Told(words["token"])
        assert told is not None
        if "item" in words:
            assert words["index"] == len(told.items[words["item"]])
            told.items[words["item"]].append(words["t"])
        told.discarding |= "discarding" in words
        told.sealed = words["counts"] if "sealed" in words else told.sealed
    return takes


def check_take(home: Home, episode_id: str, told: Told, killed_s: float) -> int:
    """Compare a take with its producer's log; returns how many items the kill cost."""
    folder = next((f for f in (home.sealed(episode_id), home.trashed(episode_id)) if f.is_dir()), None)
    if folder is None:
        old = [name for name, times in told.items.items() for t in times if t < killed_s - 1.0]
        assert told.sealed is None and not old, f"the take {episode_id} is gone with {len(old)} old items"
        return sum(map(len, told.items.values()))
    with Episode.at(folder) as episode:
        assert episode.verify() == []
        assert episode.manifest.extra["token"] == told.token
        check_items(episode.manifest, episode.read)
        counts = episode.manifest.counts
    if told.sealed is not None:
        assert counts == told.sealed
    for name, times in told.items.items():
        assert counts[name] <= len(times), "an item nobody recorded"
        assert counts[name] >= sum(t < killed_s - 1.0 for t in times), f"more than a second of {name} is lost"
    return sum(len(times) - counts[name] for name, times in told.items.items())


def kill_writers(home: Home, kills: int, seed: int, made: Nursery) -> list[int]:
    """Kill that many writers, and doctors between; returns the items that each kill cost."""
    chance, costs = random.Random(seed), []
    for number in range(kills):
        log = home.path / f"{number}.log"
        pid = made.start("record", home=str(home.path), log=str(log), seed=seed + number, sync=number % 4 == 0)
        time.sleep(chance.uniform(0.01, 0.25))
        killed_s = made.kill(pid)
        for _ in range(chance.randrange(2)):
            busy = made.start("doctor", home=str(home.path), log="", seed=0)
            time.sleep(chance.uniform(0.0, 0.03))
            made.kill(busy)
        examine(home, fix=True)
        costs += [check_take(home, episode_id, told, killed_s) for episode_id, told in read_log(log).items()]
    return costs


def check_writers(home: Home, kills: int, seed: int) -> None:
    with nursery() as made:
        costs = kill_writers(home, kills, seed, made)
        assert len(costs) > kills, "several takes per writer"
        assert 0 < sum(cost > 0 for cost in costs) <= kills
        log = home.path / "last.log"
        pid = made.start("record", home=str(home.path), log=str(log), seed=1, sync=False, takes=1, ticks=6)
        assert made.wait(pid) == 0, "the next take can be recorded"
        assert all(told.sealed for told in read_log(log).values())
    reasons = {(folder / "reason.txt").read_text() for folder in home.quarantine.iterdir()}
    assert all("nothing was recorded" in text for text in reasons), reasons
    assert examine(home, deep=True).clean


def test_twenty_kills_of_writers_and_doctors(tmp_path: Path) -> None:
    assert BLOCK_S < 1.0
    check_writers(Home.open(tmp_path), 20, 1)


@pytest.mark.slow
def test_two_hundred_kills_of_writers_and_doctors(tmp_path: Path) -> None:
    check_writers(Home.open(tmp_path), 200, 1000)


def check_shelf(home: Home, kills: int, seed: int) -> None:
    """Kill who moves takes to the trash and back, labels them and writes the catalogue."""
    from storage.catalog import Catalog

    chance = random.Random(seed)
    with nursery() as made:
        log = home.path / "record.log"
        pid = made.start("record", home=str(home.path), log=str(log), seed=seed, sync=False, takes=6, ticks=10)
        assert made.wait(pid) == 0
        takes = read_log(log)
        for number in range(kills):
            said = home.path / f"shelf{number}.log"
            pid = made.start("shelf", home=str(home.path), log=str(said), seed=seed + number)
            end = time.monotonic() + 20
            while not said.exists():
                assert time.monotonic() < end, "the catalogue does not open"
                time.sleep(0.002)
            time.sleep(chance.uniform(0.0, 0.08))
            made.kill(pid)
            there = [f.name for base in (home.episodes, home.trash) for f in base.glob("*.zarr")]
            assert sorted(there) == sorted(f"{episode_id}.zarr" for episode_id in takes), "each take is in one place"
    for episode_id, told in takes.items():
        assert check_take(home, episode_id, told, 0.0) == 0
    with Catalog(home) as catalog:
        catalog.rebuild()
        for trashed, base in ((False, home.episodes), (True, home.trash)):
            found = {record.id for record in catalog.episodes(trashed=trashed)}
            assert found == {folder.name.partition(".")[0] for folder in base.glob("*.zarr")}
        catalog.label(next(iter(takes)), Outcome.FAILURE)
    assert examine(home, deep=True).clean


def test_kills_while_the_shelf_is_moved(tmp_path: Path) -> None:
    check_shelf(Home.open(tmp_path), 4, 3)


@pytest.mark.slow
def test_many_kills_while_the_shelf_is_moved(tmp_path: Path) -> None:
    check_shelf(Home.open(tmp_path), 60, 300)
