"""Takes as a LeRobot v3.0 data set: rows of many takes in one parquet file, one row group each; ``meta/episodes`` says
which rows and which part of which video are whose.

Each take has a video file of its own per camera, which the layout allows: a damaged take then touches no other, and
nothing is encoded or copied twice. Statistics of the whole set are those of the takes put together: exact but for the
quantiles, which are averaged by length.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.exchange import Watch
from storage.lerobot_rows import RowSet, Stats, outcome_of, stats_of, table_of
from storage.lerobot_writer import CHUNK, LerobotWriter, streams_left_out
from storage.manifest import Manifest
from storage.reader import Episode

_DATA_MB, _VIDEO_MB = 100, 200
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"


class Lerobot30:
    """The format; see the module and ``lerobot_rows``."""

    title = "LeRobot v3.0"
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
        self._data = _DataFiles(root)
        self._lines: list[dict[str, Any]] = []
        self._stats: list[Stats] = []

    def add(self, take: Episode, watch: Watch) -> None:
        """Append one take. CorruptTakeError if it has no row with every stream, or cannot be read."""
        number, first = self.rows.episodes, self.rows.frames
        chosen = self.rows.choose(take)
        columns = self.rows.columns(take, chosen)
        stats = {name: stats_of(values, quantiles=True) for name, values in columns.items()}
        seconds = len(columns["index"]) / self.rows.fps
        line: dict[str, Any] = {}
        for name in self.rows.cameras:
            path = self._video(name, number)
            stats[name] = self.rows.write_video(path, take, name, chosen[name], watch, quantiles=True)
            place = {"chunk_index": number // CHUNK, "file_index": number % CHUNK}
            part = {**place, "from_timestamp": 0.0, "to_timestamp": seconds}
            line |= {f"videos/{name}/{key}": value for key, value in part.items()}
        chunk, file = self._data.write(table_of(columns))  # last: what is in a parquet file cannot be taken out
        length = self.rows.done(columns)
        self._stats.append(stats)
        self._lines.append(
            {
                "episode_index": number,
                "tasks": [take.manifest.instruction],
                "length": length,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": first,
                "dataset_to_index": first + length,
                **line,
                **{f"stats/{name}/{key}": value for name, found in stats.items() for key, value in found.items()},
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                "success": outcome_of(take.manifest).get("success"),
            }
        )

    def forget(self) -> None:
        """Remove what a failed ``add`` has written."""
        for name in self.rows.cameras:
            self._video(name, self.rows.episodes).unlink(missing_ok=True)

    def finish(self) -> None:
        """Write the meta data."""
        self._data.close()
        path = self.root / _EPISODES
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._lines), path)
        pq.write_table(_tasks(self.rows.tasks), self.root / "meta" / "tasks.parquet")
        whole = {name: _together([stats[name] for stats in self._stats]) for name in self._stats[0]}
        (self.root / "meta" / "stats.json").write_text(json.dumps(whole, indent=4) + "\n")
        info = self.rows.info("v3.0")
        for feature in info["features"].values():
            if feature["dtype"] != "video":
                feature["fps"] = info["fps"]
        sizes = {"data_files_size_in_mb": _DATA_MB, "video_files_size_in_mb": _VIDEO_MB, "chunks_size": CHUNK}
        info |= {**sizes, "data_path": _DATA, "video_path": _VIDEO}
        (self.root / "meta" / "info.json").write_text(json.dumps(info, indent=4) + "\n")

    def _video(self, name: str, number: int) -> Path:
        place = {"chunk_index": number // CHUNK, "file_index": number % CHUNK}
        return self.root / _VIDEO.format(video_key=name, **place)


class _DataFiles:
    """The rows, one row group per take, in files of at most about ``_DATA_MB``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file: pq.ParquetWriter | None = None
        self._number = -1
        self._bytes = 0

    def write(self, table: pa.Table) -> tuple[int, int]:
        """Append a take; returns the numbers of chunk and file it is in."""
        if self._file is None or self._bytes + table.nbytes > _DATA_MB << 20:
            self.close()
            self._number, self._bytes = self._number + 1, 0
            chunk, file = divmod(self._number, CHUNK)
            path = self._root / _DATA.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(path, table.schema)
        self._file.write_table(table)
        self._bytes += table.nbytes
        return divmod(self._number, CHUNK)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _tasks(tasks: dict[str, int]) -> pa.Table:
    """Readers take the words from the table's index, which pandas finds by a note in the file."""

    def column(name: str, kind: str, dtype: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}

    note = {
        "index_columns": ["task"],
        "column_indexes": [{**column("", "unicode", "object"), "name": None, "field_name": None}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), "task": pa.array(list(tasks))})
    return table.replace_schema_metadata({b"pandas": json.dumps(note).encode()})


def _together(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of several takes as those of one: mean and deviation by Chan et al. (1979), eq. 2.1."""
    arrays = {key: np.stack([np.asarray(part[key], np.float64) for part in parts]) for key in parts[0]}
    count = arrays.pop("count")
    total = float(count.sum())
    weight = (count[:, 0] / total).reshape(-1, *[1] * (arrays["mean"].ndim - 1))
    mean = (weight * arrays["mean"]).sum(axis=0)
    variance = (weight * (arrays["std"] ** 2 + (arrays["mean"] - mean) ** 2)).sum(axis=0)
    found = {"min": arrays["min"].min(axis=0), "max": arrays["max"].max(axis=0), "mean": mean, "std": variance**0.5}
    found |= {key: (weight * values).sum(axis=0) for key, values in arrays.items() if key.startswith("q")}
    return {**{key: value.tolist() for key, value in found.items()}, "count": [int(total)]}
