"""What LeRobot data sets of versions 2 and 3 have in common when they are read: columns, times, tasks, cameras.

Pictures keep the times of the video files, numbers those of the ``timestamp`` column. A declared video without a file
is noted in the take and left out. ``task_index`` may be one number or a list (coarse, fine instruction): the first
is the take's instruction, the changes of the others are kept in the take's extra.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.importing import SourceTake, inside
from storage.lerobot_vectors import Columns, make_tables
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.core.types import Outcome

_ASTRIBOT_CAMERAS = {
    "images_dict.left.rgb": "left_wrist",
    "images_dict.right.rgb": "right_wrist",
    "images_dict.head.rgb": "head",
}
_PLACEHOLDER = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")


@dataclass(frozen=True, slots=True)
class SetInfo:
    """``meta/info.json``, checked. All of it is untrusted text.

    Attributes:
        cameras: names of the features that are videos.
        data_path, video_path: templates of file names.
        tasks: instructions by number.
    """

    root: Path
    fps: float
    robot: str
    features: dict[str, Any]
    cameras: tuple[str, ...]
    data_path: str
    video_path: str
    chunk: int
    tasks: dict[int, str]

    @classmethod
    def read(cls, root: Path, read_tasks: Callable[[Path], dict[int, str]]) -> SetInfo:
        """WorkbenchError if something is missing or makes no sense."""
        info = read_json(root / "meta" / "info.json")
        try:
            fps, features = float(info["fps"]), dict(info["features"])
            found = cls(
                root,
                fps,
                str(info.get("robot_type") or ""),
                features,
                tuple(name for name, item in features.items() if item.get("dtype") == "video"),
                str(info["data_path"]),
                str(info.get("video_path") or ""),
                max(1, int(info.get("chunks_size", 1000))),
                read_tasks(root),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkbenchError(f"the meta data of {root.name} is not complete ({error!r})") from error
        if not 0 < fps < 1e5:
            raise WorkbenchError(f"the meta data of {root.name} states {fps} frames per second")
        return found

    def file(self, template: str, values: Mapping[str, Any]) -> Path:
        """A file of the set by its template; WorkbenchError if it is missing or lies outside the set."""
        return inside(
            self.root, _PLACEHOLDER.sub(lambda at: str(values.get(at[1], "")).zfill(int(at[2] or 0)), template)
        )

    def take(
        self, columns: Columns, episode: Mapping[str, Any], open_video: Callable[[str], Video | None]
    ) -> SourceTake:
        """One take of its columns. ``open_video`` answers None for a camera that has no file."""
        rows = len(next(iter(columns.values()), ()))
        if not rows:
            raise WorkbenchError("it has no rows")
        extra: dict[str, Any] = {"robot_type": self.robot}
        times_ns = self._times(columns, rows, extra)
        opened = {key: open_video(key) for key in self.cameras}
        missing = [key for key, video in opened.items() if video is None]
        missing += [key for key, item in self.features.items() if item.get("dtype") == "image"]
        if missing:
            extra["videos_missing"] = missing
        outcomes: dict[Any, Outcome] = {True: Outcome.SUCCESS, False: Outcome.FAILURE}
        return SourceTake(
            instruction=self._instruction(columns, episode, times_ns, extra),
            outcome=outcomes.get(episode.get("success"), Outcome.UNLABELLED),
            tables=tuple(make_tables(self.features, columns, times_ns, self.fps)),
            videos={camera_name(key): video for key, video in opened.items() if video is not None},
            rows_hz=self.fps,
            until_ns=int(times_ns[-1] + 0.5e9 / self.fps),
            devices={"robot": {"kind": self.robot}},
            extra=extra,
        )

    def _times(self, columns: Columns, rows: int, extra: dict[str, Any]) -> NDArray[np.int64]:
        if "timestamp" in columns:
            seconds = columns["timestamp"].astype(np.float64).reshape(rows)
            if not np.all(np.isfinite(seconds)) or np.any(np.diff(seconds) < 0):
                raise WorkbenchError("its timestamps are not rising")
            extra["times"] = "the source's timestamps and video times"
            return np.round(seconds * 1e9).astype(np.int64)
        extra["times"] = "pictures: video file; numbers: nominal rate, the source has no timestamps"
        return np.round(np.arange(rows) * (1e9 / self.fps)).astype(np.int64)

    def _instruction(
        self, columns: Columns, episode: Mapping[str, Any], times_ns: NDArray[np.int64], extra: dict[str, Any]
    ) -> str:
        """The first task of the first row, else the episode's own; finer instructions go to ``extra``."""
        texts = [str(text) for text in episode.get("tasks") or [] if isinstance(text, str)]
        index = columns.get("task_index")
        if index is None:
            return texts[0] if texts else ""
        table = index.reshape(len(index), -1).astype(np.int64)
        fine = table[:, 1:]
        if fine.shape[1]:
            changes = np.flatnonzero(np.any(np.diff(fine, axis=0) != 0, axis=1)) + 1
            extra["sub_instructions"] = [
                {"t_ns": int(times_ns[row]), "text": self.tasks.get(int(fine[row, 0]), "")} for row in (0, *changes)
            ]
        return self.tasks.get(int(table[0, 0]), texts[0] if texts else "")


def version_of(path: Path) -> str:
    """The version that a folder's ``meta/info.json`` names, "" if there is none. Never raises."""
    try:
        return str(read_json(path / "meta" / "info.json").get("codebase_version", ""))
    except (WorkbenchError, AttributeError, OSError):
        return ""


def camera_name(key: str) -> str:
    """``observation.images.front`` -> ``front``; ``images_dict.left.rgb`` -> ``left_wrist`` (Astribot's cameras)."""
    if key.startswith("observation.images."):
        return key.removeprefix("observation.images.")
    return _ASTRIBOT_CAMERAS.get(key, re.sub(r"[^A-Za-z0-9_]+", "_", key).strip("_") or "camera")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; WorkbenchError if it is missing or a line is not an object."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"the file {path.name} cannot be read ({error})", "Check the data set") from error
    if not all(isinstance(line, dict) for line in lines):
        raise WorkbenchError(f"the file {path.name} holds something else than objects", "Check the data set")
    return lines


def read_columns(path: Path, filters: list[tuple[str, str, int]] | None = None) -> Columns:
    """Every numeric column as an array (T,) or (T, D); columns of uneven lists are left out.

    ``filters``: (column, "==", value), rows that do not fit are not read.
    """
    try:
        table = pq.read_table(path, filters=filters)
    except Exception as error:
        raise WorkbenchError(f"the file {path.name} cannot be read ({error})", "Check the data set") from error
    columns: Columns = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        widths = {len(value) for value in values if isinstance(value, list)}
        if len(widths) <= 1:
            array = np.array(values)
            if array.dtype.kind in "fiub":
                columns[name] = array
    return columns
