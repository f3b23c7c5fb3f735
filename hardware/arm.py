"""What an arm is to the workbench, and the limits without which it does not move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError
from workbench.core.registry import Registry
from workbench.core.types import ArmCommand, ArmState

AT_HOME_RAD = 0.1  # a joint nearer to its home than this is at home


@dataclass(frozen=True, slots=True)
class Limits:
    """What the guard enforces. No field has a default: a station states all of them.

    Attributes:
        joint_min_rad, joint_max_rad: (N,) position range.
        joint_speed_rad_s: (N,) largest speed.
        joint_acceleration_rad_s2: (N,) largest acceleration.
        workspace_min_m, workspace_max_m: (3,) box the tool centre point stays in, base frame;
            its floor is the table plane.
        tool_speed_m_s: largest tool speed.
        gripper_speed_s: largest gripper change per second (1 = fully open to closed).
        jump_rad: a wanted joint position further than this from the measured one is refused.
        state_age_s: an older measured state means hold.
        table_z_m: height of the table plane that no part of the arm may go below; None: only the box's floor counts.
        self_clearance_m: distance that parts of the arm keep from each other; None: not watched.
        obstacle_spheres_m: things that stand still, each x y z radius in the base frame; None: there are none.
        obstacle_boxes_m: the same as boxes, each x y z of the lower corner and of the upper one.
        effort_max: (N,) largest motor effort in the arm's own unit while it goes home; None: not watched.
    """

    joint_min_rad: tuple[float, ...]
    joint_max_rad: tuple[float, ...]
    joint_speed_rad_s: tuple[float, ...]
    joint_acceleration_rad_s2: tuple[float, ...]
    workspace_min_m: tuple[float, float, float]
    workspace_max_m: tuple[float, float, float]
    tool_speed_m_s: float
    gripper_speed_s: float
    jump_rad: float
    state_age_s: float
    table_z_m: float | None = None
    self_clearance_m: float | None = None
    obstacle_spheres_m: tuple[tuple[float, float, float, float], ...] | None = None
    obstacle_boxes_m: tuple[tuple[float, float, float, float, float, float], ...] | None = None
    effort_max: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        vectors = (self.joint_min_rad, self.joint_max_rad, self.joint_speed_rad_s, self.joint_acceleration_rad_s2)
        if len({len(vector) for vector in vectors}) != 1 or not self.joint_min_rad:
            raise WorkbenchError("the joint limits have different lengths", "Give one number per joint in every list")
        low, high = np.array(self.joint_min_rad), np.array(self.joint_max_rad)
        box_low, box_high = np.array(self.workspace_min_m), np.array(self.workspace_max_m)
        if not (np.all(low < high) and np.all(box_low < box_high)):
            raise WorkbenchError("a lower limit is not below its upper limit", "Correct the [limits] of station.toml")
        scalars = (self.tool_speed_m_s, self.gripper_speed_s, self.jump_rad, self.state_age_s)
        positive = np.concatenate([self.joint_speed_rad_s, self.joint_acceleration_rad_s2, scalars])
        if not (np.all(np.isfinite(positive)) and np.all(positive > 0)):
            raise WorkbenchError("speed, acceleration and age limits must be positive numbers")
        self._check_scene()

    def _check_scene(self) -> None:
        spheres, boxes = self.obstacle_spheres_m or (), self.obstacle_boxes_m or ()
        numbers = [self.table_z_m or 0.0, self.self_clearance_m or 0.0, *(v for row in (*spheres, *boxes) for v in row)]
        if not np.all(np.isfinite(numbers)) or (self.self_clearance_m or 0.0) < 0:
            raise WorkbenchError(
                "the table, clearance and obstacles must be finite numbers, the clearance not negative"
            )
        if any(row[3] <= 0 for row in spheres) or any(row[k] >= row[k + 3] for row in boxes for k in range(3)):
            raise WorkbenchError("an obstacle has no size", "Give a radius, or a lower corner below the upper one")
        if self.effort_max is not None and (
            len(self.effort_max) != len(self.joint_min_rad) or not np.all(np.array(self.effort_max) > 0)
        ):
            raise WorkbenchError("effort_max needs one positive number per joint")


class Kinematics(Protocol):
    """Forward and inverse kinematics of one arm. Not thread-safe: one per thread."""

    def pose(self, joints_rad: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tool centre point of joint positions: (3,) position in m and (4,) quaternion w x y z, base frame."""

    def solve(
        self, seed_rad: NDArray[np.float64], position_m: NDArray[np.float64], quaternion_wxyz: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Joint positions that bring the tool closest to the wanted pose, starting from ``seed_rad``. Always finite."""


class BodyKinematics(Protocol):
    """What kinematics that know the arm's shape have besides; without it only the tool point is kept out of things.

    Attributes:
        radii_m: (S,) radii of the spheres that cover the arm.
        pairs: (P, 2) indices of spheres that must not meet.
    """

    radii_m: NDArray[np.float64]
    pairs: NDArray[np.int64]

    def path(
        self, joints_KN: NDArray[np.float64], body: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Along K joint positions: (K, 3) tool positions and (K, S, 3) sphere centres, m, base frame.

        With ``body`` false only the tool is wanted, and S = 0.
        """


class Arm(Protocol):
    """One arm with a gripper. Owned by the control loop's thread."""

    @property
    def joints(self) -> int:
        """Number of joints N, without the gripper."""

    @property
    def home_rad(self) -> NDArray[np.float64]:
        """(N,) a joint position that is safe to start from."""

    def connect(self) -> None:
        """Open the link without moving. Raises DeviceError."""

    def read(self) -> ArmState:
        """The newest measured state. Raises DeviceError when the link is lost."""

    def send(self, command: ArmCommand) -> None:
        """Follow this target until it expires. Only the control loop calls this, after the guard."""

    def hold(self) -> None:
        """Stay where it is, with power."""

    def park(self) -> None:
        """The arm stands at home and is not needed for now: leave it as its maker wants it left (torque off where the
        settings ask for that). The next ``send`` wakes it. Raises StateError when it is not at home and still."""

    def recover(self) -> None:
        """A person says that the cause of a fault is gone: connect again where the link was lost, clear what the
        controller lets a program clear. Moves nothing. Raises DeviceError when the fault stays. May take seconds."""

    def suggested_limits(self) -> Limits:
        """Cautious limits from the maker's data sheet, for a person to look at and change; nobody applies them."""

    def kinematics(self) -> Kinematics:
        """A new solver for this arm. Takes over the tool set in the arm's controller once it is connected."""

    def close(self) -> None:
        """Hold, then let go of the link; safe to call twice."""


ARMS: Registry[Arm] = Registry("arm", "hardware.arms")
