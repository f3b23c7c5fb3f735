"""What LeRobot data sets of versions 2.1 and 3.0 have in common when they are written: which streams and rows, the
numbers of a row, statistics, features.

Written: the ``observation.images.*`` streams as H.264, ``observation.*`` vectors and ``action``. Left out and reported:
depth and everything else, which the versions have no agreed place for. Rows at the start of a take at which some stream
has not begun are dropped, and rows outside a take's trim marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.codecs import is_picture
from storage.exchange import Watch
from storage.manifest import Manifest
from storage.marks import kept_rows
from storage.reader import Episode
from storage.videos import write_video
from workbench.core.errors import CorruptTakeError, WorkbenchError
from workbench.core.types import Outcome, StreamSpec

Columns = dict[str, NDArray[Any]]
Chosen = dict[str, NDArray[np.int64]]
Stats = dict[str, dict[str, Any]]
_STATS_PICTURES = 40
_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)


@dataclass(slots=True)
class RowSet:
    """The takes written so far, as both versions count them."""

    specs: dict[str, StreamSpec]
    fps: float
    robot: str | None
    left_out: tuple[str, ...]
    episodes: int = 0
    frames: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def begin(cls, manifests: Sequence[Manifest]) -> RowSet:
        """WorkbenchError if the takes do not agree on rate and streams."""
        specs, first = _common_specs(manifests), manifests[0]
        arm = first.devices.get("arm")
        robot = str(arm.get("kind", "")) if isinstance(arm, dict) else None
        return cls(specs, first.rows_hz, robot, tuple(sorted(set(first.streams) - set(specs))))

    @property
    def cameras(self) -> list[str]:
        return [name for name, spec in self.specs.items() if is_picture(spec)]

    def choose(self, take: Episode) -> Chosen:
        """Per stream the item of each row; CorruptTakeError if no row has every stream."""
        used = kept_rows(take.row_times(), take.manifest.extra)
        indices = np.stack([take.row_index(name)[used] for name in self.specs], axis=1)
        whole = np.flatnonzero(np.all(indices >= 0, axis=1))
        if not len(whole):
            raise CorruptTakeError("no row has every stream")
        return dict(zip(self.specs, indices[whole[0] :].T, strict=True))

    def columns(self, take: Episode, chosen: Chosen) -> Columns:
        """The take's vectors and LeRobot's bookkeeping, one entry per row."""
        length = len(next(iter(chosen.values())))
        task = self.tasks.setdefault(take.manifest.instruction, len(self.tasks))
        columns: Columns = {
            name: take.vectors(name)[chosen[name]] for name, spec in self.specs.items() if not is_picture(spec)
        }
        number = np.arange(length, dtype=np.int64)
        columns["timestamp"] = (number / self.fps).astype(np.float32)
        columns["frame_index"] = number
        columns["episode_index"] = np.full(length, self.episodes, dtype=np.int64)
        columns["index"] = number + self.frames
        columns["task_index"] = np.full(length, task, dtype=np.int64)
        return columns

    def write_video(
        self, path: Path, take: Episode, name: str, index: NDArray[np.int64], watch: Watch, *, quantiles: bool = False
    ) -> dict[str, Any]:
        """Encode one camera; returns its statistics (channel-wise, 0..1) over a sample of the pictures."""
        path.parent.mkdir(parents=True, exist_ok=True)
        sample: list[NDArray[np.float64]] = []
        every = max(1, len(index) // _STATS_PICTURES)

        def pictures() -> Iterator[NDArray[Any]]:
            for row, item in enumerate(index):
                picture = take.read(name, int(item))
                if row % every == 0:
                    sample.append(picture.reshape(-1, 3) / 255.0)
                yield picture

        self.sizes[name] = write_video(path, pictures(), self.fps, watch)
        stats = stats_of(np.concatenate(sample), quantiles=quantiles)
        shaped = {key: [[[value]] for value in values] for key, values in stats.items() if key != "count"}
        return {**shaped, "count": [len(sample)]}

    def done(self, columns: Columns) -> int:
        """Count a take that is written; returns its rows."""
        length = len(columns["index"])
        self.episodes += 1
        self.frames += length
        return length

    def info(self, version: str) -> dict[str, Any]:
        """What ``meta/info.json`` says in both versions."""
        return {
            "codebase_version": version,
            "robot_type": self.robot,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "fps": int(self.fps) if float(self.fps).is_integer() else self.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "features": {**{name: self._feature(name, spec) for name, spec in self.specs.items()}, **_BOOKKEEPING},
        }

    def _feature(self, name: str, spec: StreamSpec) -> dict[str, Any]:
        if not is_picture(spec):
            return {"dtype": spec.dtype, "shape": list(spec.shape), "names": list(spec.axes) or None}
        height, width = self.sizes[name]
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


def outcome_of(manifest: Manifest) -> dict[str, bool]:
    """A column of our own beside LeRobot's; absent for takes without a label."""
    return {} if manifest.outcome is Outcome.UNLABELLED else {"success": manifest.outcome is Outcome.SUCCESS}


def table_of(columns: Columns) -> pa.Table:
    """The rows of one take."""
    arrays = [pa.array(list(values) if values.ndim > 1 else values) for values in columns.values()]
    return pa.table(arrays, names=list(columns))


def stats_of(values_TD: NDArray[Any], *, quantiles: bool = False) -> dict[str, Any]:
    """LeRobot's statistics per column."""
    values = values_TD.reshape(len(values_TD), -1).astype(np.float64)
    found = {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0).tolist(),
        "std": values.std(axis=0).tolist(),
        "count": [len(values)],
    }
    if quantiles:
        levels = np.quantile(values, _QUANTILES, axis=0)
        found |= {f"q{round(100 * q):02d}": level.tolist() for q, level in zip(_QUANTILES, levels, strict=True)}
    return found


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
