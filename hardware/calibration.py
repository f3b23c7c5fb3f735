"""Where a camera is: hand-eye calibration from pictures of a board, with the arm as the measuring instrument.

Frames: base (the arm's), tool (its tool centre point), camera (OpenCV axes: x right, y down, z forward), board.
``mount`` "tool" is a camera that moves with the arm, with a board that lies still; the answer is the camera in the
tool's frame. ``mount`` "base" is a camera that stands still, with a board at the tool; the answer is in the base frame.
With T the tool in the base frame, A = T for "base" and T^-1 for "tool", X the camera and Z the board, a board point p
is seen at X^-1 A Z p. X and Z start from the linear solution of AX = XB of Park and Martin (1994, eq. 5-17) and are
then refined on what is seen, all pictures together, by Gauss-Newton with Huber weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardware.rigid import inverse, moved, rotation_vector, turn
from workbench.core.errors import WorkbenchError

Matrix = NDArray[np.float64]
Mount = Literal["base", "tool"]
LEAST_VIEWS = 6
_SECOND_AXIS_RAD = 0.10  # root mean square turning about the second axis, below which the answer is not determined
_HUBER_PX = 1.0
_OUTLIER_PX = 1.0
_STEPS = 30


@dataclass(frozen=True, slots=True)
class View:
    """One picture of the board.

    Attributes:
        tool: (4, 4) tool in the base frame when it was taken.
        board: (4, 4) board in the camera frame, a first estimate from this picture alone.
        points_m: (M, 3) corners on the board.
        rays: (M, 2) where they were seen: x/z, y/z in the camera frame, without distortion.
    """

    tool: Matrix
    board: Matrix
    points_m: Matrix
    rays: Matrix


@dataclass(frozen=True, slots=True)
class Solution:
    """What was found.

    Attributes:
        pose: (4, 4) camera in the base frame ("base") or in the tool frame ("tool").
        board: (4, 4) board in the tool frame ("base") or in the base frame ("tool").
        residual_px: root mean square distance between seen and expected corners.
        residual_mm: the same at the board, across the line of sight.
        sigma_mm, sigma_deg: standard deviation of the camera's position and orientation, from the residuals.
        focal_off: by which share of itself the focal length would have to change to fit best; 0 is right.
        used, dropped: indices of views.
    """

    pose: Matrix
    board: Matrix
    residual_px: float
    residual_mm: float
    sigma_mm: float
    sigma_deg: float
    focal_off: float
    used: tuple[int, ...]
    dropped: tuple[int, ...]


def solve(views: Sequence[View], mount: Mount, focal_px: float) -> Solution:
    """Find the camera. Views that do not fit the others are dropped and named.

    Raises:
        WorkbenchError: too few views, or motions about one axis only, which leave the answer open.
    """
    used, dropped = list(range(len(views))), []
    while True:
        _refuse_too_little([views[i] for i in used], mount)
        kept = [views[i] for i in used]
        pose, board = _start(kept, mount)
        pose, board, _, _ = _refine(kept, mount, pose, board, focal_px, free_focal=False)
        errors = np.array([_rms(_errors([view], mount, pose, board, 0.0)) * focal_px for view in kept])
        worst = int(np.argmax(errors))
        if errors[worst] <= max(3.0 * float(np.median(errors)), _OUTLIER_PX):
            break
        dropped.append(used.pop(worst))
    return _solution(kept, mount, pose, board, focal_px, (tuple(used), tuple(sorted(dropped))))


def second_axis_rad(views: Sequence[View]) -> float:
    """How far the tool turned about its second most used axis, root mean square over pairs of views."""
    if len(views) < 3:
        return 0.0
    mean = views[0].tool[:3, :3]
    turns = np.array([rotation_vector(mean.T @ view.tool[:3, :3]) for view in views[1:]])
    return float(np.linalg.svd(turns, compute_uv=False)[1] / np.sqrt(len(turns)))


def _refuse_too_little(views: Sequence[View], mount: Mount) -> None:
    if len(views) < LEAST_VIEWS:
        raise WorkbenchError(
            f"{len(views)} usable pictures of the board are too few",
            f"Take at least {LEAST_VIEWS} from different poses",
        )
    if second_axis_rad(views) < _SECOND_AXIS_RAD:
        raise WorkbenchError(
            "the tool turned about one axis only, so the camera's place is not determined",
            "Turn the wrist about a second axis and take more pictures",
        )


def _arm_side(view: View, mount: Mount) -> Matrix:
    return view.tool if mount == "base" else inverse(view.tool)


def _start(views: Sequence[View], mount: Mount) -> tuple[Matrix, Matrix]:
    """Park and Martin: from A_i Z = X C_i follows (A_j A_i^-1) X = X (C_j C_i^-1) for all pairs of views."""
    arm, seen = [_arm_side(view, mount) for view in views], [view.board for view in views]
    pairs = [(i, j) for i in range(len(views)) for j in range(i)]
    lefts = [arm[j] @ inverse(arm[i]) for i, j in pairs]
    rights = [seen[j] @ inverse(seen[i]) for i, j in pairs]
    alpha = np.array([rotation_vector(left[:3, :3]) for left in lefts])
    beta = np.array([rotation_vector(right[:3, :3]) for right in rights])
    first, _, second = np.linalg.svd(alpha.T @ beta)
    rotation = first @ np.diag([1.0, 1.0, np.linalg.det(first @ second)]) @ second
    system = np.concatenate([left[:3, :3] - np.eye(3) for left in lefts])
    wanted = np.concatenate([rotation @ right[:3, 3] - left[:3, 3] for left, right in zip(lefts, rights)])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, np.linalg.lstsq(system, wanted, rcond=None)[0]
    boards = np.array([inverse(a) @ pose @ c for a, c in zip(arm, seen)])
    board = boards[int(np.argmin(np.linalg.norm(boards[:, :3, 3] - np.median(boards[:, :3, 3], axis=0), axis=1)))]
    return pose, board


def _errors(views: Sequence[View], mount: Mount, pose: Matrix, board: Matrix, focal: float) -> Matrix:
    """(M, 2) seen minus expected rays of all corners; ``focal`` is the logarithm of a change of the focal length."""
    back, parts = inverse(pose), []
    for view in views:
        chain = back @ _arm_side(view, mount) @ board
        points = view.points_m @ chain[:3, :3].T + chain[:3, 3]
        depth = np.maximum(points[:, 2:], 1e-6)
        parts.append(view.rays - np.exp(focal) * points[:, :2] / depth)
    return np.concatenate(parts)


def _refine(
    views: Sequence[View], mount: Mount, pose: Matrix, board: Matrix, focal_px: float, *, free_focal: bool
) -> tuple[Matrix, Matrix, float, Matrix]:
    """Gauss-Newton on both poses (and the focal length); returns them and the (P, P) inverse of the normal matrix."""
    focal, count = 0.0, 13 if free_focal else 12
    for _ in range(_STEPS):
        now = _errors(views, mount, pose, board, focal)
        columns = []
        for k in range(count):
            step = np.zeros(13)
            step[k] = 1e-6
            ahead = _errors(views, mount, moved(pose, step[:6]), moved(board, step[6:12]), focal + step[12])
            columns.append((ahead - now).ravel() / 1e-6)
        jacobian = np.stack(columns, axis=1)
        size = np.linalg.norm(now, axis=1) * focal_px
        weight = np.repeat(np.minimum(1.0, _HUBER_PX / np.maximum(size, 1e-12)), 2)
        normal = jacobian.T @ (weight[:, None] * jacobian)
        change = np.append(np.linalg.lstsq(normal, -jacobian.T @ (weight * now.ravel()), rcond=None)[0], np.zeros(13))
        pose, board = moved(pose, change[:6]), moved(board, change[6:12])
        focal += float(change[12]) if free_focal else 0.0
        if float(np.abs(change[:count]).max()) < 1e-10:
            break
    return pose, board, focal, np.asarray(np.linalg.pinv(normal), np.float64)


def _solution(
    views: Sequence[View],
    mount: Mount,
    pose: Matrix,
    board: Matrix,
    focal_px: float,
    indices: tuple[tuple[int, ...], tuple[int, ...]],
) -> Solution:
    pose, board, _, spread = _refine(views, mount, pose, board, focal_px, free_focal=False)
    rms = _rms(_errors(views, mount, pose, board, 0.0))
    focal = _refine(views, mount, pose, board, focal_px, free_focal=True)[2]
    distance = float(np.mean([view.board[2, 3] for view in views]))
    sigma = np.sqrt(np.maximum(0.0, np.diag(spread))) * rms / np.sqrt(2.0)
    return Solution(
        pose=pose,
        board=board,
        residual_px=rms * focal_px,
        residual_mm=1000.0 * rms * distance,
        sigma_mm=1000.0 * float(np.linalg.norm(sigma[3:6])),
        sigma_deg=float(np.rad2deg(np.linalg.norm(sigma[:3]))),
        focal_off=float(np.expm1(focal)),
        used=indices[0],
        dropped=indices[1],
    )


def _rms(errors: Matrix) -> float:
    return float(np.sqrt(np.mean(np.sum(errors**2, axis=1))))


def difference(first: Matrix, second: Matrix) -> tuple[float, float]:
    """Millimetres and degrees between two poses."""
    angle = np.linalg.norm(rotation_vector(first[:3, :3].T @ second[:3, :3]))
    return 1000.0 * float(np.linalg.norm(first[:3, 3] - second[:3, 3])), float(np.rad2deg(angle))


def pose_matrix(position_m: Matrix, quaternion_wxyz: Matrix) -> Matrix:
    """(4, 4) from a position and a unit quaternion."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn(quaternion_wxyz), position_m
    return matrix
