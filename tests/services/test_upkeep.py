"""Background chores: real takes, a real process, killed in the middle, paused, and in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from storage.archive import is_archived, unarchive
from storage.edits import change_manifest
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.quality import assess_at, is_current
from storage.reader import read_manifest
from tests.services.learnable import write_reach
from tests.storage.signals import FRONT, STATE, Scene, record
from workbench.cli import main
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, LibraryChanged, TakeSealed, UpkeepProgressed
from workbench.core.types import EpisodeKind, Outcome, TakeInfo
from workbench.services import upkeep as upkeep_module
from workbench.services.chores import Chore, Round, Workshop
from workbench.services.giving_way import is_recording
from workbench.services.library import Library
from workbench.services.settings import ArchivePart, Settings, UpkeepSettings
from workbench.services.upkeep import NICENESS, Upkeep

SETTINGS = Settings()


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def assessed(home: Home, episode_id: str) -> bool:
    return is_current(read_manifest(home.sealed(episode_id)).extra.get("quality"))


@pytest.fixture
def running(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Upkeep, list[object]]]]:
    """Starts background work on the home; everything that was said is collected."""
    monkeypatch.setattr(upkeep_module, "_START_S", 0.0)
    made: list[Upkeep] = []

    def start(*, threads: bool = True) -> tuple[Upkeep, list[object]]:
        bus, heard = Bus(), []
        bus.subscribe(object, heard.append)
        made.append(Upkeep(home.path, bus, threads=threads))
        made[-1].start(SETTINGS)
        assert wait_for(lambda: made[-1]._child is not None)
        return made[-1], heard

    yield start
    for upkeep in made:
        upkeep.close()


def test_what_lies_there_is_caught_up_with_and_a_new_take_wakes_it(home: Home, running) -> None:
    old = [write_reach(home, seed).id for seed in range(2)]
    upkeep, heard = running()
    assert wait_for(lambda: all(assessed(home, take) for take in old))
    assert wait_for(lambda: upkeep.status().state == "idle")
    new = write_reach(home, 2)
    upkeep._bus.publish(TakeSealed(new.id, 1, new.duration_s))
    assert wait_for(lambda: assessed(home, new.id), 8.0), "long before the next look"
    assert wait_for(
        lambda: {i for e in heard if isinstance(e, LibraryChanged) for i in e.episode_ids} == {*old, new.id}
    )
    assert [event for event in heard if isinstance(event, Failed)] == []
    steps = [(event.done, event.total) for event in heard if isinstance(event, UpkeepProgressed)]
    assert steps[:3] == [(0, 2), (1, 2), (2, 2)]
    with Library(home.path) as library:
        for take in (*old, new.id):
            stored = library.find(take).extra["quality"]
            assert stored["version"] and stored["assessed_at"] and stored["figures"]["duration_s"] > 0
            with library.open(take) as view:
                assert view.verify() == (), "an assessment leaves the take bit-true"


@pytest.mark.parametrize("kills", [2])
def test_killed_in_the_middle_it_goes_on_and_leaves_nothing_half_written(
    home: Home, running, monkeypatch, kills
) -> None:
    monkeypatch.setattr(upkeep_module, "_RESTART_S", 0.1)
    takes = [record(home, Scene(seconds=4), (FRONT, STATE)) for _ in range(4)]
    ids = [take.manifest.id for take in takes]
    upkeep, _ = running(threads=False)
    pids = []
    for number in range(kills):
        assert wait_for(lambda number=number: sum(assessed(home, take) for take in ids) > number)
        pids.append(upkeep._child.pid)
        assert psutil.Process(pids[-1]).nice() == NICENESS
        os.kill(pids[-1], signal.SIGKILL)
        assert wait_for(lambda: upkeep._child.pid not in pids)
    assert wait_for(lambda: all(assessed(home, take) for take in ids))
    assert not list(home.path.glob("episodes/*/*.tmp")), "leftovers of a torn write are written over"
    with Library(home.path) as library:
        assert all(is_current(library.find(take).extra.get("quality")) for take in ids)
    for take in ids:
        with Episode.open(home, take) as episode:
            assert episode.verify() == []


def test_a_kill_between_manifest_and_catalogue_is_made_good(home: Home) -> None:
    take = write_reach(home, 0).id
    with Library(home.path):  # the take is entered
        pass
    with Workshop(home, SETTINGS) as other:
        quality = assess_at(home.sealed(take)).to_json()
        change_manifest(home.sealed(take), extra={"quality": quality})
        assert "quality" not in other.catalog.episode(take).extra
    with Workshop(home, SETTINGS) as workshop:
        assert workshop.unassessed() == [take]
        assert workshop.assess(take) is None, "nothing is measured again"
        assert workshop.unassessed() == []
        assert workshop.catalog.episode(take).extra["quality"] == quality


def test_labels_given_meanwhile_are_kept(home: Home) -> None:
    take = write_reach(home, 0).id
    stop = threading.Event()
    with Library(home.path) as library, Workshop(home, SETTINGS) as workshop:

        def label() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                library.label(take, Outcome.FAILURE if number % 2 else Outcome.SUCCESS)
                library.note(take, str(number))
                assert library.find(take).notes == read_manifest(home.sealed(take)).notes == str(number)

        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                label()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        for _ in range(5):
            workshop.assess(take, again=True)
        stop.set()
        thread.join()
        assert failures == [] and is_current(read_manifest(home.sealed(take)).extra["quality"])


def test_it_waits_while_a_take_is_recorded_on_a_busy_machine(home: Home, running, monkeypatch) -> None:
    load = {"percent": 90.0}
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval=None: load["percent"])
    writer = EpisodeWriter.create(home, TakeInfo(EpisodeKind.TELEOP, "t", "t"), (STATE,), settings=StoreSettings())
    assert is_recording(home)
    take = write_reach(home, 0).id
    upkeep, _ = running()
    assert wait_for(lambda: upkeep.status().state == "waiting")
    assert not assessed(home, take)
    load["percent"] = 10.0
    assert wait_for(lambda: assessed(home, take)), "an idle machine may work while recording"
    load["percent"] = 90.0
    later = write_reach(home, 1).id
    upkeep._bus.publish(TakeSealed(later, 1, 1.0))
    assert wait_for(lambda: upkeep.status().state == "waiting")
    writer.abandon()
    assert not is_recording(home)
    assert wait_for(lambda: assessed(home, later))


def test_it_can_be_paused_and_ends_at_once_when_closed(home: Home, running) -> None:
    upkeep, _ = running()
    assert wait_for(lambda: upkeep.status().rounds >= 1)
    upkeep.pause()
    take = write_reach(home, 0).id
    upkeep._bus.publish(TakeSealed(take, 1, 1.0))
    time.sleep(0.3)
    assert upkeep.status().state == "paused" and not assessed(home, take)
    upkeep.resume()
    assert wait_for(lambda: assessed(home, take))
    upkeep.pause()
    started = time.monotonic()
    upkeep.close()
    assert time.monotonic() - started < 3


def test_a_window_that_closes_at_once_never_starts_it(home: Home) -> None:
    started = time.monotonic()
    with Upkeep(home.path, Bus()) as upkeep:
        upkeep.start(SETTINGS)
        assert upkeep._child is None
    assert time.monotonic() - started < 1 and upkeep._child is None


def test_switched_off_nothing_runs(home: Home) -> None:
    with Upkeep(home.path, Bus()) as upkeep:
        upkeep.start(Settings(upkeep=UpkeepSettings(assess=False)))
        with pytest.raises(WorkbenchError, match="no background work"):
            upkeep.status()


def test_a_chore_that_fails_is_said_once_and_does_not_stop_the_others(home: Home) -> None:
    takes = sorted((write_reach(home, seed).id for seed in range(3)), reverse=True)
    done: list[str] = []

    def work(_: Workshop, take: str) -> None:
        if take == takes[1]:
            raise WorkbenchError("the disk refuses", "Free space")
        done.append(take)

    chore = Chore("polish", lambda settings: True, lambda workshop: takes, work)
    said: list[str] = []
    with Workshop(home, SETTINGS) as workshop:
        rounds = Round(workshop, lambda *step: None, said.append)
        assert rounds.run([chore]) == 3 and rounds.run([chore]) == 2
    assert done == [takes[0], takes[2]] * 2
    assert len(said) == 1 and "the disk refuses" in said[0] and takes[1] in said[0]


def test_a_take_that_cannot_be_opened_is_left_to_the_doctor(home: Home) -> None:
    hollow = home.sealed("0" * 32)
    hollow.mkdir()
    with Workshop(home, SETTINGS) as workshop:
        quality = workshop.assess("0" * 32)
        assert quality is not None and quality.flags == ("unreadable",)
        assert workshop.unassessed() == [] and not list(hollow.iterdir())


def test_archiving_is_off_by_default_and_then_takes_only_old_takes(home: Home) -> None:
    pictures = replace(FRONT, shape=(96, 128, 3))
    with record(home, Scene(seconds=3), (pictures, STATE)) as take:
        take_id = take.manifest.id
    numbers = write_numbers(home)
    on = Settings(upkeep=UpkeepSettings(archive=True), archive=ArchivePart(after_days=0))

    def run(settings: Settings) -> dict[str, int]:
        totals: dict[str, int] = {}
        with Workshop(home, settings) as workshop:
            Round(workshop, lambda chore, done, total: totals.update({chore: total}), said.append).run()
        return totals

    said: list[str] = []
    assert run(SETTINGS) == {"assess": 2}
    assert run(Settings(upkeep=UpkeepSettings(archive=True))) == {}, "they are from today"
    assert run(on) == {"archive": 2} and said == []
    assert run(on) == {}, "what is not worth archiving is not tried again and again"
    with Library(home.path) as library:
        assert "archive" in library.find(take_id).extra and "archive" not in library.find(numbers).extra
        assert is_current(library.find(take_id).extra["quality"])
    with Episode.open(home, take_id) as episode:
        assert is_archived(episode.manifest) and episode.verify() == []
    assert not is_archived(unarchive(home, take_id))


def test_archiving_ends_when_told_and_leaves_the_take_as_it_was(home: Home) -> None:
    with record(home, Scene(seconds=3), (replace(FRONT, shape=(96, 128, 3)),)) as take:
        before = take.manifest
    calls: list[int] = []

    class Halt(Exception):  # noqa: N818
        pass

    def stop() -> None:
        calls.append(1)
        if len(calls) > 3:
            raise Halt

    with Workshop(home, SETTINGS, stop) as workshop, pytest.raises(Halt):
        workshop.archive(before.id)
    with Episode.open(home, before.id) as episode:
        assert episode.manifest == before and episode.verify() == []


def write_numbers(home: Home) -> str:
    """A take without pictures, which no video form makes smaller."""
    with record(home, Scene(seconds=1), (STATE,)) as take:
        return take.manifest.id


def run(capsys: pytest.CaptureFixture[str], home: Home, *words: str) -> dict[str, object]:
    assert main(["--home", str(home.path), "--json", *words], lambda *_: 1) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_command_line_assesses_and_counts(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with record(home, Scene(seconds=3, rate=0.7), (FRONT, STATE)) as slow:
        pass
    write_reach(home, 0)
    first = run(capsys, home, "episodes", "assess")
    assert first["assessed"] == 2 and first["flags"]["slow"] == 1 and first["failed"] == {}
    (entry,) = [take for take in first["takes"] if take["id"] == slow.manifest.id]
    assert {"flag": "slow", "sentence": "camera 'front' ran at 21.0 instead of 30 Hz"} in entry["remarks"]
    assert run(capsys, home, "episodes", "assess")["assessed"] == 0
    assert run(capsys, home, "episodes", "assess", "--all")["assessed"] == 2
    assert run(capsys, home, "episodes", "assess", slow.manifest.id[:14])["assessed"] >= 1
    (home.path / "station.toml").write_text("[quality]\nslow_ratio = 0.5\n")
    assert "slow" not in run(capsys, home, "episodes", "assess")["flags"], "other thresholds are asked anew"
    quality = run(capsys, home, "episodes", "stats")["quality"]
    assert quality["assessed"] == 2 and "slow" not in quality["flags"]
