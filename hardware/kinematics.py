"""Forward and inverse kinematics of any arm that MuJoCo can describe."""

from __future__ import annotations

from collections.abc import Sequence

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.body import Body
from workbench.core.errors import WorkbenchError

Vector = NDArray[np.float64]
_DONE_M, _DONE_RAD = 5e-5, 5e-4
_STILL_RAD = 1e-7  # the closest pose has been found
_FAR = 1e3  # no arm is asked for a point a kilometre away


class MujocoKinematics:
    """Implements ``hardware.arm.Kinematics`` by differential inverse kinematics, solved as small quadratic programs.

    Every step respects the joint ranges; a target out of reach ends at the closest pose found. Not thread-safe.

    Args:
        model: an arm whose joints are exactly ``joints``, in order.
        site: the site that is the tool centre point, expressed in the world frame, which must be the base frame.
        iterations: most quadratic programs per ``solve``.
        body: the arm's shape, by link names of the model; None if it is not known.
        orientation_cost: weight of a radian against a metre; small for arms that cannot reach every orientation.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        site: str,
        joints: Sequence[str],
        iterations: int = 24,
        body: Body | None = None,
        orientation_cost: float = 0.3,
    ) -> None:
        if model.nq != len(joints):
            raise WorkbenchError(f"the kinematic model has {model.nq} coordinates for {len(joints)} joints")
        self._configuration = mink.Configuration(model)
        self._model, self._data = model, mujoco.MjData(model)
        self._site_id = int(model.site(site).id)
        self._iterations = iterations
        self._low, self._high = model.jnt_range[:, 0].copy(), model.jnt_range[:, 1].copy()
        self._task = mink.FrameTask(site, "site", 1.0, orientation_cost, lm_damping=1e-3)
        self._limits = [mink.ConfigurationLimit(model, gain=0.95)]
        self._links = np.array([model.body(name).id for name in body.links] if body else [], dtype=np.int64)
        self._centres_m = body.centres_m if body else np.zeros((0, 3))
        self.radii_m = body.radii_m if body else np.zeros(0)
        self.pairs = body.pairs if body else np.zeros((0, 2), dtype=np.int64)

    def pose(self, joints_rad: Vector) -> tuple[Vector, Vector]:
        """(3,) position in m and (4,) quaternion w x y z of the tool."""
        self._data.qpos[:] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._site_id])
        return self._data.site_xpos[self._site_id].copy(), quaternion

    def path(self, joints_KN: Vector, body: bool = True) -> tuple[Vector, Vector]:
        """Along K joint positions: (K, 3) tool positions and (K, S, 3) centres of the body's spheres, S = 0 without."""
        model, data, site = self._model, self._data, self._site_id
        tool = np.empty((len(joints_KN), 3))
        spheres = len(self._links) if body else 0
        origins, turns = np.empty((len(joints_KN), spheres, 3)), np.empty((len(joints_KN), spheres, 9))
        for k, joints in enumerate(joints_KN):
            data.qpos[:] = joints
            mujoco.mj_kinematics(model, data)
            tool[k] = data.site_xpos[site]
            if spheres:
                origins[k], turns[k] = data.xpos[self._links], data.xmat[self._links]
        if not spheres:
            return tool, origins
        centres = origins + np.einsum("ksij,sj->ksi", turns.reshape(*turns.shape[:2], 3, 3), self._centres_m)
        return tool, centres

    def solve(self, seed_rad: Vector, position_m: Vector, quaternion_wxyz: Vector) -> Vector:
        """(N,) joint positions whose tool pose is closest to the wanted one; the seed if that is no pose."""
        seed = np.clip(np.asarray(seed_rad, dtype=np.float64), self._low, self._high)
        wanted = np.concatenate([quaternion_wxyz, position_m]).astype(np.float64)
        if not np.all(np.abs(wanted) < _FAR):  # also false for what is not a number
            return seed
        norm = float(np.linalg.norm(wanted[:4]))
        if norm < 1e-6:
            return seed
        wanted[:4] /= norm
        self._configuration.update(seed)
        self._task.set_target(mink.SE3(wanted))
        for _ in range(self._iterations):
            if self._close_enough() or self._step() < _STILL_RAD:
                break
        found = np.array(self._configuration.q)
        return found if np.all(np.isfinite(found)) else seed

    def _close_enough(self) -> bool:
        error = self._task.compute_error(self._configuration)
        return bool(np.linalg.norm(error[:3]) < _DONE_M and np.linalg.norm(error[3:]) < _DONE_RAD)

    def _step(self) -> float:
        """One quadratic program, its step shortened so that the linearisation holds. Returns the largest turn, rad."""
        try:
            velocity = mink.solve_ik(self._configuration, [self._task], 1.0, "daqp", damping=1e-6, limits=self._limits)
        except mink.NoSolutionFound:
            return 0.0
        largest = float(np.max(np.abs(velocity)))
        self._configuration.integrate_inplace(velocity * min(1.0, 0.5 / max(largest, 1e-9)), 1.0)
        self._configuration.update(np.clip(self._configuration.q, self._low, self._high))
        return largest
