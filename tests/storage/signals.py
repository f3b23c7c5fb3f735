"""Takes whose faults are known: each test puts one in and looks whether it is found, and found at its true size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, StreamSpec, TakeInfo, arm_axes

FRONT = StreamSpec("observation.images.front", (48, 64, 3), "uint8", rate_hz=30.0)
DEPTH = StreamSpec("observation.depth.front", (48, 64), "uint16", unit="mm", rate_hz=30.0)
STATE = StreamSpec("observation.state", (14,), "float32", unit="SI", rate_hz=100.0, axes=arm_axes(6))
ACTION = replace(STATE, name="action")
START_NS = 1_000_000_000_000


@dataclass(frozen=True)
class Scene:
    """What a healthy take is like; tests replace single parts.

    Attributes:
        moves: seconds since the start -> phase of the motion, in seconds.
        late_s: measured state behind sent command.
        keep: (stream, index) -> whether that item was recorded; what is not kept becomes a recorded gap.
        device: (stream, seconds) -> the device's clock in seconds.
        shown: seconds -> the moment whose picture is delivered.
        light: brightness factor of the pictures.
        shake_m: amplitude of a 6 Hz shake of the tool.
        depth_share: share of depth pixels with a reading.
        rate: achieved / nominal rate of every stream.
        arrives: (stream, seconds) -> the host's time of the item in seconds.
    """

    seconds: float = 6.0
    moves: Callable[[float], float] = lambda t: t
    late_s: float = 0.0
    keep: Callable[[str, int], bool] = lambda name, index: True
    device: Callable[[str, float], float] = lambda name, t: t
    shown: Callable[[float], float] = lambda t: t
    light: float = 1.0
    shake_m: float = 0.0
    depth_share: float = 1.0
    kind: EpisodeKind = EpisodeKind.TELEOP
    rate: float = 1.0
    arrives: Callable[[str, float], float] = lambda name, t: t


def vector(scene: Scene, t: float) -> np.ndarray:
    """Six joints and a tool on a circle of 10 cm, half a turn a second."""
    phase = scene.moves(t)
    joints = [0.5 * np.sin(np.pi * phase + k) for k in range(6)]
    shake = scene.shake_m * np.sin(12 * np.pi * phase)
    tool = [0.4 + 0.1 * np.cos(np.pi * phase) + shake, 0.1 * np.sin(np.pi * phase), 0.2]
    return np.array([*joints, 0.5, *tool, 1, 0, 0, 0], np.float32)


def picture(scene: Scene, t: float, rng: np.random.Generator, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A textured table with noise, and a bright square where the tool is."""
    y, x = np.mgrid[: size[0], : size[1]]
    table = 90 + 30 * ((x // 4 + y // 4) % 2)
    at = vector(scene, t)[7:9]
    left, top = int(32 + 200 * (at[0] - 0.4)), int(24 + 150 * at[1])
    table[max(top - 4, 0) : top + 4, max(left - 4, 0) : left + 4] = 220
    noisy = scene.light * table[..., None] + rng.normal(0, 2, (*size, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def info_of(scene: Scene, **values: object) -> TakeInfo:
    """What is known about the scene before its first item."""
    return TakeInfo(scene.kind, "turn", "turn the arm", clock="lockstep", **values)


def record(
    home: Home, scene: Scene, specs: tuple[StreamSpec, ...] = (FRONT, STATE, ACTION), **values: object
) -> Episode:
    """A sealed take of the scene; ``values`` are fields of its ``TakeInfo``."""
    writer = EpisodeWriter.create(home, info_of(scene, **values), specs, settings=StoreSettings(sync=False))
    for spec in specs:
        missing = 0
        for index in range(round(scene.seconds * spec.rate_hz * scene.rate)):
            if not scene.keep(spec.name, index):
                missing += 1
                continue
            writer.append(spec.name, _frame(scene, spec, index, missing))
            missing = 0
    return Episode.open(home, writer.seal().id)


def _frame(scene: Scene, spec: StreamSpec, index: int, missing: int) -> Frame:
    t = index / (spec.rate_hz * scene.rate)
    shown = scene.shown(t)
    rng = np.random.default_rng(round(shown * 1e6))
    if spec.name.startswith("observation.images"):
        data = picture(scene, shown, rng, spec.shape[:2])
    elif spec.name.startswith("observation.depth"):
        data = rng.integers(500, 900, spec.shape).astype(np.uint16) * (rng.random(spec.shape) < scene.depth_share)
        data = data.astype(np.uint16)
    else:
        data = vector(scene, t - (scene.late_s if spec.name == STATE.name else 0.0))
    device_ns, host_ns = (round(s * 1e9) for s in (scene.device(spec.name, t), scene.arrives(spec.name, t)))
    return Frame(index, START_NS + device_ns, START_NS + host_ns, missing, data)
