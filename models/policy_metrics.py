"""Held-out figures of a policy: tokens, errors of its chunks in millimetres by head and task, and how fast it acts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.act_vae import measured_on
from models.backbone import Seen
from models.data import Batch, Take, Windows
from models.policy import NoActionError, Policy
from models.policy_data import PolicyData, physical
from models.policy_model import PolicyModel
from models.token_head import token_loss
from models.train import Result
from workbench.core.types import POSE_AXES

_MOST = 2048
_SHOWN_STEPS = (1, 4, 8)
_WARM_UP, _TIMED = 5, 25


@torch.no_grad()
def measure(model: PolicyModel, data: PolicyData, seed: int = 0) -> Result:
    """Everything about the robot windows of held-out episodes (of all episodes if none is held out)."""
    rows, held_out = measured_on(data.windows, "robot")
    batch = rows.all("robot", _MOST)
    seen = model.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
    found = chunks(model, seen, seed)
    true = physical(data.windows, batch, batch.actions_BHA)
    guesses = {head: physical(data.windows, batch, chunk) for head, chunk in found.items()}
    tasks = [data.windows.takes[int(take)].task for take in batch.take_B]
    metrics: dict[str, Any] = {
        "held_out": held_out,
        "windows": len(batch),
        **_tokens(model, seen, batch),
        "errors_mm": {head: _steps_mm(guess, true) for head, guess in guesses.items()},
        "gripper_accuracy": {head: _gripper(guess, true) for head, guess in guesses.items()},
        "mean_chunk_mm": _steps_mm(true.mean(dim=0, keepdim=True).expand_as(true), true),
        "codec_mm": _steps_mm(physical(data.windows, batch, model.codec.net.decode(batch.tokens_BN)), true),
        "keyframe_mm": _keyframe_mm(seen, batch),
        "by_task": _by_task(tasks, guesses, true),
        "latency_ms": latency_ms(model),
        "skipped": dict(data.takes.skipped),
    }
    return Result(metrics, _arrays(guesses, true))


def as_seen_by(model: PolicyModel, takes: Sequence[Take]) -> Windows:
    """All windows of takes as this model looks at them, none held out. WorkbenchError if there is no window."""
    return Windows(
        takes,
        model.recipe.horizon,
        scalers=model.codec.scalers,
        cameras=model.cameras,
        held_out=0.0,
        embed=model.ntp.embed,
    )


def latency_ms(model: PolicyModel) -> dict[str, float]:
    """Median time of one ``Policy.act`` by head, warm-up left out, pictures of 480 x 640 pixels."""
    policy = Policy(model, "measured")
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for name in model.cameras}
    state, axes = np.array([0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0], np.float32), (*POSE_AXES, "gripper")
    instruction = model.instructions[0] if model.instructions else "wait"
    found = {}
    for head in ("ntp", "rf") if model.rf is not None else ("ntp",):
        spent = []
        for _ in range(_WARM_UP + _TIMED):
            begun = time.perf_counter()
            with contextlib.suppress(NoActionError):  # pictures of noise may be answered with a word
                policy.act(pictures, state, axes, instruction, 0, head=head)
            spent.append(1000.0 * (time.perf_counter() - begun))
        found[head] = round(float(np.median(spent[_WARM_UP:])), 3)
    return found


def chunks(model: PolicyModel, seen: Seen, seed: int) -> dict[str, Tensor]:
    """Normalised chunks (B, H, A) of every head."""
    found = {"reg": seen.regression_BHA, "ntp": model.codec.net.decode(model.ntp.say(seen).clamp_min(0))}
    if model.rf is not None:
        noise = torch.randn(seen.regression_BHA.shape, generator=torch.Generator().manual_seed(seed))
        found["rf"] = model.rf.flow.draw(seen, noise, model.euler_steps)
    return found


def _tokens(model: PolicyModel, seen: Seen, batch: Batch) -> dict[str, float]:
    logits = model.ntp.logits(seen, batch.tokens_BN)
    right = logits.argmax(dim=-1) == batch.tokens_BN
    counts = torch.bincount(batch.tokens_BN.flatten(), minlength=model.ntp.head.codes).double()
    return {
        "token_ce": float(token_loss(logits, batch.tokens_BN, torch.ones(len(batch)))),
        "token_accuracy": float(right.double().mean()),
        "token_majority": float(counts.max() / counts.sum()),
    }


def _steps_mm(guess: Tensor, true: Tensor) -> dict[str, float]:
    """Mean distance at the steps people quote, mm."""
    distance_H = 1000.0 * (guess - true)[..., :3].norm(dim=-1).mean(dim=0)
    return {str(step): round(float(distance_H[step - 1]), 3) for step in _SHOWN_STEPS if step <= len(distance_H)}


def _gripper(guess: Tensor, true: Tensor) -> float:
    return float(((guess[..., 6] > 0) == (true[..., 6] > 0)).double().mean())


def _keyframe_mm(seen: Seen, batch: Batch) -> float:
    known = torch.isfinite(batch.keyframe_BG).all(dim=1)
    if not bool(known.any()):
        return float("nan")
    return float(1000.0 * (seen.keyframe_BG - batch.keyframe_BG)[known].norm(dim=1).mean())


def _by_task(tasks: list[str], guesses: dict[str, Tensor], true: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for task in sorted(set(tasks)):
        mine = torch.tensor([name == task for name in tasks], dtype=torch.bool)
        errors = {head: _steps_mm(guess[mine], true[mine]) for head, guess in guesses.items()}
        found[task] = {"windows": int(mine.sum()), "errors_mm": errors}
    return found


def _arrays(guesses: dict[str, Tensor], true: Tensor) -> dict[str, NDArray[Any]]:
    """Error by step for every head, mm, and a few chunks to draw."""
    shown = torch.linspace(0, len(true) - 1, min(6, len(true))).round().long()
    arrays: dict[str, NDArray[Any]] = {"true": true[shown].numpy()}
    for head, guess in guesses.items():
        arrays[f"{head}.per_step_mm"] = 1000.0 * (guess - true)[..., :3].norm(dim=-1).mean(dim=0).numpy()
        arrays[f"{head}.chunks"] = guess[shown].numpy()
    return arrays
