"""What the numbers of LeRobot v2 sets mean: the Astribot S1's two-armed poses, and sets that already use our names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.importing import Table, as_float32
from storage.rotations import quaternions_of_rows_6d
from workbench.core.errors import WorkbenchError
from workbench.core.types import POSE_AXES, StreamSpec

Columns = dict[str, NDArray[Any]]

# Astribot's 34 numbers: torso pose (9), left arm pose (9), left gripper, right arm pose (9), right gripper, head (2),
# chassis (3). A pose is x y z (m) and the first two rows of the rotation matrix: the torso's pitch, the sum of its
# three joint angles, shows as +sin in the first row's third place, and its x falls when that sum falls.
_ASTRIBOT_ARMS = {"left.": (9, 18), "right.": (19, 28)}
_ASTRIBOT = {
    "observation.state": "cartesian_so3_dict.cartesian_pose_state",
    "action": "cartesian_so3_dict.cartesian_pose_command",
}
_ASTRIBOT_CLOSED = 100.0  # the command while an object is held; 0 before the grasp and after the release

_BOOKKEEPING = frozenset({"timestamp", "frame_index", "episode_index", "index", "task_index", "next.reward"})


def make_tables(features: dict[str, Any], columns: Columns, times_ns: NDArray[np.int64], fps: float) -> list[Table]:
    """The vector streams of one take."""
    if all(key in columns for key in _ASTRIBOT.values()):
        return [_astribot(name, columns[key], times_ns, fps) for name, key in _ASTRIBOT.items()]
    return [
        _named(name, features[name], columns[name], times_ns, fps)
        for name in sorted(columns)
        if name in features and _is_vector(name, features[name])
    ]


def _astribot(name: str, values_T34: NDArray[Any], times_ns: NDArray[np.int64], fps: float) -> Table:
    values = np.asarray(values_T34, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 34:
        raise WorkbenchError(f"{name} has the shape {values.shape} instead of (T, 34)")
    parts, axes = [], []
    for prefix, (start, gripper) in _ASTRIBOT_ARMS.items():
        opened = 1.0 - np.clip(values[:, gripper : gripper + 1] / _ASTRIBOT_CLOSED, 0.0, 1.0)
        position, six = values[:, start : start + 3], values[:, start + 3 : start + 9]
        parts += [opened, position, quaternions_of_rows_6d(six)]
        axes += [prefix + axis for axis in ("gripper", *POSE_AXES)]
    spec = StreamSpec(name, (len(axes),), "float32", unit="SI", rate_hz=fps, axes=tuple(axes))
    return as_float32(Table(spec, times_ns, np.concatenate(parts, axis=1)))


def _is_vector(name: str, feature: dict[str, Any]) -> bool:
    """True for streams of floats; running numbers and LeRobot's bookkeeping are not recordings."""
    is_float = feature.get("dtype") in ("float32", "float64") and len(feature.get("shape", ())) == 1
    return is_float and name not in _BOOKKEEPING


def _named(name: str, feature: dict[str, Any], values: NDArray[Any], times_ns: NDArray[np.int64], fps: float) -> Table:
    width = int(feature["shape"][0])
    named = feature.get("names")
    axes = tuple(map(str, named)) if isinstance(named, list) and len(named) == width else ()
    unit = "SI" if axes else ""
    spec = StreamSpec(name, (width,), "float32", unit=unit, rate_hz=fps, axes=axes)
    return as_float32(Table(spec, times_ns, np.asarray(values).reshape(len(times_ns), width)))
