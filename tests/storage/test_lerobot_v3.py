"""LeRobot v3.0: what is written can be read again, and sets of others that share files too."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.episode import Episode
from storage.exporting import export_takes
from storage.interop import EXPORTS, detect, import_takes
from storage.layout import Home
from tests.storage.test_lerobot_export import CAMERA, check_came_back, picture, record

V3 = EXPORTS.build("lerobot_v3")


def test_what_is_exported_can_be_imported_again(home: Home, tmp_path: Path) -> None:
    ids = [record(home, seed) for seed in (1, 2)]
    report = export_takes(home, ids, tmp_path / "set", V3)
    assert (report.episodes, report.frames, report.skipped) == (2, 40, [])
    assert report.left_out == ("guard", "observation.depth.front") and detect(tmp_path / "set") == "lerobot_v3"
    other = Home.open(tmp_path / "other")
    check_came_back(home, ids, other, import_takes(tmp_path / "set", other))
    assert import_takes(tmp_path / "set", other).ids == []


def test_the_meta_data_is_what_version_3_says(home: Home, tmp_path: Path) -> None:
    root = export_takes(home, [record(home, 1), record(home, 2)], tmp_path / "set", V3).path
    info = json.loads((root / "meta" / "info.json").read_text())
    assert (
        info["codebase_version"] == "v3.0" and info["total_episodes"] == 2 and info["features"]["action"]["fps"] == 10
    )
    episodes = pq.read_table(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [(0, 20), (20, 40)]
    rows = []
    for number, episode in enumerate(episodes):
        place = {"chunk_index": episode["data/chunk_index"], "file_index": episode["data/file_index"]}
        file = pq.ParquetFile(root / info["data_path"].format(**place))
        rows.append(np.array(file.read_row_group(number)["action"].to_pylist()))
        key = f"videos/{CAMERA.name}/"
        place = {"chunk_index": episode[key + "chunk_index"], "file_index": episode[key + "file_index"]}
        with av.open(str(root / info["video_path"].format(video_key=CAMERA.name, **place))) as video:
            assert video.streams.video[0].frames == episode["length"] == 20
        assert episode[key + "to_timestamp"] - episode[key + "from_timestamp"] == 2.0
    tasks = pq.read_table(root / "meta" / "tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks.to_pylist() == [{"task_index": 0, "task": "put the cube on the plate"}]
    stats = json.loads((root / "meta" / "stats.json").read_text())
    actions = np.concatenate(rows)
    for name, value in (("mean", actions.mean(0)), ("std", actions.std(0)), ("max", actions.max(0))):
        np.testing.assert_allclose(stats["action"][name], value, rtol=1e-5)
    assert stats["action"]["count"] == [40] and np.array(stats[CAMERA.name]["std"]).shape == (3, 1, 1)


def test_takes_that_share_a_video_get_their_own_pictures(home: Home, tmp_path: Path) -> None:
    """Others put many takes into one file: here the second take's part begins in its middle."""
    root = export_takes(home, [record(home, 1), record(home, 2)], tmp_path / "set", V3).path
    folder = root / "videos" / CAMERA.name / "chunk-000"
    parts = []
    for name in ("file-000.mp4", "file-001.mp4"):
        with av.open(str(folder / name)) as video:
            parts += [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        (folder / name).unlink()
    parts = [255 - frame if number >= 20 else frame for number, frame in enumerate(parts)]
    with av.open(str(folder / "file-000.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=10)
        stream.height, stream.width = parts[0].shape[:2]
        stream.options = {"crf": "18", "g": "100"}
        for frame in parts:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode(None))
    path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    lines = pq.read_table(path).to_pylist()
    key = f"videos/{CAMERA.name}/"
    lines[1] |= {key + "file_index": 0, key + "from_timestamp": 2.0, key + "to_timestamp": 4.0}
    pq.write_table(pa.Table.from_pylist(lines), path)
    other = Home.open(tmp_path / "other")
    for number, episode_id in enumerate(import_takes(root, other)):
        with Episode.open(other, episode_id) as take:
            assert take.manifest.counts[CAMERA.name] == 20 and take.times(CAMERA.name)[1][0] == 0
            for row in (0, 19):
                expected = picture(row / 10).astype(int)
                expected = 255 - expected if number else expected
                assert np.abs(take.read(CAMERA.name, row)[:, :63] - expected).mean() < 6


def test_a_damaged_take_is_skipped_without_traces(home: Home, tmp_path: Path) -> None:
    good, bad, last = record(home, 1), record(home, 2), record(home, 3)
    shard = home.sealed(bad) / CAMERA.name / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:100])
    report = export_takes(home, [good, bad, last], tmp_path / "set", V3)
    assert report.episodes == 2 and [name for name, _ in report.skipped] == [bad]
    assert len(import_takes(report.path, Home.open(tmp_path / "other"))) == 2
    assert len(list(report.path.rglob("*.mp4"))) == 2
