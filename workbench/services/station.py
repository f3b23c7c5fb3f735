"""Everything attached, running: what the window and the command line talk to. Owns the processes."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hardware.sim.remote import RemoteStation
from storage.evaluation import write_truth
from storage.layout import Home
from workbench.core.bus import Bus, Subscription
from workbench.core.chunks import PLAYED, chunk_spec
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import ChildEnded, Failed, TakeJudged, TrialScored
from workbench.core.files import new_id
from workbench.core.ring import Ring, runtime_directory, sweep_runtime_directory
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec
from workbench.services.background import Background
from workbench.services.capture import CameraStatus, ring_path
from workbench.services.driver import DriverStatus
from workbench.services.ending import DONE, Ending
from workbench.services.home_lock import HomeLock
from workbench.services.hosting import Child, Host
from workbench.services.recorder import RecorderStatus
from workbench.services.recovery import recover
from workbench.services.settings import Settings
from workbench.services.station_parts import addressed, chunk_steps

T = TypeVar("T")
_log = logging.getLogger(__name__)
_BEAT_S = 0.25
_PLAY_S = 40.0
RECORDED = ("observation.state", "action.wanted", "action.allowed", "action", "authority", "guard", PLAYED)


@dataclass(frozen=True, slots=True)
class StationStatus:
    """The whole station now."""

    cameras: tuple[CameraStatus, ...]
    recorder: RecorderStatus
    driver: DriverStatus
    simulated: bool
    free_bytes: int


class Station:
    """The running station. Methods return quickly and may be called from any one thread at a time.

    Long work (a played demonstration, a drive that ends by success) goes on in the background and tells the bus.
    """

    def __init__(self, home: Path, settings: Settings, *, threads: bool = False, bus: Bus | None = None) -> None:
        self.home = Home.open(home)
        self.bus = bus or Bus()
        self.settings = settings
        self.streams: dict[str, StreamSpec] = {}
        self._host = Host(self.bus, threads=threads)
        self._folder = runtime_directory() / f"{os.getpid()}-station-{new_id()[:12]}"
        self._children: dict[str, Child] = {}
        self._rings: dict[str, Ring] = {}
        self._chunks: Ring | None = None
        self._world: RemoteStation | None = None
        self._policy = ("", "rf")
        self._task, self._over = "", True
        self._success: bool | None = None
        self._snapshot = StationStatus((), RecorderStatus("idle"), DriverStatus("parked"), settings.simulated, 0)
        self._closing = threading.Event()
        self._background = Background(self.bus, self._closing)
        self._listening: list[Subscription] = []
        self._requests = threading.RLock()
        self._lock = HomeLock(self.home.path)

    def start(self) -> None:
        """Start simulation (if any), capture and arm; seal what a crash left. Takes seconds; raises WorkbenchError."""
        self._lock.take()
        sweep_runtime_directory()
        self._folder.mkdir(mode=0o700)
        try:
            self._start_children()
        except BaseException:
            self.close()
            raise
        self._listening.append(self.bus.subscribe(TakeJudged, self._judged))
        self._listening.append(self.bus.subscribe(ChildEnded, self._child_ended))
        self._background.run(self._watch, "station-watch")
        self._background.run(lambda: recover(self.home, self.bus), "station-doctor")

    def close(self) -> None:
        """Hold the arm, seal a take in progress, end every process. Safe to call twice."""
        self._closing.set()
        while self._listening:
            self._listening.pop().close()
        self._background.join()
        if self._world is not None:
            self._world.close()
        self._host.close()
        self._children.clear()
        for ring in (*self._rings.values(), *([self._chunks] if self._chunks else [])):
            ring.close()
        self._rings.clear()
        self._chunks = None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _start_children(self) -> None:
        settings = self.settings
        if settings.simulated:
            settings = self.settings = self._start_simulation(settings)
        common = {"home": str(self.home.path), "settings": settings.plain(), "folder": str(self._folder)}
        self._start_child("capture", "workbench.services.capture:main", **common)
        if settings.arm is not None:
            self._start_child("arm", "workbench.services.control:main", **common)
        for name in ("capture", "arm"):
            if name in self._children:
                self._children[name].call("status", timeout_s=90)
        for path in sorted(self._folder.glob("*.ring")):
            name = path.name.removesuffix(".ring")
            if name.startswith(("observation.", *RECORDED)):
                self._rings[name] = Ring.attach(path)
        self.streams = {name: ring.spec for name, ring in self._rings.items()}

    def _start_simulation(self, settings: Settings) -> Settings:
        """Start the simulated world; returns the settings with its address in every simulated device."""
        folder = self._folder / "world"
        cameras = [camera.options for camera in settings.cameras]
        self._start_child("simulation", "hardware.sim.server:main", folder=str(folder), seed=0, cameras=cameras)
        self._child("simulation").call("ready", timeout_s=90)
        self._world = RemoteStation(folder)
        return addressed(settings, str(folder))

    def _start_child(self, name: str, target: str, **values: Any) -> None:
        self._children[name] = self._host.start(name, target, **values)

    def status(self) -> StationStatus:
        """The newest snapshot, at most a quarter of a second old; never waits."""
        return self._snapshot

    def latest(self, stream: str) -> Frame | None:
        """A copy of the newest item of a stream, or None."""
        ring = self._rings.get(stream)
        return ring.latest() if ring is not None else None

    def start_take(self, task: str, kind: EpisodeKind, extra: dict[str, Any] | None = None) -> str:
        """Begin recording. Human takes hold cameras only; all others the arm's streams too."""
        instruction = self.settings.instruction(task)
        streams = [] if kind is EpisodeKind.HUMAN else [name for name in RECORDED if name in self._rings]
        episode_id: str = self._child("capture").call(
            "start_take", task=task, kind=str(kind), instruction=instruction, streams=streams, extra=extra
        )
        return episode_id

    def stop_take(self, outcome: Outcome = Outcome.UNLABELLED, extra: dict[str, Any] | None = None) -> str:
        """Seal the take in progress, with more to be kept in its manifest; returns its id."""
        episode_id: str = self._child("capture").call("stop_take", outcome=str(outcome), extra=extra)
        return episode_id

    def discard_take(self) -> None:
        """Move the take in progress to the trash."""
        self._child("capture").call("discard_take")

    # operating ------------------------------------------------------------------------------------------------------

    def operate(self) -> None:
        """Let the station's own teleoperation device drive."""
        self._ready()
        teleop = self.settings.teleop
        self._child("arm").call("operate", kind=teleop.kind, options=teleop.options)

    def set_keys(self, keys: frozenset[str]) -> None:
        """Teleoperation keys held down now; the first one makes the operator drive, with the keyboard."""
        if keys and self._snapshot.driver.state in ("parked", "ready", "holding"):
            self._ready()
            options = self.settings.teleop.options if self.settings.teleop.kind == "keyboard" else {}
            self._child("arm").call("operate", kind="keyboard", options=options)
        self._child("arm").call("set_keys", keys=keys)

    def play(self, task: str, kind: EpisodeKind) -> None:
        """Simulated station: the scripted operator or the simulated hand does the task once, recorded as a take."""
        self._simulation()
        self.settings.instruction(task)
        work = self._play_hand if kind is EpisodeKind.HUMAN else self._play_operator
        self._background.run(lambda: work(task), "station-play")

    def reset_scene(self, task: str, actor: str = "robot") -> None:
        """Simulated station: place the objects anew for a task; the arm is home afterwards."""
        self.settings.instruction(task)
        self.hold()
        self._simulation().reset(task, _seed(), actor)
        self._success = None

    # driving --------------------------------------------------------------------------------------------------------

    def load_policy(self, model_id: str, head: str = "rf") -> None:
        """Start the policy process for a model; it warms up while the arm waits."""
        folder = self.home.models / model_id
        if not (folder / "model.json").exists():
            raise WorkbenchError(f"there is no model '{model_id}'", "List them with `python main.py models list`")
        if self._policy == (model_id, head) and "policy" in self._children and self._child("policy").alive:
            return
        old = self._children.pop("policy", None)
        if old is not None:
            self.hold()
            old.stop()
        if self._chunks is not None:
            self._chunks.close()
        path = ring_path(self._folder, f"policy.{new_id()[-6:]}")
        self._chunks = Ring.create(path, chunk_spec(chunk_steps(self.home, model_id)))
        rings = {name: str(ring.path) for name, ring in self._rings.items()}
        self._start_child(
            "policy",
            "models.policy_worker:main",
            folder=str(folder),
            rings=rings,
            chunks=str(self._chunks.path),
            head=head,
        )
        self._policy = (model_id, head)

    def drive(self, task: str, *, record: bool = True) -> None:
        """Let the loaded policy do a task, recorded as a rollout, until success, hold, park or stop."""
        if self._chunks is None:
            raise StateError("no policy is loaded", "Choose a model first")
        instruction = self.settings.instruction(task)
        policy = self._child("policy")
        policy.call("set_task", instruction=instruction, timeout_s=60)
        policy.call("start", timeout_s=60)
        self._ready()
        self._task, self._success, self._over = task, None, False
        if record:
            self.start_take(task, EpisodeKind.ROLLOUT, {"model": self._policy[0], "head": self._policy[1]})
        self._child("arm").call("drive", chunks=str(self._chunks.path), policy_id=self._policy[0])
        self._background.run(self._supervise, "station-drive")

    def hold(self) -> None:
        """Stay where it is."""
        self._child("arm").call("hold", reason="the operator asked for it")

    def resume(self) -> None:
        """From ``holding``: drive on, from fresh observations only; a new attempt if the last is over."""
        if self._chunks is None:
            raise StateError("no policy is loaded", "Choose a model first")
        if self._over and self._task:
            self.drive(self._task)
        else:
            self._child("arm").call("drive", chunks=str(self._chunks.path), policy_id=self._policy[0])

    def park(self) -> None:
        """Go home slowly and stay."""
        self._child("arm").call("park")

    def stop(self) -> None:
        """Stop now; leaves only by ``clear_stop``."""
        self._child("arm").call("stop_arm", reason="the operator pressed stop")

    def clear_stop(self, operator: str = "") -> None:
        """A person's word that it is safe again; without a name, the station's operator or this computer's user."""
        self._child("arm").call("clear_stop", operator=operator or self.settings.operator or getpass.getuser())

    # background -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Tell the arm that somebody watches and poll the children; a part that fails is said once and shown."""
        said: dict[str, str] = {}
        while not self._closing.wait(_BEAT_S):
            driver = self._asked("arm", said, self._driver_status) or replace(
                self._snapshot.driver, state="offline", reason=said.get("arm", "this station has no arm")
            )
            cameras, recorder = self._asked("capture", said, self._capture_status) or (
                tuple(replace(camera, state="offline", error=said["capture"]) for camera in self._snapshot.cameras),
                replace(self._snapshot.recorder, state="faulted", error=said["capture"]),
            )
            driver = replace(driver, model_id=self._policy[0], task=self._task, success=self._success)
            self._snapshot = StationStatus(cameras, recorder, driver, self.settings.simulated, self.home.free_bytes())

    def _asked(self, name: str, said: dict[str, str], ask: Callable[[], T]) -> T | None:
        """What a child answers, or None; a new failure is published."""
        if name not in self._children:
            return None
        try:
            answer = ask()
        except WorkbenchError as error:
            if said.get(name) != str(error) and not self._closing.is_set():
                self.bus.publish(Failed(name, str(error)))
            said[name] = str(error)
            return None
        said.pop(name, None)
        return answer

    def _driver_status(self) -> DriverStatus:
        arm = self._child("arm")
        arm.call("beat", timeout_s=10)
        status: DriverStatus = arm.call("status", timeout_s=10)
        return status

    def _capture_status(self) -> tuple[tuple[CameraStatus, ...], RecorderStatus]:
        cameras, recorder = self._child("capture").call("status", timeout_s=10)
        return tuple(cameras), recorder

    def _play_operator(self, task: str) -> None:
        self.reset_scene(task)
        self._ready()
        options = {"address": self._simulation().address, "task": task, "seed": _seed()}
        self._child("arm").call("operate", kind="scripted", options=options)
        self._played(task, EpisodeKind.TELEOP, lambda: bool(self._child("arm").call("operated")))
        self.hold()

    def _play_hand(self, task: str) -> None:
        self.reset_scene(task, actor="human")
        world = self._simulation()
        world.start_hand(task, _seed())
        episode_id = self._played(task, EpisodeKind.HUMAN, world.hand_done)
        if episode_id:
            write_truth(self.home, episode_id, *world.hand_truth())
        world.stop_hand()

    def _played(self, task: str, kind: EpisodeKind, finished: Callable[[], bool]) -> str:
        """Record until finished; returns the take's id, "" if the station closed meanwhile (it seals the take)."""
        self.start_take(task, kind, {"played": True})
        end = time.monotonic() + _PLAY_S
        while time.monotonic() < end and not finished() and not self._closing.wait(0.05):
            pass
        if self._closing.is_set():
            return ""
        success = self._simulation().succeeded(task)
        return self.stop_take(Outcome.SUCCESS if success else Outcome.FAILURE)

    def _supervise(self) -> None:
        """During a drive: ask the simulated station for success; seal the take when the drive is over."""
        ending = Ending()
        while not (why := self._drive_is_over(ending)):
            if self._closing.wait(0.1):
                return
        self._over = True
        with contextlib.suppress(WorkbenchError):  # a policy that has died is said by the watch; the take is sealed
            self._child("policy").call("pause")
        if self._recording():
            judged = Outcome.SUCCESS if self._success else Outcome.FAILURE
            episode_id = self.stop_take(Outcome.UNLABELLED if ending.faulted else judged, {"ended_by": why})
            if not ending.faulted:
                self.bus.publish(TrialScored(self._task, bool(self._success), episode_id))

    def _drive_is_over(self, ending: Ending) -> str:
        """Why: success, park, stop, a fault, or that arm or world have died; "" while the drive goes on."""
        try:
            if self.settings.simulated and self._simulation().succeeded(self._task):
                self._success = True
                self._child("arm").call("hold", reason=DONE)
            return ending.look(self._child("arm").call("status"), bool(self._success), time.monotonic())
        except WorkbenchError as error:
            ending.faulted = True
            return error.what

    def _child_ended(self, event: ChildEnded) -> None:
        """Tell the arm at once, in the thread that noticed: it holds before the last plan has run out."""
        if event.name not in ("policy", "capture") or self._closing.is_set():
            return
        with contextlib.suppress(WorkbenchError):  # an arm that has ended too holds by itself
            self._child("arm").call("fail", reason=f"the {event.name} process has ended", timeout_s=5)

    def _recording(self) -> bool:
        _, recorder = self._child("capture").call("status")
        return bool(recorder.episode_id)

    def _judged(self, event: TakeJudged) -> None:
        """The operator pressed "success" or "failure" on the device: seal the take in progress, if there is one."""

        def seal() -> None:
            if self._recording():
                self.stop_take(Outcome(event.outcome))

        self._background.run(seal, "station-judged")

    def _ready(self) -> None:
        arm = self._child("arm")
        if arm.call("status").state == "parked":
            arm.call("ready")

    def _child(self, name: str) -> Child:
        if name not in self._children:
            hint = "Add [arm] to station.toml" if name == "arm" else "Start the station"
            raise WorkbenchError(f"the {name} is not running", hint)
        return self._children[name]

    def _simulation(self) -> RemoteStation:
        if self._world is None:
            raise WorkbenchError("no simulated world is running", "Only a simulated station can do that by itself")
        return self._world


def _seed() -> int:
    return int.from_bytes(os.urandom(3), "little")
