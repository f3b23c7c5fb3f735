"""A motion of an arm as it was recorded: joints and gripper over time. One file carries it between processes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError

_SPAN_S = 0.1  # speeds are taken over so long, so that the jitter of single times does not count
_COLUMNS = ("t_s", "joints_rad", "gripper")


@dataclass(frozen=True, slots=True)
class Motion:
    """(T,) seconds from its beginning, rising from 0; (T, N) joints; (T,) gripper, 0 closed .. 1 open."""

    t_s: NDArray[np.float64]
    joints_rad: NDArray[np.float64]
    gripper: NDArray[np.float64]

    def __post_init__(self) -> None:
        length = len(self.t_s)
        if length < 2 or self.joints_rad.shape[:1] != (length,) or self.gripper.shape != (length,):
            raise WorkbenchError("there is no motion in it", "Choose a longer part of the take")
        if self.joints_rad.ndim != 2 or not all(np.all(np.isfinite(getattr(self, name))) for name in _COLUMNS):
            raise WorkbenchError("it holds numbers that are not finite", "Choose another part of the take")
        if self.t_s[0] != 0.0 or np.any(np.diff(self.t_s) <= 0):
            raise WorkbenchError("its times do not rise", "Run `python main.py episodes verify`")

    @property
    def duration_s(self) -> float:
        return float(self.t_s[-1])

    def at(self, t_s: float) -> tuple[NDArray[np.float64], float]:
        """(N,) joints and the gripper due at a time, linear in between, standing before and after."""
        t_s = min(max(t_s, 0.0), self.duration_s)
        high = min(max(int(np.searchsorted(self.t_s, t_s)), 1), len(self.t_s) - 1)
        low = high - 1
        share = (t_s - self.t_s[low]) / (self.t_s[high] - self.t_s[low])
        joints = (1 - share) * self.joints_rad[low] + share * self.joints_rad[high]
        return joints, float((1 - share) * self.gripper[low] + share * self.gripper[high])

    def slowed(self, speed: float) -> Motion:
        """The same way at ``speed`` times the pace (0.5 = half as fast)."""
        return Motion(self.t_s / speed, self.joints_rad, self.gripper)

    def fastest_rad_s(self) -> NDArray[np.float64]:
        """(N,) largest speed of each joint, over a tenth of a second."""
        later = np.minimum(np.searchsorted(self.t_s, self.t_s + _SPAN_S), len(self.t_s) - 1)
        whole = later > np.arange(len(self.t_s))
        passed = np.maximum(self.t_s[later] - self.t_s, _SPAN_S)[whole, None]
        speeds = np.abs(self.joints_rad[later] - self.joints_rad)[whole] / passed
        fastest: NDArray[np.float64] = speeds.max(axis=0)
        return fastest

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, t_s=self.t_s, joints_rad=self.joints_rad, gripper=self.gripper)

    @classmethod
    def load(cls, path: Path) -> Motion:
        """Invert ``save``; WorkbenchError if the file is not such a one."""
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = [np.asarray(file[name], dtype=np.float64) for name in _COLUMNS]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise WorkbenchError(f"{path} holds no recorded motion ({error})", "Start the replay again") from error
        return cls(*columns)
