"""The same catalogue on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from alembic import command
from sqlalchemy import create_engine, text

from storage.catalog import Catalog
from storage.database import open_database
from storage.edits import change_manifest
from storage.episode import Episode
from storage.filters import ORDERS, TakeFilter
from storage.history import EVENTS
from storage.layout import Home
from storage.marks import Trim
from storage.migrate import migration_config
from storage.records import ModelEntry, RunEntry
from tests.storage.catalog_editor import edit_many
from tests.storage.servers import missing_server, postgres_server
from tests.storage.takes import write_take
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import EpisodeKind, Outcome

Open = Callable[[], Catalog]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server, or "" for SQLite."""
    if request.param == "sqlite":
        yield ""
        return
    if reason := missing_server():
        pytest.skip(reason)
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL (psycopg) is not installed")
    with postgres_server() as url:
        yield url


@pytest.fixture
def url(server: str, home: Home) -> str:
    """A fresh database."""
    if not server:
        return home.catalog_url
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(server.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(database=name)


# What says little about the database runs on the server only with the slow tests.
mostly_sqlite = pytest.mark.parametrize(
    "server", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


def ids(catalog: Catalog, **wanted: object) -> list[str]:
    page = catalog.page(TakeFilter(**wanted))  # type: ignore[arg-type]
    assert page.total == len(page.records)
    assert tuple(record.id for record in page.records) == catalog.ids(TakeFilter(**wanted))  # type: ignore[arg-type]
    return [record.id for record in page.records]


def test_every_filter_finds_what_it_says(home: Home, url: str) -> None:
    camera = {"kind": "realsense", "serial": "777", "intrinsics": {"color": {"fx": 1.0}}, "pose": None}
    first = write_take(home, 0.3, kind=EpisodeKind.HUMAN, operator="Ada", scene="bench", devices={"front": camera})
    second = write_take(home, 0.6, task="pour", station="west", extra={"model": "m-1"}, kind=EpisodeKind.ROLLOUT)
    third = write_take(home, 0.9)
    change_manifest(home.sealed(second.id), extra={"quality": {"version": 2, "flags": ["dark", "still"]}})
    change_manifest(home.sealed(third.id), extra={"quality": {"version": 2, "flags": []}})
    with Catalog(home, url) as catalog:
        catalog.tag([first.id, third.id], ["good", "Ünïcode"])
        catalog.sets.collect("set", [third.id, first.id])
        catalog.note(third.id, "the GRIPPER slipped, 100%_sure")
        assert ids(catalog) == [third.id, second.id, first.id]
        for wanted, found in (
            ({"kind": "human"}, [first]),
            ({"task": "pour"}, [second]),
            ({"operator": "Ada", "scene": "bench"}, [first]),
            ({"station": "west"}, [second]),
            ({"tags": ("good",)}, [third, first]),
            ({"tags": ("good", "Ünïcode"), "without_tags": ("none",)}, [third, first]),
            ({"without_tags": ("good",)}, [second]),
            ({"collection": "set"}, [third, first]),
            ({"flags": ("still", "other")}, [second]),
            ({"without_flags": ("dark",)}, [third, first]),
            ({"checked": True}, [third, second]),
            ({"checked": False}, [first]),
            ({"model": "m-1"}, [second]),
            ({"serial": "777"}, [first]),
            ({"min_s": 0.4}, [third, second]),
            ({"max_s": 0.4}, [first]),
            ({"text": "gripper SURE"}, [third]),
            ({"text": "100%_s"}, [third]),
            ({"text": second.id[-9:]}, [second]),
            ({"text": "nobody"}, []),
            ({"text": "plate ADA", "outcome": "success"}, [first]),
            ({"since": second.started_at}, [third, second]),
            ({"until": second.started_at}, [first]),
            ({"trashed": True}, []),
            ({"trashed": None}, [third, second, first]),
        ):
            assert ids(catalog, **wanted) == [manifest.id for manifest in found], wanted
        assert catalog.counts_by("tag") == {"good": 2, "Ünïcode": 2} and catalog.counts_by("flag")["dark"] == 1
        assert catalog.counts_by("task") == {"cube_to_plate": 2, "pour": 1}
        assert catalog.page(TakeFilter(), 1, 1).records == (catalog.episode(second.id),)
        assert catalog.page(TakeFilter(text="cube"), 5, 1).total == 3
        for order in ORDERS:
            assert catalog.page(TakeFilter(), order=order).total == 3
        lengths = [r.id for r in catalog.page(TakeFilter(), order="longest").records]
        assert lengths == [third.id, second.id, first.id]
        (device,), (calibration,) = catalog.devices(), catalog.calibrations("777")
        assert (device.serial, device.names, device.takes, device.first_seen) == (
            "777",
            ("front",),
            1,
            first.started_at,
        )
        assert calibration.intrinsics == {"color": {"fx": 1.0}} and calibration.first_seen == first.started_at
        with pytest.raises(WorkbenchError, match="is not a time"):
            catalog.page(TakeFilter(since="yesterday"))


@mostly_sqlite
def test_a_slow_stream_is_noticed(home: Home, url: str) -> None:
    whole = write_take(home, 1.0)
    with Catalog(home, url) as catalog:
        assert catalog.episode(whole.id).rate_ok and ids(catalog, rate_ok=False) == []
    poor = dict(whole.counts, **{"observation.state": 30})
    with Catalog(home, url) as catalog:
        catalog.add(dataclasses.replace(whole, counts=poor))
        assert ids(catalog, rate_ok=False) == [whole.id]


@mostly_sqlite
def test_what_others_change_on_disk_is_learnt(home: Home, url: str) -> None:
    with Catalog(home, url) as catalog:
        a, b, c = (write_take(home, 0.1) for _ in range(3))
        assert set(catalog.sync().added) == {a.id, b.id, c.id} and catalog.sync().all == ()
        change_manifest(home.sealed(a.id), notes="by another hand")
        home.sealed(b.id).rename(home.trashed(b.id))
        shutil.rmtree(home.sealed(c.id))
        found = catalog.sync()
        assert (found.added, set(found.changed), found.gone) == ((), {a.id, b.id}, (c.id,))
        assert catalog.episode(a.id).notes == "by another hand" and catalog.episode(b.id).trashed
        with pytest.raises(NotFoundError):
            catalog.episode(c.id)


def test_everything_comes_back_from_disk(home: Home, url: str, request: pytest.FixtureRequest) -> None:
    """The catalogue is only an index: emptied, it is the same again."""
    a, b, c = (write_take(home, 0.5) for _ in range(3))
    with Catalog(home, url) as catalog:
        catalog.label([a.id, b.id], Outcome.FAILURE)
        catalog.tag([a.id], ["x"])
        catalog.trim(a.id, Trim(100_000_000, 300_000_000))
        catalog.sets.collect("mine", [b.id, a.id])
        catalog.sets.freeze("paper", [c.id, a.id])
        catalog.trash([c.id])
        catalog.add_trial("m", "t", True, episode_id=a.id)
        catalog.add_trial("m", "t", False)
        catalog.log_event("camera", "unplugged", "error")

        def everything() -> tuple[object, ...]:
            sets = catalog.sets.all()
            members = [catalog.sets.takes(item.name) for item in sets]
            return catalog.episodes(trashed=None), sets, members, catalog.trials(), catalog.events()

        before = everything()
        assert catalog.rebuild() == 3
        assert everything() == before
        assert catalog.undo() == "Undone: deletion of 1 take"
        with catalog._engine.begin() as connection:
            for name in ("episodes", "collections", "trials", "events"):
                connection.exec_driver_sql(f"DELETE FROM {name}")
        assert len(catalog.sync().added) == 3
        assert [record.tags for record in catalog.episodes(ids=[a.id])] == [("x",)]
        assert len(catalog.sets.all()) == 2 and len(catalog.events()) == 1
        assert catalog.rebuild() == 3 and len(catalog.trials()) == 2


@mostly_sqlite
def test_undo_and_redo_walk_back_and_forth(home: Home, url: str) -> None:
    a, b = (write_take(home, 1.0) for _ in range(2))
    with Catalog(home, url) as catalog:
        states = [catalog.episodes(trashed=None), catalog.sets.all()]
        edits: list[Callable[[], object]] = [
            lambda: catalog.label([a.id, b.id], Outcome.FAILURE),
            lambda: catalog.tag([a.id, b.id], ["one", "two"]),
            lambda: catalog.untag([a.id], ["two"]),
            lambda: catalog.trim(a.id, Trim(0, 500_000_000)),
            lambda: catalog.sets.collect("c", [b.id]),
            lambda: catalog.sets.collect("c", [a.id]),
            lambda: catalog.sets.rename("c", "d"),
            lambda: catalog.sets.freeze("f", [a.id]),
            lambda: catalog.split(b.id, 500_000_000),
            lambda: catalog.trash([a.id, b.id]),
            lambda: catalog.sets.drop("d"),
        ]

        def state() -> tuple[object, ...]:
            live = [r for r in catalog.episodes(trashed=None) if r.id in (a.id, b.id) or not r.trashed]
            return live, catalog.sets.all(), [catalog.sets.takes(item.name) for item in catalog.sets.all()]

        states = [state()]
        for edit in edits:
            edit()
            states.append(state())
        for expected in reversed(states[:-1]):
            assert catalog.undo() is not None
            assert state() == expected
        assert catalog.undo() is None
        for expected in states[1:]:
            assert catalog.redo() is not None
            assert state() == expected
        assert catalog.redo() is None
        catalog.undo()
        catalog.note(a.id, "a new edit closes the way forward")
        assert catalog.redo() is None
        catalog.rebuild()
        assert catalog.undo() == "Undone: change of notes"


@mostly_sqlite
def test_an_edit_that_fails_half_way_changes_nothing(home: Home, url: str) -> None:
    a, b = (write_take(home, 0.2) for _ in range(2))
    with Catalog(home, url) as catalog:
        shutil.rmtree(home.sealed(b.id))
        for edit in (
            lambda: catalog.label([a.id, b.id], Outcome.FAILURE),
            lambda: catalog.trash([a.id, b.id]),
            lambda: catalog.tag([a.id, b.id], ["x"]),
        ):
            with pytest.raises(WorkbenchError):
                edit()
            with Episode.open(home, a.id) as take:
                assert take.manifest == a
            assert not catalog.episode(a.id).trashed and catalog.episode(a.id).outcome is Outcome.SUCCESS
        assert catalog.undo() is None


def test_lineage_by_what_is_handed_in(home: Home, url: str) -> None:
    a, b = write_take(home, 0.2), write_take(home, 0.2, kind=EpisodeKind.ROLLOUT, extra={"model": "rf-2"})
    with Catalog(home, url) as catalog:
        line = catalog.lineage
        line.enter_model(ModelEntry("vae", "act_vae"), [(a.id, a.content_hash)])
        line.enter_model(ModelEntry("rf-1", "rf", bases=(("act_vae", "vae"), ("parent", ""))), [(a.id, "f" * 64)])
        line.enter_model(ModelEntry("rf-2", "rf", bases=(("parent", "rf-1"), ("act_vae", "vae"))), [("0" * 32, "")])
        line.enter_run(RunEntry("run", "rf", state="running", model_id="rf-3"), {b.id: "learn", a.id: "replay"})
        assert [model.id for model in line.ancestors("rf-2")] == ["rf-1", "vae"]
        assert [model.id for model in line.descendants("vae")] == ["rf-1", "rf-2"] and line.ancestors("vae") == ()
        assert [model.id for model in line.models_of(a.id)] == ["rf-1", "vae"]
        assert [(use.id, use.state) for use in line.takes_of("rf-1")] == [(a.id, "changed")]
        assert [use.state for use in line.takes_of("vae")] == ["here"] and line.takes_of("rf-2")[0].state == "gone"
        assert line.rollouts_of("rf-2") == (b.id,) and len(line.takes_of_run("run")) == 2
        assert catalog.trash([a.id]) == {a.id: ["the model rf-1", "the model vae", "the training run run"]}
        assert line.takes_of("vae")[0].state == "trashed"
        line.enter_run(RunEntry("run", "rf", state="done"), {b.id: "learn"})
        line.forget(models=["rf-1"])
        assert catalog.pinned([a.id, b.id]) == {a.id: ["the model vae"]}
        assert [model.id for model in line.descendants("vae")] == ["rf-2"]
        with pytest.raises(NotFoundError, match="rf-2"):
            line.takes_of("rf-22")


@mostly_sqlite
def test_models_in_a_circle_end(home: Home, url: str) -> None:
    with Catalog(home, url) as catalog:
        catalog.lineage.enter_model(ModelEntry("a", "rf", bases=(("parent", "b"),)))
        catalog.lineage.enter_model(ModelEntry("b", "rf", bases=(("parent", "a"),)))
        assert [model.id for model in catalog.lineage.ancestors("a")] == ["b"]


@mostly_sqlite
def test_purging_frees_the_disk_and_respects_snapshots(home: Home, url: str) -> None:
    kept, gone, used = (write_take(home, 0.5) for _ in range(3))
    (home.evaluation / f"{gone.id}.npz").write_bytes(b"x" * 5000)
    with Catalog(home, url) as catalog:
        catalog.sets.freeze("paper", [kept.id])
        catalog.sets.collect("c", [gone.id, used.id])
        catalog.add_trial("m", "t", True, episode_id=gone.id)
        catalog.note(gone.id, "soon gone")
        assert catalog.trash([kept.id, gone.id]) == {kept.id: ["the snapshot 'paper'"]}
        with pytest.raises(WorkbenchError, match="never be brought back"):
            catalog.purge()
        with pytest.raises(WorkbenchError, match="not in the trash"):
            catalog.purge([used.id], confirm=True)
        report = catalog.purge(confirm=True)
        assert report.ids == (gone.id,) and report.refused == {kept.id: ["the snapshot 'paper'"]}
        assert report.freed_bytes > 5000 and sorted(p.name for p in home.trash.iterdir()) == [f"{kept.id}.zarr"]
        assert not (home.evaluation / f"{gone.id}.npz").exists()
        assert [use.id for use in catalog.sets.takes("c")] == [used.id]
        assert [trial.episode_id for trial in catalog.trials("m")] == [gone.id]
        assert catalog.sets.verify("paper") == {kept.id: "it is in the trash"}
        assert "soon gone" not in str(catalog.undo()), "edits of what is gone are forgotten"
        catalog.trash([kept.id])
        assert catalog.purge([kept.id], confirm=True, force=True).ids == (kept.id,)
        assert catalog.sets.verify("paper") == {kept.id: "it is gone"}
        catalog.rebuild()
        assert [trial.episode_id for trial in catalog.trials("m")] == [gone.id]


@mostly_sqlite
def test_a_broken_line_among_the_events_hides_only_itself(home: Home, url: str) -> None:
    with Catalog(home, url) as catalog:
        catalog.log_event("a", "first")
        with open(home.path / EVENTS, "ab") as file:
            file.write(b'{"at": "2026-01-01T00:00:00+00:00", "source"')  # killed while writing
        catalog.log_event("b", "second", "warning")
        assert [event.words for event in catalog.events()] == ["second", "first"]
        assert [event.words for event in catalog.events(severity="warning")] == ["second"]
        (home.path / EVENTS).unlink()
        assert catalog.events() == ()
        with pytest.raises(NotFoundError, match="error"):
            catalog.log_event("a", "b", "eror")


@mostly_sqlite
def test_snapshots_say_what_changed(home: Home, url: str) -> None:
    same, moved, trimmed, flipped = (write_take(home, 0.5) for _ in range(4))
    with Catalog(home, url) as catalog:
        record = catalog.sets.freeze("paper", [same.id, moved.id, trimmed.id, flipped.id])
        assert record.takes == 4 and catalog.sets.verify("paper") == {}
        catalog.note(same.id, "notes are not contents")
        shutil.rmtree(home.sealed(moved.id))
        catalog.trim(trimmed.id, Trim(0, 200_000_000))
        path = next(home.sealed(flipped.id).glob("observation.images.front/c.*"))
        raw = bytearray(path.read_bytes())
        raw[20] ^= 255
        path.write_bytes(raw)
        assert set(catalog.sets.verify("paper", deep=False)) == {moved.id, trimmed.id}
        found = catalog.sets.verify("paper")
        assert set(found) == {moved.id, trimmed.id, flipped.id} and found[moved.id] == "it is gone"
        with pytest.raises(WorkbenchError, match="never changes"):
            catalog.sets.collect("paper", [same.id])
        with pytest.raises(WorkbenchError, match="already"):
            catalog.sets.freeze("paper", [same.id])
        file = home.path / "snapshots" / f"{record.id}.json"
        file.write_text(file.read_text().replace(same.content_hash, "0" * 64))
        assert "" in catalog.sets.verify("paper", deep=False)


def test_two_processes_write_at_the_same_time(home: Home, url: str) -> None:
    take = write_take(home, 0.1)
    Catalog(home, url).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=edit_many, args=(home, url, take.id, word, 4)) for word in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with Catalog(home, url) as catalog:
        assert len(catalog.episode(take.id).tags) == 8, "no tag of either process was lost"
        undone = 0
        while catalog.undo():
            undone += 1
        assert undone == 16 and catalog.episode(take.id).tags == ()
        with Episode.open(home, take.id) as found:
            assert found.manifest == take


@mostly_sqlite
def test_ids_may_be_shortened(home: Home, url: str) -> None:
    a, b = write_take(home, 0.1), write_take(home, 0.1)
    with Catalog(home, url) as catalog:
        shared = next(k for k in range(32) if a.id[:k] != b.id[:k]) - 1
        assert catalog.find(a.id[: shared + 1]).id == a.id and catalog.find(b.id).id == b.id
        with pytest.raises(WorkbenchError, match="beginning of 2"):
            catalog.find(a.id[:shared])
        for wrong in ("", "zz", "%"):
            with pytest.raises(NotFoundError):
                catalog.find(wrong)


def test_a_text_that_postgresql_refuses_is_kept_all_the_same(home: Home, url: str) -> None:
    take = write_take(home, 0.1, task="odd\0task", operator="x" * 5000, extra={"odd": "a\0b", "tags": 5})
    with Catalog(home, url) as catalog:
        assert ids(catalog, task="oddtask") == [take.id] and catalog.episode(take.id).tags == ()
        assert np.isfinite(catalog.total_s())


def test_the_migrations_lead_to_the_same_tables_on_either_database(url: str, home: Home) -> None:
    for _ in range(2):
        opened = open_database(url, home.path / ".catalog.lock")
        with opened.engine.begin() as connection:
            config = migration_config(connection)
            command.check(config)
            command.downgrade(config, "0001")
            command.upgrade(config, "head")
            command.check(config)
            command.downgrade(config, "base")  # from here the next turn goes through every migration
        opened.engine.dispose()
