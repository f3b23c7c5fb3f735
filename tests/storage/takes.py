"""Small takes for tests: deterministic items, so that a reader can be checked bit by bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from storage.episode import EpisodeWriter, Manifest, StoreSettings
from storage.layout import COPY_NAME, GROUP_NAME, Home
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo, arm_axes

FRONT = StreamSpec("observation.images.front", (24, 32, 3), "uint8", rate_hz=10.0)
DEPTH = StreamSpec("observation.depth.front", (24, 32), "uint16", unit="mm", rate_hz=10.0)
STATE = StreamSpec("observation.state", (14,), "float32", unit="SI", rate_hz=50.0, axes=arm_axes(6))
SPECS = (FRONT, DEPTH, STATE)
EXACT = StoreSettings(color_codec="lossless", rows_hz=10.0, sync=False)


def item(spec: StreamSpec, index: int) -> np.ndarray:
    """Item ``index`` of a stream; never all zeros."""
    rng = np.random.default_rng([index, len(spec.name)])
    if spec.dtype == "float32":
        return rng.normal(size=spec.shape).astype(np.float32)
    return rng.integers(1, np.iinfo(spec.dtype).max, spec.shape).astype(spec.dtype)


def frame(spec: StreamSpec, index: int, *, gap: int = 0, t_ns: int | None = None) -> Frame:
    t_ns = round(index * 1e9 / spec.rate_hz) if t_ns is None else t_ns
    return Frame(index, t_ns + 7, t_ns, gap, item(spec, index))


def info(kind: EpisodeKind = EpisodeKind.TELEOP, task: str = "cube_to_plate", **values: object) -> TakeInfo:
    return TakeInfo(kind, task, "put the cube on the plate", clock="lockstep", **values)


def write_take(home: Home, seconds: float = 3.0, settings: StoreSettings = EXACT, **values: object) -> Manifest:
    writer = EpisodeWriter.create(home, info(**values), SPECS, settings=settings)
    for spec in SPECS:
        for index in range(round(seconds * spec.rate_hz)):
            writer.append(spec.name, frame(spec, index))
    return writer.seal(Outcome.SUCCESS)


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let someone else's program change a take's manifest: without a checksum, and without the copy."""
    document = json.loads((folder / GROUP_NAME).read_bytes())
    document["attributes"].pop("crc32c", None)
    change(document["attributes"])
    (folder / GROUP_NAME).write_text(json.dumps(document))
    (folder / COPY_NAME).unlink(missing_ok=True)
