"""The simulated table with a printed picture on it: a calibration board, or a tabletop with a grain."""

from __future__ import annotations

from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.sim.model import TOOL_SITE, build_spec, cached_model
from workbench.core.files import hash_bytes

PRINTED = "printed"
AT_TOOL_M, AT_TABLE_M = 0.11, (0.45, 0.0)
_HALF = float(np.sqrt(0.5))


def with_picture(
    picture: NDArray[np.uint8],
    size_m: tuple[float, float],
    place: Literal["table", "tool"],
    lift_m: float = 0.001,
) -> mujoco.MjModel:
    """The station's model with a flat picture that touches nothing.

    Args:
        picture: (H, W) grey.
        size_m: width and height of the print.
        lift_m: height of the middle of the half-millimetre sheet above the table.
        place: lying in the middle of the table, or held in front of the gripper, tilted towards the front camera.
    """
    name = f"printed-{hash_bytes(picture.tobytes(), repr((size_m, place, lift_m)).encode())[:16]}"
    return cached_model(name, lambda: _compile(picture, size_m, place, lift_m))


def _compile(picture: NDArray[np.uint8], size_m: tuple[float, float], place: str, lift_m: float) -> mujoco.MjModel:
    spec = build_spec()
    height, width = picture.shape
    texture = spec.add_texture(
        name=PRINTED, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
    )
    texture.data = np.repeat(picture[:, :, None], 3, axis=2).tobytes()
    material = spec.add_material(name=PRINTED)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = PRINTED
    half = [size_m[0] / 2, size_m[1] / 2, 0.0005]
    values = {"name": PRINTED, "type": mujoco.mjtGeom.mjGEOM_BOX, "size": half, "material": PRINTED}
    if place == "table":
        geom = spec.worldbody.add_geom(pos=[*AT_TABLE_M, lift_m], **values)
    else:
        site = spec.site(TOOL_SITE)
        mount = site.parent.add_body(name=PRINTED, pos=site.pos, quat=site.quat)
        axes = np.array([[0.0, _HALF, _HALF], [1.0, 0.0, 0.0], [0.0, _HALF, -_HALF]])
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, axes.reshape(-1))
        geom = mount.add_geom(pos=AT_TOOL_M * axes[:, 2], quat=quaternion, **values)
    geom.contype = geom.conaffinity = 0
    geom.mass = 0.0
    return spec.compile()


def grained_table(seed: int) -> mujoco.MjModel:
    """The station on a tabletop with a grain: soft blotches as of wood, the same for the same seed."""
    rng = np.random.default_rng(seed)
    grain = sum(
        np.kron(rng.normal(0.0, 1.0, (512 // cell, 512 // cell)), np.ones((cell, cell))) for cell in (4, 8, 16, 32)
    )
    picture = np.clip(150.0 + 18.0 * grain, 0, 255).astype(np.uint8)
    return with_picture(picture, (1.4, 1.6), "table", lift_m=-0.0003)
