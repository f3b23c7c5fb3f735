"""The simulated station as fast as the machine: device time is simulated time and the world waits for the recorder.

Everything but the clock is what a real station uses: camera threads, rings, the recorder, the driver with its guard,
the teleoperation interface and the policy worker.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hardware.arm import ARMS
from hardware.sim.hand import HumanHand
from hardware.sim.link import LocalStation
from hardware.sim.look import Look
from hardware.sim.situations import situation
from hardware.sim.tasks import TASKS
from hardware.sim.world import World
from hardware.teleop import TELEOPS
from storage.evaluation import write_truth
from storage.layout import Home
from workbench.core.chunks import PLAYED, TOKENS_EXECUTE_S, Blend
from workbench.core.clock import LockstepClock
from workbench.core.errors import WorkbenchError
from workbench.core.files import new_id
from workbench.core.ring import Ring, runtime_directory
from workbench.core.states import DriverState
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.capture import Capture, ring_path
from workbench.services.driver import Driver, arm_streams
from workbench.services.hosting import Child, Host
from workbench.services.inference import Playback
from workbench.services.lockstep_station import station_settings
from workbench.services.onlooker import Onlooker
from workbench.services.remote_policy import REMOTE_MAIN, child_values, fail_with, is_remote
from workbench.services.settings import PolicySettings
from workbench.services.slow_policy import SlowPolicy

_START_NS = 1_000_000_000
_STALL_S = 60.0


@dataclass(frozen=True, slots=True)
class LockstepSettings:
    """Rates and sizes of lockstep recording.

    Attributes:
        camera_hz: exposures per simulated second; also the rate of the takes' rows.
        control_hz: control ticks per simulated second.
        execute_s: simulated seconds of a policy's chunk that are executed before it is asked again; the token head is
            asked no sooner than after ``TOKENS_EXECUTE_S``.
        latency_s: simulated seconds from the observation until the arm has the chunk; meanwhile nothing else is asked.
        blend: how successive chunks are joined.
        depth: record the front camera's depth too.
        policy: how a policy server is asked, for jobs whose model is the address of one.
    """

    camera_hz: float = 10.0
    control_hz: float = 50.0
    front_px: tuple[int, int] = (160, 120)
    wrist_px: tuple[int, int] = (96, 72)
    depth: bool = True
    max_s: float = 14.0
    execute_s: float = 0.2
    latency_s: float = 0.0
    blend: Blend = Blend.FADE
    policy: PolicySettings = field(default_factory=PolicySettings)


def paced(settings: LockstepSettings, head: str) -> LockstepSettings:
    """How a head is asked: the token head no sooner than after ``TOKENS_EXECUTE_S``."""
    slowly = head == "ntp" and settings.execute_s < TOKENS_EXECUTE_S
    return replace(settings, execute_s=TOKENS_EXECUTE_S) if slowly else settings


@dataclass(frozen=True, slots=True)
class LockstepJob:
    """One take to make.

    Attributes:
        kind: ``demonstration`` (scripted operator through teleoperation), ``human`` (simulated hand) or ``rollout``.
        randomised: random colours of arm, table and light instead of the station's usual look.
        situation: name of one of ``hardware.sim.situations`` to begin in, "" for the usual start.
        corrected: rollouts: an onlooker takes over when nothing comes of it, and finishes the task.
    """

    kind: str
    task: str
    seed: int
    model_id: str = ""
    head: str = "rf"
    randomised: bool = False
    situation: str = ""
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class TakeResult:
    """What became of a job. ``episode_id`` is "" when nothing was recorded; ``message`` says why.

    ``corrected_s``: for how long an onlooker moved the arm; ``success`` is then not the policy's alone.
    """

    job: LockstepJob
    episode_id: str
    success: bool
    seconds: float
    message: str = ""
    latency_ms: float = 0.0
    corrected_s: float = 0.0


class LockstepSession:
    """One worker's world with everything attached. Not thread-safe; close it."""

    def __init__(self, home: Path, settings: LockstepSettings) -> None:
        self.home = Home.open(home)
        self._settings = settings
        self._folder = runtime_directory() / f"{os.getpid()}-lockstep-{new_id()[:12]}"
        self._folder.mkdir(mode=0o700)
        self._clock = LockstepClock(_START_NS)
        self._world = World()
        self._station = LocalStation(self._world, self._clock)
        self._arm = ARMS.build("simulated", address=self._station.address)
        self._arm.connect()
        specs = arm_streams(self._arm.joints, settings.control_hz)
        self._rings = {spec.name: Ring.create(ring_path(self._folder, spec.name), spec, 256) for spec in specs}
        self._plain = station_settings(self._station.address, settings)
        self._capture = Capture(self.home, self._plain, self._folder, lambda _event: None, sync=False)
        self._host = Host(threads=True)
        self._policies: dict[tuple[str, str], Child] = {}
        try:
            self._await_cameras()
        except BaseException:
            self.close()
            raise

    def run(self, job: LockstepJob) -> TakeResult:
        """Make one take; a failure of one is a result, not an exception."""
        started = time.monotonic()
        makers = {"demonstration": self._demonstration, "human": self._human, "rollout": self._rollout}
        try:
            result = makers[job.kind](job)
        except WorkbenchError as error:
            if self._capture.recorder.status().episode_id:
                self._capture.recorder.discard()
            result = TakeResult(job, "", False, 0.0, str(error))
        return replace(result, seconds=time.monotonic() - started)

    def close(self) -> None:
        """End threads and remove rings. Closing the station wakes the cameras' threads from their wait."""
        self._host.close()
        for camera in self._capture.cameras:
            camera.end()
        self._station.close()
        self._capture.close()
        self._arm.close()
        for ring in self._rings.values():
            ring.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # the three kinds of take ----------------------------------------------------------------------------------------

    def _demonstration(self, job: LockstepJob) -> TakeResult:
        driver = self._begin(job, actor="robot")
        address = self._station.address
        teleop = TELEOPS.build("scripted", address=address, task=job.task, seed=job.seed)
        teleop.open()
        driver.operate(teleop)
        self._start_take(job, EpisodeKind.TELEOP, list(self._rings))
        self._run_ticks(driver, lambda: bool(getattr(teleop, "done", False)))
        teleop.close()
        success = self._world.succeeded(job.task)
        if not success:
            self._capture.recorder.discard()
            return TakeResult(job, "", False, 0.0, "the scripted operator failed; the take went to the trash")
        return TakeResult(job, self._capture.stop_take(Outcome.SUCCESS), True, 0.0)

    def _human(self, job: LockstepJob) -> TakeResult:
        self._begin(job, actor="human")
        hand = HumanHand(job.task, job.seed)
        self._start_take(job, EpisodeKind.HUMAN, [])
        times, poses = [], []
        period_s = 1.0 / self._settings.camera_hz
        for _ in range(int(self._settings.max_s / period_s)):
            self._expose()
            times.append(self._clock.now_ns())
            poses.append(hand.true_pose())
            if hand.done:
                break
            hand.step(self._world, period_s)
            self._clock.advance_ns(round(period_s * 1e9))
        success = self._world.succeeded(job.task)
        episode_id = self._capture.stop_take(Outcome.SUCCESS if success else Outcome.FAILURE)
        write_truth(self.home, episode_id, np.array(times, np.int64), np.array(poses))
        return TakeResult(job, episode_id, success, 0.0)

    def _rollout(self, job: LockstepJob) -> TakeResult:
        policy = self._policy(job)
        policy.call("set_task", instruction=TASKS[job.task].instruction, timeout_s=120)
        driver = self._begin(job, actor="robot")
        self._start_take(job, EpisodeKind.ROLLOUT, list(self._rings))
        asking = SlowPolicy(policy, self._clock, self._rings[PLAYED], paced(self._settings, job.head))
        driver.drive(asking.newest)
        broken: list[str] = []
        think = asking.think if not is_remote(job.model_id) else lambda: fail_with(driver, asking.think, broken)
        onlooker = Onlooker(self._world, job.task, self._clock) if job.corrected else None
        self._run_ticks(driver, lambda: self._seen_enough(job, onlooker), think)
        if broken:  # the server's failure, not the policy's: kept, not counted
            self._capture.stop_take(Outcome.UNLABELLED, {"ended_by": broken[0]})
            return TakeResult(job, "", False, 0.0, broken[0])
        correction = self._correct(driver, job) if onlooker is not None else {}
        success = self._world.succeeded(job.task)
        reason = driver.status().reason
        latency_ms = asking.latency_ms()
        extra: dict[str, Any] = {"latency_ms_p50": latency_ms, "plan_change_m_s": asking.plan_change_m_s}
        extra |= {"blend": str(self._settings.blend), "latency_s": self._settings.latency_s}
        extra |= {"ended_by": reason if not success else "success", **correction}
        episode_id = self._capture.stop_take(Outcome.SUCCESS if success else Outcome.FAILURE, extra)
        words, corrected_s = "" if success else reason, float(correction.get("corrected_s", 0.0))
        return TakeResult(job, episode_id, success, 0.0, words, latency_ms, corrected_s)

    def _seen_enough(self, job: LockstepJob, onlooker: Onlooker | None) -> bool:
        return self._world.succeeded(job.task) or (onlooker is not None and onlooker.worried())

    def _correct(self, driver: Driver, job: LockstepJob) -> dict[str, Any]:
        """The scripted operator takes the arm from the policy and finishes; what the take's manifest says of it."""
        if self._world.succeeded(job.task) or driver.state not in (DriverState.DRIVING, DriverState.HOLDING):
            return {}
        teleop = TELEOPS.build("scripted", address=self._station.address, task=job.task, seed=job.seed)
        teleop.open()
        began_ns = self._clock.now_ns()
        driver.operate(teleop)
        self._run_ticks(driver, lambda: self._world.succeeded(job.task) or bool(getattr(teleop, "done", False)))
        driver.hold("the operator let go")
        driver.tick()
        teleop.close()
        return {"corrected_s": round((self._clock.now_ns() - began_ns) / 1e9, 2)}

    # parts ----------------------------------------------------------------------------------------------------------

    def _begin(self, job: LockstepJob, actor: str) -> Driver:
        """A fresh scene and a driver that is ready."""
        if job.task not in TASKS:
            self._plain.instruction(job.task)  # raises with the nearest name
        look = Look.randomised(job.seed) if job.randomised else None
        self._world.reset(job.task, job.seed, actor=actor, look=look)
        if job.situation:
            situation(job.situation).lay(self._world, job.seed)
        limits = self._plain.limits.limits() if self._plain.limits else None
        period_s = 1.0 / self._settings.control_hz
        playback = Playback(self._settings.blend, execute_s=self._settings.execute_s)
        driver = Driver(self._arm, limits, self._rings, self._clock, period_s, playback=playback)
        driver.ready()
        self._expose()
        driver.tick()
        return driver

    def _start_take(self, job: LockstepJob, kind: EpisodeKind, streams: list[str]) -> None:
        extra: dict[str, Any] = {"seed": job.seed, "randomised": job.randomised}
        extra |= {"situation": job.situation} if job.situation else {}
        if job.model_id:
            extra |= {"model": job.model_id, "head": job.head}
        self._capture.start_take(job.task, kind, TASKS[job.task].instruction, streams, clock="lockstep", extra=extra)

    def _run_ticks(self, driver: Driver, finished: Callable[[], bool], think: Callable[[], None] | None = None) -> None:
        """Expose, tick, think and step until finished, the time is up, or the driver stopped by itself.

        The policy thinks after the tick, so that picture and arm state it sees are of the same instant.
        """
        settings = self._settings
        ticks_per_exposure = round(settings.control_hz / settings.camera_hz)
        period_s = 1.0 / settings.control_hz
        moving = driver.state
        for tick in range(int(settings.max_s * settings.control_hz)):
            exposes = tick % ticks_per_exposure == 0
            if exposes:
                self._expose()
                if finished() or driver.state is not moving:
                    return
            driver.tick()
            if exposes and think is not None:
                think()
            self._world.step(period_s)
            self._clock.advance_ns(round(period_s * 1e9))

    def _await_cameras(self) -> None:
        """Wait until every camera is attached: an exposure before that would reach nobody."""
        deadline = time.monotonic() + _STALL_S
        while any(camera.info is None for camera in self._capture.cameras):
            errors = [camera.status().error for camera in self._capture.cameras if camera.status().error]
            if errors or time.monotonic() > deadline:
                reason = "; ".join(errors) or "no answer"
                raise WorkbenchError(f"the simulated cameras cannot be opened ({reason})", "Run `main.py doctor`")
            time.sleep(0.002)

    def _expose(self) -> None:
        """One exposure of every camera; returns when all pictures are in the rings and the recorder has them."""
        wanted = self._station.expose() + 1
        deadline = time.monotonic() + _STALL_S
        while not (
            all(camera.delivered >= wanted for camera in self._capture.cameras) and self._capture.recorder.caught_up()
        ):
            if time.monotonic() > deadline:
                errors = "; ".join(camera.status().error for camera in self._capture.cameras)
                raise WorkbenchError(f"the simulated cameras do not deliver ({errors or 'no error reported'})")
            time.sleep(0.0003)

    def _policy(self, job: LockstepJob) -> Child:
        key = (job.model_id, job.head)
        if key not in self._policies:
            rings = {name: str(ring.path) for camera in self._capture.cameras for name, ring in camera.rings.items()}
            rings |= {name: str(self._rings[name].path) for name in ("observation.state", PLAYED)}
            if is_remote(job.model_id):
                values = child_values(self._plain, job.model_id)
                self._policies[key] = self._host.start("policy", REMOTE_MAIN, rings=rings, **values)
                return self._policies[key]
            folder = self.home.models / job.model_id
            self._policies[key] = self._host.start(
                "policy",
                "models.policy_worker:main",
                folder=str(folder),
                rings=rings,
                chunks=None,
                head=job.head,
                blend=self._settings.blend,
            )
        return self._policies[key]
