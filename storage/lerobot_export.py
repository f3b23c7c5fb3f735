"""Takes as a LeRobot v2.1 data set: one row per row of the regular grid, one file and one video per camera and take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from storage.exchange import Watch
from storage.lerobot_rows import RowSet, outcome_of, stats_of, table_of
from storage.lerobot_writer import CHUNK, LerobotWriter, streams_left_out
from storage.manifest import Manifest
from storage.reader import Episode

_DATA = "data/chunk-{chunk:03d}/episode_{episode:06d}.parquet"
_VIDEO = "videos/chunk-{chunk:03d}/{key}/episode_{episode:06d}.mp4"


class Lerobot21:
    """The format; see the module and ``lerobot_rows``."""

    title = "LeRobot v2.1"
    keeps_bytes = False

    def check(self, manifests: Sequence[Manifest]) -> tuple[str, ...]:
        """The streams that would be left out."""
        return streams_left_out(manifests)

    def begin(self, root: Path, manifests: Sequence[Manifest]) -> _Writer:
        """The takes must have the same rate of rows, and the same cameras and vectors."""
        return _Writer(root, RowSet.begin(manifests))


class _Writer(LerobotWriter):
    """Builds the data set."""

    def __init__(self, root: Path, rows: RowSet) -> None:
        super().__init__(root, rows)
        self._lines: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []

    def add(self, take: Episode, watch: Watch) -> None:
        """Append one take. CorruptTakeError if it has no row with every stream, or cannot be read."""
        number = self.rows.episodes
        chosen = self.rows.choose(take)
        columns = self.rows.columns(take, chosen)
        stats = {name: stats_of(values) for name, values in columns.items()}
        for name in self.rows.cameras:
            path = self.root / _VIDEO.format(chunk=number // CHUNK, key=name, episode=number)
            stats[name] = self.rows.write_video(path, take, name, chosen[name], watch)
        path = self.root / _DATA.format(chunk=number // CHUNK, episode=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table_of(columns), path)
        length = self.rows.done(columns)
        line = {"episode_index": number, "tasks": [take.manifest.instruction], "length": length}
        self._lines.append({**line, **outcome_of(take.manifest)})
        self._stats.append({"episode_index": number, "stats": stats})

    def forget(self) -> None:
        """Remove what a failed ``add`` has written."""
        for path in self.root.rglob(f"episode_{self.rows.episodes:06d}.*"):
            path.unlink()

    def finish(self) -> None:
        """Write the meta data."""
        meta = self.root / "meta"
        _write_lines(meta / "episodes.jsonl", self._lines)
        _write_lines(meta / "episodes_stats.jsonl", self._stats)
        tasks = [{"task_index": number, "task": task} for task, number in self.rows.tasks.items()]
        _write_lines(meta / "tasks.jsonl", tasks)
        info = {
            **self.rows.info("v2.1"),
            "total_videos": len(self.rows.cameras) * self.rows.episodes,
            "total_chunks": -(-self.rows.episodes // CHUNK),
            "chunks_size": CHUNK,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        }
        (meta / "info.json").write_text(json.dumps(info, indent=4) + "\n")


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
