"""The measurements of recording and reading run through the real parts and state what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode
from storage.layout import Home
from storage.videos import write_video
from workbench.core.errors import WorkbenchError
from workbench.services.bench_pictures import camera_takes
from workbench.services.bench_preroll import bench_preroll
from workbench.services.bench_read import bench_read
from workbench.services.bench_record import bench_record

RECORD = {"lost", "cpu_ms_per_camera_frame", "stop_to_ready_s", "bytes_per_color_frame", "bytes_per_depth_frame"}


def test_recording_counts_every_picture_and_leaves_nothing_behind(tmp_path: Path) -> None:
    found = bench_record(1.5, 2, None, tmp_path, seed=0)
    assert found.keys() >= RECORD | {"cameras", "seconds"}
    assert found["cameras"] == 2 and found["frames"] > 20
    assert found["frames"] + found["missed_by_cameras"] == pytest.approx(found["seconds"] * 60, rel=0.1, abs=8)
    assert 0 < found["bytes_per_color_frame"] < 640 * 480 * 3 and found["cpu_ms_per_camera_frame"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_keeping_the_last_seconds_costs_memory_and_time_that_are_told(tmp_path: Path) -> None:
    found = bench_preroll(1.5, 1, None, tmp_path, seed=0)
    assert 0.2 < found["kept_s"] <= 1.6 and found["kept_bytes"] > 30_000
    for part in ("idle", "remembering"):
        assert found[part]["memory_bytes"] > 0 and found[part]["cores"] >= 0
    assert found["remembering"]["cores"] > found["idle"]["cores"], "encoding is work"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_reading_reports_each_way_of_reading(tmp_path: Path) -> None:
    found = bench_read(2, 2.0, 30, None, tmp_path, 500, seed=0)
    assert found["windows"] > 10 and found["takes"] == 2
    assert 0 < found["random_sample_small_cpu_ms"] < found["random_sample_cpu_ms"]
    assert found["playback_x_realtime"] > 0
    assert found["catalogue"]["takes"] == 500 and found["catalogue"]["page_ms"]["p50"] > 0
    assert not list(tmp_path.iterdir())


def test_given_videos_are_what_is_recorded(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    write_video(clips / "a.mp4", [np.full((48, 64, 3), 200, np.uint8)] * 3, 30.0)
    takes, about = camera_takes(Home.open(tmp_path / "home"), 2, 5, clips, seed=0)
    assert "a.mp4" in about and "simulated" in about.split("depth")[1]
    with Episode.at(takes[1]) as episode:
        assert episode.manifest.counts["observation.images.view"] == 5
        assert abs(int(episode.read("observation.images.view", 4).mean()) - 200) < 8
        assert (np.diff([int(episode.read("observation.depth.view", k).sum()) for k in (0, 1)]) != 0).all()
    with pytest.raises(WorkbenchError, match="holds no video"):
        camera_takes(Home.open(tmp_path / "home"), 1, 2, tmp_path / "home", seed=0)
