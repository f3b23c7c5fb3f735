"""Where the pictures of a calibration come from: the simulated arm by itself, or a person who moves the real one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.arm import ARMS, Arm, Limits
from hardware.calibration import Mount, difference, pose_matrix
from hardware.camera import CAMERAS
from hardware.charuco import Board
from hardware.rigid import inverse, quaternion, rotation, turn
from hardware.sim.board import with_picture
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.link import LocalStation
from hardware.sim.render import SceneRenderer
from hardware.sim.stance import HOME_TOOL_M, TOOL_DOWN_WXYZ
from hardware.sim.world import World
from workbench.core.clock import LockstepClock
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import ArmState, Pose, TeleopAction
from workbench.services.calibrate import Calibration, Taken
from workbench.services.driver import Driver, arm_streams
from workbench.services.settings import Settings

Picture = NDArray[np.uint8]
_HZ = 50.0
_STEP_RAD = 0.25
_ARRIVED_RAD = 0.003
_PATIENCE_S = 6.0
_SPREAD_M, _SPREAD_RAD = (0.05, 0.09, 0.05), 0.45
_ABOVE_BOARD_M = (0.51, 0.0, 0.26)


class _Guide:
    """Leads the arm to joint positions; everything it asks for passes the guard."""

    goal: NDArray[np.float64]

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction:
        way = np.clip(self.goal - state.joints_rad, -_STEP_RAD, _STEP_RAD)
        return TeleopAction(np.zeros(3), np.zeros(3), 1.0, joints_rad=state.joints_rad + way)


class SimulatedRig:
    """The simulated station in lockstep with a board in it: on the table, or held by the gripper.

    Args:
        camera: ``front`` or ``wrist``.
        limits: the guard's; the arm goes nowhere that they do not allow.
    """

    def __init__(self, camera: str, board: Board, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.mount: Mount = "base" if camera == "front" else "tool"
        model = with_picture(board.picture(), board.size_m, "tool" if self.mount == "base" else "table")
        self._clock, self._world = LockstepClock(10**9), World(0, model)
        self._world.clear()
        self._station = LocalStation(self._world, self._clock)
        self.arm: Arm = ARMS.build("simulated", address=self._station.address)
        self.arm.connect()
        self._rings = {s.name: Ring.create(folder / s.name, s, 512) for s in arm_streams(self.arm.joints, _HZ)}
        self.driver = Driver(self.arm, limits, self._rings, self._clock, 1 / _HZ)
        self._renderer = SceneRenderer(camera, 640, 480, model=model)
        self._guide = _Guide()
        self._kinematics = self.arm.kinematics()
        self.driver.ready()
        self.driver.operate(self._guide)

    @property
    def optics(self) -> dict[str, Any]:
        """The camera's intrinsics."""
        return dict(self._renderer.intrinsics())

    def poses(self, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Tool positions and orientations to try, without end."""
        rng = np.random.default_rng(seed)
        middle = np.array(HOME_TOOL_M if self.mount == "base" else _ABOVE_BOARD_M)
        while True:
            tilt = rotation(rng.uniform(-_SPREAD_RAD, _SPREAD_RAD, 3))
            yield middle + rng.uniform(-1, 1, 3) * _SPREAD_M, quaternion(tilt @ turn(np.array(TOOL_DOWN_WXYZ)))

    def go(self, position_m: NDArray[np.float64], quaternion_wxyz: NDArray[np.float64]) -> bool:
        """Bring the tool there through the guard and let it settle; False if limits or reach forbid it."""
        goal = self._kinematics.solve(self.arm.read().joints_rad, position_m, quaternion_wxyz)
        reached, _ = self._kinematics.pose(goal)
        if float(np.linalg.norm(reached - position_m)) > 0.01:
            return False
        self._guide.goal = goal
        for _ in range(round(_PATIENCE_S * _HZ)):
            self._tick()
            state = self.arm.read()
            arrived = float(np.abs(state.joints_rad - goal).max()) < _ARRIVED_RAD
            if arrived and float(np.abs(state.velocities_rad_s).max()) < 1e-3:
                return True
        return False

    def look(self) -> tuple[Picture, Pose]:
        """A picture, and where the tool is by what the arm measures."""
        return self._renderer.render(self._world.snapshot())[0], self.arm.read().pose

    def truth(self) -> NDArray[np.float64]:
        """(4, 4) where the camera really is, in the frame that the calibration answers in."""
        camera, tool = self._renderer.pose(self._world.snapshot()), self.arm.read().pose
        if self.mount == "base":
            return camera
        return inverse(pose_matrix(tool.position_m, tool.quaternion_wxyz)) @ camera

    def sent(self) -> NDArray[np.float64]:
        """(T, N) the joint commands of the last ten seconds."""
        ring, count = self._rings["action"], self.arm.joints
        frames = [ring.read(i) for i in range(max(0, ring.written - ring.slots), ring.written)]
        return np.array([frame.data[:count] for frame in frames if frame is not None], float)

    def _tick(self) -> None:
        self.driver.tick()
        self._world.step(1 / _HZ)
        self._clock.advance_ns(round(1e9 / _HZ))

    def close(self) -> None:
        """Let go of everything."""
        self._renderer.close()
        self._station.close()
        self.arm.close()
        for ring in self._rings.values():
            ring.close()


@contextmanager
def simulated_rig(camera: str, board: Board, limits: Limits = DEFAULT_LIMITS) -> Iterator[SimulatedRig]:
    """A rig in a folder of its own, closed on leaving."""
    with tempfile.TemporaryDirectory(prefix="clap-calibration-") as folder:
        rig = SimulatedRig(camera, board, Path(folder), limits)
        try:
            yield rig
        finally:
            rig.close()


def calibrate_simulated(
    camera: str, views: int, seed: int, step: Callable[[int, int], None], limits: Limits = DEFAULT_LIMITS
) -> tuple[Calibration, dict[str, float]]:
    """The simulated arm moves by itself until ``views`` pictures show the board; solved. Its errors against truth."""
    board = Board()
    with simulated_rig(camera, board, limits) as rig:
        calibration = Calibration(camera, "simulated", f"sim-{camera}", rig.optics, rig.mount, board)
        for tried, (position_m, quaternion_wxyz) in enumerate(rig.poses(seed)):
            if len(calibration.views) >= views:
                break
            if tried > 8 * views:
                raise WorkbenchError(f"the board was seen {len(calibration.views)} times only", "Widen [limits]")
            if rig.go(position_m, quaternion_wxyz):
                calibration.take(*rig.look())
                step(len(calibration.views), views)
        solution = calibration.solve()
        off_mm, off_deg = difference(solution.pose, rig.truth())
    return calibration, {"error_mm": round(off_mm, 3), "error_deg": round(off_deg, 4)}


def calibrate_by_hand(
    settings: Settings, name: str, mount: Mount, board: Board, again: Callable[[Taken | None], bool]
) -> Calibration:
    """A person moves the real arm with its own pendant or by hand; nothing is sent to it.

    Args:
        again: told what became of the last picture (None before the first); returns when the arm stands still, with
            False when there are enough.
    """
    entry = next((camera for camera in settings.cameras if camera.name == name), None)
    if entry is None or settings.arm is None:
        raise WorkbenchError(f"this station has no camera '{name}' beside an arm", "Look at station.toml")
    with ExitStack() as stack:
        arm: Arm = ARMS.build(settings.arm.kind, **settings.arm.options)
        stack.callback(arm.close)
        arm.connect()
        camera = CAMERAS.build(entry.kind, name=entry.name, **entry.options)
        stack.callback(camera.close)
        info = camera.open()
        calibration = Calibration(name, info.kind, info.serial, info.intrinsics.get("color", {}), mount, board)
        taken: Taken | None = None
        while again(taken):
            taken = calibration.take(_fresh_picture(camera, name), arm.read().pose)
        calibration.solve()
    return calibration


def _fresh_picture(camera: Any, name: str) -> Picture:
    """A picture that was exposed after this call began."""
    asked_ns, until_s = time.monotonic_ns(), time.monotonic() + 5.0
    while time.monotonic() < until_s:
        shot = camera.read(1.0)
        if shot is not None and shot.t_host_ns >= asked_ns:
            picture: Picture = shot.images[f"observation.images.{name}"]
            return picture
    raise DeviceError(f"camera '{name}' shows nothing new", "Look at its cable")
