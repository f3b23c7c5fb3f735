"""The running parts of a station: processes, rings, takes, and the watch over them."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hardware.sim.remote import RemoteStation
from storage.layout import Home
from workbench.core.bus import Bus, Subscription
from workbench.core.chunks import PLAYED
from workbench.core.errors import WorkbenchError
from workbench.core.events import ChildEnded, Failed, TakeJudged
from workbench.core.files import new_id
from workbench.core.ring import Ring, runtime_directory, sweep_runtime_directory
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec
from workbench.services.attempt import Attempt
from workbench.services.background import Background
from workbench.services.capture import CameraStatus
from workbench.services.driver import DriverStatus
from workbench.services.home_lock import HomeLock
from workbench.services.hosting import Child, Host
from workbench.services.recorder import RecorderStatus
from workbench.services.recovery import recover
from workbench.services.settings import Settings
from workbench.services.station_parts import SIMULATED, addressed

T = TypeVar("T")
_BEAT_S = 0.25
LAST_S = 30.0
RECORDED = ("observation.state", "action.wanted", "action.allowed", "action", "authority", "guard", PLAYED)


@dataclass(frozen=True, slots=True)
class StationStatus:
    """The whole station now."""

    cameras: tuple[CameraStatus, ...]
    recorder: RecorderStatus
    driver: DriverStatus
    simulated: bool
    free_bytes: int


class StationCore:
    """What every use of a station stands on. See ``Station``, which people use."""

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
        self._ended = ("", True)
        self._attempt: Attempt | None = None
        self._blind = False
        self._scene = 0
        self._hints: tuple[str, ...] = ()
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
        self._background.run(self._beat, "station-beat")
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

    def stop_take(
        self, outcome: Outcome = Outcome.UNLABELLED, extra: dict[str, Any] | None = None, notes: str = ""
    ) -> str:
        """Seal the take in progress, with more to be kept in its manifest; returns its id."""
        episode_id: str = self._child("capture").call("stop_take", outcome=str(outcome), extra=extra, notes=notes)
        return episode_id

    def discard_take(self) -> None:
        """Move the take in progress to the trash."""
        self._child("capture").call("discard_take")

    def save_last(self, task: str, seconds: float = LAST_S, kind: EpisodeKind = EpisodeKind.TELEOP) -> str:
        """Save what happened in the last seconds though nobody recorded it, as a take; returns its id.

        StateError if a take is being recorded, or if the settings say that nothing is remembered.
        """
        episode_id: str = self._child("capture").call(
            "save_last",
            timeout_s=60,
            seconds=seconds,
            task=task,
            kind=str(kind),
            instruction=self.settings.instruction(task),
        )
        return episode_id

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
        self._child("capture").call("remember", streams=[name for name in RECORDED if name in self._rings])

    def _start_simulation(self, settings: Settings) -> Settings:
        """Start the simulated world; returns the settings with its address in every simulated device."""
        folder = self._folder / "world"
        cameras = [camera.options for camera in settings.cameras if camera.kind == SIMULATED]
        self._start_child("simulation", "hardware.sim.server:main", folder=str(folder), seed=0, cameras=cameras)
        self._child("simulation").call("ready", timeout_s=90)
        self._world = RemoteStation(folder)
        return addressed(settings, str(folder))

    def _start_child(self, name: str, target: str, **values: Any) -> None:
        self._children[name] = self._host.start(name, target, **values)

    def _watch(self) -> None:
        """Poll the children; a part that fails is said once and shown."""
        said: dict[str, str] = {}
        while not self._closing.wait(_BEAT_S):
            driver = self._asked("arm", said, self._driver_status) or replace(
                self._snapshot.driver, state="offline", reason=said.get("arm", "this station has no arm")
            )
            cameras, recorder = self._asked("capture", said, self._capture_status) or (
                tuple(replace(camera, state="offline", error=said["capture"]) for camera in self._snapshot.cameras),
                replace(self._snapshot.recorder, state="faulted", error=said["capture"]),
            )
            model_id = "" if self._blind else self._policy[0]
            driver = replace(driver, model_id=model_id, task=self._task, success=self._success, hints=self._hints)
            self._snapshot = StationStatus(cameras, recorder, driver, self.settings.simulated, self.home.free_bytes())

    def _beat(self) -> None:
        """Tell the arm that somebody watches; apart from the watch, which waits while capture seals a long take."""
        while not self._closing.wait(_BEAT_S):
            if "arm" in self._children:
                with contextlib.suppress(WorkbenchError):  # the watch says what is wrong with it
                    self._child("arm").call("beat", timeout_s=10)

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
        status: DriverStatus = self._child("arm").call("status", timeout_s=10)
        return status

    def _capture_status(self) -> tuple[tuple[CameraStatus, ...], RecorderStatus]:
        cameras, recorder = self._child("capture").call("status", timeout_s=10)
        return tuple(cameras), recorder

    def _child_ended(self, event: ChildEnded) -> None:
        """Tell the arm at once, in the thread that noticed: it holds before the last plan has run out."""
        if event.name not in ("policy", "capture") or self._closing.is_set():
            return
        with contextlib.suppress(WorkbenchError):  # an arm that has ended too holds by itself
            self._child("arm").call("fail", reason=f"the {event.name} process has ended", timeout_s=5)

    def _recording(self) -> bool:
        return bool(self._recorder().episode_id)

    def _recorder(self) -> RecorderStatus:
        _, recorder = self._child("capture").call("status")
        return recorder  # type: ignore[no-any-return]

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
