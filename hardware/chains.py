"""Serial arms described by numbers: Denavit-Hartenberg tables or joint frames, made into solvers.

Pure NumPy; the solver (``hardware.kinematics``, MuJoCo) is imported when it is asked for, so that listing the kinds of
arms does not load it. Metres and radians; quaternions w x y z; z of the tool frame points out of the gripper.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.arm import Kinematics
from hardware.body import Body, Capsule, body_of
from workbench.core.errors import WorkbenchError
from workbench.core.types import Pose

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


def transform(position_m: Sequence[float], rpy_rad: Sequence[float] = (0.0, 0.0, 0.0)) -> Matrix:
    """(4, 4) transform from a position and fixed-axis roll, pitch, yaw (the convention of URDF: Rz Ry Rx)."""
    roll, pitch, yaw = rpy_rad
    made = np.eye(4)
    made[:3, :3] = _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)
    made[:3, 3] = position_m
    return made


def rotation_vector(vector_rad: Sequence[float]) -> Matrix:
    """(3, 3) rotation by a rotation vector (Rodrigues' formula)."""
    vector = np.asarray(vector_rad, float)
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: Matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned


def quaternion(rotation: Matrix) -> Vector:
    """Unit quaternion w x y z, w >= 0, of a (3, 3) rotation; stable for every angle (Shepperd's method)."""
    trace = float(np.trace(rotation))
    scores = np.array([trace, *np.diagonal(rotation)])
    best = int(np.argmax(scores))
    off = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    made = np.empty(4)
    if best == 0:
        made[0], made[1:] = 1 + trace, off
    else:
        i = best - 1
        made[0] = off[i]
        made[1:] = rotation[i] + rotation[:, i]
        made[best] = 1 + 2 * rotation[i, i] - trace
    made /= np.linalg.norm(made)
    return made if made[0] >= 0 else -made


def pose_matrix(pose: Pose) -> Matrix:
    """(4, 4) transform of a pose."""
    w, x, y, z = pose.quaternion_wxyz / np.linalg.norm(pose.quaternion_wxyz)
    made = np.eye(4)
    made[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    made[:3, 3] = pose.position_m
    return made


def matrix_pose(matrix: Matrix) -> Pose:
    """Invert ``pose_matrix``."""
    return Pose(matrix[:3, 3].copy(), quaternion(matrix[:3, :3]))


@dataclass(frozen=True, slots=True)
class Turn:
    """One revolute joint: its frame in the frame of the joint before it (base for the first), axis and range."""

    frame: Matrix
    axis: tuple[float, float, float]
    low_rad: float
    high_rad: float


@dataclass(frozen=True, slots=True)
class Chain:
    """Revolute joints from the base, and the tool's frame in the frame of the last joint (after its turn).

    ``radius_m`` makes the arm's shape: capsules of this radius along the straight lines between joint origins and tool,
    coarse but enough to keep clear of table and things; 0: the shape is not known. ``orientation_cost`` weighs a radian
    against a metre in ``solve``; arms with fewer than six joints need it small, so that they reach positions in the
    orientation that is nearest.
    """

    turns: tuple[Turn, ...]
    tool: Matrix
    orientation_cost: float = 0.3
    radius_m: float = 0.0

    @classmethod
    def standard_dh(cls, rows: Sequence[tuple[float, float, float]], ranges: Sequence[tuple[float, float]]) -> Chain:
        """From rows (d, a, alpha): Rz(q) Tz(d) Tx(a) Rx(alpha), as Universal Robots publish them."""
        frames, carry = [], np.eye(4)
        for d, a, alpha in rows:
            frames.append(carry)
            carry = transform((a, 0.0, d), (alpha, 0.0, 0.0))
        return cls._of(frames, ranges, carry)

    @classmethod
    def modified_dh(
        cls,
        rows: Sequence[tuple[float, float, float, float]],
        ranges: Sequence[tuple[float, float]],
        tool_m: float = 0.0,
    ) -> Chain:
        """From rows (a, alpha, d, offset): Rx(alpha) Tx(a) Rz(q + offset) Tz(d) (Craig's convention)."""
        frames = []
        for a, alpha, d, offset in rows:
            before = transform((a, 0.0, 0.0), (alpha, 0.0, 0.0))
            frames.append(before @ transform((0.0, 0.0, d), (0.0, 0.0, offset)))
        return cls._of(frames, ranges, transform((0.0, 0.0, tool_m)))

    @classmethod
    def _of(cls, frames: Sequence[Matrix], ranges: Sequence[tuple[float, float]], tool: Matrix) -> Chain:
        turns = (Turn(frame, (0.0, 0.0, 1.0), *span) for frame, span in zip(frames, ranges, strict=True))
        return cls(tuple(turns), tool)

    @classmethod
    def of_file(cls, path: Path, joints: Sequence[str], tool: str, orientation_cost: float = 0.3) -> Chain:
        """From an MJCF or URDF file: the named joints from the base on, and the site or body that is the tool.

        Every other joint of the file stays at zero. Raises WorkbenchError for a file or name that is not there.
        """
        mujoco = importlib.import_module("mujoco")
        try:
            model = mujoco.MjModel.from_xml_path(str(path))
            data = mujoco.MjData(model)
            mujoco.mj_kinematics(model, data)
            ids = [model.joint(name).id for name in joints]
            at_site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, tool)
            place = data.site(tool) if at_site >= 0 else data.body(tool)
        except (ValueError, KeyError) as error:
            raise WorkbenchError(
                f"{path} does not describe this arm ({error})", "Check joint and tool names"
            ) from error
        frames = [transform(data.xanchor[i]) for i in ids]
        ends = [np.eye(4), *frames]
        turns = tuple(
            Turn(np.linalg.inv(before) @ frame, tuple(data.xaxis[i].tolist()), *model.jnt_range[i].tolist())
            for before, frame, i in zip(ends, frames, ids, strict=False)
        )
        placed = transform(place.xpos)
        placed[:3, :3] = place.xmat.reshape(3, 3)
        return cls(turns, np.linalg.inv(ends[-1]) @ placed, orientation_cost)

    @property
    def joints(self) -> int:
        return len(self.turns)

    def matrix(self, joints_rad: Vector) -> Matrix:
        """(4, 4) pose of the tool in the base frame, straight from the numbers."""
        made = np.eye(4)
        for turn, angle in zip(self.turns, joints_rad, strict=True):
            made = made @ turn.frame
            made[:3, :3] = made[:3, :3] @ rotation_vector(np.multiply(turn.axis, float(angle)).tolist())
        return made @ self.tool

    def longer(self, length_m: float) -> Chain:
        """The same arm with a tool that is longer along its z axis."""
        return replace(self, tool=self.tool @ transform((0.0, 0.0, length_m)))

    def fitted(self, joints_rad: Vector, reported: Pose) -> Chain:
        """The same arm with the tool that its controller reports at these joints.

        Takes over the tool centre point set on the maker's own panel, so that both speak of the same point.
        """
        flange = self.matrix(joints_rad) @ np.linalg.inv(self.tool)
        return replace(self, tool=np.linalg.inv(flange) @ pose_matrix(reported))

    def kinematics(self) -> Kinematics:
        """A new solver. Raises WorkbenchError when MuJoCo is not installed."""
        try:
            mujoco = importlib.import_module("mujoco")
            solvers = importlib.import_module("hardware.kinematics")
        except ImportError as error:
            raise WorkbenchError(f"the solver is missing ({error})", "Run: pip install mujoco mink") from error
        model = mujoco.MjModel.from_xml_string(self.to_mjcf())
        names = [f"joint_{i + 1}" for i in range(self.joints)]
        solver: Kinematics = solvers.MujocoKinematics(
            model, "tool", names, body=self.body(), orientation_cost=self.orientation_cost
        )
        return solver

    def body(self) -> Body | None:
        """The arm's shape by links "link_1" ...; None if ``radius_m`` is 0. Links four joints apart must not meet."""
        if self.radius_m <= 0.0:
            return None
        ends = [*(turn.frame for turn in self.turns[1:]), self.tool]
        links = [f"link_{i + 1}" for i in range(self.joints)]
        capsules = [
            Capsule(link, (0.0, 0.0, 0.0), tuple(end[:3, 3].tolist()), self.radius_m)
            for link, end in zip(links, ends, strict=True)
        ]
        return body_of(capsules, links, apart=4)

    def to_mjcf(self) -> str:
        """MuJoCo model of the bare skeleton: joints and the site ``tool``, base at the origin."""
        inner = f'<site name="tool" {_placed(self.tool)}/>'
        for i in range(self.joints, 0, -1):
            turn = self.turns[i - 1]
            axis = " ".join(map(repr, turn.axis))
            span = f"{turn.low_rad!r} {turn.high_rad!r}"
            joint = f'<joint name="joint_{i}" axis="{axis}" range="{span}" limited="true"/>'
            mass = '<inertial pos="0 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>'
            inner = f'<body name="link_{i}" {_placed(turn.frame)}>{mass}{joint}{inner}</body>'
        return f'<mujoco><compiler angle="radian"/><worldbody>{inner}</worldbody></mujoco>'


def _placed(frame: Matrix) -> str:
    position, turn = frame[:3, 3].tolist(), quaternion(frame[:3, :3]).tolist()
    return f'pos="{" ".join(map(repr, position))}" quat="{" ".join(map(repr, turn))}"'


def _about(axis: int, angle_rad: float) -> Matrix:
    vector = [0.0, 0.0, 0.0]
    vector[axis] = angle_rad
    return rotation_vector(vector)
