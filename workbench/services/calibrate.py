"""Finding out where a camera is: collect pictures of a board, solve, look at the residuals, save.

A saved calibration belongs to a camera's serial number (see ``calibration_shelf``).
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.calibration import LEAST_VIEWS, Mount, Solution, View, pose_matrix, second_axis_rad, solve
from hardware.charuco import Board, look
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.types import Pose
from workbench.services.calibration_shelf import Shelf

GOOD_VIEWS = 12
_GRID = 3
_ENOUGH_TURN_RAD = 0.2
_WORST_PX, _WORST_FOCAL = 1.5, 0.02


class Phase(StrEnum):
    """Where a calibration stands."""

    COLLECTING = "collecting"
    SOLVED = "solved"
    SAVED = "saved"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one picture. ``corners``: how many were found, 0 when the board was not seen well enough."""

    accepted: bool
    corners: int
    views: int
    advice: str


class Calibration:
    """One camera's calibration from the first picture to the file. One thread.

    Args:
        optics: the camera's own intrinsics (``CameraInfo.intrinsics["color"]``); they are checked, not changed.
        mount: "base" for a camera that stands still (board at the tool), "tool" for one at the wrist (board on the
            table).
    """

    def __init__(self, camera: str, kind: str, serial: str, optics: dict[str, Any], mount: Mount, board: Board) -> None:
        if not optics:
            raise WorkbenchError(f"camera '{camera}' does not tell its intrinsics", "Calibrate its lens first")
        self.camera, self.kind, self.serial, self.mount, self.board = camera, kind, serial, mount, board
        self.phase = Phase.COLLECTING
        self.solution: Solution | None = None
        self.views: list[View] = []
        self._optics = optics
        self._seen = np.zeros((_GRID, _GRID), bool)

    def take(self, picture: NDArray[np.uint8], tool: Pose) -> Taken:
        """Look for the board in a (H, W, 3) picture that was taken while the arm stood still at ``tool``."""
        if self.phase is Phase.SAVED:
            raise StateError("this calibration is saved", "Start a new one")
        view = look(picture, self.board, self._optics, pose_matrix(tool.position_m, tool.quaternion_wxyz))
        if view is not None:
            self.views.append(view)
            self.phase, self.solution = Phase.COLLECTING, None
            self._mark(view)
        corners = len(view.rays) if view is not None else 0
        return Taken(view is not None, corners, len(self.views), self.advice())

    def advice(self) -> str:
        """What the next picture should add, "" when there is enough."""
        missing = GOOD_VIEWS - len(self.views)
        if len(self.views) >= 3 and second_axis_rad(self.views) < _ENOUGH_TURN_RAD:
            return "Turn the wrist about a second axis, by 20 degrees or more"
        empty = [(row, column) for row in range(_GRID) for column in range(_GRID) if not self._seen[row, column]]
        if missing > 0 and len(empty) > _GRID:
            row, column = empty[0]
            where = ("top", "middle", "bottom")[row], ("left", "centre", "right")[column]
            return f"{missing} more; show the board at the {where[0]} {where[1]} of the picture"
        return f"{missing} more, each from another height and tilt" if missing > 0 else ""

    def solve(self) -> Solution:
        """Find the camera from the pictures so far. WorkbenchError says what is missing or does not fit."""
        solution = solve(self.views, self.mount, float(self._optics["fx"]))
        if solution.residual_px > _WORST_PX:
            raise WorkbenchError(
                f"the pictures do not fit together (corners are {solution.residual_px:.1f} px off)",
                "Check the printed size of the squares, that the board cannot slip and that the arm stood still",
            )
        if abs(solution.focal_off) > max(_WORST_FOCAL, 3.0 * solution.sigma_mm / 1000.0):
            raise WorkbenchError(
                f"the focal length the camera reports does not fit (by {100 * solution.focal_off:.1f} %)",
                "Measure the squares of the print, or calibrate the camera's lens",
            )
        self.phase, self.solution = Phase.SOLVED, solution
        return solution

    def save(self, home: Path) -> dict[str, Any]:
        """Write the file; returns what it says."""
        if self.solution is None:
            raise StateError("there is nothing to save yet", f"Take at least {LEAST_VIEWS} pictures and solve")
        solution = self.solution
        values = {
            "camera": self.camera,
            "kind": self.kind,
            "serial": self.serial,
            "mount": self.mount,
            "pose": solution.pose.tolist(),
            "taken_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "board": asdict(self.board),
            "views": len(solution.used),
            "dropped": len(solution.dropped),
            **{
                name: round(float(getattr(solution, name)), 5)
                for name in ("residual_px", "residual_mm", "sigma_mm", "sigma_deg", "focal_off")
            },
        }
        Shelf(home).save(values)
        self.phase = Phase.SAVED
        return values

    def _mark(self, view: View) -> None:
        """Remember which ninths of the picture have shown a corner."""
        optics = self._optics
        pixels = view.rays * (optics["fx"], optics["fy"]) + (optics["cx"], optics["cy"])
        cells = np.floor(_GRID * pixels / (optics["width"], optics["height"])).astype(int)
        for column, row in np.clip(cells, 0, _GRID - 1):
            self._seen[row, column] = True
