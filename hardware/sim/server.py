"""The simulated station in real time: physics at the wall clock, one drawing thread per camera, one for words.

One shutter releases all cameras, so that their pictures are of the same instants, also where there is no time to draw
all that are due.
Runs as a process or a thread of its own. Everything it shares lies in one folder (see ``remote.py``): a ring per
picture stream, rings for arm state, arm command and scene, a socket for words with its key.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardware.sim.hand import HumanHand
from hardware.sim.look import Look
from hardware.sim.remote import (
    ARM_COMMAND,
    ARM_STATE,
    CAMERAS_FILE,
    SCENE,
    SCENE_NAMES,
    ring_path,
)
from hardware.sim.render import SceneRenderer
from hardware.sim.words import Words
from hardware.sim.world import Snapshot, World
from workbench.core.clock import Pacer
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed
from workbench.core.files import write_json
from workbench.core.link import Link
from workbench.core.priority import REAL_TIME, Rank, run_before
from workbench.core.ring import Ring
from workbench.core.types import StreamSpec

_TICK_S = 0.005
_MOST_BEHIND_S = 0.1
_TRUTH_EVERY_NS = 33_000_000
_WAKE_S, _STARTED_S = 0.1, 60.0


class Clockwork:
    """The world at the wall clock, with its lock. ``tick`` runs in one thread, the words in others."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.world = World(seed)
        self.lock = threading.Lock()
        self._rings = {spec.name: Ring.create(ring_path(folder, spec.name), spec) for spec in (ARM_STATE, SCENE)}
        self.seen = threading.Event()  # the arm's first state can be had
        self._commands = Ring.create(ring_path(folder, ARM_COMMAND.name), ARM_COMMAND)
        self._taken = 0
        self._expires_ns: int | None = None
        self.unplugged: frozenset[str] = frozenset()
        self._hand: HumanHand | None = None
        self._hand_done = False
        self._truth: list[tuple[int, Any]] = []
        self._now_ns = time.monotonic_ns()

    def tick(self) -> None:
        """Bring the world to the present and publish what it measures."""
        with self.lock:
            now_ns = time.monotonic_ns()
            passed_s = min((now_ns - self._now_ns) / 1e9, _MOST_BEHIND_S)
            self._now_ns = now_ns
            self._follow(now_ns)
            if self._hand is None:
                self.world.step(passed_s)
            else:
                self._move_hand(self._hand, passed_s, now_ns)
            state = np.concatenate([np.atleast_1d(part) for part in self.world.arm()])
            scene = self.world.scene()
        held = 1.0 if self._expires_ns is None else 0.0
        self._write(ARM_STATE.name, np.append(state, held), now_ns)
        self.seen.set()
        if self._rings[ARM_STATE.name].written % 4 == 0:
            nowhere = np.full(3, np.nan)
            self._write(SCENE.name, np.stack([scene.get(name, nowhere) for name in SCENE_NAMES]), now_ns)

    def _write(self, stream: str, item: Any, now_ns: int) -> None:
        ring = self._rings[stream]
        ring.write(item, sequence=ring.written, t_device_ns=now_ns, t_host_ns=now_ns)

    def _follow(self, now_ns: int) -> None:
        """Take the newest command; hold when it has expired or says so."""
        if self._commands.written > self._taken:
            self._taken = self._commands.written
            frame = self._commands.latest()
            if frame is not None and frame.data[7] == 0.0 and frame.t_host_ns >= now_ns:
                self.world.command(frame.data[:6], float(frame.data[6]))
                self._expires_ns = frame.t_host_ns
            elif frame is not None:
                self._hold()
        if self._expires_ns is not None and now_ns > self._expires_ns:
            self._hold()

    def _hold(self) -> None:
        self.world.hold()
        self._expires_ns = None

    def _move_hand(self, hand: HumanHand, seconds: float, now_ns: int) -> None:
        hand.step(self.world, seconds)
        if not self._truth or now_ns - self._truth[-1][0] >= _TRUTH_EVERY_NS:
            self._truth.append((now_ns, hand.true_pose()))
        if hand.done:
            self._hand, self._hand_done = None, True

    def reset(self, task: str, seed: int, actor: str = "robot", look: str = "") -> None:
        with self.lock:
            self._hand, self._expires_ns = None, None
            self.world.reset(task, seed, actor=actor, look=Look.randomised(seed) if look == "randomised" else None)

    def succeeded(self, task: str) -> bool:
        with self.lock:
            return self.world.succeeded(task)

    def scene(self) -> dict[str, Any]:
        with self.lock:
            return dict(self.world.scene())

    def actor(self) -> str:
        return self.world.actor

    def start_hand(self, task: str, seed: int) -> None:
        with self.lock:
            self._hand, self._hand_done, self._truth = HumanHand(task, seed), False, []

    def stop_hand(self) -> None:
        with self.lock:
            self._hand, self._hand_done = None, True
            self.world.let_go()

    def hand_done(self) -> bool:
        return self._hand_done

    def hand_truth(self) -> tuple[Any, Any]:
        with self.lock:
            times = np.array([t_ns for t_ns, _ in self._truth], dtype=np.int64)
            return times, np.array([pose for _, pose in self._truth], dtype=np.float64).reshape(-1, 8)

    def unplug(self, camera: str) -> None:
        """A camera delivers nothing from now on, without a word, as one whose cable is pulled."""
        self.unplugged |= {camera}

    def plug(self, camera: str) -> None:
        self.unplugged -= {camera}

    def close(self) -> None:
        for ring in (*self._rings.values(), self._commands):
            ring.close()


