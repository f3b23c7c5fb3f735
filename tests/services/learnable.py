"""Takes a trainer can learn something from in seconds: a smooth reach towards a coloured blob, no simulator needed."""

from __future__ import annotations

import numpy as np

from storage.episode import EpisodeWriter, Manifest, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, Outcome, Pose, StreamSpec, TakeInfo, arm_axes, arm_vector

HZ = 10.0
SPECS = tuple(StreamSpec(f"observation.images.{name}", (48, 64, 3), "uint8", rate_hz=HZ) for name in ("front", "wrist"))
VECTORS = tuple(StreamSpec(name, (14,), "float32", "SI", HZ, arm_axes(6)) for name in ("observation.state", "action"))
SETTINGS = StoreSettings(rows_hz=HZ, sync=False)


def write_reach(
    home: Home,
    seed: int,
    *,
    kind: EpisodeKind = EpisodeKind.TELEOP,
    task: str = "red_cube_to_white_plate",
    steps: int = 40,
    outcome: Outcome = Outcome.SUCCESS,
) -> Manifest:
    """One take: out to a goal and back, the gripper closing half-way, a blob where the goal is."""
    rng = np.random.default_rng(seed)
    goal = rng.uniform([-0.2, -0.2, 0.0], [0.2, 0.2, 0.2])
    specs = SPECS if kind is EpisodeKind.HUMAN else (*SPECS, *VECTORS)
    info = TakeInfo(kind, task, f"do {task.replace('_', ' ')}", clock="lockstep")
    writer = EpisodeWriter.create(home, info, specs, settings=SETTINGS)
    for k in range(steps):
        share = np.sin(np.pi * k / steps)
        now, later = (np.array([0.4, 0.0, 0.3]) + goal * s for s in (share, np.sin(np.pi * (k + 1) / steps)))
        grip = 1.0 if k < steps / 2 else 0.0
        t_ns = round(k * 1e9 / HZ)
        for spec in SPECS:
            picture = np.full(spec.shape, 90, np.uint8)
            x, y = (np.array([32, 24]) + 60 * goal[:2] * share).astype(int)
            picture[max(0, y - 4) : y + 4, max(0, x - 4) : x + 4] = (220, 30, 30)
            picture[20:28, 40:48] = (30, 30, 220)
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, picture))
        if kind is not EpisodeKind.HUMAN:
            for spec, place in zip(VECTORS, (now, later), strict=True):
                vector = arm_vector(np.zeros(6), grip, Pose(place, np.array([0.0, 1.0, 0.0, 0.0])))
                writer.append(spec.name, Frame(k, t_ns, t_ns, 0, vector))
    return writer.seal(outcome)
