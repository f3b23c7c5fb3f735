"""Everything on the simulated table besides the robot: surfaces, objects, targets, the hand, cameras, light."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from hardware.sim.tasks import OBJECTS, TARGETS, SimObject, SimTarget

FRONT_EYE_M = (1.06, 0.0, 0.80)
FRONT_CENTRE_M = (0.455, 0.0, 0.035)
FRONT_FOVY_DEG = 26.5
DISTRACTORS = ("distractor_0", "distractor_1", "distractor_2")
HAND_PARTS = ("hand_palm", "hand_forearm", "hand_fingers_near", "hand_fingers_far", "hand_thumb_near", "hand_thumb_far")
FINGER_NEAR_M, FINGER_FAR_M = 0.040, 0.040
THUMB_NEAR_M, THUMB_FAR_M = 0.036, 0.034
_FINGER_RISE_M = (-0.004, 0.011, 0.026, 0.040)

_BOX, _CYLINDER, _CAPSULE = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE
_ELLIPSOID, _MESH = mujoco.mjtGeom.mjGEOM_ELLIPSOID, mujoco.mjtGeom.mjGEOM_MESH


def look_at(
    eye: Sequence[float] | NDArray[np.float64],
    centre: Sequence[float] | NDArray[np.float64],
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> NDArray[np.float64]:
    """Quaternion (w x y z) of a camera at ``eye`` that looks at ``centre``; MuJoCo cameras look along -z, y up."""
    back = np.asarray(eye, dtype=np.float64) - np.asarray(centre, dtype=np.float64)
    back /= np.linalg.norm(back)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    matrix = np.stack([right, np.cross(back, right), back], axis=1)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, matrix.reshape(-1))
    return quaternion


def add(spec: mujoco.MjSpec, table_bits: int, thing_bits: int) -> None:
    """Add it all to the arm's description. The bits say what collides: objects with table, targets, pads, objects."""
    world = spec.worldbody
    _add_surroundings(spec, table_bits, thing_bits)
    for number, thing in enumerate(OBJECTS.values()):
        _add_object(spec, thing, number, thing_bits)
    for number, target in enumerate(TARGETS.values()):
        _add_target(world, target, number, thing_bits)
    for number, name in enumerate(DISTRACTORS):
        body = world.add_body(name=name, mocap=True, pos=[-2.0, number, -1.0])
        shape, size = (_BOX, [0.03, 0.018, 0.05]) if number % 2 else (_CYLINDER, [0.025, 0.035, 0.0])
        body.add_geom(name=name, type=shape, size=size, pos=[0, 0, 0.04], contype=0, conaffinity=0)
    _add_hand(world)


def _add_surroundings(spec: mujoco.MjSpec, table_bits: int, thing_bits: int) -> None:
    world = spec.worldbody
    table = world.add_geom(name="table", type=_BOX, pos=[0.45, 0, -0.02], size=[0.75, 0.85, 0.02])
    table.contype, table.conaffinity = table_bits, thing_bits
    table.friction, table.condim = [0.9, 0.01, 0.0003], 4
    light = world.add_light(name="lamp", pos=[0.6, -0.4, 2.0], dir=[-0.1, 0.25, -1.0], castshadow=False)
    light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    light.diffuse, light.ambient, light.specular = [0.55] * 3, [0.42] * 3, [0.05] * 3
    spec.visual.headlight.active = 0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 8.0
    spec.stat.extent, spec.stat.center = 1.0, [0.45, 0, 0]
    world.add_camera(name="front", pos=FRONT_EYE_M, quat=look_at(FRONT_EYE_M, FRONT_CENTRE_M), fovy=FRONT_FOVY_DEG)


def _add_object(spec: mujoco.MjSpec, thing: SimObject, number: int, bits: int) -> None:
    body = spec.worldbody.add_body(name=thing.name, pos=[-2.0, 0.3 * number, -1.0])
    body.add_freejoint(name=thing.name)
    half_x, half_y, half_z = thing.size_m
    geom = body.add_geom(name=thing.name, rgba=[*thing.rgb, 1.0], mass=0.06)
    if thing.shape == "box":
        geom.type, geom.size = _BOX, [half_x, half_y, half_z]
    elif thing.shape == "cylinder":
        geom.type, geom.size = _CYLINDER, [half_x, half_z, 0.0]
    else:
        angles = np.arange(6) * np.pi / 3
        ring = np.stack([half_x * np.cos(angles), half_x * np.sin(angles)], axis=1)
        points = np.concatenate([np.c_[ring, np.full(6, z)] for z in (-half_z, half_z)])
        spec.add_mesh(name=thing.name, uservert=points.reshape(-1).tolist())
        geom.type, geom.meshname = _MESH, thing.name
    geom.contype = geom.conaffinity = bits
    geom.friction, geom.condim = [1.0, 0.01, 0.0003], 4


def _add_target(world: mujoco.MjsBody, target: SimTarget, number: int, bits: int) -> None:
    body = world.add_body(name=target.name, mocap=True, pos=[-2.0, 0.3 * number, -2.0])
    radius, half = target.radius_m, target.thickness_m / 2

    def part(**values: object) -> None:
        geom = body.add_geom(rgba=[*target.rgb, 1.0], **values)
        geom.contype = geom.conaffinity = bits
        geom.friction, geom.condim = [1.0, 0.01, 0.0003], 4

    if target.shape == "plate":
        part(name=target.name, type=_CYLINDER, size=[radius, half, 0], pos=[0, 0, half])
        return
    part(name=target.name, type=_BOX, size=[radius, radius, half], pos=[0, 0, half])
    if target.shape == "tray":
        wide, thin, rim = radius, 0.0035, 0.005
        for sign in (-1, 1):
            part(type=_BOX, size=[wide, thin, rim], pos=[0, sign * (radius - thin), rim])
            part(type=_BOX, size=[thin, wide, rim], pos=[sign * (radius - thin), 0, rim])


def _add_hand(world: mujoco.MjsBody) -> None:
    """Six bodies that ``hand.py`` moves; they touch nothing. Each limb points along its own z axis."""
    part = {name: world.add_body(name=name, mocap=True, pos=[-2.0, 0.2 * i, -3.0]) for i, name in enumerate(HAND_PARTS)}

    def limb(body: str, name: str, radius: float, length: float, at: tuple[float, float] = (0.0, 0.0)) -> None:
        ends = [at[0], at[1], 0.0, at[0], at[1], length]
        geom = part[body].add_geom(name=name, type=_CAPSULE, fromto=ends, size=[radius, 0, 0])
        geom.contype = geom.conaffinity = 0

    palm = part["hand_palm"].add_geom(name="skin_palm", type=_ELLIPSOID, size=[0.026, 0.044, 0.044], pos=[0, 0, 0])
    palm.contype = palm.conaffinity = 0
    limb("hand_forearm", "skin_wrist", 0.025, 0.10)
    part["hand_forearm"].add_geom(
        name="sleeve", type=_CAPSULE, fromto=[0, 0, 0.09, 0, 0, 0.50], size=[0.042, 0, 0], contype=0, conaffinity=0
    )
    for number, rise in enumerate(_FINGER_RISE_M):
        limb("hand_fingers_near", f"skin_finger_near_{number}", 0.0088, FINGER_NEAR_M, (rise, 0.0))
        limb("hand_fingers_far", f"skin_finger_far_{number}", 0.0080, FINGER_FAR_M, (rise, 0.0))
    limb("hand_thumb_near", "skin_thumb_near", 0.0115, THUMB_NEAR_M)
    limb("hand_thumb_far", "skin_thumb_far", 0.0100, THUMB_FAR_M)