class Eye:
    """One camera: draws what the shutter hands it, in its own thread.

    Exposures nobody had time for leave a gap in the sequence.

    Attributes:
        alive: it can draw, and has not ended.
        idle: set while it has nothing to draw. drawn_s: when its last picture was done (monotonic).
    """

    def __init__(self, clockwork: Clockwork, folder: Path, entry: dict[str, Any]) -> None:
        self._clockwork, self._entry = clockwork, entry
        camera, size = entry["camera"], (entry["height"], entry["width"])
        self.rate_hz = float(entry["rate_hz"])
        spec = StreamSpec(f"rgb.{camera}", (*size, 3), "uint8", rate_hz=self.rate_hz)
        self._rgb = Ring.create(ring_path(folder, spec.name), spec)
        self._depth: Ring | None = None
        if entry["depth"]:
            spec = StreamSpec(f"depth.{camera}", size, "uint16", "mm", self.rate_hz)
            self._depth = Ring.create(ring_path(folder, spec.name), spec)
        self.described = threading.Event()
        self.description: dict[str, Any] = {}
        self.alive, self.idle, self.drawn_s = False, threading.Event(), 0.0
        self._shots: queue.SimpleQueue[tuple[Snapshot, int, int, int]] = queue.SimpleQueue()
        self._last = -1

    def run(self, stop: threading.Event) -> None:
        """Draw until ``stop``; the renderer lives and dies in this thread."""
        entry = self._entry
        try:
            renderer = SceneRenderer(entry["camera"], entry["width"], entry["height"], entry["depth"])
            try:
                self._describe(renderer)
                while not stop.is_set():
                    self._draw(renderer)
            finally:
                self.alive = False
                renderer.close()
        finally:
            self.described.set()
            self.idle.set()
            self.close()

    def next_due_s(self) -> float:
        """Seconds after the first exposure of all cameras until this one's next."""
        return (self._last + 1) / self.rate_hz

    def release(self, snapshot: Snapshot, t_ns: int, passed_s: float) -> None:
        """Have it draw this instant, if an exposure is due. Only while it is idle; the shutter's thread."""
        due = math.floor(passed_s * self.rate_hz + 1e-6)
        if due <= self._last:
            return
        missed, self._last = due - self._last - 1, due
        if self._entry["camera"] not in self._clockwork.unplugged:
            self.idle.clear()
            self._shots.put((snapshot, t_ns, due, missed))

    def _draw(self, renderer: SceneRenderer) -> None:
        try:
            snapshot, t_ns, sequence, missed = self._shots.get(timeout=_WAKE_S)
        except queue.Empty:
            return
        self._expose(renderer, snapshot, t_ns, sequence, missed)
        self.drawn_s = time.monotonic()
        self.idle.set()

    def _describe(self, renderer: SceneRenderer) -> None:
        entry = self._entry
        with self._clockwork.lock:
            snapshot = self._clockwork.world.snapshot()
        optics = {"color": renderer.intrinsics()} | ({"depth": renderer.intrinsics()} if entry["depth"] else {})
        pose = renderer.pose(snapshot).tolist() if entry["camera"] == "front" else None
        self.description = {**entry, "serial": f"sim-{entry['camera']}", "intrinsics": optics, "pose": pose}
        self.alive = True
        self.idle.set()
        self.described.set()

    def _expose(self, renderer: SceneRenderer, snapshot: Snapshot, t_ns: int, sequence: int, missed: int) -> None:
        rgb, depth = renderer.render(snapshot)
        stamps = {"sequence": sequence, "t_device_ns": t_ns, "t_host_ns": t_ns, "gap_before": missed}
        if self._depth is not None and depth is not None:
            self._depth.write(depth, **stamps)
        self._rgb.write(rgb, **stamps)

    def close(self) -> None:
        self._rgb.close()
        if self._depth is not None:
            self._depth.close()


