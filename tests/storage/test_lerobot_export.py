from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from storage.edits import change_manifest
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.exporting import ExportReport, export_takes
from storage.importing import ImportReport
from storage.interop import EXPORTS, detect, import_takes
from storage.layout import Home
from tests.storage.takes import info
from workbench.core.errors import WorkbenchError
from workbench.core.types import Frame, Outcome, StreamSpec, arm_axes

CAMERA = StreamSpec("observation.images.front", (48, 63, 3), "uint8", rate_hz=10.0)
DEPTH = StreamSpec("observation.depth.front", (48, 63), "uint16", unit="mm", rate_hz=10.0)
STATE = StreamSpec("observation.state", (14,), "float32", unit="SI", rate_hz=50.0, axes=arm_axes(6))
ACTION = StreamSpec("action", (14,), "float32", unit="SI", rate_hz=50.0, axes=arm_axes(6))
GUARD = StreamSpec("guard", (1,), "float32", rate_hz=50.0)


def export_lerobot(home: Home, ids: list[str], target: Path, *rest) -> ExportReport:
    return export_takes(home, ids, target, EXPORTS.build("lerobot"), *rest)


def picture(t_s: float) -> np.ndarray:
    """A bright blob that moves: smooth, so that a lossy codec keeps it."""
    y, x = np.mgrid[:48, :63]
    blob = np.exp(-(((x - 10 - 8 * t_s) / 12) ** 2 + ((y - 20) / 12) ** 2))
    return (np.stack([blob, blob * 0.5, 1 - blob], axis=2) * 220).astype(np.uint8)


def record(home: Home, seed: int, *, late_state_s: float = 0.0, rows_hz: float = 10.0) -> str:
    writer = EpisodeWriter.create(
        home,
        info(devices={"arm": {"kind": "simulated"}}),
        [CAMERA, DEPTH, STATE, ACTION, GUARD],
        settings=StoreSettings(rows_hz=rows_hz, sync=False),
    )
    rng = np.random.default_rng(seed)
    for index in range(20):
        t_ns = index * 100_000_000
        writer.append(CAMERA.name, Frame(index, t_ns, t_ns, 0, picture(t_ns / 1e9)))
        writer.append(DEPTH.name, Frame(index, t_ns, t_ns, 0, np.full((48, 63), 700, np.uint16)))
    for index in range(100):
        t_ns = index * 20_000_000 + round(late_state_s * 1e9)
        for spec in (STATE, ACTION, GUARD):
            writer.append(spec.name, Frame(index, t_ns, t_ns, 0, rng.normal(size=spec.shape).astype(np.float32)))
    return writer.seal(Outcome.SUCCESS if seed % 2 else Outcome.FAILURE).id


def check_came_back(home: Home, ids: list[str], other: Home, imported: ImportReport) -> None:
    """What was exported and imported again is what it was."""
    assert len(imported) == 2 and imported.skipped == []
    for before_id, after_id in zip(ids, imported, strict=True):
        with Episode.open(home, before_id) as before, Episode.open(other, after_id) as after:
            assert after.manifest.instruction == before.manifest.instruction
            assert after.manifest.outcome is before.manifest.outcome
            for name in (STATE.name, ACTION.name):
                assert after.manifest.streams[name].axes == arm_axes(6)
                np.testing.assert_array_equal(after.vectors(name), before.vectors(name)[before.row_index(name)])
            np.testing.assert_allclose(after.row_times(), before.row_times(), atol=1000)
            for row in (0, 7, 19):
                then = after.read(CAMERA.name, int(after.row_index(CAMERA.name)[row])).astype(int)
                assert then.shape == (48, 64, 3), "4:2:0 needs even sides"
                assert np.abs(then[:, :63] - picture(row / 10)).mean() < 4


def test_what_is_exported_can_be_imported_again(home: Home, tmp_path: Path) -> None:
    ids = [record(home, seed) for seed in (1, 2)]
    seen: list[tuple[int, int]] = []
    report = export_lerobot(home, ids, tmp_path / "set", lambda done, total: seen.append((done, total)))
    assert (report.episodes, report.frames, report.skipped) == (2, 40, []) and seen == [(0, 2), (1, 2), (2, 2)]
    assert report.left_out == ("guard", "observation.depth.front")
    assert detect(tmp_path / "set") == "lerobot"
    other = Home.open(tmp_path / "other")
    check_came_back(home, ids, other, import_takes(tmp_path / "set", other))


