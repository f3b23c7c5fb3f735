"""Small real takes and models for tests of the window, made through the real storage and the real trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, Outcome, Pose, StreamSpec, TakeInfo, arm_axes, arm_vector
from workbench.services.jobs import Jobs

TASK = "red_cube_to_white_plate"
RATE_HZ = 10
_SIZES = {"front": (48, 64), "wrist": (36, 48)}


def write_take(
    home: Path,
    seed: int,
    kind: EpisodeKind = EpisodeKind.TELEOP,
    seconds: float = 4.0,
    silent: tuple[str, float, float] = ("", 0.0, 0.0),
) -> str:
    """A take in which a coloured spot and the arm move together. Returns its id.

    ``silent``: a stream that delivers nothing between two times, in seconds.
    """
    info = TakeInfo(kind, TASK, "put the red cube on the white plate", operator=f"operator {seed}")
    cameras = [StreamSpec(f"observation.images.{c}", (*s, 3), "uint8", "", RATE_HZ) for c, s in _SIZES.items()]
    axes = arm_axes(6)
    vectors = [StreamSpec(n, (len(axes),), "float32", "SI", RATE_HZ, axes) for n in ("observation.state", "action")]
    authority = StreamSpec("authority", (1,), "float32", "", RATE_HZ, ("authority",))
    arm = [] if kind is EpisodeKind.HUMAN else [*vectors, authority]
    writer = EpisodeWriter.create(
        Home.open(home), info, [*cameras, *arm], settings=StoreSettings(sync=False, rows_hz=RATE_HZ)
    )
    rng = np.random.default_rng(seed)
    start, end = rng.uniform(0.1, 0.9, (2, 2))
    count = round(seconds * RATE_HZ)
    for k in range(count):
        where = start + (end - start) * k / count
        t_ns = round(k * 1e9 / RATE_HZ)
        for spec in cameras:
            if spec.name == silent[0] and silent[1] <= k / RATE_HZ < silent[2]:
                continue
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, _spot(spec.shape, where)))
        if arm:
            pose = Pose(np.array([0.3 + 0.3 * where[0], 0.3 * where[1] - 0.15, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]))
            vector = arm_vector(np.full(6, where[0]), float(k % 20 < 10), pose)
            for spec in vectors:
                writer.append(spec.name, Frame(k, t_ns, t_ns, 0, vector))
            writer.append("authority", Frame(k, t_ns, t_ns, 0, np.ones(1, np.float32)))
    return writer.seal(Outcome.SUCCESS).id


def train_driver(home: Path) -> str:
    """Train every stage a driving model needs, for a few steps each. Returns the CLAP-RF model's id."""
    jobs = Jobs(home)
    model_id = ""
    for stage in ("act_vae", "ntp", "rf"):
        model_id = jobs.wait(jobs.start(stage, "tiny", steps=8, batch=16)).model_id
    return model_id


def _spot(shape: tuple[int, ...], where: np.ndarray) -> np.ndarray:
    picture = np.full(shape, 90, np.uint8)
    y, x = int(where[0] * (shape[0] - 10)), int(where[1] * (shape[1] - 10))
    picture[y : y + 10, x : x + 10] = (210, 30, 20)
    picture[:6, :6] = (20, 40, 220)
    return picture