class Shutter:
    """Releases all cameras at the same instants; as long as one of them still draws, nobody's next picture is begun.

    Cameras that draw each at a pace of their own drift apart by whole periods where the processor is short, and what
    they show is then no observation of one instant.

    Args:
        polite: draw during half of the time at most, a quarter where more waits for processors than there are. For a
            process that runs before all others: the window and the policy must not starve for the sake of pictures.
    """

    def __init__(self, clockwork: Clockwork, eyes: Sequence[Eye], *, polite: bool) -> None:
        self._clockwork, self._eyes, self._polite = clockwork, tuple(eyes), polite
        self._released_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``."""
        for eye in self._eyes:
            eye.described.wait(_STARTED_S)
        start_ns = time.monotonic_ns()
        while not stop.is_set():
            eyes = [eye for eye in self._eyes if eye.alive]
            due_s = min((eye.next_due_s() for eye in eyes), default=math.inf)
            left_s = min(_WAKE_S, due_s - (time.monotonic_ns() - start_ns) / 1e9)
            if left_s > 0:
                stop.wait(left_s)
            elif all(eye.idle.wait(_WAKE_S) for eye in eyes):
                self._rest(eyes, stop)
                self._release(eyes, start_ns)

    def _rest(self, eyes: Sequence[Eye], stop: threading.Event) -> None:
        """Until drawing has taken no more than its share of the time since the last release."""
        if self._polite:
            drawing_s = max(eye.drawn_s for eye in eyes) - self._released_s
            stop.wait(max(0.0, self._released_s + drawing_s / _share() - time.monotonic()))

    def _release(self, eyes: Sequence[Eye], start_ns: int) -> None:
        with self._clockwork.lock:
            t_ns, snapshot = time.monotonic_ns(), self._clockwork.world.snapshot()
        self._released_s = t_ns / 1e9
        for eye in eyes:
            eye.release(snapshot, t_ns, (t_ns - start_ns) / 1e9)


def _share() -> float:
    """How much of the time drawing may take."""
    waiting = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return 0.25 if waiting > (os.cpu_count() or 1) else 0.5


def main(link: Link, folder: str, seed: int, cameras: list[dict[str, Any]]) -> None:
    """Run until the parent says stop or goes away.

    Args:
        folder: an empty folder of this user's, best below ``runtime_directory()``; left empty again.
        cameras: each {camera, width, height, rate_hz, depth}.

    Answers the request ``ready`` once pictures, arm and words can be had.
    """
    own_process = threading.current_thread() is threading.main_thread()  # not in threads mode, where others share it
    polite = own_process and run_before(Rank.CAPTURE).startswith(REAL_TIME)  # it stands for devices, which never wait
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    stop = threading.Event()
    clockwork = Clockwork(place, seed)
    eyes = [Eye(clockwork, place, {"depth": False, "rate_hz": 30.0, **entry}) for entry in cameras]
    words = Words(place, clockwork)

    def guarded(name: str, work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(stop)
            except Exception as error:
                link.publish(Failed(name, f"{type(error).__name__}: {error}"))

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    threads = [guarded("sim-physics", lambda stop: _run_physics(clockwork, stop))]
    threads += [guarded(f"sim-camera-{number}", eye.run) for number, eye in enumerate(eyes)]
    threads.append(guarded("sim-shutter", Shutter(clockwork, eyes, polite=polite).run))
    listening = guarded("sim-words", words.run)
    try:
        for eye in eyes:
            eye.described.wait(60.0)
        clockwork.seen.wait(60.0)
        write_json(place / CAMERAS_FILE, [eye.description for eye in eyes if eye.description])

        def ready() -> bool:
            if not all(eye.description for eye in eyes):
                raise WorkbenchError("a simulated camera cannot draw", "Look at the messages of the station's start")
            return True

        while link.serve_pending({"ready": ready}, 0.2):
            pass
    finally:
        stop.set()
        words.wake()
        for thread in (*threads, listening):
            thread.join(5.0)
        words.close()
        clockwork.close()
        (place / CAMERAS_FILE).unlink(missing_ok=True)


def _run_physics(clockwork: Clockwork, stop: threading.Event) -> None:
    pacer = Pacer(1.0 / _TICK_S)
    while pacer.wait(stop):
        clockwork.tick()
