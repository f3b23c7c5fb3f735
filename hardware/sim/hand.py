"""A simulated person's hand: comes from the far side of the table and does a task once, in its own way and time.

It looks and moves unlike the arm on purpose. It has no physics of its own: parts follow a smooth path, and the object
is carried from the moment the fingers hold it until they let go; then physics takes over.
"""

from __future__ import annotations

from enum import Enum, auto

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.sim.scenery import FINGER_FAR_M, FINGER_NEAR_M, THUMB_FAR_M, THUMB_NEAR_M
from hardware.sim.stance import TOOL_DOWN_WXYZ
from hardware.sim.tasks import OBJECTS, sim_task
from hardware.sim.world import World

Vector = NDArray[np.float64]
WIDEST_M = 0.085
_UP = np.array([0.0, 0.0, 1.0])
_NEAR_M = 0.004
_MOST_STEP_S = 0.02


class Phase(Enum):
    REACH = auto()
    SINK = auto()
    GRASP = auto()
    RAISE = auto()
    CARRY = auto()
    LOWER = auto()
    RELEASE = auto()
    LEAVE = auto()
    DONE = auto()


class HumanHand:
    """One person doing one task once. Not thread-safe; use it where the world is stepped.

    Speed, height, direction of the forearm and start depend on the seed.
    """

    def __init__(self, task: str, seed: int) -> None:
        self._task = sim_task(task)
        rng = np.random.default_rng([seed, 31])
        self._speed = 0.30 * rng.uniform(0.7, 1.4)
        self._hover = rng.uniform(0.09, 0.14)
        side = rng.choice((-1.0, 1.0))
        self._yaw = float(side * rng.uniform(0.15, 0.85))
        self._start = np.array([rng.uniform(0.70, 0.80), side * rng.uniform(0.0, 0.22), rng.uniform(0.10, 0.20)])
        self._slant = rng.uniform(0.22, 0.40)
        self._miss = np.append(rng.normal(0.0, 0.002, 2), rng.uniform(-0.003, 0.004))
        self._rng = rng
        self._position = self._start.copy()
        self._velocity = np.zeros(3)
        self._gap = rng.uniform(0.065, WIDEST_M)
        self._open_gap = self._gap
        self._held_at: Vector | None = None
        self._held_turn = np.array([1.0, 0.0, 0.0, 0.0])
        self._pause_s = 0.0
        self._phase = Phase.REACH

    @property
    def done(self) -> bool:
        """True once the object lies on the target and the hand has drawn back."""
        return self._phase is Phase.DONE

    @property
    def phase(self) -> str:
        return self._phase.name.lower()

    def true_pose(self) -> Vector:
        """(8,) where the finger tips are: x y z (m), quaternion w x y z, opening 0 closed .. 1 wide; base frame.

        For evaluation only: a lab has no such reading of a real hand.
        """
        yaw = np.array([np.cos(self._yaw / 2), 0.0, 0.0, np.sin(self._yaw / 2)])
        turn = np.zeros(4)
        mujoco.mju_mulQuat(turn, yaw, np.array(TOOL_DOWN_WXYZ))
        return np.concatenate([self._position, turn, [self._gap / WIDEST_M]])

    def step(self, world: World, seconds: float) -> None:
        """Let ``seconds`` pass for the hand and for the world: do not step the world besides."""
        while seconds > 1e-9:
            part = min(seconds, _MOST_STEP_S)
            self._live(world, part)
            world.step(part)
            seconds -= part
        world.move_hand(self._parts())

    def _live(self, world: World, seconds: float) -> None:
        thing = world.object_position(self._task.object)
        goal = self._goal(thing, world.target_position(self._task.target))
        self._advance(world, thing, goal, seconds)
        moving = self._phase not in (Phase.GRASP, Phase.RELEASE, Phase.DONE)
        self._steer(goal - self._position, self._speed if moving else 0.0, seconds)
        if self._held_at is not None:
            world.carry(self._task.object, self._position + self._held_at, self._held_turn)

    def _goal(self, thing: Vector, target: Vector) -> Vector:
        """Where the finger tips should go in this phase."""
        grasp = thing + self._miss
        held = self._held_at if self._held_at is not None else -self._miss
        place = target - held + np.array([0.0, 0.0, OBJECTS[self._task.object].size_m[2] + 0.002])
        high = {Phase.REACH: grasp, Phase.CARRY: place, Phase.RAISE: self._position}
        if self._phase in high:
            return np.array([*high[self._phase][:2], self._hover])
        if self._phase in (Phase.SINK, Phase.GRASP):
            return np.array([grasp[0], grasp[1], max(grasp[2], 0.014)])
        if self._phase in (Phase.LOWER, Phase.RELEASE):
            return np.asarray(place)
        return np.asarray(self._start + np.array([0.08, 0.0, 0.0]))

    def _advance(self, world: World, thing: Vector, goal: Vector, seconds: float) -> None:
        """Go to the next phase when this one has reached its end; open and close the fingers."""
        way = goal - self._position
        there, aside = float(np.linalg.norm(way)) < _NEAR_M, float(np.hypot(way[0], way[1]))
        self._pause_s = max(0.0, self._pause_s - seconds)
        width = 2 * OBJECTS[self._task.object].size_m[1]
        if self._phase is Phase.GRASP:
            self._gap = max(width, self._gap - 0.16 * seconds)
            if self._gap <= width and self._pause_s == 0.0:
                self._held_at = thing - self._position
                self._held_turn = world.object_quaternion(self._task.object)
                self._phase = Phase.RAISE
        elif self._phase is Phase.RELEASE:
            if self._held_at is not None:
                self._held_at = None
                world.let_go()
            self._gap = min(self._open_gap, self._gap + 0.16 * seconds)
            if self._gap >= self._open_gap and self._pause_s == 0.0:
                self._phase = Phase.LEAVE
        elif self._phase in (Phase.REACH, Phase.CARRY) and aside < 0.02:
            self._phase = Phase.SINK if self._phase is Phase.REACH else Phase.LOWER
        elif self._phase is Phase.RAISE and goal[2] - self._position[2] < 0.02:
            self._phase = Phase.CARRY
        elif self._phase in (Phase.SINK, Phase.LOWER) and there:
            self._phase = Phase.GRASP if self._phase is Phase.SINK else Phase.RELEASE
            self._pause_s = float(self._rng.uniform(0.0, 0.2))
        elif self._phase is Phase.LEAVE and (there or float(np.linalg.norm(self._position - thing)) > 0.16):
            self._phase = Phase.DONE

    def _steer(self, way: Vector, fast: float, seconds: float) -> None:
        distance = float(np.linalg.norm(way))
        wanted = way / max(distance, 1e-9) * min(fast, 6.0 * distance + 0.01 if fast else 0.0)
        change = wanted - self._velocity
        limit = 3.0 * seconds / max(float(np.linalg.norm(change)), 1e-12)
        self._velocity = self._velocity + change * min(1.0, limit)
        self._position = self._position + self._velocity * seconds

    def _parts(self) -> dict[str, tuple[Vector, Vector]]:
        """Poses of the six bodies of the hand. x: from thumb to fingers, y: back along the forearm, z: up."""
        back = np.array([np.cos(self._yaw), np.sin(self._yaw), 0.0])
        across = np.cross(back, _UP)
        half = self._gap / 2
        here = self._position

        def at(x: float, y: float, z: float) -> Vector:
            return np.asarray(here + across * x + back * y + _UP * z)

        knuckle, tip = at(0.026 + 0.3 * half, 0.062, 0.006), at(half + 0.007, -0.004, -0.006)
        root, thumb = at(-0.028 - 0.2 * half, 0.056, 0.022), at(-half - 0.010, -0.002, 0.004)
        finger_joint = _bend(knuckle, tip, FINGER_NEAR_M, FINGER_FAR_M, across)
        thumb_joint = _bend(root, thumb, THUMB_NEAR_M, THUMB_FAR_M, -across)
        wrist = at(0.0, 0.108, 0.030)
        forearm = back * np.cos(self._slant) + _UP * np.sin(self._slant)
        return {
            "hand_palm": (at(0.004, 0.088, 0.026), _frame(across, back)),
            "hand_forearm": (wrist, _along(forearm)),
            "hand_fingers_near": (knuckle, _along(finger_joint - knuckle)),
            "hand_fingers_far": (finger_joint, _along(tip - finger_joint)),
            "hand_thumb_near": (root, _along(thumb_joint - root)),
            "hand_thumb_far": (thumb_joint, _along(thumb - thumb_joint)),
        }


def _bend(root: Vector, tip: Vector, near: float, far: float, outward: Vector) -> Vector:
    """The middle joint of a finger with two limbs, bent outwards; straight when the tip is out of reach."""
    way = tip - root
    distance = float(np.linalg.norm(way))
    along = way / distance
    reach = min(distance, near + far - 1e-6)
    share = (reach**2 + near**2 - far**2) / (2 * reach)
    aside = outward - along * float(outward @ along)
    aside /= float(np.linalg.norm(aside))
    return np.asarray(root + along * share + aside * np.sqrt(max(0.0, near**2 - share**2)))


def _along(direction: Vector) -> Vector:
    """Quaternion of a body whose z axis points along ``direction`` and whose x axis points up as far as it can."""
    z = direction / float(np.linalg.norm(direction))
    x = _UP - z * float(_UP @ z)
    x /= max(float(np.linalg.norm(x)), 1e-9)
    return _quaternion(np.stack([x, np.cross(z, x), z], axis=1))


def _frame(x: Vector, y: Vector) -> Vector:
    return _quaternion(np.stack([x, y, np.cross(x, y)], axis=1))


def _quaternion(matrix: Vector) -> Vector:
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(matrix).reshape(-1))
    return quaternion
