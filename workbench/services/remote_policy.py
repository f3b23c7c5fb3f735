"""A policy that lives on another computer, as a policy process: the same requests as ``models.policy_worker`` answers.

Started by the host as ``workbench.services.remote_policy:main``. Pictures and arm state go to the server, its answers
are checked and become chunks in the same ring. When the server is lost or sends nonsense, the chunks are taken back at
once, and nothing is sent again until a person starts anew, however soon the server is back.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from hardware.arm import ARMS
from models.exchange.layout import Forward, Layout
from models.exchange.presets import OWN, seeing
from storage.rows import newest_not_after
from workbench.core.chunks import Withdrawal, pack_chunk, pack_withdrawal
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Failed
from workbench.core.link import Link
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, Frame
from workbench.services.driver import Driver
from workbench.services.policy_line import Line, checked_url
from workbench.services.settings import PolicySettings, Settings

REMOTE_MAIN = "workbench.services.remote_policy:main"
TOKEN_VARIABLE = "WORKBENCH_POLICY_TOKEN"
_STATE, _IMAGES = "observation.state", "observation.images."
_IDLE_S, _POLL_S, _RETRY_S, _FIRST_S = 0.1, 0.002, 0.02, 10.0
_SKEW_NS = 300_000_000
_WHERE = "policy"


def is_remote(model: str) -> bool:
    """True for the address of a server instead of the name of a model."""
    return model.startswith(("ws://", "wss://"))


def child_values(settings: Settings, url: str, token: str = "") -> dict[str, Any]:
    """What ``main`` takes besides rings; the token is the given one, else the environment's, else the settings'."""
    policy = settings.policy
    known = token or os.environ.get(TOKEN_VARIABLE, "") or policy.token.get_secret_value()
    arm = settings.arm.model_dump(mode="json") if settings.arm else None
    return {"policy": {**policy.model_dump(mode="json"), "url": checked_url(url), "token": known}, "arm": arm}


def with_server(settings: Settings, url: str, token: str = "") -> Settings:
    """Settings that ask the server at an address, "" = the one they name. WorkbenchError if there is none."""
    address = url or settings.policy.url
    if not address:
        raise WorkbenchError("no policy server is named", "Give its address, or set url in the section [policy]")
    known = SecretStr(token) if token else settings.policy.token
    policy = settings.policy.model_copy(update={"url": checked_url(address), "token": known})
    return settings.model_copy(update={"policy": policy})


def fail_with(driver: Driver, think: Callable[[], None], broken: list[str]) -> None:
    """Lockstep: a server that fails makes the arm hold, as a withdrawal does in real time; ``broken`` gets why."""
    try:
        think()
    except WorkbenchError as error:
        broken.append(str(error))
        driver.fail(error.what)


def main(
    link: Link, rings: Mapping[str, str], policy: dict[str, Any], arm: dict[str, Any] | None, chunks: str | None = None
) -> None:
    """Serve until the parent says stop or is gone.

    Args:
        rings: paths by stream name; needed are the pictures that the server wants and ``observation.state``.
        policy: fields of ``PolicySettings``.
        arm: kind and options of the arm, for servers that speak of joints.
        chunks: path of the ring for chunks; None = only ``act``, or ``give_ring`` later.
    """
    worker = RemotePolicy(PolicySettings(**policy), rings, arm, lambda words: link.publish(Failed(_WHERE, words)))
    handlers: dict[str, Callable[..., Any]] = {
        "describe": worker.describe,
        "give_ring": worker.give_ring,
        "set_task": worker.set_task,
        "act": worker.act,
        "start": worker.start,
        "pause": worker.pause,
        "stats": worker.stats,
    }
    try:
        if chunks:
            worker.give_ring(chunks)
        while link.serve_pending(handlers, timeout_s=worker.wait_s()):
            worker.think()
    finally:
        worker.close()


@dataclass(frozen=True, slots=True)
class Served:
    """What the server serves, learned from what it says and from one answer. It must stay the same while it drives."""

    model: str
    layout: Layout
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """All streams at one instant (host time): pictures by camera and the arm's state."""

    instant_ns: int
    pictures: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]


