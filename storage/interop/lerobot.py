"""LeRobot v2.0 and v2.1 data sets: ``meta/`` JSON, one parquet file and one video per camera for each take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.importing import ImportSettings, Source, SourceTake
from storage.interop import EXPORTS, FORMATS, FormatConfig
from storage.lerobot_export import Lerobot21
from storage.lerobot_reading import SetInfo, read_columns, read_json_lines, version_of
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.registry import Plugin


class LerobotFormat:
    """The format; see the module and ``lerobot_reading``."""

    title = "LeRobot v2.0 or v2.1 (meta/info.json, data/*.parquet, videos/*.mp4)"

    def detect(self, path: Path) -> bool:
        """True if ``meta/info.json`` names a version 2 data set."""
        return version_of(path).startswith("v2.")

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """All episodes."""
        dataset = _Dataset(path)
        return [dataset.source(episode, settings) for episode in dataset.episodes]


FORMATS.register(
    Plugin(
        "lerobot", LerobotFormat.title, FormatConfig, lambda config: LerobotFormat(), needs="pyarrow", install="pyarrow"
    )
)
EXPORTS.register(
    Plugin("lerobot", Lerobot21.title, FormatConfig, lambda config: Lerobot21(), needs="pyarrow", install="pyarrow")
)


class _Dataset:
    """One set: its files are named by the number of the episode."""

    def __init__(self, root: Path) -> None:
        self.info = SetInfo.read(root, _read_tasks)
        self.episodes = read_json_lines(root / "meta" / "episodes.jsonl")

    def path(self, template: str, episode: int, camera: str = "") -> Path:
        """A file of one episode; WorkbenchError if it is missing or lies outside the set."""
        chunk = episode // self.info.chunk
        return self.info.file(template, {"episode_chunk": chunk, "episode_index": episode, "video_key": camera})

    def source(self, episode: dict[str, Any], settings: ImportSettings) -> Source:
        """One episode, not read yet."""
        number = int(episode.get("episode_index", -1))
        files = []
        cameras = [(self.info.video_path, name) for name in self.info.cameras]
        for template, camera in [(self.info.data_path, ""), *cameras]:
            try:
                files.append(self.path(template, number, camera))
            except WorkbenchError:
                continue  # a missing file is reported when the take is loaded
        name = f"{self.info.root.name}/{number:06d}"
        return Source(name, tuple(files), lambda: self.load(number, episode, settings))

    def load(self, number: int, episode: dict[str, Any], settings: ImportSettings) -> SourceTake:
        """Read one episode. WorkbenchError if its parquet file is missing or unreadable."""
        columns = read_columns(self.path(self.info.data_path, number))

        def open_video(camera: str) -> Video | None:
            try:
                path = self.path(self.info.video_path, number, camera)
            except WorkbenchError:
                return None
            return Video.open(path, settings.max_side_px)

        return self.info.take(columns, episode, open_video)


def _read_tasks(root: Path) -> dict[int, str]:
    return {int(line["task_index"]): str(line["task"]) for line in read_json_lines(root / "meta" / "tasks.jsonl")}
