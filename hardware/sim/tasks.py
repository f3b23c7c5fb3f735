"""What lies on the simulated table, and the pick-and-place tasks that can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from workbench.core.errors import NotFoundError

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SimObject:
    """Something to grasp.

    Attributes:
        shape: ``box``, ``cylinder`` or ``hexagon`` (an upright prism).
        size_m: half extents x, y, z of its bounding box.
        rgb: its colour, 0..1.
    """

    name: str
    words: str
    shape: str
    size_m: tuple[float, float, float]
    rgb: Rgb


@dataclass(frozen=True, slots=True)
class SimTarget:
    """Something flat to put objects on; ``radius_m`` is the half width of its bounding square."""

    name: str
    words: str
    shape: str
    radius_m: float
    thickness_m: float
    rgb: Rgb


@dataclass(frozen=True, slots=True)
class SimTask:
    """Put ``object`` on ``target``; ``instruction`` is the sentence a person would say."""

    name: str
    instruction: str
    object: str
    target: str


_OBJECTS = (
    SimObject("red_cube", "red cube", "box", (0.021, 0.021, 0.021), (0.86, 0.05, 0.05)),
    SimObject("blue_cylinder", "blue cylinder", "cylinder", (0.022, 0.022, 0.022), (0.05, 0.13, 0.88)),
    SimObject("green_prism", "green prism", "hexagon", (0.0245, 0.0212, 0.022), (0.04, 0.58, 0.10)),
    SimObject("yellow_box", "yellow box", "box", (0.026, 0.020, 0.018), (0.96, 0.82, 0.03)),
)
_SPARE = SimObject("purple_cylinder", "purple cylinder", "cylinder", (0.022, 0.022, 0.022), (0.48, 0.06, 0.75))
_TARGETS = (
    SimTarget("white_plate", "white plate", "plate", 0.056, 0.006, (0.97, 0.97, 0.97)),
    SimTarget("cyan_tray", "cyan tray", "tray", 0.054, 0.004, (0.04, 0.74, 0.78)),
    SimTarget("pink_mat", "pink mat", "mat", 0.054, 0.004, (0.98, 0.38, 0.66)),
)

OBJECTS = MappingProxyType({thing.name: thing for thing in (*_OBJECTS, _SPARE)})
TARGETS = MappingProxyType({thing.name: thing for thing in _TARGETS})
SPARE_OBJECT = _SPARE.name


def _task(thing: SimObject, target: SimTarget) -> SimTask:
    name = f"{thing.name}_to_{target.name}"
    return SimTask(name, f"put the {thing.words} on the {target.words}", thing.name, target.name)


TASKS = MappingProxyType({task.name: task for o in OBJECTS.values() for t in _TARGETS for task in [_task(o, t)]})
DEMONSTRATED: tuple[str, ...] = (
    "red_cube_to_white_plate",
    "red_cube_to_cyan_tray",
    "blue_cylinder_to_cyan_tray",
    "blue_cylinder_to_pink_mat",
    "green_prism_to_white_plate",
    "yellow_box_to_pink_mat",
)
NEW_TASK = "purple_cylinder_to_white_plate"


def sim_task(name: str) -> SimTask:
    """The task of that name, or NotFoundError with the nearest one."""
    if name not in TASKS:
        raise NotFoundError.of("simulated task", name, TASKS)
    return TASKS[name]
