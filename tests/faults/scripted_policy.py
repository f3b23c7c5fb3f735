"""A policy process that speaks the rings' protocol and knows no model: swings the arm, and misbehaves when told to."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from workbench.core.chunks import pack_chunk
from workbench.core.link import Link
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk

STEPS, STEP_S, EVERY_S = 8, 0.1, 0.05


def targets(at_s: float, manner: str) -> np.ndarray:
    """(8, 8) where the tool shall be at the steps after ``at_s``."""
    due = at_s + STEP_S * (1 + np.arange(STEPS))
    plan = np.tile([0.44, 0.0, 0.22, 0.0, 1.0, 0.0, 0.0, 1.0], (STEPS, 1))
    plan[:, 1] = 0.12 * np.sin(3.0 * due)
    if manner == "nan":
        plan[3, 2] = np.nan
    elif manner == "outside":
        plan[:, 0] = 1.6
    elif manner == "wild":  # within reach, faster than any limit
        plan[:, :3] += np.random.default_rng(int(at_s * 100)).uniform(-0.3, 0.3, (STEPS, 3))
        plan[:, :3] = np.clip(plan[:, :3], [0.25, -0.38, 0.05], [0.7, 0.38, 0.6])
    return plan


def main(link: Link, chunks: str) -> None:
    """Serve until the parent ends; writes into the ring ``chunks`` between ``start`` and ``pause``."""
    ring, state = Ring.attach(Path(chunks)), {"running": False, "manner": "swing", "misbehaved_ns": 0}

    def say(**values):
        state.update(values)

    handlers = {
        "set_task": lambda instruction: None,
        "start": lambda: say(running=True),
        "pause": lambda: say(running=False),
        "be": lambda manner: say(manner=manner, misbehaved_ns=0),
        "misbehaved_ns": lambda: state["misbehaved_ns"],
        "stats": lambda: {},
    }
    try:
        while link.serve_pending(handlers, timeout_s=EVERY_S):
            if not state["running"]:
                continue
            now_ns = time.monotonic_ns()
            chunk = ActionChunk(now_ns, STEP_S, targets(now_ns / 1e9, state["manner"]), "scripted", 1.0, ring.written)
            ring.write(pack_chunk(chunk), sequence=ring.written, t_device_ns=now_ns, t_host_ns=now_ns)
            if state["manner"] != "swing" and not state["misbehaved_ns"]:
                state["misbehaved_ns"] = time.monotonic_ns()
    finally:
        ring.close()
