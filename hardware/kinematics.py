"""Forward and inverse kinematics of any arm that MuJoCo can describe."""

from __future__ import annotations

from collections.abc import Sequence

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError

Vector = NDArray[np.float64]
_DONE_M, _DONE_RAD = 5e-5, 5e-4
_FAR = 1e3  # no arm is asked for a point a kilometre away


class MujocoKinematics:
    """Implements ``hardware.arm.Kinematics`` by differential inverse kinematics, solved as small quadratic programs.

    Every step respects the joint ranges; a target out of reach ends at the closest pose found. Not thread-safe.

    Args:
        model: an arm whose joints are exactly ``joints``, in order.
        site: the site that is the tool centre point, expressed in the world frame, which must be the base frame.
        iterations: most quadratic programs per ``solve``.
    """

    def __init__(self, model: mujoco.MjModel, site: str, joints: Sequence[str], iterations: int = 24) -> None:
        if model.nq != len(joints):
            raise WorkbenchError(f"the kinematic model has {model.nq} coordinates for {len(joints)} joints")
        self._configuration = mink.Configuration(model)
        self._model, self._data = model, mujoco.MjData(model)
        self._site_id = int(model.site(site).id)
        self._iterations = iterations
        self._low, self._high = model.jnt_range[:, 0].copy(), model.jnt_range[:, 1].copy()
        self._task = mink.FrameTask(site, "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-3)
        self._limits = [mink.ConfigurationLimit(model, gain=0.95)]

    def pose(self, joints_rad: Vector) -> tuple[Vector, Vector]:
        """(3,) position in m and (4,) quaternion w x y z of the tool."""
        self._data.qpos[:] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._site_id])
        return self._data.site_xpos[self._site_id].copy(), quaternion

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
            if self._close_enough():
                break
            self._step()
        found = np.array(self._configuration.q)
        return found if np.all(np.isfinite(found)) else seed

    def _close_enough(self) -> bool:
        error = self._task.compute_error(self._configuration)
        return bool(np.linalg.norm(error[:3]) < _DONE_M and np.linalg.norm(error[3:]) < _DONE_RAD)

    def _step(self) -> None:
        """One quadratic program; its step is shortened so that the linearisation holds."""
        try:
            velocity = mink.solve_ik(self._configuration, [self._task], 1.0, "daqp", damping=1e-6, limits=self._limits)
        except mink.NoSolutionFound:
            return
        largest = float(np.max(np.abs(velocity)))
        self._configuration.integrate_inplace(velocity * min(1.0, 0.5 / max(largest, 1e-9)), 1.0)
        self._configuration.update(np.clip(self._configuration.q, self._low, self._high))
