"""The policy's own process: reads pictures and arm state from the rings, answers with chunks. Never speaks to the arm.

Started by the host as ``models.policy_worker:main``. In lockstep the parent asks ``act`` for every chunk; in real time
``start`` lets it think on, one chunk per step of the policy, into the ring of chunks, until ``pause``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.policy import HEADS, Policy
from workbench.core.chunks import pack_chunk
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.events import Failed
from workbench.core.link import Link
from workbench.core.ring import Ring
from workbench.core.types import POSE_AXES, ActionChunk, Frame

_WARM_UP = 3
_STATE = "observation.state"
_IDLE_S, _POLL_S = 0.2, 0.002
_WHERE = "policy"
_log = logging.getLogger(__name__)


def main(link: Link, folder: str, rings: Mapping[str, str], chunks: str | None, head: str) -> None:
    """Serve until the parent says stop or is gone.

    Args:
        folder: the model's folder.
        rings: paths by stream name; needed are the pictures of the policy's cameras and ``observation.state``.
        chunks: path of the ring for chunks, or None if the parent only calls ``act``.
        head: ``rf`` or ``ntp``.

    Raises WorkbenchError if the model or a needed stream is missing.
    """
    torch.set_num_threads(1)
    worker = Worker(Policy.load(Path(folder)), rings, chunks, head)
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

    def __init__(self, policy: Policy, rings: Mapping[str, str], chunks: str | None, head: str) -> None:
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
        self._instruction = ""
        self._running = False
        self._due_s = 0.0
        self._seen_picture = -1
        self._failing = False
        self._written = 0
        self._latencies_ms: deque[float] = deque(maxlen=2000)
        self._warm_up()

    def set_task(self, instruction: str) -> None:
        """What to do from now on."""
        if not instruction.strip():
            raise WorkbenchError("the task has no instruction", "Give the task a sentence in the settings")
        self._instruction = instruction

    def act(self, t_observed_ns: int = 0) -> ActionChunk:
        """One chunk from the newest pictures and state; its time is ``t_observed_ns`` or, if 0, the state's.

        Raises WorkbenchError if no task is set, a stream is empty or the policy fails.
        """
        if not self._instruction:
            raise StateError("the policy has no task", "Choose a task first")
        pictures = {name: self._newest(f"observation.images.{name}").data for name in self._policy.cameras}
        state = self._newest(_STATE)
        chunk = self._policy.act(
            pictures,
            state.data,
            self._rings[_STATE].spec.axes,
            self._instruction,
            t_observed_ns or state.t_host_ns,
            head=self._head,
        )
        self._latencies_ms.append(chunk.latency_ms)
        return chunk

    def start(self) -> None:
        """Think on: one chunk per policy step into the ring, each from a new picture."""
        if self._out is None:
            raise StateError("this policy has no ring for its chunks", "Ask for single chunks instead")
        if not self._instruction:
            raise StateError("the policy has no task", "Choose a task first")
        self._running, self._due_s, self._failing = True, time.monotonic(), False

    def pause(self) -> None:
        """Stop thinking until ``start``."""
        self._running = False

    def stats(self) -> dict[str, Any]:
        """Median and 99th percentile of inference (ms, warm-up left out), chunks written, head and id."""
        spent = np.array(self._latencies_ms) if self._latencies_ms else np.array([np.nan])
        known = bool(self._latencies_ms)
        return {
            "policy_id": self._policy.policy_id,
            "head": self._head,
            "running": self._running,
            "chunks": self._written,
            "latency_ms_p50": float(np.percentile(spent, 50)) if known else None,
            "latency_ms_p99": float(np.percentile(spent, 99)) if known else None,
        }

    def wait_s(self) -> float:
        """How long there is nothing to do but listen."""
        return max(_POLL_S, self._due_s - time.monotonic()) if self._running else _IDLE_S

    def think(self) -> str:
        """One step of continuous inference, if it is due and there is a new picture.

        A failure is returned in words once, then retried quietly: without chunks the driver holds by itself.
        """
        picture = self._rings[f"observation.images.{self._policy.cameras[0]}"].written
        if not self._running or self._out is None or time.monotonic() < self._due_s or picture == self._seen_picture:
            return ""
        self._seen_picture = picture
        self._due_s = max(self._due_s + self._policy.step_s, time.monotonic())
        try:
            chunk = self.act()
        except WorkbenchError as error:
            first, self._failing = not self._failing, True
            _log.warning("no chunk: %s", error)
            return str(error) if first else ""
        self._failing = False
        at = chunk.t_observed_ns
        self._out.write(pack_chunk(chunk), sequence=self._written, t_device_ns=at, t_host_ns=at)
        self._written += 1
        return ""

    def close(self) -> None:
        """Let go of all rings."""
        for ring in (*self._rings.values(), self._out):
            if ring is not None:
                ring.close()

    def _newest(self, stream: str) -> Frame:
        frame = self._rings[stream].latest()
        if frame is None:
            raise WorkbenchError(f"nothing has arrived on {stream} yet", "Check the device")
        return frame

    def _warm_up(self) -> None:
        """Run on black pictures, so that the first real answer is as fast as the rest."""
        blank: dict[str, NDArray[np.uint8]] = {
            name: np.zeros(self._rings[f"observation.images.{name}"].spec.shape, np.uint8)
            for name in self._policy.cameras
        }
        state = np.array([0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0], dtype=np.float32)
        for _ in range(_WARM_UP):
            self._policy.act(blank, state, (*POSE_AXES, "gripper"), "wait", 0, head=self._head)
