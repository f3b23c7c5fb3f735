"""The policy's own process: reads pictures and arm state from the rings, answers with chunks. Never speaks to the arm.

Started by the host as ``models.policy_worker:main``. In lockstep the parent asks ``act`` for every chunk; in real time
``start`` lets it think on, one chunk per step of the policy, into the ring of chunks, until ``pause``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.observing import SKEW_S, Follower, Observer
from models.policy import HEADS, NoActionError, Policy
from workbench.core.chunks import PLAYED, TOKENS_EXECUTE_S, Blend, pack_chunk, plan_change_m_s
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.events import Failed
from workbench.core.link import Link
from workbench.core.ring import Ring
from workbench.core.types import POSE_AXES, ActionChunk

_WARM_UP = 3
_STATE = "observation.state"
_IDLE_S, _POLL_S, _RETRY_S = 0.2, 0.002, 0.02
_WHERE = "policy"
_log = logging.getLogger(__name__)


def main(
    link: Link,
    folder: str,
    rings: Mapping[str, str],
    chunks: str | None,
    head: str,
    blend: str = Blend.RTC,
    skew_s: float = SKEW_S,
) -> None:
    """Serve until the parent says stop or is gone.

    Args:
        folder: the model's folder.
        rings: paths by stream name; needed are the pictures of the policy's cameras and ``observation.state``; with
            ``policy.tick`` the policy learns what the arm executes.
        chunks: path of the ring for chunks, or None if the parent only calls ``act``.
        head: ``rf`` or ``ntp``.
        blend: how successive chunks are joined; ``rtc`` needs the stream ``policy.tick`` and the flow head.
        skew_s: how far apart pictures and state of one observation may be.

    Raises WorkbenchError if the model or a needed stream is missing.
    """
    torch.set_num_threads(1)
    worker = Worker(Policy.load(Path(folder)), rings, chunks, head, Blend(blend), skew_s)
    handlers: dict[str, Callable[..., Any]] = {
        "set_task": worker.set_task,
        "act": worker.act,
        "start": worker.start,
        "pause": worker.pause,
        "stats": worker.stats,
    }
    try:
        while link.serve_pending(handlers, timeout_s=worker.wait_s()):
            failure = worker.think()
            if failure:
                link.publish(Failed(_WHERE, failure))
    finally:
        worker.close()


class Worker:
    """A policy at its rings. One thread."""

    def __init__(
        self,
        policy: Policy,
        rings: Mapping[str, str],
        chunks: str | None,
        head: str,
        blend: Blend = Blend.RTC,
        skew_s: float = SKEW_S,
    ) -> None:
        if head not in HEADS:
            raise NotFoundError.of("policy head", head, HEADS)
        self._policy = policy
        self._head = head if head in policy.heads else policy.heads[0]
        names = [*(f"observation.images.{name}" for name in policy.cameras), _STATE]
        missing = [name for name in names if name not in rings]
        if missing:
            raise WorkbenchError(
                f"the policy needs the stream {missing[0]}, which this station does not have",
                "Add the device to station.toml or choose another model",
            )
        self._rings = {name: Ring.attach(Path(rings[name])) for name in names}
        self._out = Ring.attach(Path(chunks)) if chunks else None
        self._eyes = Observer(self._rings, policy.cameras, skew_s)
        played = Ring.attach(Path(rings[PLAYED])) if PLAYED in rings else None
        self._arm = Follower(played, policy.step_s, blend)
        self._instruction = ""
        self._running = False
        self._due_s = 0.0
        self._seen_ns: int | None = 0  # pictures up to here are not fresh; None = those there when it is due
        # The next pictures come up to a period after it is due, so that chunks of the flow head follow each other about
        # every step.
        slowest_hz = min(self._rings[f"observation.images.{name}"].spec.rate_hz for name in policy.cameras)
        whole_s = policy.step_s * policy.model.recipe.horizon
        pace_s = min(TOKENS_EXECUTE_S, whole_s / 2) if self._head == "ntp" else policy.step_s
        self._rest_s = max(policy.step_s / 2, pace_s - 1.0 / max(slowest_hz, 1e-3))
        self._failing = False
        self._made = self._written = 0
        self._skew_s = self._plan_change_m_s = 0.0
        self._latencies_ms: deque[float] = deque(maxlen=2000)
        self._warm_up()

    def set_task(self, instruction: str) -> None:
        """What to do from now on."""
        if not instruction.strip():
            raise WorkbenchError("the task has no instruction", "Give the task a sentence in the settings")
        if instruction != self._instruction:
            self._arm.forget()
        self._instruction = instruction

    def act(self, t_observed_ns: int = 0) -> ActionChunk:
        """One chunk from one instant of all streams; its time is ``t_observed_ns`` or, if 0, that instant.

        Raises WorkbenchError if no task is set, a stream is empty, they are too far apart or the policy fails.
        """
        if not self._instruction:
            raise StateError("the policy has no task", "Choose a task first")
        return self._act_on(self._eyes.instant_ns(), t_observed_ns)

    def _act_on(self, instant_ns: int, t_observed_ns: int = 0) -> ActionChunk:
        epoch, committed = self._arm.committed(instant_ns)
        seen = self._eyes.observe(instant_ns)
        self._skew_s = seen.skew_s
        chunk = self._policy.plan(
            seen.pictures,
            seen.pose,
            self._instruction,
            t_observed_ns or instant_ns,
            head=self._head,
            committed=committed,
        )
        chunk = replace(chunk, number=self._made, epoch=epoch)
        self._made += 1
        self._arm.remember(chunk)
        self._latencies_ms.append(chunk.latency_ms)
        self._plan_change_m_s = max(self._plan_change_m_s, plan_change_m_s(chunk))
        return chunk

    def start(self) -> None:
        """Think on: one chunk per policy step into the ring, each from a new picture."""
        if self._out is None:
            raise StateError("this policy has no ring for its chunks", "Ask for single chunks instead")
        if not self._instruction:
            raise StateError("the policy has no task", "Choose a task first")
        self._running, self._due_s, self._failing = True, time.monotonic(), False
        self._seen_ns = 0

    def pause(self) -> None:
        """Stop thinking until ``start``."""
        self._running = False

    def stats(self) -> dict[str, Any]:
        """Inference in ms (warm-up left out), chunks written, skew of the last observation, head and id.

        ``plan_change_m_s``: the largest change of the tool's velocity from step to step inside any chunk.
        """
        spent = np.array(self._latencies_ms) if self._latencies_ms else np.array([np.nan])
        known = bool(self._latencies_ms)
        return {
            "policy_id": self._policy.policy_id,
            "head": self._head,
            "running": self._running,
            "chunks": self._written,
            "latency_ms_p50": float(np.percentile(spent, 50)) if known else None,
            "latency_ms_p99": float(np.percentile(spent, 99)) if known else None,
            "skew_ms": 1000.0 * self._skew_s,
            "unusual": self._policy.unusual() if self._written or self._latencies_ms else {},
            "plan_change_m_s": self._plan_change_m_s,
        }

    def wait_s(self) -> float:
        """How long there is nothing to do but listen."""
        return max(_POLL_S, self._due_s - time.monotonic()) if self._running else _IDLE_S

    def think(self) -> str:
        """One step of continuous inference, if it is due: on the next new pictures, while they are fresh.

        A failure is returned in words once, then retried quietly: without chunks the driver holds by itself.
        """
        if not self._running or self._out is None or time.monotonic() < self._due_s:
            return ""
        try:
            instant_ns = self._eyes.instant_ns()
            if self._seen_ns is None:
                self._seen_ns = instant_ns
            if instant_ns <= self._seen_ns or not self._arm.may_ask(instant_ns):
                return ""
            self._due_s = time.monotonic() + self._rest_s
            self._seen_ns = None
            chunk = self._act_on(instant_ns)
        except WorkbenchError as error:
            first, self._failing = not self._failing, True
            self._due_s = time.monotonic() + _RETRY_S
            if first:
                _log.warning("no chunk: %s", error)
            return str(error) if first else ""
        self._failing = False
        at = chunk.t_observed_ns
        self._out.write(pack_chunk(chunk), sequence=chunk.number, t_device_ns=at, t_host_ns=at)
        self._written += 1
        return ""

    def close(self) -> None:
        """Let go of all rings."""
        for ring in (*self._rings.values(), self._out):
            if ring is not None:
                ring.close()
        self._arm.close()

    def _warm_up(self) -> None:
        """Run on black pictures, so that the first real answer is as fast as the rest."""
        blank: dict[str, NDArray[np.uint8]] = {
            name: np.zeros(self._rings[f"observation.images.{name}"].spec.shape, np.uint8)
            for name in self._policy.cameras
        }
        state = np.array([0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0], dtype=np.float32)
        for _ in range(_WARM_UP):
            with contextlib.suppress(NoActionError):  # on black pictures that is no fault
                self._policy.act(blank, state, (*POSE_AXES, "gripper"), "wait", 0, head=self._head)
