"""What the policy means to do next, for people: its plan drawn into the pictures, and when it thought of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.optics import project
from workbench.core.errors import WorkbenchError
from workbench.core.types import ActionChunk
from workbench.services.calibration_shelf import Shelf
from workbench.services.capture import CameraStatus

_KEPT = 60


@dataclass(frozen=True, slots=True)
class PlanTimes:
    """When one chunk was thought of and for how long it is good, host ns.

    Attributes:
        number: running number of the chunk; follows: the one whose committed actions it continues, -1 = drawn freely.
        observed_ns, ready_ns, until_ns: what it saw, when it was thought out, when its last action is due.
    """

    number: int
    follows: int
    observed_ns: int
    ready_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class PlanView:
    """The newest plan.

    Attributes:
        positions_m: (N, 3) where the tool shall be, base frame; due_ns: (N,) when; gripper: (N,) 0 closed .. 1 open.
        paths: per picture stream, (N, 2) the same as shares 0..1 of the picture's width and height, NaN where not in
            front of the camera. Only cameras whose place is known.
        history: times of the newest chunks, oldest first, this one last.
    """

    number: int
    positions_m: NDArray[np.float64]
    due_ns: NDArray[np.int64]
    gripper: NDArray[np.float64]
    paths: Mapping[str, NDArray[np.float64]]
    history: tuple[PlanTimes, ...]


class PlanWatch:
    """Follows the chunks of a station. One thread.

    Args:
        newest: the newest chunk or None, without waiting (``Station.newest_chunk``).
        home: the data folder, where calibrations are kept.
    """

    def __init__(self, newest: Callable[[], ActionChunk | None], home: Path) -> None:
        self._newest, self._shelf = newest, Shelf(home)
        self._cameras: dict[str, tuple[Any, Mapping[str, Any]]] = {}
        self._history: deque[PlanTimes] = deque(maxlen=_KEPT)
        self._view: PlanView | None = None

    def know(self, cameras: Iterable[CameraStatus]) -> None:
        """Learn where cameras are: their own word, or the newest calibration of their serial number."""
        for camera in cameras:
            if camera.info is None or camera.name in self._cameras:
                continue
            values = asdict(camera.info)
            try:
                values = self._shelf.apply(values)
            except WorkbenchError:  # a damaged calibration is said where it is used for more than a drawn line
                continue
            optics = values["intrinsics"].get("color")
            if optics and values.get("pose") is not None:
                self._cameras[camera.name] = values["pose"], optics

    def look(self) -> PlanView | None:
        """The newest plan, or None while there is none."""
        chunk = self._newest()
        if chunk is None:
            self._view = None
            return None
        if self._view is None or self._view.number != chunk.number or self._history[-1] != _times(chunk):
            if self._history and self._history[-1].number >= chunk.number:
                self._history.clear()
            self._history.append(_times(chunk))
            self._view = self._drawn(chunk)
        return self._view

    def _drawn(self, chunk: ActionChunk) -> PlanView:
        steps = np.arange(1, len(chunk.targets) + 1)
        due_ns = chunk.t_observed_ns + (steps * chunk.step_s * 1e9).astype(np.int64)
        positions = chunk.targets[:, :3]
        paths = {
            f"observation.images.{name}": project(positions, pose, optics) / (optics["width"], optics["height"])
            for name, (pose, optics) in self._cameras.items()
        }
        return PlanView(chunk.number, positions, due_ns, chunk.targets[:, 7], paths, tuple(self._history))


def _times(chunk: ActionChunk) -> PlanTimes:
    ready_ns = chunk.t_observed_ns + int(chunk.latency_ms * 1e6)
    return PlanTimes(chunk.number, chunk.follows, chunk.t_observed_ns, ready_ns, chunk.valid_until_ns)