class RemotePolicy:
    """A server's policy at the rings of a station. One thread, and the line's, which only takes chunks back."""

    def __init__(
        self,
        settings: PolicySettings,
        rings: Mapping[str, str],
        arm: dict[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._paths, self._arm, self._say = settings, rings, arm, say
        self._line = Line(settings.url, settings.token.get_secret_value(), settings.certificate, self._lost)
        self._served: Served | None = None
        self._forward: Forward | None = None
        self._rings: dict[str, Ring] = {}
        self._out: Ring | None = None
        self._writing = threading.Lock()
        self._running = self._blind = False
        self._instruction = ""
        self._due_s = 0.0
        self._seen_ns = self._greeted = 0
        self._made = self._written = self._withdrawn = 0
        self._latencies_ms: deque[float] = deque(maxlen=2000)

    # requests -------------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Connect, ask once to learn and to warm the server up; returns steps, step_s and the policy's id.

        WorkbenchError if the server cannot be reached or does not suit this station.
        """
        served = self._serve()
        return {"steps": served.steps, "step_s": served.layout.step_s, "policy_id": served.model}

    def give_ring(self, chunks: str) -> None:
        """Where chunks go from now on."""
        with self._writing:
            self._running = False
            if self._out is not None:
                self._out.close()
            self._out = Ring.attach(Path(chunks))

    def set_task(self, instruction: str) -> None:
        """What to do from now on."""
        if not instruction.strip():
            raise WorkbenchError("the task has no instruction", "Give the task a sentence in the settings")
        self._instruction = instruction

    def act(self, t_observed_ns: int = 0) -> ActionChunk:
        """One chunk from the newest instant of all streams; its time is ``t_observed_ns`` or, if 0, that instant."""
        if not self._instruction:
            raise StateError("the policy has no task", "Choose a task first")
        served = self._serve()
        chunk = self._ask(served, self._look(served.layout, self._instant_ns()), self._settings.answer_s)
        return replace(chunk, t_observed_ns=t_observed_ns) if t_observed_ns else chunk

    def start(self) -> None:
        """Think on: chunks into the ring until ``pause`` or until the server is lost. WorkbenchError if it is now."""
        if self._out is None:
            raise StateError("this policy has no ring for its chunks", "Ask for single chunks instead")
        if not self._instruction:
            raise StateError("the policy has no task", "Choose a task first")
        self._serve()
        with self._writing:
            self._running, self._due_s = True, time.monotonic()

    def pause(self) -> None:
        """Stop thinking until ``start``."""
        with self._writing:
            self._running = False

    def stats(self) -> dict[str, Any]:
        """Times from request to chunk (ms), chunks written and taken back, and the state of the line."""
        known = bool(self._latencies_ms)
        spent = np.array(self._latencies_ms if known else [np.nan])
        return {
            "policy_id": self._served.model if self._served else "",
            "head": "remote",
            "running": self._running,
            "chunks": self._written,
            "withdrawn": self._withdrawn,
            "connected": self._line.connected,
            "connections": self._line.connections,
            "problem": self._line.problem,
            "latency_ms_p50": float(np.percentile(spent, 50)) if known else None,
            "latency_ms_p99": float(np.percentile(spent, 99)) if known else None,
        }

    # thinking -------------------------------------------------------------------------------------------------------

    def wait_s(self) -> float:
        """How long there is nothing to do but listen to the parent."""
        return min(_IDLE_S, max(_POLL_S, self._due_s - time.monotonic())) if self._running else _IDLE_S

    def think(self) -> None:
        """One request, if it is due and there is a new picture."""
        served = self._served
        if not self._running or served is None or time.monotonic() < self._due_s:
            return
        try:
            instant_ns = self._instant_ns()
            if instant_ns <= self._seen_ns:
                return
            seen = self._look(served.layout, instant_ns)
        except WorkbenchError as error:  # without chunks the arm holds by itself
            self._due_s = time.monotonic() + _RETRY_S
            if not self._blind:
                self._say(str(error))
            self._blind = True
            return
        self._blind, self._seen_ns = False, instant_ns
        self._due_s = max(self._due_s + served.layout.step_s, time.monotonic())
        try:
            chunk = self._ask(served, seen, self._settings.answer_s)
        except WorkbenchError as error:
            self._withdraw(Withdrawal.NONSENSE, str(error))
            return
        with self._writing:
            if self._running and self._out is not None:
                at = chunk.t_observed_ns
                self._out.write(pack_chunk(chunk), sequence=chunk.number, t_device_ns=at, t_host_ns=at)
                self._written += 1

    def close(self) -> None:
        """End the connection, let go of all rings."""
        self.pause()
        self._line.close()
        for ring in (*self._rings.values(), *([self._out] if self._out else [])):
            ring.close()

    def _lost(self, why: str) -> None:
        """The line's thread: the server is gone."""
        if not self._withdraw(Withdrawal.LOST, f"the policy server {self._line.url} is lost: {why}"):
            self._say(f"the policy server {self._line.url} is lost: {why}; it is called again")

    def _withdraw(self, why: Withdrawal, words: str) -> bool:
        """Take back all chunks and stop thinking. False if it was not thinking anyway."""
        with self._writing:
            was, self._running = self._running, False
            if was and self._out is not None and self._served is not None:
                now_ns = time.monotonic_ns()
                item = pack_withdrawal(why, self._served.steps)
                self._out.write(item, sequence=-1, t_device_ns=now_ns, t_host_ns=now_ns)
                self._withdrawn += 1
        if was:
            self._say(words.rstrip(".") + "; the arm holds until a person lets it go on")
        return was

    # the server -----------------------------------------------------------------------------------------------------

    def _serve(self) -> Served:
        """The server, connected and known; after a new connection it must serve the same as before."""
        metadata = self._line.open(self._settings.connect_s)
        if self._served is not None and self._greeted == self._line.connections:
            return self._served
        greeted = self._line.connections
        served = self._introduced(metadata)
        seen = self._first_look(served.layout)
        served = replace(served, steps=len(self._ask(served, seen, self._settings.warm_up_s).targets))
        if self._served is not None and served != self._served:
            raise WorkbenchError("the policy server now serves something else than before", "Load the policy anew")
        self._served, self._greeted = served, greeted
        self._latencies_ms.clear()
        return served

    def _introduced(self, metadata: Mapping[str, Any]) -> Served:
        """Names, cameras and times from the settings and from what the server says."""
        layout, settings = self._settings.names(), self._settings
        if settings.layout == OWN and "pictures" not in settings.keys:
            layout = seeing(layout, _words(metadata.get("cameras")) or layout.cameras)
        step_s = layout.step_s or metadata.get("step_s")
        if isinstance(step_s, bool) or not isinstance(step_s, int | float) or not 0.001 <= step_s <= 10:
            raise WorkbenchError(
                "the policy server does not say how fast its actions follow each other",
                "Set step_s in the section [policy.keys] of station.toml",
            )
        for name in (*(_IMAGES + camera for camera in layout.cameras), _STATE):
            if name not in self._paths:
                raise WorkbenchError(
                    f"the policy server needs the stream {name}, which this station does not have",
                    "Choose other cameras in [policy.keys] pictures",
                )
            if name not in self._rings:
                self._rings[name] = Ring.attach(Path(self._paths[name]))
        if layout.by_joints and self._forward is None:
            self._forward = self._kinematics()
        model = metadata.get("model")
        named = model if isinstance(model, str) and 0 < len(model) <= 120 else "policy"
        return Served(f"{named}@{settings.url.split('//')[-1]}", replace(layout, step_s=float(step_s)))

    def _kinematics(self) -> Forward:
        if self._arm is None:
            raise WorkbenchError("the policy server speaks of joints, but this station has no arm")
        return ARMS.build(self._arm["kind"], **self._arm["options"]).kinematics().pose

    def _ask(self, served: Served, seen: Seen, timeout_s: float) -> ActionChunk:
        """One request about what was seen. WorkbenchError if the server is lost or its answer makes no sense."""
        begun_s = time.perf_counter()
        layout, axes = served.layout, self._rings[_STATE].spec.axes
        request = layout.request(seen.pictures, seen.state, axes, self._instruction or "wait")
        targets = layout.chunk(self._line.ask(request, timeout_s), seen.state, axes, self._forward)
        if served.steps and len(targets) != served.steps:
            raise WorkbenchError(
                f"the policy server sent {len(targets)} actions instead of {served.steps}", "Look at the server"
            )
        latency_ms = 1000.0 * (time.perf_counter() - begun_s)
        self._latencies_ms.append(latency_ms)
        self._made += 1
        return ActionChunk(seen.instant_ns, layout.step_s, targets, served.model, latency_ms, self._made)

    # the streams ----------------------------------------------------------------------------------------------------

    def _instant_ns(self) -> int:
        """The newest host time that every stream has reached. WorkbenchError while one is empty."""
        times = {name: ring.newest_host_ns() for name, ring in self._rings.items()}
        for name, newest in times.items():
            if not newest:
                raise WorkbenchError(f"nothing has arrived on {name} yet", "Check the device")
        return min(times.values())

    def _first_look(self, layout: Layout) -> Seen:
        """What is seen now; devices that have just started get a while for their first items."""
        end_s = time.monotonic() + _FIRST_S
        while True:
            try:
                return self._look(layout, self._instant_ns())
            except WorkbenchError:
                if time.monotonic() >= end_s:
                    raise
            time.sleep(_RETRY_S)

    def _look(self, layout: Layout, instant_ns: int) -> Seen:
        pictures = {camera: self._at(_IMAGES + camera, instant_ns).data for camera in layout.cameras}
        return Seen(instant_ns, pictures, self._at(_STATE, instant_ns).data)

    def _at(self, name: str, instant_ns: int) -> Frame:
        """The newest item of a stream not after the instant; WorkbenchError if it is much older or gone."""
        ring = self._rings[name]
        first, times = ring.host_times()
        index = int(newest_not_after(times, np.array([instant_ns]))[0])
        frame = ring.read(first + index) if index >= 0 else None
        if frame is None or instant_ns - frame.t_host_ns > _SKEW_NS:
            raise WorkbenchError(f"{name} has no item of the time of the observation", "Check the device")
        return frame


def _words(value: object) -> tuple[str, ...]:
    """A list of words that somebody else sent, () if it is none."""
    words = value if isinstance(value, list) and len(value) <= 16 else []
    return tuple(one for one in words if isinstance(one, str) and one)
