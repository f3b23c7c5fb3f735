"""How much it costs to read takes: random windows for training, and playing them from beginning to end."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.windows import WindowReader, WindowSpec
from workbench.core.types import EpisodeKind, Frame, StreamSpec, TakeInfo, arm_axes
from workbench.services import bench_catalog
from workbench.services.bench_pictures import HEIGHT, RATE_HZ, WIDTH, camera_takes

CAMERAS = ("camera0", "camera1")
SMALL = (120, 160)
_JOINTS, _CONTROL_HZ, _PICTURES = 6, 100.0, 60


def bench_read(
    takes: int, seconds: float, samples: int, pictures: Path | None, home: Path | None, catalogue: int, seed: int
) -> dict[str, Any]:
    """Read back takes of two 640x480 cameras and an arm, stored as the recorder stores them.

    A random sample is two pictures of each camera, a state and 16 actions, anywhere in any take.
    ``random_sample_cpu_ms``: processor time with stored pictures; ``random_sample_small_cpu_ms``: with the decoded
    cache of 160x120; ``playback_x_realtime``: seconds of a take over processor seconds to decode both its cameras;
    ``memory_slope_bytes_per_sample``: growth of this process over the second half of the samples. ``catalogue``:
    pages and lineage of an index of so many takes.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-", dir=home) as folder:
        root = Home.open(Path(folder))
        shown, about = camera_takes(root, len(CAMERAS), _PICTURES, pictures, seed)
        colors = [_colors(take) for take in shown]
        ids = [_write(root, colors, number, seconds) for number in range(takes)]
        spec = WindowSpec(CAMERAS, step_s=0.1, horizon=8, actions=16)
        full = WindowReader(root, ids, spec)
        small = WindowReader(root, ids, replace(spec, small=SMALL))
        made_s = _cpu_of(small.prepare)
        figures = {
            "pictures": about,
            "takes": takes,
            "windows": len(full),
            "samples": samples,
            **_random(full, samples, seed),
            "random_sample_small_cpu_ms": _random(small, samples, seed)["random_sample_cpu_ms"],
            "small_cache_cpu_s_per_take": round(made_s / takes, 3),
            **_playback(root, ids),
        }
        full.close()
    return {**figures, "catalogue": bench_catalog.measure(catalogue)}


def _random(reader: WindowReader, samples: int, seed: int) -> dict[str, Any]:
    draws = reader.draw(seed, 0, samples)
    half = samples // 2
    first_s = _cpu_of(lambda: _read(reader, draws[:half]))
    before = psutil.Process().memory_info().rss
    second_s = _cpu_of(lambda: _read(reader, draws[half:]))
    grown = psutil.Process().memory_info().rss - before
    return {
        "random_sample_cpu_ms": round(1000 * (first_s + second_s) / samples, 3),
        "memory_slope_bytes_per_sample": round(grown / max(1, samples - half)),
    }


def _read(reader: WindowReader, indices: NDArray[np.int64]) -> None:
    for index in indices:
        reader[int(index)]


def _playback(home: Home, ids: Sequence[str]) -> dict[str, Any]:
    """Every picture of the first takes in order."""
    wall, seconds = time.monotonic(), 0.0

    def play() -> None:
        nonlocal seconds
        for episode_id in ids[:3]:
            with Episode.open(home, episode_id) as episode:
                for row in range(episode.manifest.rows):
                    for camera in CAMERAS:
                        name = f"observation.images.{camera}"
                        episode.read(name, int(episode.row_index(name)[row]))
                seconds += episode.manifest.duration_s

    cpu_s = _cpu_of(play)
    return {
        "playback_x_realtime": round(seconds / cpu_s, 2),
        "playback_wall_x_realtime": round(seconds / (time.monotonic() - wall), 2),
    }


def _cpu_of(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _colors(take: Path) -> list[NDArray[np.uint8]]:
    with Episode.at(take) as episode:
        name = "observation.images.view"
        return [episode.read(name, index) for index in range(episode.manifest.counts[name])]


def _write(home: Home, colors: Sequence[Sequence[NDArray[np.uint8]]], number: int, seconds: float) -> str:
    """A take of both cameras and of an arm that moves."""
    images = [
        StreamSpec(f"observation.images.{name}", (HEIGHT, WIDTH, 3), "uint8", rate_hz=RATE_HZ) for name in CAMERAS
    ]
    axes = arm_axes(_JOINTS)
    arm = [
        StreamSpec(name, (len(axes),), "float32", "SI", _CONTROL_HZ, axes) for name in ("observation.state", "action")
    ]
    info = TakeInfo(EpisodeKind.TELEOP, "measure", "measure")
    writer = EpisodeWriter.create(home, info, [*images, *arm], settings=StoreSettings(sync=False))
    begin_ns = number * 10**12
    for spec, shown in zip(images, colors, strict=True):
        for k, picture in enumerate(islice(cycle(shown), round(seconds * RATE_HZ))):
            t_ns = begin_ns + round(k * 1e9 / RATE_HZ)
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, picture))
    for k in range(round(seconds * _CONTROL_HZ)):
        t_ns = begin_ns + round(k * 1e9 / _CONTROL_HZ)
        pose = np.sin(k / 50 + np.arange(len(axes))).astype(np.float32)
        for spec in arm:
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, pose))
    return writer.seal().id
