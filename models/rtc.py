"""Real-time chunking: a chunk drawn so that it goes on from what the arm executes while it is being drawn.

Black, Galliker & Levine 2025, "Real-Time Execution of Action Chunking Flow Policies" (arXiv 2506.07339). Their flow
time is ours: 0 noise, 1 chunk. They carry the correction back through the network; a head that was taught one way of
doing a task has almost no spread left, that product is then near zero and nothing is corrected (see the decision on
the live runtime for figures), so the correction is applied as it is. Letters: B rows, H steps, A numbers per action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.backbone import Seen
from models.flow_head import FlowHead


@dataclass(frozen=True, slots=True)
class Committed:
    """The part of the running plan that lies in the next chunk's time.

    Attributes:
        targets: (M, 8) its absolute targets at the due times of the next chunk's first M actions, base frame.
        frozen: how many of them will have been executed when the next chunk arrives; the rest may still be changed.
        chunk: number of the chunk they come from.
    """

    targets: NDArray[np.float64]
    frozen: int
    chunk: int = -1


def soft_mask(horizon: int, overlap: int, frozen: int) -> NDArray[np.float32]:
    """(H,) how strongly each action is held to the running plan; eq. 5 of the paper.

    1 for the frozen ones, then c (e^c - 1) / (e - 1) with c falling linearly to 0 where the running plan ends.
    """
    index = np.arange(horizon, dtype=np.float64)
    falling = np.clip((overlap - index) / (overlap - min(frozen, overlap) + 1), 0.0, 1.0)
    weights = falling * np.expm1(falling) / (math.e - 1.0)
    weights[: min(frozen, overlap)] = 1.0
    weights[overlap:] = 0.0
    return weights.astype(np.float32)


def guidance_weight(time: float, most: float) -> float:
    """min(beta, (1 - t) / (t r^2)) with r^2 = (1 - t)^2 / (t^2 + (1 - t)^2); eqs. 2 and 4 of the paper."""
    if time <= 0.0:
        return most
    rest = 1.0 - time
    if rest <= 0.0:
        return 0.0
    spread = rest * rest / (time * time + rest * rest)
    return min(most, rest / (time * spread))


@torch.no_grad()
def draw_following(
    head: FlowHead, seen: Seen, noise_BHA: Tensor, plan_BHA: Tensor, weight_H: Tensor, euler_steps: int
) -> Tensor:
    """Integrate from noise to a chunk that agrees with ``plan_BHA`` where ``weight_H`` says so, (B, H, A) normalised.

    Every Euler step is pushed by the error of the chunk it leads to, x_1 = x + (1 - t) v: v + w W (plan - x_1), eq. 2
    with the identity in place of the Jacobian dx_1/dx. The weight w is clipped to the number of steps, so that one step
    never corrects more than the whole error. Frozen actions end exactly on the plan: they are executed anyway.
    """
    weight = weight_H[:, None]
    chunk = noise_BHA
    for step, field in enumerate(head.fields(seen, euler_steps)):
        time = step / euler_steps
        velocity = field(chunk)
        error = plan_BHA - (chunk + (1.0 - time) * velocity)
        chunk = chunk + (velocity + guidance_weight(time, float(euler_steps)) * weight * error) / euler_steps
    return torch.where(weight >= 1.0, plan_BHA, chunk)
