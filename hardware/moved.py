"""Has the camera moved? Two pictures of the same place compared by their background.

Arm and objects move between takes and light changes; the background does not. Corners of the reference picture are
followed into the new one (Lucas and Kanade 1981, in pyramids), forth and back, on pictures freed of their brightness. A
still camera leaves most corners, all over the picture, where they were. A camera that moved carries nearly all of them
along by one similarity, found by RANSAC (Fischler and Bolles 1981). Anything else is "cannot tell": an alarm that is
wrong gets switched off.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.charuco import vision

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
_CORNERS, _APART_PX, _GRID = 500, 7, 6
_STILL_PX, _MOVED_PX, _MOVED_DEG = 0.75, 1.2, 0.25
_BACK_PX = 0.7
_WINDOW = (41, 41)
_LEAST, _LEAST_CELLS = 24, 6
_STILL_SHARE, _MOVED_SHARE = 0.35, 0.45


class Verdict(StrEnum):
    """What can be said about a camera."""

    OK = "ok"
    MOVED = "moved"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found.

    Attributes:
        shift_px: (right, down) shift of the picture's middle; turn_deg: rotation in the picture, clockwise.
        confidence: share of followed corners that agree with the verdict, 0 .. 1.
        reason: one sentence.
    """

    verdict: Verdict
    shift_px: tuple[float, float]
    turn_deg: float
    confidence: float
    reason: str

    @property
    def distance_px(self) -> float:
        """Length of the shift."""
        return float(np.hypot(*self.shift_px))


def compare(reference: Picture, now: Picture) -> Comparison:
    """Compare two (H, W, 3) pictures of one camera. The arm should be where it was, but need not be."""
    if reference.shape != now.shape:
        return _unknown("the pictures have different sizes")
    before, after = _follow(_evened(reference), _evened(now))
    if len(before) < _LEAST or _cells(before, reference.shape) < _LEAST_CELLS:
        return _unknown(f"only {len(before)} fixed details could be followed")
    away = np.linalg.norm(after - before, axis=1)
    still = away < _STILL_PX
    share = float(still.mean())
    if share >= _STILL_SHARE and _cells(before[still], reference.shape) >= _LEAST_CELLS:
        return Comparison(Verdict.OK, (0.0, 0.0), 0.0, share, "the background is where it was")
    return _motion(before, after, reference.shape)


def edges(reference: Picture) -> Picture:
    """(H, W) 0 or 255: the outlines of the reference picture, to lay over the live one until both agree."""
    cv2 = vision()
    grey = cv2.GaussianBlur(cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY), (0, 0), 1.2)
    middle = float(np.median(grey))
    outlines: Picture = cv2.Canny(grey, 0.5 * middle, 1.0 * middle)
    return outlines


def _unknown(reason: str) -> Comparison:
    return Comparison(Verdict.UNKNOWN, (0.0, 0.0), 0.0, 0.0, reason)


def _evened(picture: Picture) -> Picture:
    """(H, W) grey without brightness and contrast, which belong to the light."""
    cv2 = vision()
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, _WINDOW)
    spread = np.sqrt(np.maximum(0.0, cv2.blur((grey - mean) ** 2, _WINDOW))) + 4.0
    evened: Picture = np.clip(128.0 + 48.0 * (grey - mean) / spread, 0, 255).astype(np.uint8)
    return evened


def _follow(reference: Picture, now: Picture) -> tuple[Points, Points]:
    """(M, 2) corners of the reference and where they are now; only those that find their way back."""
    cv2 = vision()
    corners = cv2.goodFeaturesToTrack(reference, _CORNERS, 0.02, _APART_PX)
    if corners is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    options: dict[str, Any] = {"winSize": (21, 21), "maxLevel": 4}
    there, found, _ = cv2.calcOpticalFlowPyrLK(reference, now, corners, None, **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(now, reference, there, None, **options)
    kept = (found.ravel() == 1) & (returned.ravel() == 1)
    kept &= np.linalg.norm((back - corners).reshape(-1, 2), axis=1) < _BACK_PX
    height, width = reference.shape
    places = there.reshape(-1, 2)
    kept &= np.all((places >= 0) & (places < (width, height)), axis=1)
    return corners.reshape(-1, 2)[kept].astype(float), places[kept].astype(float)


def _cells(points: Points, shape: tuple[int, ...]) -> int:
    """In how many cells of a grid over the picture the points lie."""
    cells = np.floor(_GRID * points / (shape[1], shape[0])).astype(int)
    return len({(int(x), int(y)) for x, y in cells})


def _motion(before: Points, after: Points, shape: tuple[int, ...]) -> Comparison:
    cv2 = vision()
    cv2.setRNGSeed(0)  # the same two pictures get the same answer
    matrix, agree = cv2.estimateAffinePartial2D(
        before, after, method=cv2.RANSAC, ransacReprojThreshold=1.0, maxIters=4000, confidence=0.999
    )
    if matrix is None:
        return _unknown("the details moved in different ways")
    agree = agree.ravel() == 1
    share = float(agree.mean())
    if share < _MOVED_SHARE or _cells(before[agree], shape) < _LEAST_CELLS:
        return _unknown("too much has changed in front of the camera")
    middle = np.array([shape[1] / 2, shape[0] / 2])
    shift = matrix[:, :2] @ middle + matrix[:, 2] - middle
    turn_deg = float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
    moved = float(np.hypot(*shift)) > _MOVED_PX or abs(turn_deg) > _MOVED_DEG
    reason = f"the picture is shifted by {np.hypot(*shift):.1f} px and turned by {turn_deg:.1f} degrees"
    verdict = Verdict.MOVED if moved else Verdict.OK
    return Comparison(verdict, (float(shift[0]), float(shift[1])), turn_deg, share, reason)
