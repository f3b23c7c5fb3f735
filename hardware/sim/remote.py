"""The other end of ``server.py``: pictures and arm through rings, words through a socket, all in one folder."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraInfo
from hardware.sim.exposure import Exposure
from hardware.sim.tasks import OBJECTS, TARGETS
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.files import read_json
from workbench.core.ring import Ring
from workbench.core.types import ArmCommand, ArmState, Pose, StreamSpec

SOCKET, KEY_FILE, CAMERAS_FILE = "words.sock", "words.key", "cameras.json"
ARM_STATE = StreamSpec("arm.state", (21,), "float64", unit="SI", rate_hz=200.0)
ARM_COMMAND = StreamSpec("arm.command", (8,), "float64", unit="SI", rate_hz=100.0)
SCENE_NAMES = (*OBJECTS, *TARGETS)
SCENE = StreamSpec("scene", (len(SCENE_NAMES), 3), "float64", unit="m", rate_hz=50.0)
_LOST_AFTER_S = 3.0
_POLL_S = 0.001
_ANSWER_S = 30.0


def ring_path(folder: Path, stream: str) -> Path:
    return folder / f"{stream}.ring"


class RemoteStation:
    """A station in another process or thread. Rings are attached when first needed; thread-safe except for feeds."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self._folder = folder
        if not (folder / CAMERAS_FILE).exists():
            raise DeviceError(f"no simulated station runs in {folder}", "Start the station first")
        self._rings: dict[str, Ring] = {}
        self._words: Connection | None = None
        self._lock = threading.Lock()

    def reset(self, task: str, seed: int, actor: str = "robot", look: str = "") -> None:
        """Lay the table anew; ``look`` "randomised" draws another robot's look."""
        self.ask("reset", task=task, seed=seed, actor=actor, look=look)

    def succeeded(self, task: str) -> bool:
        return bool(self.ask("succeeded", task=task))

    def start_hand(self, task: str, seed: int) -> None:
        """A simulated person does the task once, from now on."""
        self.ask("start_hand", task=task, seed=seed)

    def stop_hand(self) -> None:
        self.ask("stop_hand")

    def hand_done(self) -> bool:
        return bool(self.ask("hand_done"))

    def hand_truth(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(T,) host ns and (T, 8) true poses of the hand since it started; for evaluation only."""
        times, poses = self.ask("hand_truth")
        return times, poses

    def scene(self) -> Mapping[str, NDArray[np.float64]]:
        """Positions of what is in play, from a ring: never blocks."""
        frame = self._ring(SCENE).latest()
        if frame is None:
            return {}
        return {name: row for name, row in zip(SCENE_NAMES, frame.data) if np.all(np.isfinite(row))}

    def arm_state(self) -> ArmState:
        frame = self._ring(ARM_STATE).latest()
        if frame is None or time.monotonic_ns() - frame.t_host_ns > _LOST_AFTER_S * 1e9:
            raise DeviceError("the simulated arm does not answer", "Restart the station")
        values = frame.data
        pose = Pose(values[13:16].copy(), values[16:20].copy())
        mode = "position" if values[20] == 0.0 else "hold"
        return ArmState(frame.t_device_ns, frame.t_host_ns, values[:6], values[6:12], float(values[12]), pose, mode)

    def arm_command(self, command: ArmCommand) -> None:
        item = np.append(command.joints_rad, [command.gripper, 0.0])
        self._send(item, command.expires_ns)

    def arm_hold(self) -> None:
        self._send(np.append(np.zeros(7), 1.0), 0)

    def _send(self, item: NDArray[np.float64], expires_ns: int) -> None:
        ring = self._ring(ARM_COMMAND)
        ring.write(item, sequence=ring.written, t_device_ns=time.monotonic_ns(), t_host_ns=expires_ns)

    def feed(self, camera: str, width: int, height: int, depth: bool, rate_hz: float) -> RemoteFeed:
        """Follow a camera that the server was started with."""
        known = {entry["camera"]: entry for entry in read_json(self._folder / CAMERAS_FILE)}
        entry = known.get(camera)
        if entry is None or (entry["width"], entry["height"]) != (width, height) or (depth and not entry["depth"]):
            raise DeviceError(
                f"the simulated station has no '{camera}' camera of {width}x{height}", "Restart the station"
            )
        return RemoteFeed(self._folder, entry, depth)

    def ask(self, word: str, **values: Any) -> Any:
        """One request, one answer. Raises WorkbenchError with what the server said, DeviceError when it is gone."""
        with self._lock:
            try:
                if self._words is None:
                    key = (self._folder / KEY_FILE).read_bytes()
                    self._words = Client(str(self._folder / SOCKET), "AF_UNIX", authkey=key)
                self._words.send((word, values))
                if not self._words.poll(_ANSWER_S):
                    raise OSError(f"no answer to '{word}' in {_ANSWER_S:.0f} s")
                kind, answer = self._words.recv()
            except (OSError, EOFError) as error:
                self._hang_up()
                raise DeviceError(f"the simulated station has ended ({error})", "Restart the station") from error
        if kind == "error":
            raise WorkbenchError(*answer)
        return answer

    def _ring(self, spec: StreamSpec) -> Ring:
        ring = self._rings.get(spec.name)
        if ring is None:
            try:
                ring = self._rings[spec.name] = Ring.attach(ring_path(self._folder, spec.name))
            except WorkbenchError as error:
                raise DeviceError(error.what, error.next_step) from error
        return ring

    def close(self) -> None:
        """Let go of rings and socket; safe to call twice."""
        while self._rings:
            self._rings.popitem()[1].close()
        with self._lock:
            self._hang_up()

    def _hang_up(self) -> None:
        words, self._words = self._words, None
        if words is not None:
            with contextlib.suppress(OSError):  # broken already
                words.close()


class RemoteFeed:
    """A camera's rings. Read in one thread."""

    def __init__(self, folder: Path, entry: dict[str, Any], depth: bool) -> None:
        self.info = CameraInfo("simulated", entry["serial"], "system", entry["intrinsics"], entry["pose"])
        self._rgb = self._depth = None
        try:
            self._rgb = Ring.attach(ring_path(folder, f"rgb.{entry['camera']}"))
            self._depth = Ring.attach(ring_path(folder, f"depth.{entry['camera']}")) if depth else None
        except WorkbenchError as error:
            self.close()
            raise DeviceError(error.what, error.next_step) from error
        self._next = self._rgb.written
        self._heard_s = time.monotonic()

    def read(self, timeout_s: float) -> Exposure | None:
        """The next exposure; DeviceError after three silent seconds."""
        until = time.monotonic() + timeout_s
        while self._rgb is not None:
            found = self._take()
            if found is not None:
                self._heard_s = time.monotonic()
                return found
            if time.monotonic() - self._heard_s > _LOST_AFTER_S:
                raise DeviceError("the simulated camera is silent", "Restart the station")
            if time.monotonic() >= until:
                return None
            time.sleep(_POLL_S)
        raise DeviceError("the simulated camera is closed", "Open it first")

    def _take(self) -> Exposure | None:
        """The oldest exposure not yet taken, skipping what the ring has already lost."""
        if self._rgb is None or self._rgb.written <= self._next:
            return None
        self._next = max(self._next, self._rgb.written - self._rgb.slots + 2)
        index = self._next
        self._next += 1
        frame = self._rgb.read(index)
        shade = self._depth.read(index) if self._depth is not None else None
        if frame is None or (self._depth is not None and shade is None):
            return None
        return Exposure(frame.sequence, frame.t_host_ns, frame.data, shade.data if shade else None)

    def close(self) -> None:
        for ring in (self._rgb, self._depth):
            if ring is not None:
                ring.close()
        self._rgb = self._depth = None
