"""Where things go on the simulated table: at random, within reach, with room for the fingers between them."""

from __future__ import annotations

import numpy as np

from hardware.sim.scenery import DISTRACTORS
from hardware.sim.tasks import OBJECTS, SPARE_OBJECT, TARGETS, SimTask

AREA_MIN_M, AREA_MAX_M = (0.36, -0.22), (0.62, 0.22)
OBJECTS_IN_PLAY = 3
_OBJECT_YAW_RAD, _TARGET_YAW_RAD = 0.20, 0.10
_APART_M = {("object", "object"): 0.100, ("object", "target"): 0.106, ("target", "target"): 0.126}

Layout = dict[str, tuple[float, float, float]]


def lay_table(rng: np.random.Generator, task: SimTask, distractors: int) -> Layout:
    """Name -> (x m, y m, yaw rad): the task's object and two others, all targets, then ``distractors`` at the edge."""
    others = [name for name in OBJECTS if name not in (task.object, SPARE_OBJECT)]
    chosen = [task.object, *rng.permutation(others)[: OBJECTS_IN_PLAY - 1]]
    while True:
        layout = _scatter(rng, [*TARGETS, *(str(name) for name in chosen)])
        if layout is not None:
            break
    for name in DISTRACTORS[:distractors]:
        side = rng.choice((-1.0, 1.0))
        layout[name] = (
            float(rng.uniform(0.36, 0.62)),
            float(side * rng.uniform(0.29, 0.32)),
            float(rng.uniform(0, 6.28)),
        )
    return layout


def _scatter(rng: np.random.Generator, names: list[str]) -> Layout | None:
    """Drop the things one after the other; None when one finds no room."""
    layout: Layout = {}
    for name in names:
        for _ in range(60):
            x, y = rng.uniform(AREA_MIN_M, AREA_MAX_M)
            if all(np.hypot(x - ox, y - oy) >= _apart(name, other) for other, (ox, oy, _) in layout.items()):
                break
        else:
            return None
        yaw = rng.uniform(-1, 1) * (_OBJECT_YAW_RAD if name in OBJECTS else _TARGET_YAW_RAD)
        layout[name] = (float(x), float(y), float(yaw))
    return layout


def _apart(first: str, second: str) -> float:
    kinds = sorted("object" if name in OBJECTS else "target" for name in (first, second))
    return _APART_M[kinds[0], kinds[1]]