def test_the_meta_data_is_what_version_2_1_says(home: Home, tmp_path: Path) -> None:
    report = export_lerobot(home, [record(home, 1), record(home, 2)], tmp_path / "set")
    meta = report.path / "meta"
    info_json = json.loads((meta / "info.json").read_text())
    assert info_json["codebase_version"] == "v2.1" and info_json["fps"] == 10 and info_json["total_frames"] == 40
    assert info_json["features"][CAMERA.name]["shape"] == [48, 64, 3] and info_json["robot_type"] == "simulated"
    lines = [json.loads(line) for line in (meta / "episodes.jsonl").read_text().splitlines()]
    assert [line["length"] for line in lines] == [20, 20] and [line["success"] for line in lines] == [True, False]
    stats = json.loads((meta / "episodes_stats.jsonl").read_text().splitlines()[1])["stats"]
    assert np.array(stats[CAMERA.name]["mean"]).shape == (3, 1, 1) and max(stats[CAMERA.name]["max"])[0][0] <= 1
    for episode in (0, 1):
        table = pq.read_table(report.path / info_json["data_path"].format(episode_chunk=0, episode_index=episode))
        assert set(table.column_names) == set(info_json["features"]) - {CAMERA.name}
        assert table["index"].to_pylist() == list(range(20 * episode, 20 * episode + 20))
        state = np.array(table[STATE.name].to_pylist())
        if episode == 1:
            np.testing.assert_allclose(state.mean(axis=0), stats[STATE.name]["mean"], rtol=1e-6)
    assert json.loads((meta / "tasks.jsonl").read_text()) == {"task_index": 0, "task": "put the cube on the plate"}


def test_rows_before_every_stream_began_are_dropped(home: Home, tmp_path: Path) -> None:
    report = export_lerobot(home, [record(home, 1, late_state_s=0.45)], tmp_path / "set")
    assert report.frames == 15


def test_rows_outside_the_trim_marks_are_left_out(home: Home, tmp_path: Path) -> None:
    whole, trimmed = record(home, 0), record(home, 1)
    change_manifest(home.sealed(trimmed), extra={"trim": {"start_ns": 500_000_000, "end_ns": 1_000_000_000}})
    assert export_lerobot(home, [whole, trimmed], tmp_path / "set").frames == 20 + 6
    tables = [pq.read_table(path) for path in sorted((tmp_path / "set").rglob("episode_*.parquet"))]
    with Episode.open(home, trimmed) as take:
        expected = take.vectors("action")[take.row_index("action")[5:11]]
    assert np.array_equal(np.stack(tables[1]["action"].to_numpy()), expected)


def test_takes_that_do_not_fit_together_leave_nothing_behind(home: Home, tmp_path: Path) -> None:
    first, second = record(home, 1), record(home, 2, rows_hz=5.0)
    with pytest.raises(WorkbenchError, match="rows a second"):
        export_lerobot(home, [first, second], tmp_path / "set")
    with pytest.raises(WorkbenchError, match="nothing to export"):
        export_lerobot(home, [], tmp_path / "set")
    with pytest.raises(WorkbenchError, match="no row has every stream"):
        export_lerobot(home, [record(home, 3, late_state_s=100.0)], tmp_path / "set")
    assert not [path for path in tmp_path.iterdir() if "set" in path.name]
    export_lerobot(home, [first], tmp_path / "set")
    with pytest.raises(WorkbenchError, match="exists already"):
        export_lerobot(home, [first], tmp_path / "set")


def test_a_damaged_take_is_skipped_without_traces(home: Home, tmp_path: Path) -> None:
    good, bad = record(home, 1), record(home, 2)
    shard = home.sealed(bad) / CAMERA.name / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:100])
    report = export_lerobot(home, [good, bad], tmp_path / "set")
    assert report.episodes == 1 and [name for name, _ in report.skipped] == [bad]
    assert not list(report.path.rglob("episode_000001.*"))
