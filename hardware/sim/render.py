"""Pictures of the simulated table, drawn in software without a display."""

from __future__ import annotations

import copy

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.sim.model import station_model
from hardware.sim.world import Snapshot
from workbench.core.errors import DeviceError, NotFoundError

CAMERAS = ("front", "wrist")
DEPTH_RANGE_M = 4.0


class SceneRenderer:
    """Draws one camera's view of snapshots. Make, use and close it in one thread: the OpenGL context belongs to it.

    Args:
        camera: ``front`` (fixed, facing the arm) or ``wrist`` (between the fingers).
        width, height: in pixels; the field of view depends on the height only.
        depth: also return distances.
        model: of the world that the snapshots are from, if it is not the default station; only materials with a
            picture of their own (see ``board.py``) are drawn.

    Raises:
        NotFoundError: no such camera. DeviceError: no off-screen OpenGL here.
    """

    def __init__(
        self, camera: str, width: int, height: int, depth: bool = False, model: mujoco.MjModel | None = None
    ) -> None:
        if camera not in CAMERAS:
            raise NotFoundError.of("simulated camera", camera, CAMERAS)
        self.width, self.height, self.depth = width, height, depth
        self._model = copy.copy(model or station_model())
        plain = ~np.any(self._model.mat_texid >= 0, axis=1)
        self._model.geom_matid[np.isin(self._model.geom_matid, np.flatnonzero(plain))] = -1
        self._camera = int(self._model.camera(camera).id)
        self._data = mujoco.MjData(self._model)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        self._open()

    def _open(self) -> None:
        try:
            self._gl = mujoco.GLContext(self.width, self.height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except Exception as error:
            raise DeviceError(
                f"the simulated camera cannot draw ({error})",
                "Install libegl1, or set MUJOCO_GL=osmesa with libosmesa6",
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=200)
        for flag in (
            mujoco.mjtRndFlag.mjRND_SHADOW,
            mujoco.mjtRndFlag.mjRND_REFLECTION,
            mujoco.mjtRndFlag.mjRND_SKYBOX,
        ):
            self._scene.flags[flag] = 0
        self._options, self._perturbation = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._options.sitegroup[:] = 0
        self._options.geomgroup[:] = (1, 1, 1, 0, 0, 0)
        self._view = mujoco.MjvCamera()
        self._view.type, self._view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._camera
        self._viewport = mujoco.MjrRect(0, 0, self.width, self.height)
        self._rgb = np.empty((self.height, self.width, 3), np.uint8)
        self._z = np.empty((self.height, self.width), np.float32)

    def render(self, snapshot: Snapshot) -> tuple[NDArray[np.uint8], NDArray[np.uint16] | None]:
        """New arrays: (H, W, 3) uint8 colour and, if asked for, (H, W) uint16 depth in mm, 0 = none."""
        self._load(snapshot)
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            self._perturbation,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._rgb, self._z if self.depth else None, self._viewport, self._context)
        distance = self._millimetres(self._z[::-1]) if self.depth else None
        return self._rgb[::-1].copy(), distance

    def _load(self, snapshot: Snapshot) -> None:
        model, data = self._model, self._data
        data.geom_xpos[:], data.geom_xmat[:] = snapshot.geom_xpos, snapshot.geom_xmat
        data.cam_xpos[:], data.cam_xmat[:] = snapshot.cam_xpos, snapshot.cam_xmat
        model.geom_rgba[:] = snapshot.geom_rgba
        model.light_diffuse[0], model.light_ambient[0] = snapshot.light, snapshot.ambient
        data.light_xdir[0] = snapshot.light_direction / np.linalg.norm(snapshot.light_direction)

    def _millimetres(self, window: NDArray[np.float32]) -> NDArray[np.uint16]:
        """OpenGL window depth (0 near .. 1 far) to whole millimetres."""
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        metres = near / (1.0 - window * (1.0 - near / far))
        millimetres: NDArray[np.uint16] = np.where(metres < DEPTH_RANGE_M, metres * 1000.0 + 0.5, 0.0).astype(np.uint16)
        return millimetres

    def intrinsics(self) -> dict[str, float | int | str | list[float]]:
        """Pinhole intrinsics in pixels, without distortion; whole numbers are the middles of pixels, as in OpenCV."""
        focal = 0.5 * self.height / float(np.tan(np.deg2rad(self._model.cam_fovy[self._camera]) / 2))
        return {
            "width": self.width,
            "height": self.height,
            "fx": focal,
            "fy": focal,
            "cx": (self.width - 1) / 2,
            "cy": (self.height - 1) / 2,
            "model": "pinhole",
            "coeffs": [],
        }

    def pose(self, snapshot: Snapshot) -> NDArray[np.float64]:
        """(4, 4) camera to base frame, OpenCV axes (x right, y down, z forward)."""
        matrix = np.eye(4)
        matrix[:3, :3] = snapshot.cam_xmat[self._camera].reshape(3, 3) * (1.0, -1.0, -1.0)
        matrix[:3, 3] = snapshot.cam_xpos[self._camera]
        return matrix

    def close(self) -> None:
        """Free the context; safe to call twice."""
        if self._gl is not None:
            self._context.free()
            self._gl.free()
            self._gl = None
