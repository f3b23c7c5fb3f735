"""The scales of actions that an imported codec speaks in: of the release's robots, or out of a file.

As in the release, one range for every number of an action and all its steps: q01 and q99 go to -1 and +1. Of robots
with two arms the right one's is taken, where the release puts robots of one arm. Letters: 7 = x y z (m), angles about
fixed x y z (rad), gripper (left alone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from models.normalize import ActionScaler
from models.official.reading import Published
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json

_BUFFERS = "action_denormalization."
_ROBOTS: Mapping[str, tuple[str, ...]] = {  # rows of the release's tables; one stands for people, who have no actions
    "": ("S1-stationary", "agibot-go1", ""),
    "extra_": ("franka", "fractal", "widowx", "droid"),
}
_RIGHT = slice(7, 13)
_LEAST = 1e-8


def scales_in(published: Published, horizon: int) -> dict[str, ActionScaler]:
    """The scales that lie in a checkpoint, by the release's name of the robot; none if it holds none or odd ones."""
    found = {}
    for prefix, robots in _ROBOTS.items():
        low, high = (published.tensors.get(f"{_BUFFERS}{prefix}action_{name}") for name in ("q01", "q99"))
        if low is None or high is None or low.shape != (len(robots), 14) or high.shape != low.shape:
            continue
        for row, robot in enumerate(robots):
            if robot:
                found[robot] = _scale(_numbers(low[row]), _numbers(high[row]), horizon)
    return found


def scales_of_file(path: Path, horizon: int) -> dict[str, ActionScaler]:
    """The scales in a statistics file of the release: ``{robot: {"action": {"q01": [...], "q99": [...]}}}``.

    Seven numbers are of one arm, fourteen of the left and the right one. WorkbenchError for anything else.
    """
    value = read_json(path)
    if not isinstance(value, Mapping) or not value:
        raise WorkbenchError(f"{path.name} holds no statistics by robot", _FORM)
    found = {}
    for robot, told in value.items():
        try:
            low, high = (np.asarray(told["action"][name], dtype=np.float64) for name in ("q01", "q99"))
        except (KeyError, TypeError, ValueError) as error:
            raise WorkbenchError(f"{path.name} says nothing usable of '{robot}' ({error})", _FORM) from None
        if low.shape != high.shape or low.shape not in ((7,), (14,)):
            raise WorkbenchError(f"{path.name} has {low.shape} numbers of '{robot}', not 7 or 14", _FORM)
        found[str(robot)] = _scale(low.tolist(), high.tolist(), horizon)
    return found


_FORM = 'Write it as {"robot": {"action": {"q01": [7 or 14 numbers], "q99": [...]}}}'


def _numbers(row: Tensor) -> list[float]:
    return [float(value) for value in row]


def _scale(low: Sequence[float], high: Sequence[float], horizon: int) -> ActionScaler:
    arm = _RIGHT if len(low) == 14 else slice(0, 6)
    bottom, top = np.asarray(low[arm], dtype=np.float64), np.asarray(high[arm], dtype=np.float64)
    if not np.all(np.isfinite(bottom)) or not np.all(np.isfinite(top)) or np.any(top < bottom):
        raise WorkbenchError("a scale of the release has no range from low to high", _FORM)
    wide = np.where(top - bottom < _LEAST, 1.0, top - bottom)
    return ActionScaler.of_published((bottom + wide / 2), wide / 2, horizon)
