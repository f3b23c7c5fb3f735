"""Lineage from model and run folders, sets, and what becomes of them when the catalogue is lost."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from models.recipes import preset
from models.registry import ModelRecord, delete_model, write_record
from models.stages import RunSpec
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench import cli
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, LibraryChanged
from workbench.core.files import write_json
from workbench.services.bench_catalog import measure
from workbench.services.catalogue_care import examine_catalogue
from workbench.services.library import Library, TakeFilter


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def make_models(home: Home, take: str, content_hash: str) -> None:
    recipe = preset("station", "act_vae")
    common = {"recipe": recipe.to_json(), "recipe_hash": "abc", "tasks": ("t",), "data": ((take, content_hash),)}
    write_record(home, ModelRecord("vae-1", "act_vae", created_at="2026-01-01T00:00:00+00:00", **common))
    later = {"parent": "", "bases": {"act_vae": "vae-1"}, "created_at": "2026-01-02T00:00:00+00:00"}
    write_record(home, ModelRecord("rf-1", "rf", **common, **later))
    spec = RunSpec("act_vae", recipe, (take,), home.path, run_id="run-1", model_id="vae-1", preset="station")
    write_json(spec.write() / "status.json", {"state": "running"})


def everything(library: Library) -> tuple[object, ...]:
    sets = (*library.collections(), *library.snapshots())
    models = library.models()
    return (
        library.episodes(trashed=None),
        sets,
        [library.takes_in(item.name) for item in sets],
        models,
        [(library.takes_of(m.id), library.ancestors(m.id), library.rollouts_of(m.id)) for m in models],
        library.devices(),
    )


@pytest.mark.parametrize("loss", ["deleted", "damaged", "rebuilt", "doctor"])
def test_a_lost_catalogue_is_the_same_again(home: Home, loss: str) -> None:
    first, second, third = (write_reach(home, seed, steps=12) for seed in range(3))
    make_models(home, first.id, first.content_hash)
    with Library(home.path) as library:
        library.tag([first.id, second.id], ["good"])
        library.trim(first.id, 0.2, 0.8)
        library.collect("mine", [second.id, first.id])
        library.freeze("paper", [first.id])
        library.split(third.id, 0.5)
        library.trash([second.id])
        before = everything(library)
        assert [model.id for model in library.models()] == ["vae-1", "rf-1"]
        assert [model.id for model in library.ancestors("rf-1")] == ["vae-1"]
        if loss == "rebuilt":
            library.rebuild()
            assert everything(library) == before
    if loss == "deleted":
        for path in home.path.glob("catalog.db*"):
            path.unlink()
    elif loss == "damaged":
        (home.path / "catalog.db").write_bytes(b"\0" * 9000)
    elif loss == "doctor":
        found = examine_catalogue(home.path, fix=True)
        assert found == {"ok": True, "takes": 5, "models": 2, "messages": []}
    heard: list[Failed] = []
    bus = Bus()
    bus.subscribe(Failed, heard.append)
    with Library(home.path, bus) as library:
        assert everything(library) == before
        assert len(heard) == len(library.notices) == (1 if loss == "damaged" else 0)


def test_the_doctor_replaces_a_file_that_is_too_large_to_check_at_every_start(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = write_reach(home, 0, steps=12)
    with Library(home.path) as library:
        library.tag([take.id], ["good"])
    path = home.path / "catalog.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:  # a page that opening and listing never touch
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_models_run_id'")
        ((size,),) = connection.execute("PRAGMA page_size")
    with open(path, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    monkeypatch.setattr("storage.database._QUICKLY_CHECKED_BYTES", 0)
    assert not examine_catalogue(home.path, fix=False)["ok"]
    found = examine_catalogue(home.path, fix=True)
    assert found["ok"] and found["takes"] == 1 and "set aside" in found["messages"][0]
    with Library(home.path) as library:
        assert library.find(take.id).tags == ("good",)
        assert "set aside" in library.events()[0].words


def test_a_failure_on_the_bus_becomes_an_event(home: Home) -> None:
    bus = Bus()
    with Library(home.path, bus) as library:
        bus.publish(Failed("camera front", "it was unplugged"))
        assert [(event.source, event.severity) for event in library.events()] == [("camera front", "error")]
    bus.publish(Failed("later", "nobody listens"))
    with Library(home.path, bus) as library:
        assert len(library.events()) == 1


def test_runs_and_models_come_and_go_with_their_folders(home: Home) -> None:
    take = write_reach(home, 0, steps=12)
    make_models(home, take.id, take.content_hash)
    with Library(home.path) as library:
        pinned = library.trash([take.id])
        assert pinned == {take.id: ["the model rf-1", "the model vae-1", "the training run run-1"]}
        assert library.purge(confirm=True).ids == ()
        write_json(home.runs / "run-1" / "status.json", {"state": "done"})
        delete_model(home, "rf-1")
        (home.models / "broken").mkdir()
        (home.models / "broken" / "model.json").write_text("{}")
        library.sync()
        assert [model.id for model in library.models_of(take.id)] == ["vae-1"]
        assert library.purge(confirm=True).refused == {take.id: ["the model vae-1"]}
        assert library.purge(confirm=True, force=True).ids == (take.id,)
        assert library.takes_of("vae-1")[0].state == "gone"


def test_trimming_and_splitting_go_by_seconds_from_the_first_row(home: Home) -> None:
    take = write_reach(home, 0, steps=30)
    bus, heard = Bus(), []
    with Library(home.path, bus) as library:
        bus.subscribe(LibraryChanged, heard.append)
        assert library.trim(take.id, 0.5).used_s == pytest.approx(2.4)
        with library.open(take.id) as view:
            assert view.used_rows == slice(5, 30)
        for start, end in ((-1.0, 1.0), (1.0, 0.5), (0.0, 99.0)):
            with pytest.raises(WorkbenchError, match="no part of the take"):
                library.trim(take.id, start, end)
        library.untrim(take.id)
        halves = library.split(take.id, 1.0)
        assert [library.find(half).rows for half in halves] == [10, 20]
        assert heard[-1].episode_ids == (take.id, *halves)
        with library.open(take.id) as view:
            assert view.record.trashed and view.picture("observation.images.front", 0) is not None


def ask(capsys: pytest.CaptureFixture[str], home: Home, *words: str, code: int = 0) -> dict[str, object]:
    got = cli.main(["episodes", *words, "--home", str(home.path), "--json"], lambda *_: 0)
    out = capsys.readouterr().out
    assert got == code, out
    return json.loads(out.splitlines()[-1])


def test_the_command_line_does_all_of_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (write_reach(home, seed, steps=20, task=task).id for seed, task in ((0, "pour"), (1, "wipe")))
    short = next(a[:n] for n in range(1, 33) if a[:n] != b[:n])
    make_models(home, a, "0" * 64)
    assert ask(capsys, home, "tag", "good,slow", short)["ids"] == [a]
    assert ask(capsys, home, "tag", "mine", "--task", "wipe")["ids"] == [b]
    assert "condition" in str(ask(capsys, home, "tag", "mine", code=1)["error"])
    assert [take["id"] for take in ask(capsys, home, "list", "--tag", "good", "--without-tag", "mine")["episodes"]] == [
        a
    ]
    assert ask(capsys, home, "list", "--limit", "1", "--order", "oldest")["total"] == 2
    ask(capsys, home, "untag", "slow", a)
    assert ask(capsys, home, "trim", a, "--start", "0.5", "--end", "1")["used_s"] == pytest.approx(0.5)
    assert ask(capsys, home, "show", a)["trim_s"] == [0.5, 1.0]
    assert ask(capsys, home, "trim", a, "--reset")["trim"] is None
    assert ask(capsys, home, "collect", "set", a, b)["takes"] == [a, b]
    assert ask(capsys, home, "collect", "all", "--from", "set")["takes"] == [a, b]
    assert ask(capsys, home, "collect", "set", b, "--remove")["takes"] == [a]
    assert [item["name"] for item in ask(capsys, home, "collections")["collections"]] == ["all", "set"]
    ask(capsys, home, "collect", "set", "--rename", "best")
    assert ask(capsys, home, "freeze", "paper", "--collection", "best")["snapshot"]["takes"] == 1
    assert ask(capsys, home, "snapshots", "paper")["problems"] == {}
    assert ask(capsys, home, "lineage", a)["models"] == ["vae-1", "rf-1"]
    assert ask(capsys, home, "lineage", "rf")["ancestors"] == ["vae-1"]
    halves = ask(capsys, home, "split", b, "--at", "1.0")["halves"]
    assert ask(capsys, home, "lineage", halves[0])["split_of"] == b
    assert ask(capsys, home, "undo")["undone"] and ask(capsys, home, "redo")["redone"]
    assert ask(capsys, home, "delete", a)["pinned"][a][0] == "the model rf-1"
    assert "confirm" in str(ask(capsys, home, "purge", code=1)["error"]).lower()
    found = ask(capsys, home, "purge", "--confirm")
    assert found["purged"] == [b] and found["freed_bytes"] > 0 and list(found["refused"]) == [a]
    assert ask(capsys, home, "stats")["tags"] == {"mine": 2} and ask(capsys, home, "events")["events"]
    assert ask(capsys, home, "collect", "all", "--drop")["dropped"] == "all"


def test_the_measurement_has_its_figures() -> None:
    found = measure(300, repeats=1)
    assert found["takes"] == 300 and found["fill_s"] > 0
    assert found["page_ms"]["p50"] <= found["page_ms"]["p99"] and found["lineage_ms"]["n"] == 5


def test_the_filter_of_the_library_is_the_catalogues(home: Home) -> None:
    write_reach(home, 0, steps=12)
    with Library(home.path) as library:
        assert library.page(TakeFilter(kind="teleop")).total == len(library.episodes(tags=())) == 1
