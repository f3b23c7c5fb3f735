"""Pictures to measure recording and reading with: real ones of a folder, else those of the simulated station."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from hardware.playback import VIDEO_SUFFIXES
from hardware.sim.render import SceneRenderer
from hardware.sim.tasks import DEMONSTRATED
from hardware.sim.world import World
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.interop import import_takes
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Frame, StreamSpec, TakeInfo

WIDTH, HEIGHT, RATE_HZ = 640, 480, 30.0
_NOISE_MM, _NOISE_LEVELS = 2.0, 2.0

Color = NDArray[np.uint8]
Depth = NDArray[np.uint16]


def camera_takes(home: Home, cameras: int, pictures: int, folder: Path | None, seed: int) -> tuple[list[Path], str]:
    """One lossless take of 640x480 colour and depth per camera, for playback cameras; and in words what they show."""
    generator = np.random.default_rng(seed)
    drawn = _drawn(pictures, generator)
    colors, about = _colors(folder, cameras, pictures) or (_turned(drawn[0], cameras), "simulated station with noise")
    depths, more = _depths(home, folder) or (np.stack(drawn[1][:10]), "simulated station with noise")
    takes = []
    for number, color in enumerate(colors):
        shifted = islice(cycle(np.roll(depths, number, axis=0)), pictures)
        takes.append(_write(home, color, list(shifted)))
    return takes, f"colour: {about}; depth: {more}"


def _write(home: Home, colors: list[Color], depths: list[Depth]) -> Path:
    size = (HEIGHT, WIDTH)
    specs = [
        StreamSpec("observation.images.view", (*size, 3), "uint8", rate_hz=RATE_HZ),
        StreamSpec("observation.depth.view", size, "uint16", "mm", RATE_HZ),
    ]
    info = TakeInfo(EpisodeKind.HUMAN, "measure", "measure")
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(color_codec="lossless", sync=False))
    for number, (color, depth) in enumerate(zip(colors, depths, strict=True)):
        t_ns = round(number * 1e9 / RATE_HZ)
        writer.append(specs[0].name, Frame(number, t_ns, t_ns, 0, color))
        writer.append(specs[1].name, Frame(number, t_ns, t_ns, 0, depth))
    return home.sealed(writer.seal().id)


def _colors(folder: Path | None, cameras: int, pictures: int) -> tuple[list[list[Color]], str] | None:
    """Pictures of each camera from the videos below a folder, one video per folder, as different as possible."""
    if folder is None:
        return None
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise WorkbenchError(f"{folder} holds no video", "Give a folder with videos, or leave --pictures out")
    chosen = list(islice(cycle(sorted({path.parent: path for path in videos}.values())), cameras))
    return [_resized(path, pictures) for path in chosen], ", ".join(path.name for path in dict.fromkeys(chosen))


def _resized(path: Path, pictures: int) -> list[Color]:
    """So many pictures of a video at 640x480, from its beginning and again if it is short."""
    try:
        with av.open(str(path)) as container:
            shown = islice(container.decode(container.streams.video[0]), pictures)
            kept = [frame.reformat(width=WIDTH, height=HEIGHT, format="rgb24").to_ndarray() for frame in shown]
    except (av.error.FFmpegError, OSError) as error:
        raise WorkbenchError(f"the video {path} cannot be read ({error})", "Take it out of the folder") from error
    return list(islice(cycle(kept), pictures))


def _depths(home: Home, folder: Path | None) -> tuple[NDArray[np.uint16], str] | None:
    """(N, 480, 640) mm of the first depth frames below a folder that can be imported."""
    for place in [folder, *sorted(child for child in folder.iterdir() if child.is_dir())] if folder else []:
        try:
            report = import_takes(place, home, kind="apc_frames")
        except WorkbenchError:
            continue
        for episode_id in report:
            with Episode.open(home, episode_id) as episode:
                count = episode.manifest.counts["observation.depth.front"]
                readings = [episode.read("observation.depth.front", index) for index in range(count)]
            if readings[0].shape == (HEIGHT, WIDTH):
                return np.stack(readings), place.name
    return None


def _drawn(pictures: int, generator: np.random.Generator) -> tuple[list[Color], list[Depth]]:
    """Colour and depth of the simulated table while the arm turns; sensor noise on both."""
    world = World()
    world.reset(DEMONSTRATED[0], 0)
    home_rad = world.arm()[0]
    renderer = SceneRenderer("front", WIDTH, HEIGHT, depth=True)
    colors, depths = [], []
    try:
        for number in range(pictures):
            world.command(home_rad + 0.2 * np.sin(number / 10 + np.arange(len(home_rad))), 1.0)
            world.step(1 / RATE_HZ)
            color, depth = renderer.render(world.snapshot())
            colors.append(np.clip(color + generator.normal(0, _NOISE_LEVELS, color.shape), 0, 255).astype(np.uint8))
            if depth is not None:
                noise = generator.normal(0.0, _NOISE_MM, depth.shape)
                depths.append(np.where(depth > 0, np.clip(depth + noise, 1, 65535), 0).astype(np.uint16))
    finally:
        renderer.close()
    return colors, depths


def _turned(colors: list[Color], cameras: int) -> list[list[Color]]:
    """The same pictures for every camera, each beginning elsewhere."""
    starts = [number * len(colors) // cameras for number in range(cameras)]
    return [colors[start:] + colors[:start] for start in starts]
