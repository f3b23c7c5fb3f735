"""Fewer triangles for software rendering: weld, decimate and replace the meshes of a MuJoCo model description."""

from __future__ import annotations

import fast_simplification
import mujoco
import numpy as np
from numpy.typing import NDArray

Mesh = tuple[NDArray[np.float64], NDArray[np.int32]]
_WELD_GRIDS_M = (1e-6, 1e-3, 2e-3, 4e-3, 8e-3)


def simplify(vertices: NDArray[np.float64], faces: NDArray[np.int32], faces_wanted: int) -> Mesh:
    """Decimate one mesh to about ``faces_wanted`` triangles; (V, 3) in m and (F, 3) indices.

    Vertices are welded first: MuJoCo splits them at every crease, and edges that do not meet tear into holes. Meshes
    of many small parts (screws, letters) stop shrinking early, so they are welded on ever coarser grids.
    """
    for grid_m in _WELD_GRIDS_M:
        points, triangles = _weld(vertices, faces, grid_m)
        if len(triangles) > faces_wanted:
            points32, triangles = fast_simplification.simplify(
                points.astype(np.float32), triangles, target_count=faces_wanted
            )
            points = points32.astype(np.float64)
        if len(triangles) <= 1.3 * faces_wanted:
            break
    return points, triangles.astype(np.int32)


def _weld(vertices: NDArray[np.float64], faces: NDArray[np.int32], grid_m: float) -> Mesh:
    """Join vertices that share a grid cell and drop the triangles that collapse."""
    _, first, index = np.unique(np.round(vertices / grid_m), axis=0, return_index=True, return_inverse=True)
    joined = index.reshape(-1)[faces].astype(np.int32)
    proper = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 0] != joined[:, 2])
    return vertices[first], joined[proper]


def _original(model: mujoco.MjModel, mesh: int) -> Mesh:
    """A compiled mesh in the frame its author drew it in (the compiler moves it to its centre of mass)."""
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vertices = model.mesh_vert[first : first + count].astype(np.float64)
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    faces = model.mesh_face[first : first + count].astype(np.int32)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.mesh_quat[mesh])
    return vertices @ rotation.reshape(3, 3).T + model.mesh_pos[mesh], faces


def decimate(spec: mujoco.MjSpec, faces_wanted: int) -> None:
    """Replace every mesh with more than ``faces_wanted`` triangles by a simplified one, in place."""
    model = spec.compile()
    for mesh in list(spec.meshes):
        number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MESH, mesh.name)
        if model.mesh_facenum[number] <= faces_wanted:
            continue
        points, triangles = simplify(*_original(model, number), faces_wanted)
        name = f"{mesh.name}_few"
        spec.add_mesh(name=name, uservert=points.reshape(-1).tolist(), userface=triangles.reshape(-1).tolist())
        for geom in spec.geoms:
            if geom.meshname == mesh.name:
                geom.meshname = name
        spec.delete(mesh)
