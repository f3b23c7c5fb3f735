"""The simulated table: physics of the arm, its gripper and the objects, and whether a task has been done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.sim import look as looks
from hardware.sim import placement
from hardware.sim.look import Look
from hardware.sim.model import ARM_ACTUATORS, ARM_JOINTS, GRIPPER, TIMESTEP_S, TOOL_SITE, station_model
from hardware.sim.scenery import DISTRACTORS, HAND_PARTS
from hardware.sim.stance import HOME_TOOL_M, home_stance, parked_stance, stance
from hardware.sim.tasks import OBJECTS, TARGETS, sim_task

Vector = NDArray[np.float64]
_DRIVER_RANGE_RAD = 0.8
_AWAY_M = (-2.0, 0.0, -2.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a renderer needs, detached from the running world: poses, colours and light at one instant."""

    time_s: float
    geom_xpos: Vector
    geom_xmat: Vector
    geom_rgba: NDArray[np.float32]
    cam_xpos: Vector
    cam_xmat: Vector
    light: float
    ambient: float
    light_direction: Vector


class World:
    """Contact physics of the whole station. Not thread-safe; other threads may only use what ``snapshot`` returns.

    ``model`` is another station's than the default one (see ``board.py``).
    Frame: the arm's base, z up, table top at z = 0. Distances in m, angles in rad, gripper 0 closed .. 1 open.
    """

    def __init__(self, seed: int = 0, model: mujoco.MjModel | None = None) -> None:
        self._model = mujoco.MjModel.__copy__(model or station_model())
        self._data = mujoco.MjData(self._model)
        self._arm_qpos = [int(self._model.joint(name).qposadr[0]) for name in ARM_JOINTS]
        self._arm_dof = [int(self._model.joint(name).dofadr[0]) for name in ARM_JOINTS]
        self._arm_ctrl = [int(self._model.actuator(name).id) for name in ARM_ACTUATORS]
        self._grip_ctrl = int(self._model.actuator(GRIPPER + "fingers_actuator").id)
        self._driver = [
            int(self._model.joint(f"{GRIPPER}{side}_driver_joint").qposadr[0]) for side in ("left", "right")
        ]
        self._tool = int(self._model.site(TOOL_SITE).id)
        self._pads = {i for i in range(self._model.ngeom) if "_pad" in self._model.geom(i).name}
        self._owed_s = 0.0
        self._carried = ""
        self._rgba: NDArray[np.float32] = looks.colours(self._model, Look())
        self.look = Look()
        self.task = ""
        self.actor = "robot"
        self.in_play: tuple[str, ...] = ()
        self.home_rad = home_stance()
        self.reset("red_cube_to_white_plate", seed)

    @property
    def time_s(self) -> float:
        """Simulated seconds since the last reset."""
        return float(self._data.time)

    def reset(self, task: str, seed: int, *, actor: str = "robot", look: Look | None = None) -> None:
        """Lay the table anew for ``task`` and put the arm where the actor ("robot" or "human") needs it.

        The same task, seed and actor give the same scene. Raises NotFoundError for an unknown task.
        """
        wanted = sim_task(task)
        self.task, self.actor, self._carried, self._owed_s = task, actor, "", 0.0
        self.look = look or (Look.human(seed) if actor == "human" else Look.everyday(seed))
        self._rgba = looks.colours(self._model, self.look)
        mujoco.mj_resetData(self._model, self._data)
        rng = np.random.default_rng([seed, 7])
        layout = placement.lay_table(rng, wanted, self.look.distractors)
        self.in_play = tuple(name for name in layout if name not in DISTRACTORS)
        self._clear_table()
        for name, (x, y, yaw) in layout.items():
            self._put(name, x, y, yaw)
        start = tuple(np.array(HOME_TOOL_M) + rng.uniform(-0.02, 0.02, 3))
        self._stand(stance(start) if actor == "robot" else parked_stance())

    def stand(self, tool_m: tuple[float, float, float]) -> None:
        """Put the arm, gripper down and open, with its tool at a place (m), whatever it did before."""
        self._stand(stance(tool_m))

    def _stand(self, joints_rad: Vector) -> None:
        self._data.qpos[self._arm_qpos] = joints_rad
        self.command(joints_rad, 1.0)
        mujoco.mj_forward(self._model, self._data)

    def clear(self) -> None:
        """Take everything off the table."""
        self.in_play = ()
        self._clear_table()
        mujoco.mj_forward(self._model, self._data)

    def command(self, joints_rad: Vector, gripper: float) -> None:
        """Set the servos' targets: (6,) joints and the gripper."""
        self._data.ctrl[self._arm_ctrl] = joints_rad
        self._data.ctrl[self._grip_ctrl] = 255.0 * (1.0 - min(1.0, max(0.0, gripper)))

    def hold(self) -> None:
        """Stay where it is now; the gripper keeps its target."""
        self._data.ctrl[self._arm_ctrl] = self._data.qpos[self._arm_qpos]

    def step(self, seconds: float) -> None:
        """Let time pass; what is less than one physics step is owed to the next call."""
        self._owed_s += seconds
        steps = int(self._owed_s / TIMESTEP_S + 1e-6)
        self._owed_s -= steps * TIMESTEP_S
        if steps > 0:
            mujoco.mj_step(self._model, self._data, steps)

    def arm(self) -> tuple[Vector, Vector, float, Vector, Vector]:
        """Measured joints (6,), velocities (6,), gripper, tool position (3,) and tool quaternion w x y z (4,)."""
        mujoco.mj_kinematics(self._model, self._data)
        joints = self._data.qpos[self._arm_qpos].copy()
        velocities = self._data.qvel[self._arm_dof].copy()
        closed = float(np.mean(self._data.qpos[self._driver])) / _DRIVER_RANGE_RAD
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._tool])
        position = self._data.site_xpos[self._tool].copy()
        return joints, velocities, min(1.0, max(0.0, 1.0 - closed)), position, quaternion

    def object_position(self, name: str) -> Vector:
        """(3,) centre of an object."""
        address = int(self._model.joint(name).qposadr[0])
        return np.array(self._data.qpos[address : address + 3])

    def target_position(self, name: str) -> Vector:
        """(3,) middle of a target's upper face."""
        position = np.array(self._data.mocap_pos[self._mocap(name)])
        position[2] += TARGETS[name].thickness_m
        return position

    def scene(self) -> Mapping[str, Vector]:
        """Where everything in play is, by name: what a person sees at a glance."""
        return MappingProxyType(
            {n: self.object_position(n) if n in OBJECTS else self.target_position(n) for n in self.in_play}
        )

    def succeeded(self, task: str) -> bool:
        """True once the task's object rests on its target and nothing holds it any more."""
        wanted = sim_task(task)
        if wanted.object not in self.in_play or wanted.target not in self.in_play or self._carried:
            return False
        thing, target = OBJECTS[wanted.object], TARGETS[wanted.target]
        offset = self.object_position(thing.name) - self.target_position(target.name)
        aside = float(np.hypot(*offset[:2])) if target.shape == "plate" else float(np.max(np.abs(offset[:2])))
        flat = abs(float(offset[2]) - thing.size_m[2]) < 0.006
        dof = int(self._model.joint(thing.name).dofadr[0])
        still = float(np.linalg.norm(self._data.qvel[dof : dof + 3])) < 0.03
        return aside < target.radius_m - 0.010 and flat and still and not self._touched(thing.name)

    def snapshot(self) -> Snapshot:
        """A copy of everything a renderer draws."""
        data = self._data
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)
        return Snapshot(
            time_s=self.time_s,
            geom_xpos=data.geom_xpos.copy(),
            geom_xmat=data.geom_xmat.copy(),
            geom_rgba=self._rgba,
            cam_xpos=data.cam_xpos.copy(),
            cam_xmat=data.cam_xmat.copy(),
            light=self.look.light,
            ambient=self.look.ambient,
            light_direction=np.array(self.look.light_direction),
        )

    def move_hand(self, parts: Mapping[str, tuple[Vector, Vector]]) -> None:
        """Put the parts of the simulated hand at (position, quaternion w x y z)."""
        for name, (position, quaternion) in parts.items():
            mocap = self._mocap(name)
            self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = position, quaternion

    def carry(self, name: str, position_m: Vector, quaternion_wxyz: Vector) -> None:
        """Hold an object at a pose, weightless, as the simulated hand does; call before every ``step`` meanwhile."""
        joint = self._model.joint(name)
        address, dof = int(joint.qposadr[0]), int(joint.dofadr[0])
        self._data.qpos[address : address + 7] = (*position_m, *quaternion_wxyz)
        self._data.qvel[dof : dof + 6] = 0.0
        self._model.body_gravcomp[self._model.body(name).id] = 1.0
        self._carried = name

    def let_go(self) -> None:
        """End ``carry``: physics takes the object over."""
        if self._carried:
            self._model.body_gravcomp[self._model.body(self._carried).id] = 0.0
        self._carried = ""

    def object_quaternion(self, name: str) -> Vector:
        """(4,) orientation w x y z of an object."""
        address = int(self._model.joint(name).qposadr[0])
        return np.array(self._data.qpos[address + 3 : address + 7])

    def _mocap(self, body: str) -> int:
        return int(self._model.body(body).mocapid[0])

    def _clear_table(self) -> None:
        """Hang everything that is not in play in the void behind the arm, weightless."""
        for number, name in enumerate((*OBJECTS, *TARGETS, *DISTRACTORS, *HAND_PARTS)):
            place = (_AWAY_M[0], 0.3 * number, _AWAY_M[2])
            if name in OBJECTS:
                address = int(self._model.joint(name).qposadr[0])
                self._data.qpos[address : address + 3] = place
                self._model.body_gravcomp[self._model.body(name).id] = 1.0
            else:
                self._data.mocap_pos[self._mocap(name)] = place

    def _put(self, name: str, x: float, y: float, yaw: float) -> None:
        turn = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        if name in OBJECTS:
            address = int(self._model.joint(name).qposadr[0])
            self._data.qpos[address : address + 7] = (x, y, OBJECTS[name].size_m[2] + 0.0005, *turn)
            self._model.body_gravcomp[self._model.body(name).id] = 0.0
        else:
            mocap = self._mocap(name)
            self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = (x, y, 0.0), turn

    def _touched(self, name: str) -> bool:
        geom = int(self._model.geom(name).id)
        pairs = self._data.contact.geom[: self._data.ncon]
        return any(geom in pair and (int(pair[0]) in self._pads or int(pair[1]) in self._pads) for pair in pairs)
