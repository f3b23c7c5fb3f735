"""How policy servers and their clients name things: where in a message each picture and number is, and what it means.

One ``Layout`` works in both directions. A robot's side uses ``request`` and ``chunk``; the model's side uses
``understand`` and ``answer_of``, their inverses. Places in a message are paths, see ``exchange.paths``; numbers are
named by the words of ``exchange.numbers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.rotations import conjugate, product, unit
from models.exchange.numbers import (
    EULER,
    NUMBERS,
    POSITION,
    QUATERNION,
    TURN,
    Vector,
    described,
    is_joint,
    numbers_of,
    pick,
    pose_of_numbers,
    turn_of,
)
from models.exchange.paths import put, said, take
from models.exchange.pictures import fitted, received
from workbench.core.errors import NotFoundError, WorkbenchError

Forward = Callable[[Vector], tuple[Vector, Vector]]
MODES = ("absolute", "delta", "step")
MOST_STEPS = 256
REACH_M = 10.0


@dataclass(frozen=True, slots=True)
class Layout:
    """The names and meanings of one kind of server.

    Attributes:
        pictures: path of each picture in a request, and the camera it is of.
        picture_px: (width, height) of every picture sent, or () for the camera's own; the sides are padded with black.
        channels_first: pictures are (3, H, W) instead of (H, W, 3).
        state: path of each vector in a request, and the names of its numbers.
        prompt: path of the instruction.
        constants: path and value of whatever else a request needs.
        answer: path of the actions in an answer; (steps, numbers).
        actions: the names of an action's numbers; ``zero`` marks one that is not used.
        mode: ``absolute`` targets; ``delta``: moves from the observed state; ``step``: moves from the action before.
            The gripper is absolute in each.
        scale: what every number of a move is multiplied by; one for all moves, or one per number.
        step_s: seconds between actions; 0 = the server says it.
    """

    pictures: tuple[tuple[str, str], ...]
    state: tuple[tuple[str, tuple[str, ...]], ...]
    actions: tuple[str, ...]
    prompt: str = "prompt"
    answer: str = "actions"
    mode: str = "absolute"
    picture_px: tuple[int, ...] = ()
    channels_first: bool = False
    constants: tuple[tuple[str, Any], ...] = ()
    scale: tuple[float, ...] = (1.0,)
    step_s: float = 0.0

    def __post_init__(self) -> None:
        for name in (*self.actions, *(name for _, names in self.state for name in names)):
            if name not in NUMBERS and not is_joint(name):
                raise NotFoundError.of("number", name, (*NUMBERS, "joint_1"))
        if self.mode not in MODES:
            raise NotFoundError.of("mode of actions", self.mode, MODES)
        if len(self.scale) not in (1, len(self.actions)) or not all(np.isfinite(self.scale)) or 0.0 in self.scale:
            raise WorkbenchError("scale needs one number, or one for each of the actions' numbers", "None may be zero")
        if len(self.picture_px) not in (0, 2) or any(not 0 < size <= 4096 for size in self.picture_px):
            raise WorkbenchError("picture_px needs a width and a height", "For example: picture_px = [224, 224]")
        if not 0 <= self.step_s <= 10:
            raise WorkbenchError("step_s is no time between actions", "Give seconds, such as 0.1")
        if not self.by_joints and not set(POSITION) <= set(self.actions):
            raise WorkbenchError(
                "the actions name neither the tool's x y z nor joints", "Correct [policy.keys] actions"
            )

    @property
    def by_joints(self) -> bool:
        """True if actions are about joints instead of the tool."""
        return any(map(is_joint, self.actions))

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras whose pictures are sent."""
        return tuple(camera for _, camera in self.pictures)

    # the robot's side -----------------------------------------------------------------------------------------------

    def request(
        self,
        pictures: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.floating],
        axes: Sequence[str],
        instruction: str,
    ) -> dict[str, Any]:
        """One request from pictures by camera and an ``observation.state`` item with the names of its numbers.

        Raises WorkbenchError if a picture or a number is missing or not finite.
        """
        message: dict[str, Any] = {}
        for path, value in self.constants:
            put(message, path, value)
        for path, camera in self.pictures:
            if camera not in pictures:
                raise WorkbenchError(f"there is no picture of the camera '{camera}'", "Correct [policy.keys] pictures")
            picture = fitted(pictures[camera], self.picture_px)
            put(message, path, np.ascontiguousarray(picture.transpose(2, 0, 1)) if self.channels_first else picture)
        known = numbers_of(state, axes)
        for path, names in self.state:
            put(message, path, np.array([pick(known, name) for name in names], dtype=np.float32))
        put(message, self.prompt, instruction)
        return message

    def chunk(
        self, answer: Any, state: NDArray[np.floating], axes: Sequence[str], forward: Forward | None = None
    ) -> NDArray[np.float64]:
        """(N, 8) absolute targets (x y z, quaternion w x y z, gripper) from an answer and the state it is about.

        Args:
            forward: joint positions to tool position and quaternion, for actions about joints.

        Raises WorkbenchError for anything that is not N rows of finite numbers of the right count.
        """
        rows = self._rows(answer)
        known = numbers_of(state, axes)
        if self.mode != "absolute":
            rows = rows * np.broadcast_to(self._scales(), rows.shape)
        targets = self._from_joints(rows, known, forward) if self.by_joints else self._from_tool(rows, known)
        if not np.all(np.isfinite(targets)) or np.abs(targets[:, :3]).max() > REACH_M:
            raise WorkbenchError("the policy server wants the tool where no arm reaches", "Check [policy.keys]")
        return targets

    def _rows(self, answer: Any) -> Vector:
        rows = take(answer, self.answer)
        if isinstance(rows, list):
            try:
                rows = np.array(rows)
            except ValueError:
                rows = None
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iuf" or rows.ndim != 2:
            raise WorkbenchError(f"the policy server's answer has no table of numbers '{self.answer}'", said(answer))
        steps, count = rows.shape
        if not 1 <= steps <= MOST_STEPS or count != len(self.actions):
            raise WorkbenchError(
                f"the policy server sent {steps} actions of {count} numbers, wanted were 1 to {MOST_STEPS} of "
                f"{len(self.actions)}",
                "Correct [policy.keys] actions",
            )
        if not np.all(np.isfinite(rows)):
            raise WorkbenchError("the policy server sent a number that is not finite", "Look at the server")
        return rows.astype(np.float64)

    def _scales(self) -> Vector:
        """(numbers,) the gripper is never scaled."""
        scale = np.broadcast_to(np.array(self.scale), (len(self.actions),)).copy()
        if len(self.scale) == 1:
            scale[[name in ("gripper", "closed") for name in self.actions]] = 1.0
        return scale

    def _column(self, rows: Vector, names: Sequence[str]) -> Vector | None:
        if not set(names) <= set(self.actions):
            return None
        return rows[:, [self.actions.index(name) for name in names]]

    def _gripper(self, rows: Vector, known: Mapping[str, float]) -> Vector:
        for name in ("gripper", "closed"):
            column = self._column(rows, (name,))
            if column is not None:
                value = column[:, 0] if name == "gripper" else 1.0 - column[:, 0]
                return np.clip(value, 0.0, 1.0)
        return np.full(len(rows), float(np.clip(known["gripper"], 0.0, 1.0)))

    def _from_tool(self, rows: Vector, known: Mapping[str, float]) -> Vector:
        position = self._column(rows, POSITION)
        if position is None:
            raise WorkbenchError("the actions do not name x y z", "Correct [policy.keys] actions")
        turns, now = self._turns(rows), np.array([known[name] for name in QUATERNION])
        origin = np.array([known[name] for name in POSITION])
        moves = self.mode != "absolute"
        if moves:
            position = origin + (np.cumsum(position, axis=0) if self.mode == "step" else position)
        targets, turned = np.empty((len(rows), 8)), now
        for k in range(len(rows)):
            if turns is None:
                turned = now
            elif moves:
                turned = unit(product(turns[k], turned if self.mode == "step" else now))
            else:
                turned = turns[k]
            targets[k, 3:7] = turned
        targets[:, :3], targets[:, 7] = position, self._gripper(rows, known)
        return targets

    def _turns(self, rows: Vector) -> list[Vector] | None:
        """The rotation of every row as a quaternion, or None if the actions have none."""
        turns = [turn_of(dict(zip(self.actions, row, strict=True))) for row in rows.tolist()]
        return None if turns[0] is None else [turn for turn in turns if turn is not None]

    def _from_joints(self, rows: Vector, known: Mapping[str, float], forward: Forward | None) -> Vector:
        names = sorted(filter(is_joint, self.actions), key=lambda name: int(name[6:]))
        joints = self._column(rows, names)
        here = np.array([known[name] for name in sorted(filter(is_joint, known), key=lambda name: int(name[6:]))])
        if forward is None or joints is None or len(names) != len(here):
            raise WorkbenchError(
                f"the policy server speaks of {len(names)} joints, this arm has {len(here)}", "Correct [policy.keys]"
            )
        if self.mode != "absolute":
            joints = here + (np.cumsum(joints, axis=0) if self.mode == "step" else joints)
        if np.abs(joints).max() > 4 * np.pi:
            raise WorkbenchError("the policy server wants a joint turned more than twice round", "Check [policy.keys]")
        poses = [np.concatenate(forward(row)) for row in joints]
        return np.column_stack([np.array(poses), self._gripper(rows, known)])

    # the model's side -----------------------------------------------------------------------------------------------

    def understand(self, message: Any) -> tuple[dict[str, NDArray[np.uint8]], Vector, str]:
        """Pictures by camera, (8,) pose and gripper, and the instruction out of a request; inverts ``request``.

        Raises WorkbenchError naming what is missing or not right.
        """
        if not isinstance(message, dict):
            raise WorkbenchError("a request must be a map of names and values")
        pictures = {camera: received(take(message, path), path, self.channels_first) for path, camera in self.pictures}
        known: dict[str, float] = {}
        for path, names in self.state:
            vector = np.asarray(take(message, path))
            if vector.dtype.kind not in "iuf" or vector.shape != (len(names),) or not np.all(np.isfinite(vector)):
                raise WorkbenchError(f"'{path}' must be {len(names)} finite numbers: {' '.join(names)}")
            known |= dict(zip(names, vector.astype(np.float64).tolist(), strict=True))
        instruction = take(message, self.prompt)
        if not isinstance(instruction, str) or not instruction.strip():
            raise WorkbenchError(f"'{self.prompt}' must be the instruction, as text")
        return pictures, pose_of_numbers(known), instruction

    def answer_of(self, targets: NDArray[np.float64], pose0: Vector) -> dict[str, Any]:
        """The answer for (N, 8) absolute targets computed at the pose (8,); inverts ``chunk``."""
        rows, before = np.zeros((len(targets), len(self.actions))), np.asarray(pose0, dtype=np.float64)
        for k, target in enumerate(targets):
            known = described(target)
            if self.mode != "absolute":
                turn = unit(product(target[3:7], conjugate(before[3:7])))
                known |= described(np.concatenate([target[:3] - before[:3], turn, target[7:]]))
                before = target if self.mode == "step" else before
            rows[k] = [pick(known, name) for name in self.actions]
        if self.mode != "absolute":
            rows /= self._scales()
        message: dict[str, Any] = {}
        put(message, self.answer, rows.astype(np.float32))
        return message

    def check_serves(self, cameras: Sequence[str]) -> None:
        """Raise WorkbenchError unless a model of tool poses that sees these cameras can be served in this layout."""
        missing = [camera for camera in cameras if camera not in self.cameras]
        if missing:
            raise WorkbenchError(f"the layout has no picture of the camera '{missing[0]}'", "Correct [policy.keys]")
        named = {name for _, names in self.state for name in names}
        turned = any(set(names) <= named for names in (QUATERNION, TURN, EULER))
        if self.by_joints or not set(POSITION) <= named or not turned or not named & {"gripper", "closed"}:
            raise WorkbenchError(
                "this model moves the tool, but the layout does not say where the tool is",
                "Choose the layout 'workbench' or name x y z, a rotation and the gripper in [policy.keys] state",
            )
