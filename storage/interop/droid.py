"""DROID as published with Ctrl-World: one JSON and three small videos per take of a Franka arm.

What is where: ``annotation/*/<id>.json`` with ``states`` (T, 7) at the video's rate (x y z m, extrinsic x-y-z Euler
angles rad, gripper), sometimes ``joints`` (T, 8), sometimes raw states and commands at three times that rate; videos
0 and 1 look from outside, 2 from the wrist. Forward kinematics of the joints agrees with the poses to 1e-7 for this
Euler convention; the pose is that of the flange in the base frame. DROID's gripper is 0 open..1 closed; ours is the
reverse. The commands are absolute. There are no timestamps: states get the nominal rate, and the take says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.importing import ImportSettings, Source, SourceTake, Table, as_float32, inside
from storage.interop import FORMATS, FormatConfig
from storage.rotations import quaternions_of_euler_xyz
from storage.videos import Video
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.core.registry import Plugin
from workbench.core.types import POSE_AXES, Outcome, StreamSpec, arm_axes

CAMERAS = ("front", "side", "wrist")
_DEVICES = {"arm": {"kind": "franka", "source": "DROID"}}


class DroidFormat:
    """The format; see the module."""

    title = "DROID as published with Ctrl-World (annotation/*.json and videos)"

    def detect(self, path: Path) -> bool:
        """True if annotations and videos lie side by side, in the folder or one below."""
        return any(True for _ in _roots(path))

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """All takes of all splits."""
        return [_source(root, note, settings) for root in _roots(path) for note in _annotations(root)]


FORMATS.register(
    Plugin("droid", DroidFormat.title, FormatConfig, lambda config: DroidFormat(), needs="av", install="av")
)


def _roots(path: Path) -> Iterator[Path]:
    candidates = [path, *sorted(child for child in path.iterdir() if child.is_dir())] if path.is_dir() else []
    for root in candidates:
        if (root / "videos").is_dir() and next(root.glob("annotation/*/*.json"), None):
            yield root


def _annotations(root: Path) -> list[Path]:
    return sorted(root.glob("annotation/*/*.json"), key=lambda path: (path.parent.name, path.stem.zfill(12)))


def _source(root: Path, annotation: Path, settings: ImportSettings) -> Source:
    name = f"{root.name}/{annotation.parent.name}/{annotation.stem}"
    videos = sorted((root / "videos" / annotation.parent.name / annotation.stem).glob("*.mp4"))
    return Source(name, (annotation, *videos), lambda: _load(root, annotation, settings))


def _load(root: Path, annotation: Path, settings: ImportSettings) -> SourceTake:
    about = read_json(annotation)
    videos = {
        camera: Video.open(inside(root, entry["video_path"]), settings.max_side_px)
        for camera, entry in zip(CAMERAS, about["videos"], strict=False)
    }
    if not videos:
        raise WorkbenchError("it has no videos")
    rate_hz = videos[next(iter(videos))].rate_hz
    tables = _tables(about, rate_hz)
    period_ns = 1e9 / rate_hz
    texts = [text for text in about.get("texts", []) if isinstance(text, str) and text.strip()]
    return SourceTake(
        instruction=texts[0].strip() if texts else "",
        outcome={1: Outcome.SUCCESS, 0: Outcome.FAILURE}.get(about.get("success"), Outcome.UNLABELLED),
        tables=tables,
        videos=videos,
        rows_hz=rate_hz,
        until_ns=int(tables[0].times_ns[-1] + period_ns / 2),
        devices=_DEVICES,
        extra={"times": "pictures: video file; states and commands: nominal rate, the source has no timestamps"},
    )


def _tables(about: dict[str, Any], rate_hz: float) -> tuple[Table, ...]:
    """States and, where published, commands; raw ones where they exist."""
    states = np.array(about["states"], dtype=np.float64)
    if states.ndim != 2 or states.shape[1] != 7 or not len(states):
        raise WorkbenchError(f"its states have the shape {states.shape} instead of (T, 7)")
    if "observation.state.cartesian_position" in about:
        raw = [_raw(about, part) for part in ("observation.state", "action")]
        raw_hz = rate_hz * max(1, round(len(raw[0][0]) / len(states)))
        names = ("observation.state", "action")
        return tuple(_table(name, raw_hz, *parts) for name, parts in zip(names, raw, strict=True))
    joints = np.array(about["joints"], dtype=np.float64)[:, :7] if "joints" in about else None
    return (_table("observation.state", rate_hz, states[:, :6], states[:, 6], joints),)


_Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]


def _raw(about: dict[str, Any], part: str) -> _Parts:
    pose = np.array(about[f"{part}.cartesian_position"], dtype=np.float64)
    gripper = np.array(about[f"{part}.gripper_position"], dtype=np.float64)
    return pose, gripper, np.array(about[f"{part}.joint_position"], dtype=np.float64)


def _table(
    name: str,
    rate_hz: float,
    pose_T6: NDArray[np.float64],
    closed_T: NDArray[np.float64],
    joints_TN: NDArray[np.float64] | None,
) -> Table:
    quaternions = quaternions_of_euler_xyz(pose_T6[:, 3:])
    opened = 1.0 - np.clip(closed_T.reshape(-1, 1), 0.0, 1.0)
    parts = [opened, pose_T6[:, :3], quaternions]
    axes: tuple[str, ...] = ("gripper", *POSE_AXES)
    if joints_TN is not None:
        parts, axes = [joints_TN, *parts], arm_axes(joints_TN.shape[1])
    times_ns = np.round(np.arange(len(pose_T6)) * (1e9 / rate_hz)).astype(np.int64)
    spec = StreamSpec(name, (len(axes),), "float32", unit="SI", rate_hz=rate_hz, axes=axes)
    return as_float32(Table(spec, times_ns, np.concatenate(parts, axis=1)))
