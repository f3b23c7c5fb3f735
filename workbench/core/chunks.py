"""How an action chunk travels through a ring: one flat vector of float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.core.types import ActionChunk, Frame, StreamSpec

_HEAD = 2  # latency_ms, step_s


def chunk_spec(steps: int, rate_hz: float = 10.0) -> StreamSpec:
    """The stream of chunks with ``steps`` actions each; t_host_ns is the observation's time."""
    return StreamSpec("policy.chunk", (_HEAD + steps * 8,), "float64", unit="SI", rate_hz=rate_hz)


def pack_chunk(chunk: ActionChunk) -> NDArray[np.float64]:
    """The ring item of a chunk."""
    return np.concatenate([[chunk.latency_ms, chunk.step_s], chunk.targets.reshape(-1)]).astype(np.float64)


def unpack_chunk(frame: Frame, policy_id: str) -> ActionChunk:
    """Invert ``pack_chunk``; the policy's id does not travel with each item."""
    values = frame.data
    targets = np.asarray(values[_HEAD:], dtype=np.float64).reshape(-1, 8)
    return ActionChunk(frame.t_host_ns, float(values[1]), targets, policy_id, float(values[0]))
