"""Takes on their way to another station and back: bit for bit, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.catalog import Catalog
from storage.edits import change_manifest
from storage.episode import Episode
from storage.exchange import StoppedError
from storage.exporting import export_takes, plan_export
from storage.interop import EXPORTS, detect, import_takes, preview_takes
from storage.layout import Home
from tests.storage.takes import FRONT, write_take
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome

CLAP = EXPORTS.build("clap")


def test_another_station_gets_the_same_takes(home: Home, tmp_path: Path) -> None:
    takes = [write_take(home, 1.0) for _ in range(3)]
    ids = [take.id for take in takes]
    change_manifest(home.sealed(ids[0]), outcome="failure", notes="slipped", extra={"tags": ["night"]})
    plan = plan_export(home, ids, tmp_path / "deep" / "out", CLAP)
    assert plan.problem == "" and not (tmp_path / "deep").exists()
    report = export_takes(home, ids, tmp_path / "deep" / "out", CLAP)
    assert (report.episodes, report.skipped, report.left_out) == (3, [], ())
    assert 0 < plan.bytes_needed <= report.bytes < plan.bytes_needed + 5000
    listed = json.loads((report.path / "clap-takes.json").read_text())["takes"]
    assert [line["id"] for line in listed] == ids and listed[0]["outcome"] == "failure"
    other = Home.open(tmp_path / "other")
    assert detect(report.path) == "clap" and sum(take.bytes for take in preview_takes(report.path, other)[1]) > 0
    assert import_takes(report.path, other).ids == sorted(ids)
    for take in takes:
        with Episode.open(home, take.id) as before, Episode.open(other, take.id) as after:
            assert after.manifest == before.manifest and after.verify() == []
            assert (after.read(FRONT.name, 3) == before.read(FRONT.name, 3)).all()
    with Catalog(other) as catalog:
        record = catalog.episode(ids[0])
        assert record.outcome is Outcome.FAILURE and record.tags == ("night",)
    again = import_takes(report.path, other)
    assert again.ids == [] and again.known == sorted(ids)
    assert detect(home.path) == "clap", "another station's data folder will do"


def test_damage_on_the_way_is_noticed_and_leaves_nothing(home: Home, tmp_path: Path) -> None:
    good, bad, linked = (write_take(home, 1.0).id for _ in range(3))
    report = export_takes(home, [good, bad, linked], tmp_path / "out", CLAP)
    shard = report.path / "episodes" / f"{bad}.zarr" / FRONT.name / "c.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[200] ^= 1
    shard.write_bytes(data)
    (report.path / "episodes" / f"{linked}.zarr" / "extra").symlink_to("/etc/hostname")
    other = Home.open(tmp_path / "other")
    brought = import_takes(report.path, other)
    assert brought.ids == [good] and [name for name, _ in brought.skipped] == sorted([bad, linked])
    assert [path.name for path in other.episodes.iterdir()] == [f"{good}.zarr"]
    assert not list((other.cache / "incoming").iterdir())


def test_a_take_in_the_trash_there_is_not_brought_a_second_time(home: Home, tmp_path: Path) -> None:
    take = write_take(home, 1.0)
    report = export_takes(home, [take.id], tmp_path / "out", CLAP)
    home.sealed(take.id).rename(home.trashed(take.id))
    assert "Restore it" in import_takes(report.path, home).skipped[0][1]


@pytest.mark.parametrize("kind", ["clap", "lerobot", "lerobot_v3"])
def test_a_stopped_export_leaves_nothing(home: Home, tmp_path: Path, kind: str) -> None:
    ids = [write_take(home, 1.0).id for _ in range(2)]
    calls = []

    def watch() -> None:
        calls.append(1)
        if len(calls) > 13:
            raise StoppedError("it was stopped")

    with pytest.raises(StoppedError):
        export_takes(home, ids, tmp_path / "out" / "set", EXPORTS.build(kind), watch=watch)
    assert list((tmp_path / "out").iterdir()) == []
    assert export_takes(home, ids, tmp_path / "out" / "set", EXPORTS.build(kind)).episodes == 2


def test_an_export_never_writes_over_something(home: Home, tmp_path: Path) -> None:
    take = write_take(home, 1.0)
    (tmp_path / "out").mkdir()
    assert "exists already" in plan_export(home, [take.id], tmp_path / "out", CLAP).problem
    with pytest.raises(WorkbenchError, match="exists already"):
        export_takes(home, [take.id], tmp_path / "out", CLAP)
