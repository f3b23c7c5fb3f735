"""What the ticks of bus servos mean: zero, direction and range of every joint, kept in a JSON file beside the station.

The file does not name the port: an arm may move to another socket without being calibrated again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.servo_bus import TICKS_PER_TURN, Ticks
from workbench.core.errors import WorkbenchError
from workbench.core.files import write_atomic

Vector = NDArray[np.float64]
_RAD = 2 * np.pi / TICKS_PER_TURN
_LEAST_RANGE = 200  # ticks; less than 18 degrees means that a joint was forgotten


@dataclass(frozen=True, slots=True)
class JointServo:
    """One joint: angle = sign * (ticks - zero_ticks) * 2 pi / 4096, between ``low_ticks`` and ``high_ticks``."""

    name: str
    id: int
    zero_ticks: int
    sign: int
    low_ticks: int
    high_ticks: int


@dataclass(frozen=True, slots=True)
class GripperServo:
    """The gripper: 0 at ``closed_ticks``, 1 at ``open_ticks``, whichever is larger."""

    id: int
    closed_ticks: int
    open_ticks: int


@dataclass(frozen=True, slots=True)
class ServoCalibration:
    """Joints in order from the base, and the gripper, which is the last servo of every array."""

    joints: tuple[JointServo, ...]
    gripper: GripperServo

    @property
    def ids(self) -> tuple[int, ...]:
        """Servo numbers in the order of the arrays: joints, then gripper."""
        return (*(joint.id for joint in self.joints), self.gripper.id)

    def angles(self, ticks: Ticks) -> Vector:
        """(N,) joint angles in rad of (N + 1,) ticks."""
        zero = np.array([joint.zero_ticks for joint in self.joints])
        angles: Vector = self._signs * (np.asarray(ticks)[:-1] - zero) * _RAD
        return angles

    def speeds(self, ticks_s: Vector) -> Vector:
        """(N,) joint speeds in rad/s of (N + 1,) speeds in ticks/s."""
        return self._signs * np.asarray(ticks_s)[:-1] * _RAD

    def opening(self, ticks: Ticks) -> float:
        """Gripper opening 0 closed .. 1 open of (N + 1,) ticks."""
        closed, opened = self.gripper.closed_ticks, self.gripper.open_ticks
        return float(np.clip((float(ticks[-1]) - closed) / (opened - closed), 0.0, 1.0))

    def ticks(self, joints_rad: Vector, gripper: float) -> Ticks:
        """(N + 1,) goal ticks of joint angles and gripper opening, kept inside the calibrated ranges."""
        zero = np.array([joint.zero_ticks for joint in self.joints])
        low = np.array([joint.low_ticks for joint in self.joints])
        high = np.array([joint.high_ticks for joint in self.joints])
        arm = np.clip(np.rint(zero + self._signs * np.asarray(joints_rad) / _RAD), low, high)
        closed, opened = self.gripper.closed_ticks, self.gripper.open_ticks
        hand = round(closed + min(1.0, max(0.0, gripper)) * (opened - closed))
        return np.append(arm, hand).astype(np.int64)

    def range_rad(self) -> tuple[Vector, Vector]:
        """(N,) lowest and (N,) highest angle of the calibrated ranges."""
        ends = [
            self.angles(np.array([*ticks, 0]))
            for ticks in ([j.low_ticks for j in self.joints], [j.high_ticks for j in self.joints])
        ]
        return np.minimum(*ends), np.maximum(*ends)

    @property
    def _signs(self) -> Vector:
        return np.array([joint.sign for joint in self.joints], float)

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        write_atomic(path, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> ServoCalibration:
        """Read our own JSON file, or one written by LeRobot. Raises WorkbenchError when it is neither."""
        try:
            value = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            hint = "Calibrate the arm first (docs/arms.md), or copy the file of its earlier calibration"
            raise WorkbenchError(f"the servo calibration {path} cannot be read ({error})", hint) from error
        try:
            made = cls._of_lerobot(value) if "joints" not in value else cls._of_json(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkbenchError(f"{path} is no servo calibration ({error!r})", "Calibrate the arm again") from error
        made.check()
        return made

    def check(self) -> None:
        """Raise WorkbenchError for a range that cannot be: forgotten joints and grippers end up here."""
        for joint in self.joints:
            if joint.sign not in (-1, 1) or joint.high_ticks - joint.low_ticks < _LEAST_RANGE:
                what = f"joint '{joint.name}' has the range {joint.low_ticks}..{joint.high_ticks} ticks"
                raise WorkbenchError(what, "Calibrate again and move every joint through its whole range")
        if abs(self.gripper.open_ticks - self.gripper.closed_ticks) < _LEAST_RANGE:
            raise WorkbenchError("the gripper's open and closed ends are the same", "Calibrate it again")
        if len(set(self.ids)) != len(self.ids):
            raise WorkbenchError("two servos have the same number", "Give every servo its own number")

    @classmethod
    def _of_json(cls, value: dict[str, Any]) -> ServoCalibration:
        joints = tuple(JointServo(**joint) for joint in value["joints"])
        return cls(joints, GripperServo(**value["gripper"]))

    @classmethod
    def _of_lerobot(cls, value: dict[str, Any]) -> ServoCalibration:
        """LeRobot keeps the offset in the servo; in its degrees the middle of the range is zero."""
        joints = []
        for name, motor in value.items():
            low, high = int(motor["range_min"]), int(motor["range_max"])
            sign = -1 if motor.get("drive_mode") else 1
            if name == "gripper":
                ends = (low, high) if sign > 0 else (high, low)
                gripper = GripperServo(int(motor["id"]), *ends)
            else:
                joints.append(JointServo(name, int(motor["id"]), (low + high) // 2, sign, low, high))
        if not joints or "gripper" not in value:
            raise KeyError("gripper")
        return cls(tuple(joints), gripper)


class RangeRecorder:
    """Calibration by hand: with the motors free, a person moves every joint through its range.

    Feed every reading to ``see``; ticks that wrap from 4095 to 0 are unwrapped. The zero of a joint is the middle of
    the range it was moved through, which for arms with end stops is the same on every unit.

    Args:
        names: of the joints, without the gripper.
        ids: of the servos, the gripper last.
        signs: +1 or -1 per joint, -1 where rising ticks mean a falling angle.
    """

    def __init__(self, names: Sequence[str], ids: Sequence[int], signs: Sequence[int]) -> None:
        self._names, self._ids, self._signs = tuple(names), tuple(ids), tuple(signs)
        self._last: Ticks | None = None
        self._low: Ticks = np.zeros(len(self._ids), np.int64)
        self._high = self._low.copy()

    def see(self, ticks: Ticks) -> None:
        """One reading, (N + 1,) ticks."""
        ticks = np.asarray(ticks, np.int64)
        if self._last is None:
            self._last, self._low, self._high = ticks.copy(), ticks.copy(), ticks.copy()
            return
        half = TICKS_PER_TURN // 2
        self._last = self._last + (ticks - self._last + half) % TICKS_PER_TURN - half
        self._low, self._high = np.minimum(self._low, self._last), np.maximum(self._high, self._last)

    def finish(self, *, open_high: bool = True) -> ServoCalibration:
        """The calibration. Raises WorkbenchError when a joint was hardly moved or its range crosses the wrap."""
        if np.any(self._low < 0) or np.any(self._high >= TICKS_PER_TURN):
            raise WorkbenchError(
                "a joint's range crosses the end of its encoder",
                "Set the servo's middle position with the maker's tool, then calibrate again",
            )
        joints = tuple(
            JointServo(name, servo, int(low + high) // 2, sign, int(low), int(high))
            for name, servo, sign, low, high in zip(self._names, self._ids, self._signs, self._low, self._high)
        )
        ends = (int(self._low[-1]), int(self._high[-1]))
        calibration = ServoCalibration(joints, GripperServo(self._ids[-1], *(ends if open_high else ends[::-1])))
        calibration.check()
        return calibration
