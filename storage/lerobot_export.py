"""Takes as a LeRobot v2.1 data set: one row per row of the regular grid, one video per camera and take.

Written: the ``observation.images.*`` streams as H.264, ``observation.*`` vectors and ``action``. Left out and reported:
depth and everything else, which version 2.1 has no place for. Rows at the start of a take at which some stream has
not begun are dropped, and rows outside a take's trim marks. The data set appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.codecs import is_picture
from storage.episode import Episode, Manifest
from storage.layout import Home
from storage.marks import kept_rows
from storage.videos import write_video
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.types import Outcome, StreamSpec

Progress = Callable[[int, int], None]
_CHUNK = 1000
_STATS_PICTURES = 40
_DATA = "data/chunk-{chunk:03d}/episode_{episode:06d}.parquet"
_VIDEO = "videos/chunk-{chunk:03d}/{key}/episode_{episode:06d}.mp4"


@dataclass(slots=True)
class ExportReport:
    """What came of an export: the folder, how much is in it, streams left out, takes skipped (id, reason)."""

    path: Path
    episodes: int = 0
    frames: int = 0
    left_out: tuple[str, ...] = ()
    skipped: list[tuple[str, str]] = field(default_factory=list)


def export_lerobot(
    home: Home, episode_ids: Sequence[str], target: Path, progress: Progress = lambda done, total: None
) -> ExportReport:
    """Write the takes, in the given order, as a new data set at ``target``.

    The takes must have the same rate of rows, and the same cameras and vectors; WorkbenchError says which differ.
    """
    if target.exists():
        raise WorkbenchError(f"{target} exists already", "Choose a new folder")
    if not episode_ids:
        raise WorkbenchError("there is nothing to export", "Choose at least one take")
    takes = [Episode.open(home, episode_id) for episode_id in episode_ids]
    specs = _common_specs([take.manifest for take in takes])
    beside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        writer = _Writer(beside, specs, takes[0].manifest.rows_hz)
        report = ExportReport(target, left_out=tuple(sorted(set(takes[0].manifest.streams) - set(specs))))
        for done, take in enumerate(takes, 1):
            with take:
                _add(writer, take, report)
            progress(done, len(takes))
        if not writer.lines:
            raise WorkbenchError("none of the takes could be exported", report.skipped[0][1])
        writer.finish(takes[0].manifest)
        beside.rename(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    report.episodes, report.frames = len(writer.lines), writer.frames
    return report


def _add(writer: _Writer, take: Episode, report: ExportReport) -> None:
    try:
        writer.add(take)
    except CorruptTakeError as error:
        writer.forget()
        report.skipped.append((take.manifest.id, str(error)))


def _common_specs(manifests: Sequence[Manifest]) -> dict[str, StreamSpec]:
    """The streams to export; WorkbenchError if the takes do not agree on them."""
    first = manifests[0]
    wanted = _exportable(first)
    for manifest in manifests[1:]:
        if manifest.rows_hz != first.rows_hz:
            raise WorkbenchError(
                f"the takes {first.id} and {manifest.id} have {first.rows_hz:g} and {manifest.rows_hz:g} rows a second",
                "Export them apart",
            )
        other = _exportable(manifest)
        differing = sorted(name for name in wanted.keys() | other.keys() if wanted.get(name) != other.get(name))
        if differing:
            raise WorkbenchError(
                f"the takes {first.id} and {manifest.id} differ in {', '.join(differing)}", "Export them apart"
            )
    if not wanted:
        raise WorkbenchError("the takes hold neither colour pictures nor vectors", "Choose other takes")
    return wanted


def _exportable(manifest: Manifest) -> dict[str, StreamSpec]:
    return {name: spec for name, spec in sorted(manifest.streams.items()) if _is_exportable(name, spec)}


def _is_exportable(name: str, spec: StreamSpec) -> bool:
    if is_picture(spec):
        return name.startswith("observation.images.") and spec.dtype == "uint8" and spec.shape[2:] == (3,)
    return name == "action" or name.startswith("observation.")


class _Writer:
    """Builds the data set in a folder beside its final place."""

    def __init__(self, root: Path, specs: dict[str, StreamSpec], fps: float) -> None:
        self.root = root
        self.specs = specs
        self.fps = fps
        self.frames = 0
        self.lines: list[dict[str, Any]] = []
        self._stats: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        (root / "meta").mkdir(parents=True)

    def add(self, take: Episode) -> None:
        """Append one take. CorruptTakeError if it has no row with every stream, or cannot be read."""
        episode = len(self.lines)
        used = kept_rows(take.row_times(), take.manifest.extra)
        indices = np.stack([take.row_index(name)[used] for name in self.specs], axis=1)
        whole = np.flatnonzero(np.all(indices >= 0, axis=1))
        if not len(whole):
            raise CorruptTakeError("no row has every stream")
        chosen = dict(zip(self.specs, indices[whole[0] :].T, strict=True))
        columns = self._columns(take, episode, chosen)
        stats = {name: _stats(values.reshape(len(values), -1)) for name, values in columns.items()}
        for name, spec in self.specs.items():
            if is_picture(spec):
                stats[name] = self._write_video(take, episode, name, chosen[name])
        self._write_parquet(episode, columns)
        length = len(columns["index"])
        line = {"episode_index": episode, "tasks": [take.manifest.instruction], "length": length}
        if take.manifest.outcome is not Outcome.UNLABELLED:
            line["success"] = take.manifest.outcome is Outcome.SUCCESS
        self.lines.append(line)
        self._stats.append({"episode_index": episode, "stats": stats})
        self.frames += length

    def forget(self) -> None:
        """Remove what a failed ``add`` has written."""
        for path in self.root.rglob(f"episode_{len(self.lines):06d}.*"):
            path.unlink()

    def finish(self, sample: Manifest) -> None:
        """Write the meta data."""
        meta = self.root / "meta"
        _write_lines(meta / "episodes.jsonl", self.lines)
        _write_lines(meta / "episodes_stats.jsonl", self._stats)
        tasks = [{"task_index": number, "task": task} for task, number in self._tasks.items()]
        _write_lines(meta / "tasks.jsonl", tasks)
        (meta / "info.json").write_text(json.dumps(self._info(sample), indent=4) + "\n")

    def _columns(self, take: Episode, episode: int, chosen: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        length = len(next(iter(chosen.values())))
        task = self._tasks.setdefault(take.manifest.instruction, len(self._tasks))
        columns: dict[str, NDArray[Any]] = {
            name: take.vectors(name)[chosen[name]] for name, spec in self.specs.items() if not is_picture(spec)
        }
        number = np.arange(length, dtype=np.int64)
        columns["timestamp"] = (number / self.fps).astype(np.float32)
        columns["frame_index"] = number
        columns["episode_index"] = np.full(length, episode, dtype=np.int64)
        columns["index"] = number + self.frames
        columns["task_index"] = np.full(length, task, dtype=np.int64)
        return columns

    def _write_parquet(self, episode: int, columns: dict[str, NDArray[Any]]) -> None:
        arrays = [pa.array(list(values) if values.ndim > 1 else values) for values in columns.values()]
        path = self.root / _DATA.format(chunk=episode // _CHUNK, episode=episode)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays, names=list(columns)), path)

    def _write_video(self, take: Episode, episode: int, name: str, index: NDArray[np.int64]) -> dict[str, Any]:
        """Encode one camera; returns its statistics (channel-wise, 0..1) over a sample of the pictures."""
        path = self.root / _VIDEO.format(chunk=episode // _CHUNK, key=name, episode=episode)
        path.parent.mkdir(parents=True, exist_ok=True)
        sample: list[NDArray[np.float64]] = []
        every = max(1, len(index) // _STATS_PICTURES)

        def pictures() -> Iterator[NDArray[Any]]:
            for row, item in enumerate(index):
                picture = take.read(name, int(item))
                if row % every == 0:
                    sample.append(picture.reshape(-1, 3) / 255.0)
                yield picture

        self._sizes[name] = write_video(path, pictures(), self.fps)
        stats = _stats(np.concatenate(sample))
        shaped = {key: [[[value]] for value in values] for key, values in stats.items() if key != "count"}
        return {**shaped, "count": [len(sample)]}

    def _info(self, sample: Manifest) -> dict[str, Any]:
        cameras = [name for name, spec in self.specs.items() if is_picture(spec)]
        return {
            "codebase_version": "v2.1",
            "robot_type": str(sample.devices.get("arm", {}).get("kind", "")) if sample.devices.get("arm") else None,
            "total_episodes": len(self.lines),
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "total_videos": len(cameras) * len(self.lines),
            "total_chunks": -(-len(self.lines) // _CHUNK),
            "chunks_size": _CHUNK,
            "fps": int(self.fps) if float(self.fps).is_integer() else self.fps,
            "splits": {"train": f"0:{len(self.lines)}"},
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            "features": {**{name: self._feature(name, spec) for name, spec in self.specs.items()}, **_BOOKKEEPING},
        }

    def _feature(self, name: str, spec: StreamSpec) -> dict[str, Any]:
        if not is_picture(spec):
            return {"dtype": spec.dtype, "shape": list(spec.shape), "names": list(spec.axes) or None}
        height, width = self._sizes[name]
        about = {"video.fps": self.fps, "video.height": height, "video.width": width, "video.channels": 3}
        codec = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "has_audio": False}
        names = ["height", "width", "channels"]
        return {"dtype": "video", "shape": [height, width, 3], "names": names, "info": {**about, **codec}}


_BOOKKEEPING = {
    name: {"dtype": dtype, "shape": [1], "names": None}
    for name, dtype in (
        ("timestamp", "float32"),
        ("frame_index", "int64"),
        ("episode_index", "int64"),
        ("index", "int64"),
        ("task_index", "int64"),
    )
}


def _stats(values_TD: NDArray[Any]) -> dict[str, Any]:
    """LeRobot's statistics per column."""
    values = values_TD.astype(np.float64)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "count": [len(values)],
    }


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
