"""LeRobot v3.0 data sets: takes share parquet and video files, ``meta/episodes`` says which part is whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.importing import ImportSettings, Source, SourceTake
from storage.interop import EXPORTS, FORMATS, FormatConfig
from storage.lerobot_export_v3 import Lerobot30
from storage.lerobot_reading import SetInfo, read_columns, version_of
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.registry import Plugin


class LerobotV3Format:
    """The format; see the module and ``lerobot_reading``."""

    title = "LeRobot v3.0 (meta/info.json, meta/episodes, data/*.parquet, videos/*.mp4)"

    def detect(self, path: Path) -> bool:
        """True if ``meta/info.json`` names a version 3 data set."""
        return version_of(path).startswith("v3.")

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """All episodes."""
        dataset = _Dataset(path)
        return [dataset.source(episode, settings) for episode in dataset.episodes]


FORMATS.register(
    Plugin(
        "lerobot_v3",
        LerobotV3Format.title,
        FormatConfig,
        lambda config: LerobotV3Format(),
        needs="pyarrow",
        install="pyarrow",
    )
)
EXPORTS.register(
    Plugin("lerobot_v3", Lerobot30.title, FormatConfig, lambda config: Lerobot30(), needs="pyarrow", install="pyarrow")
)


class _Dataset:
    """One set. All of its meta data is untrusted."""

    def __init__(self, root: Path) -> None:
        self.info = SetInfo.read(root, _read_tasks)
        files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
        if not files:
            raise WorkbenchError(f"the meta data of {root.name} names no episodes", "Check the data set")
        self.episodes = [row for file in files for row in _read_rows(file)]

    def source(self, episode: dict[str, Any], settings: ImportSettings) -> Source:
        """One episode, not read yet."""
        number = int(episode.get("episode_index") or 0)
        files = []
        for camera in ("", *self.info.cameras):
            try:
                files.append(self._file(episode, camera))
            except WorkbenchError:
                continue  # a missing file is reported when the take is loaded
        name = f"{self.info.root.name}/{number:06d}"
        return Source(name, tuple(files), lambda: self.load(number, episode, settings), part=f"episode {number}")

    def load(self, number: int, episode: dict[str, Any], settings: ImportSettings) -> SourceTake:
        """Read one episode. WorkbenchError if its rows are missing or unreadable."""
        columns = read_columns(self._file(episode, ""), [("episode_index", "==", number)])

        def open_video(camera: str) -> Video | None:
            try:
                path = self._file(episode, camera)
            except WorkbenchError:
                return None
            start_s, end_s = (float(episode[f"videos/{camera}/{end}_timestamp"]) for end in ("from", "to"))
            return Video.open(path, settings.max_side_px).part(start_s, end_s)

        return self.info.take(columns, episode, open_video)

    def _file(self, episode: dict[str, Any], camera: str) -> Path:
        prefix = f"videos/{camera}" if camera else "data"
        chunk, file = (episode.get(f"{prefix}/{part}_index") for part in ("chunk", "file"))
        if not isinstance(chunk, int) or not isinstance(file, int):
            raise WorkbenchError(f"its meta data does not say where {camera or 'its rows'} lie")
        values = {"chunk_index": chunk, "file_index": file, "video_key": camera}
        return self.info.file(self.info.video_path if camera else self.info.data_path, values)


def _read_tasks(root: Path) -> dict[int, str]:
    """The words stand in a column of any name: the index of the table that wrote it."""
    found: dict[int, str] = {}
    for row in _read_rows(root / "meta" / "tasks.parquet"):
        words = [value for value in row.values() if isinstance(value, str)]
        found[int(row["task_index"])] = words[0] if words else ""
    return found


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
        wanted = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
        rows: list[dict[str, Any]] = file.read(columns=wanted).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise WorkbenchError(f"the file {path.name} cannot be read ({error})", "Check the data set") from error
    return rows
