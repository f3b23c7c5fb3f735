"""A policy server without a model: it moves the tool slowly along x. Also a program, so that it can be killed."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from models.exchange.door import Door
from models.exchange.layout import Layout
from models.exchange.presets import LAYOUTS, OWN
from models.exchange.server import PolicyServer

STEPS, STEP_S, SPEED_M_S = 16, 0.1, 0.03
TOKEN = "a-token-of-tests"


def metadata(layout: Layout = LAYOUTS[OWN]) -> dict[str, Any]:
    return {
        "server": "test",
        "model": "mover",
        "action_horizon": STEPS,
        "step_s": STEP_S,
        "cameras": list(layout.cameras),
        "layout": asdict(layout),
    }


def mover(layout: Layout = LAYOUTS[OWN]) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    """Answers every request with a straight move from where the tool is."""

    def think(message: Any, state: dict[str, Any]) -> dict[str, Any]:
        _, pose, instruction = layout.understand(message)
        state["asked"] = state.get("asked", 0) + 1
        targets = np.repeat(pose[None], STEPS, axis=0)
        targets[:, 0] += SPEED_M_S * STEP_S * np.arange(1, STEPS + 1)
        return {**layout.answer_of(targets, pose), "asked": state["asked"], "heard": instruction}

    return think


@contextlib.contextmanager
def serving(
    think: Callable[[Any, dict[str, Any]], dict[str, Any]] | None = None,
    hello: dict[str, Any] | None = None,
    **door: Any,
) -> Iterator[PolicyServer]:
    """A running server with its working thread."""
    server = PolicyServer(Door(port=door.pop("port", 0), **door), metadata() if hello is None else hello)
    server.start()
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            server.work(think or mover(), 0.02)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield server
    finally:
        ended.set()
        server.stop()
        worker.join(5)


def main(port: int) -> None:
    with serving(port=port) as server:
        print(server.port, flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
