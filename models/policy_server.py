"""The process that holds a model and serves it to other computers, started as ``models.policy_server:main``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.exchange.door import Door
from models.exchange.layout import Layout
from models.exchange.presets import OWN, layout_of, seeing
from models.exchange.server import PolicyServer
from models.policy import HEADS, Policy
from workbench.core.errors import NotFoundError
from workbench.core.link import Link
from workbench.core.types import POSE_AXES

_WARM_UP = 3
_LISTEN_S = 0.05
_BLANK_PX = (240, 320)
PROTOCOL = 1


def main(
    link: Link, folder: str, door: Mapping[str, Any], head: str, layout: str = OWN, changes: Mapping[str, Any] = {}
) -> None:
    """Serve until the parent says stop or is gone.

    Args:
        folder: the model's folder.
        door: fields of ``models.exchange.door.Door``.
        head: ``rf`` or ``ntp``.
        layout, changes: what requests and answers look like, see ``models.exchange.presets.layout_of``.

    Raises WorkbenchError if the model is broken, the layout does not suit it or the address cannot be had.
    """
    torch.set_num_threads(1)
    served = ServedPolicy(Policy.load(Path(folder)), head, _layout(layout, changes))
    server = PolicyServer(Door(**door), served.metadata())
    server.start()
    handlers = {
        "where": lambda: {"url": server.url, "port": server.port, "metadata": served.metadata()},
        "stats": lambda: dict(server.counts),
    }
    try:
        while link.serve_pending(handlers):
            server.work(served.answer, _LISTEN_S)
    finally:
        server.stop()


def _layout(name: str, changes: Mapping[str, Any]) -> Layout | None:
    """None for this program's own layout, whose cameras are those of the model."""
    return None if name == OWN and not changes else layout_of(name, changes)


class ServedPolicy:
    """A policy that understands requests. One thread."""

    def __init__(self, policy: Policy, head: str, layout: Layout | None) -> None:
        if head not in HEADS:
            raise NotFoundError.of("policy head", head, HEADS)
        self._policy = policy
        self._head = head if head in policy.heads else policy.heads[0]
        layout = layout or seeing(layout_of(OWN, {}), policy.cameras)
        layout.check_serves(policy.cameras)
        needed = tuple((path, camera) for path, camera in layout.pictures if camera in policy.cameras)
        self._layout = replace(layout, pictures=needed, step_s=policy.step_s)
        self._steps = 0
        self._warm_up()

    def metadata(self) -> dict[str, Any]:
        """What clients are told: which model, how many actions at which rate, and how to ask."""
        return {
            "server": "clap-workbench",
            "protocol": PROTOCOL,
            "model": self._policy.policy_id,
            "head": self._head,
            "action_horizon": self._steps,
            "action_chunk_size": self._steps,
            "step_s": self._policy.step_s,
            "rate_hz": 1.0 / self._policy.step_s,
            "cameras": list(self._policy.cameras),
            "layout": asdict(self._layout),
        }

    def answer(self, message: Any, state: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request. ``state`` is the client's: its instruction and how many chunks it has had of it.

        Raises WorkbenchError if the request lacks something or the policy fails.
        """
        pictures, pose, instruction = self._layout.understand(message)
        chunk = self._policy.act(pictures, pose, (*POSE_AXES, "gripper"), instruction, 0, head=self._head)
        known = state.get("instruction") == instruction
        state.update(instruction=instruction, chunk=state["chunk"] + 1 if known else 0)
        answer = self._layout.answer_of(chunk.targets, pose)
        return {**answer, "chunk": state["chunk"], "policy_timing": {"infer_ms": chunk.latency_ms}}

    def _warm_up(self) -> None:
        """Run on black pictures, so that the first real answer is as fast as the rest; learns the chunk's length."""
        blank = {name: np.zeros((*_BLANK_PX, 3), np.uint8) for name in self._policy.cameras}
        pose = np.array([0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0])
        for _ in range(_WARM_UP):
            chunk = self._policy.act(blank, pose, (*POSE_AXES, "gripper"), "wait", 0, head=self._head)
            self._steps = len(chunk.targets)
