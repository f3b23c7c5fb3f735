"""The calibration board: a chessboard with markers (ChArUco), printed for people, found in pictures."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.calibration import View
from hardware.rigid import rotation
from workbench.core.errors import WorkbenchError

LEAST_CORNERS = 6
_STRAIGHT = ("pinhole", "brown_conrady", "opencv", "none")


def vision() -> Any:
    """OpenCV, imported when it is first needed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise WorkbenchError(
            f"finding the board needs OpenCV ({error})", "Install opencv-python-headless into this environment"
        ) from error


@dataclass(frozen=True, slots=True)
class Board:
    """A board of ``columns`` x ``rows`` squares; sizes in m, measured on the print."""

    columns: int = 5
    rows: int = 4
    square_m: float = 0.040
    marker_m: float = 0.030
    dictionary: str = "DICT_4X4_50"

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height."""
        return self.columns * self.square_m, self.rows * self.square_m

    def picture(self, pixels_per_square: int = 160) -> NDArray[np.uint8]:
        """(H, W) grey picture to print: margins are up to the printer."""
        size = (self.columns * pixels_per_square, self.rows * pixels_per_square)
        image: NDArray[np.uint8] = _pattern(self)[0].generateImage(size, marginSize=0, borderBits=1)
        return image


@lru_cache(maxsize=4)
def _pattern(board: Board) -> tuple[Any, Any]:
    """OpenCV's own board and its detector."""
    cv2 = vision()
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    pattern = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
    return pattern, cv2.aruco.CharucoDetector(pattern)


def find_board(picture: NDArray[np.uint8], board: Board) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(M, 3) corners on the board in m and (M, 2) where they are in the picture in pixels; None if not seen well."""
    cv2 = vision()
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    pattern, detector = _pattern(board)
    corners, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < LEAST_CORNERS:
        return None
    points = np.asarray(pattern.getChessboardCorners(), float)[np.ravel(ids)]
    if np.linalg.matrix_rank(points[:, :2] - points[0, :2], tol=1e-6) < 2:
        return None  # one row of corners has no orientation
    return points, np.asarray(corners, float).reshape(-1, 2)


def look(picture: NDArray[np.uint8], board: Board, optics: dict[str, Any], tool: NDArray[np.float64]) -> View | None:
    """One view for ``calibration.solve``; None if the board is not seen well enough.

    Args:
        optics: the camera's intrinsics as in ``CameraInfo.intrinsics["color"]``.
        tool: (4, 4) tool in the base frame at the time of the picture.
    """
    found = find_board(picture, board)
    if found is None:
        return None
    cv2, (points, pixels) = vision(), found
    matrix = np.array([[optics["fx"], 0, optics["cx"]], [0, optics["fy"], optics["cy"]], [0, 0, 1.0]])
    rays = cv2.undistortPoints(pixels[:, None], matrix, _distortion(optics)).reshape(-1, 2)
    solved, turned, shifted = cv2.solvePnP(points, rays[:, None], np.eye(3), None)
    if not solved or float(shifted[2, 0]) <= 0:
        return None
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation(turned.ravel()), shifted.ravel()
    return View(np.asarray(tool, float), pose, points, rays)


def _distortion(optics: dict[str, Any]) -> NDArray[np.float64]:
    coefficients = np.array(optics.get("coeffs") or [], float)
    if np.any(coefficients) and optics.get("model") not in _STRAIGHT:
        raise WorkbenchError(
            f"the lens model '{optics.get('model')}' of this camera cannot be used",
            "Use its rectified stream, or calibrate its lens as brown_conrady",
        )
    return coefficients if coefficients.size else np.zeros(5)
