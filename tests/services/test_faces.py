"""`episodes blur` through the command line, over real takes and with the real detector; and stopping it half-way."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from storage.blurring import blurred_of
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.storage.face_pictures import CAMERA, SIZE, KnowsFaces, record, table, with_face
from tests.storage.takes import info
from workbench.cli import main
from workbench.core.types import EpisodeKind, Frame
from workbench.services import faces as service
from workbench.services.exchange import StopSwitch
from workbench.services.library import Library
from workbench.services.take_facts import take_facts


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick finder of the tests in place of the real one."""
    monkeypatch.setattr(service, "FaceFinder", KnowsFaces)


def short(home: Home, *, face: bool, kind: EpisodeKind = EpisodeKind.HUMAN) -> str:
    """Five pictures of a table, with somebody beside it or not."""
    writer = EpisodeWriter.create(home, info(kind=kind), [CAMERA], settings=StoreSettings(rows_hz=10.0, sync=False))
    picture = with_face(SIZE, (110.0, 120.0), 40.0, 20.0)[0] if face else table(*SIZE)
    for index in range(5):
        t_ns = round(index * 1e9 / CAMERA.rate_hz)
        writer.append(CAMERA.name, Frame(index, t_ns, t_ns, 0, picture))
    return writer.seal().id


def run(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = main(["--home", str(home.path), "episodes", *words, "--json"], lambda *_: 3)
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_preview_writes_nothing_and_blurring_replaces_what_shows_a_face(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    shows, empty = short(home, face=True), short(home, face=False)
    short(home, face=True, kind=EpisodeKind.TELEOP)
    code, told = run(home, capsys, "blur", "--kind", "human", "--preview")
    assert code == 0 and told["preview"] is True
    seen = {take["id"]: take for take in told["takes"]}
    assert set(seen) == {shows, empty} and seen[empty]["pictures"] == 0
    assert seen[shows]["pictures"] == 5 and seen[shows]["looked"] == 3
    assert seen[shows]["streams"] == {CAMERA.name: {"first_s": 0.0, "last_s": 0.2, "pictures": 5}}
    assert not list(home.trash.iterdir())
    code, told = run(home, capsys, "blur", shows, empty)
    assert code == 0 and list(told["blurred"]) == [shows] and told["pictures"] == 5 and told["failed"] == {}
    with Library(home.path) as library:
        copy = library.find(told["blurred"][shows])
        facts = take_facts(library, copy.id)
        assert (facts.blurred, facts.blurred_of) == (5, shows) and take_facts(library, empty).blurred == 0
        assert library.find(shows).trashed and library.open(copy.id).verify() == ()
    found = blurred_of(copy.extra)
    assert found is not None and found.detector.startswith("CenterFace")
    assert run(home, capsys, "undo")[0] == 0
    with Episode.open(home, shows) as take:
        assert take.verify() == []


def test_it_must_be_said_which_takes_and_they_must_be_in_use(
    home: Home, capsys: pytest.CaptureFixture[str], known: None
) -> None:
    whole = record(home)
    code, told = run(home, capsys, "blur")
    assert code == 1 and "No take is named" in told["error"]
    run(home, capsys, "delete", whole.id)
    code, told = run(home, capsys, "blur", whole.id)
    assert code == 1 and "trash" in told["error"]


def test_a_damaged_take_does_not_keep_the_others_from_it(home: Home, known: None) -> None:
    takes = [record(home) for _ in range(2)]
    shard = next((home.sealed(takes[0].id) / CAMERA.name).glob("c*"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with Library(home.path) as library:
        plan = library.plan_blur([take.id for take in takes])
        assert [look.episode_id for look in plan.with_faces] == [takes[1].id]
        assert "damaged" in plan.problems[0].problem or "cannot be read" in plan.problems[0].problem
        report = library.blur(plan)
        assert list(report.copies) == [takes[1].id] and report.failed == {}


def test_stopping_keeps_whole_takes_and_leaves_the_rest_as_they_were(home: Home, known: None) -> None:
    takes = [record(home) for _ in range(3)]
    with Library(home.path) as library:
        stop = StopSwitch()
        plan = library.plan_blur(
            [take.id for take in takes], lambda done, total: stop.stop() if done > 30 else None, stop
        )
        assert plan.stopped and [look.episode_id for look in plan.takes] == [takes[0].id]
        plan, heard = library.plan_blur([take.id for take in takes]), []
        stop = StopSwitch()

        def progress(done: int, total: int) -> None:
            heard.append((done, total))
            if done > total / 2:
                stop.stop()

        report = library.blur(plan, progress, stop)
        assert report.stopped and list(report.copies) == [takes[0].id]
        assert heard == sorted(heard) and {total for _, total in heard} == {225}
        assert {record.id for record in library.episodes()} == {*report.copies.values(), takes[1].id, takes[2].id}
        assert library.blur(library.plan_blur([takes[1].id, takes[2].id])).pictures == 2 * plan.takes[1].pictures
    assert not list(home.episodes.glob("*.partial"))


def test_looking_gives_way_to_a_recording_on_a_busy_machine(
    home: Home, known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, load, slept = record(home), [90.0], []
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval=None: load[0])
    writer = EpisodeWriter.create(home, info(), [CAMERA], settings=StoreSettings())

    def wait() -> None:
        slept.append(1)
        if len(slept) == 3:
            writer.discard()

    monkeypatch.setattr(service, "_rest", wait)
    with Library(home.path) as library:
        assert library.plan_blur([whole.id]).with_faces and len(slept) == 3
        writer = EpisodeWriter.create(home, info(), [CAMERA], settings=StoreSettings())
        load[0] = 10.0
        assert library.plan_blur([whole.id]).with_faces and len(slept) == 3, "an idle machine may work meanwhile"
        load[0], stop = 90.0, StopSwitch()
        monkeypatch.setattr(service, "_rest", stop.stop)
        assert library.plan_blur([whole.id], stop=stop).stopped
        writer.discard()
        assert library.blur(library.plan_blur([whole.id])).copies, "its own copy is no recording to wait for"


def test_the_example_shows_the_face_as_it_would_become(home: Home, known: None) -> None:
    whole, empty = record(home), short(home, face=False)
    with Library(home.path) as library:
        plan = library.plan_blur([whole.id, empty])
        example = library.face_example(plan.takes[0])
        assert example is not None and example[0] == CAMERA.name and example[1].shape == CAMERA.shape
        assert library.face_example(plan.takes[1]) is None
