"""How long the heads of one policy think, and how good their chunks are: same backbone, same observation, in turns.

Letters: B rows, H steps of a chunk, A numbers per action.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.data import Batch, load_takes
from models.policy import NoActionError, Policy, pose_of
from models.policy_data import physical
from models.policy_metrics import as_seen_by
from models.policy_model import PolicyModel
from models.registry import model_folder, read_record
from models.split import held_out_ids
from storage.layout import Home
from workbench.core.types import POSE_AXES

NTP = "ntp"
_WARM_UP = 5
_PICTURE = (480, 640, 3)
_STATE = (0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0)
_MOST = 2048


def measure_pace(home: Home, model_id: str, steps: Sequence[int], calls: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of ``calls`` answers by way of answering: ``rf<Euler steps>`` and ``ntp``.

    Each way has ``act`` (pictures of 480 x 640 pixels to absolute targets), ``head`` (only from the backbone's feature
    to a chunk) and both once more as processor time (``act_cpu``, ``head_cpu``), which other work on the machine
    disturbs less. The ways take turns, so that they share whatever the machine is busy with.
    """
    policy = Policy.load(model_folder(home, model_id))
    ways = {f"rf{count}": ("rf", count) for count in steps if "rf" in policy.heads} | {NTP: (NTP, 0)}
    act, head = _questions(policy)
    found: dict[str, dict[str, list[float]]] = {
        way: {name: [] for name in ("act", "act_cpu", "head", "head_cpu")} for way in ways
    }
    for call in range(_WARM_UP + calls):
        for way, (name, count) in ways.items():
            for noun, ask in (("act", act), ("head", head)):
                wall, cpu = _timed(partial(ask, name, count))
                if call >= _WARM_UP:
                    found[way][noun].append(wall)
                    found[way][f"{noun}_cpu"].append(cpu)
    return found


@torch.inference_mode()
def chunk_errors(home: Home, model_id: str, steps: Sequence[int]) -> dict[str, Any]:
    """Mean distance from the true positions over all steps of a chunk, mm, by way of answering, on held-out takes.

    ``codec`` is the floor of the token head: the true chunks through the Act-VAE. The flow starts from the noise that
    the policy drives with. ``windows`` and ``takes`` say on how much; ``broken_off`` of ``ntp``'s rows said no action
    and count as what token 0 stands for.
    """
    policy, record = Policy.load(model_folder(home, model_id)), read_record(home, model_id)
    model = policy.model
    ids = [episode_id for episode_id, _ in record.data]
    kept = held_out_ids([(episode_id, False) for episode_id in ids], model.recipe.held_out)
    takes = load_takes(home, sorted(kept) or ids, model.encoder, model.cameras, model.recipe.step_s)
    windows = as_seen_by(model, takes)
    batch = windows.train.all("robot", _MOST)
    chunks, broken_off = _chunks(policy, batch, steps)
    true = physical(windows, batch, batch.actions_BHA)
    errors = {
        way: round(float(1000.0 * (physical(windows, batch, chunk) - true)[..., :3].norm(dim=-1).mean()), 3)
        for way, chunk in chunks.items()
    }
    about = {"windows": len(batch), "takes": len(set(batch.take_B.tolist())), "held_out": bool(kept)}
    return {**errors, **about, "broken_off": broken_off}


def _chunks(policy: Policy, batch: Batch, steps: Sequence[int]) -> tuple[dict[str, Tensor], int]:
    """Normalised chunks (B, H, A) by way of answering, and how many rows said no action."""
    model: PolicyModel = policy.model
    seen = model.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
    said = model.ntp.say(seen)
    net = model.codec.net
    found = {"codec": net.decode(net.encode(batch.actions_BHA)[1]), NTP: net.decode(said.clamp_min(0))}
    if model.rf is not None:
        noise = policy.noise.expand(len(batch), -1, -1)
        found |= {f"rf{count}": model.rf.flow.draw(seen, noise, count) for count in steps}
    return found, int((said < 0).any(dim=1).sum())


def _questions(policy: Policy) -> tuple[Callable[[str, int], object], Callable[[str, int], object]]:
    """What is timed: a whole answer, and a head alone on what the backbone made of the same observation."""
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, _PICTURE, dtype=np.uint8) for name in policy.cameras}
    state, axes = np.array(_STATE, np.float32), (*POSE_AXES, "gripper")
    instruction = policy.model.instructions[0] if policy.model.instructions else "wait"
    seen = policy.see(pictures, pose_of(state, axes), instruction)

    def act(name: str, count: int) -> object:
        return policy.act(pictures, state, axes, instruction, 0, head=name, euler_steps=count or None)

    @torch.inference_mode()
    def head(name: str, count: int) -> object:
        return policy.chunk(seen, name, count or None)

    return act, head


def _timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock and of this thread's processor time."""
    wall, cpu = time.perf_counter(), time.thread_time()
    with contextlib.suppress(NoActionError):  # pictures of noise may be answered with a word
        ask()
    return 1000.0 * (time.perf_counter() - wall), 1000.0 * (time.thread_time() - cpu)
