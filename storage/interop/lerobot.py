"""LeRobot v2.0 and v2.1 data sets: ``meta/`` JSON, one parquet file and one video per camera for each take.

Pictures keep the times of the video files, numbers those of the ``timestamp`` column. A declared video without a file
is noted in the take and left out. ``task_index`` may be one number or a list (coarse, fine instruction): the first
is the take's instruction, the changes of the others are kept in the take's extra.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from storage.importing import ImportReport, ImportSettings, Progress, Source, SourceTake, inside, run_import
from storage.interop import FORMATS, FormatConfig
from storage.layout import Home
from storage.lerobot_vectors import Columns, make_tables
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.core.registry import Plugin
from workbench.core.types import Outcome

_ASTRIBOT_CAMERAS = {
    "images_dict.left.rgb": "left_wrist",
    "images_dict.right.rgb": "right_wrist",
    "images_dict.head.rgb": "head",
}
_PLACEHOLDER = re.compile(r"\{(episode_chunk|episode_index|video_key)(?::0?(\d{1,2})d)?\}")


class LerobotFormat:
    """The format; see the module."""

    title = "LeRobot v2.0 or v2.1 (meta/info.json, data/*.parquet, videos/*.mp4)"

    def detect(self, path: Path) -> bool:
        """True if ``meta/info.json`` names a version 2 data set."""
        try:
            return str(read_json(path / "meta" / "info.json").get("codebase_version", "")).startswith("v2.")
        except (WorkbenchError, AttributeError, OSError):
            return False

    def import_takes(
        self,
        path: Path,
        home: Home,
        progress: Progress,
        *,
        settings: ImportSettings = ImportSettings(),  # noqa: B008
    ) -> ImportReport:
        """Import all episodes."""
        dataset = _Dataset(path)
        sources = [dataset.source(episode, settings) for episode in dataset.episodes]
        return run_import("lerobot", sources, home, progress, settings)


FORMATS.register(
    Plugin(
        "lerobot", LerobotFormat.title, FormatConfig, lambda config: LerobotFormat(), needs="pyarrow", install="pyarrow"
    )
)


class _Dataset:
    """The meta data of a set. All of it is untrusted text."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info: dict[str, Any] = read_json(root / "meta" / "info.json")
        try:
            self.fps = float(self.info["fps"])
            self.features: dict[str, Any] = dict(self.info["features"])
            self.cameras = [name for name, item in self.features.items() if item.get("dtype") == "video"]
            self.templates = str(self.info["data_path"]), str(self.info.get("video_path") or "")
            self.chunk = max(1, int(self.info.get("chunks_size", 1000)))
            self.episodes = read_json_lines(root / "meta" / "episodes.jsonl")
            tasks = read_json_lines(root / "meta" / "tasks.jsonl")
            self.tasks = {int(line["task_index"]): str(line["task"]) for line in tasks}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkbenchError(f"the meta data of {root.name} is not complete ({error!r})") from error
        if not 0 < self.fps < 1e5:
            raise WorkbenchError(f"the meta data of {root.name} states {self.fps} frames per second")

    def path(self, template: str, episode: int, camera: str = "") -> Path:
        """A file of one episode; WorkbenchError if it is missing or lies outside the set."""
        values: dict[str, Any] = {"episode_chunk": episode // self.chunk, "episode_index": episode, "video_key": camera}
        filled = _PLACEHOLDER.sub(lambda found: str(values[found[1]]).zfill(int(found[2] or 0)), template)
        return inside(self.root, filled)

    def source(self, episode: dict[str, Any], settings: ImportSettings) -> Source:
        """One episode, not read yet."""
        number = int(episode.get("episode_index", -1))
        files = []
        for template, camera in [(self.templates[0], ""), *((self.templates[1], name) for name in self.cameras)]:
            try:
                files.append(self.path(template, number, camera))
            except WorkbenchError:
                continue  # a missing file is reported when the take is loaded
        name = f"{self.root.name}/{number:06d}"
        return Source(name, tuple(files), lambda: self.load(number, episode, settings))

    def load(self, number: int, episode: dict[str, Any], settings: ImportSettings) -> SourceTake:
        """Read one episode. WorkbenchError if its parquet file is missing or unreadable."""
        columns = _read_columns(self.path(self.templates[0], number))
        rows = len(next(iter(columns.values()), ()))
        if not rows:
            raise WorkbenchError("it has no rows")
        extra: dict[str, Any] = {"robot_type": str(self.info.get("robot_type", ""))}
        times_ns = self._times(columns, rows, extra)
        videos = self._videos(number, settings, extra)
        instruction = self._instruction(columns, episode, times_ns, extra)
        outcomes: dict[Any, Outcome] = {True: Outcome.SUCCESS, False: Outcome.FAILURE}
        return SourceTake(
            instruction=instruction,
            outcome=outcomes.get(episode.get("success"), Outcome.UNLABELLED),
            tables=tuple(make_tables(self.features, columns, times_ns, self.fps)),
            videos=videos,
            rows_hz=self.fps,
            until_ns=int(times_ns[-1] + 0.5e9 / self.fps),
            devices={"robot": {"kind": str(self.info.get("robot_type", ""))}},
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

    def _videos(self, number: int, settings: ImportSettings, extra: dict[str, Any]) -> dict[str, Video]:
        videos, missing = {}, []
        for key in self.cameras:
            try:
                path = self.path(self.templates[1], number, key)
            except WorkbenchError:
                missing.append(key)
                continue
            videos[camera_name(key)] = Video.open(path, settings.max_side_px)
        if missing:
            extra["videos_missing"] = missing
        return videos

    def _instruction(
        self, columns: Columns, episode: dict[str, Any], times_ns: NDArray[np.int64], extra: dict[str, Any]
    ) -> str:
        """The first task of the first row, else the episode's own; finer instructions go to ``extra``."""
        texts = [str(text) for text in episode.get("tasks", []) if isinstance(text, str)]
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


def camera_name(key: str) -> str:
    """``observation.images.front`` -> ``front``; ``images_dict.left.rgb`` -> ``left_wrist`` (Astribot's cameras)."""
    if key.startswith("observation.images."):
        return key.removeprefix("observation.images.")
    astribot = {
        "images_dict.left.rgb": "left_wrist",
        "images_dict.right.rgb": "right_wrist",
        "images_dict.head.rgb": "head",
    }
    return astribot.get(key, re.sub(r"[^A-Za-z0-9_]+", "_", key).strip("_") or "camera")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; WorkbenchError if it is missing or a line is not an object."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"the file {path.name} cannot be read ({error})", "Check the data set") from error
    if not all(isinstance(line, dict) for line in lines):
        raise WorkbenchError(f"the file {path.name} holds something else than objects", "Check the data set")
    return lines


def _read_columns(path: Path) -> Columns:
    """Every numeric column as an array (T,) or (T, D); columns of uneven lists are left out."""
    try:
        table = pq.read_table(path)
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
