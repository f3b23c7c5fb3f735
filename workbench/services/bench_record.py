"""How much it costs to record: playback cameras in real time, the real capture process, the real disk."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from storage.episode import Episode
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.ring import runtime_directory
from workbench.core.types import EpisodeKind
from workbench.services.bench_pictures import RATE_HZ, camera_takes
from workbench.services.capture import CameraStatus
from workbench.services.hosting import Child, Host
from workbench.services.settings import CameraSettings, Settings

SHORT_S = 10.0
PICTURES = 60
_LIVE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One take as measured: what it cost the capture process, how long stopping held up the next take."""

    episode_id: str
    cpu_s: float
    missed: int
    stop_to_ready_s: float
    memory_bytes: int


def bench_record(seconds: float, cameras: int, pictures: Path | None, home: Path | None, seed: int) -> dict[str, Any]:
    """Record ``cameras`` cameras of 640x480 colour and depth at 30 Hz, once for 10 s and once for ``seconds``.

    Args:
        pictures: folder with videos (and depth frames) that the cameras show; None: the simulated station's pictures.
        home: measure on this disk; None: the temporary folder.

    ``lost``: pictures of all streams missing in the long take; ``missed_by_cameras``: how many of those the playback
    cameras never handed out because their thread was late. ``cpu_ms_per_camera_frame``: processor time of the whole
    capture process per colour picture with its depth: playback, rings, encoding, disk. ``stop_to_ready_s``: from the
    request to stop until the next take has begun, for the long take; ``..._short`` for the short one.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-", dir=home) as folder:
        root = Home.open(Path(folder))
        takes, shown = camera_takes(root, cameras, PICTURES, pictures, seed)
        settings = Settings(station="measure", cameras=tuple(camera_settings(k, take) for k, take in enumerate(takes)))
        with Host() as host, tempfile.TemporaryDirectory(dir=runtime_directory()) as rings:
            capture = host.start(
                "capture", "workbench.services.capture:main", home=folder, settings=settings.plain(), folder=rings
            )
            wait_live(capture)
            priority = capture.call("priority")
            short = _record(capture, min(SHORT_S, seconds))
            long = _record(capture, seconds)
        return {
            "pictures": shown,
            "priority": priority,
            **_figures(root, long),
            "stop_to_ready_short_s": round(short.stop_to_ready_s, 3),
        }


def camera_settings(number: int, take: Path) -> CameraSettings:
    """A playback camera that shows a take."""
    options = {"path": str(take), "rate_hz": RATE_HZ, "first": PICTURES}
    return CameraSettings(name=f"camera{number}", kind="playback", options=options)


def _record(capture: Child, seconds: float) -> _Recorded:
    process = psutil.Process(capture.pid)
    lost, spent_s = missed(capture), cpu_s(process)
    episode_id = _start(capture)
    time.sleep(seconds)
    spent_s, memory = cpu_s(process) - spent_s, process.memory_info().rss
    asked = time.monotonic()
    capture.call("stop_take", timeout_s=120)
    _start(capture)
    ready_s = time.monotonic() - asked
    lost = missed(capture) - lost
    capture.call("discard_take", timeout_s=120)
    return _Recorded(episode_id, spent_s, lost, ready_s, memory)


def _start(capture: Child) -> str:
    started: str = capture.call("start_take", task="measure", kind=EpisodeKind.HUMAN, instruction="", streams=[])
    return started


def _figures(home: Home, take: _Recorded) -> dict[str, Any]:
    with Episode.open(home, take.episode_id) as episode:
        manifest = episode.manifest
        color = [name for name in manifest.counts if name.startswith("observation.images.")]
        depth = [name for name in manifest.counts if name.startswith("observation.depth.")]
        frames = sum(manifest.counts[name] for name in color)
        return {
            "lost": sum(manifest.gaps.values()),
            "missed_by_cameras": take.missed,
            "frames": frames,
            "achieved_hz": round(frames / len(color) / manifest.duration_s, 2),
            "cpu_ms_per_camera_frame": round(1000 * take.cpu_s / max(1, frames), 3),
            "stop_to_ready_s": round(take.stop_to_ready_s, 3),
            "bytes_per_color_frame": bytes_each(episode.folder, color, manifest.counts),
            "bytes_per_depth_frame": bytes_each(episode.folder, depth, manifest.counts),
            "memory_bytes": take.memory_bytes,
            "cameras": len(color),
            "seconds": round(manifest.duration_s, 2),
        }


def bytes_each(folder: Path, streams: list[str], counts: dict[str, int]) -> int | None:
    """Bytes on disk per item of these streams; None if there is no item."""
    items = sum(counts[name] for name in streams)
    size = sum(path.stat().st_size for name in streams for path in (folder / name).rglob("*") if path.is_file())
    return round(size / items) if items else None


def wait_live(capture: Child) -> None:
    """Wait until every camera delivers. WorkbenchError for one that does not."""
    deadline = time.monotonic() + _LIVE_S
    while silent := [camera for camera in _statuses(capture) if camera.state != "live"]:
        if time.monotonic() > deadline:
            raise WorkbenchError(f"{silent[0].name} shows nothing ({silent[0].error})", "Choose other --pictures")
        time.sleep(0.05)


def _statuses(capture: Child) -> list[CameraStatus]:
    cameras, _ = capture.call("status", timeout_s=90)
    return list(cameras)


def missed(capture: Child) -> int:
    """Exposures that the cameras have missed so far."""
    return sum(camera.drops for camera in _statuses(capture))


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds that a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)
