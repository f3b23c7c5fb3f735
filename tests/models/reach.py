"""A small imitation task made of numbers: reach, in the plane, the coloured thing that the instruction names.

Clusters 0..3 are the hand and three things, the others flicker as clutter. Targets are metres in a 40 cm square.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.text import embed

THINGS = ("red cube", "green ball", "blue ring")
INSTRUCTIONS = tuple(f"put the hand on the {thing}" for thing in THINGS)
CAMERAS, CLUSTERS, NUMBERS, STATE, STEPS, ACTION = 2, 8, 5, 10, 8, 7
STEP_M = 0.02


@dataclass(frozen=True)
class Rows:
    features_BCKF: Tensor
    state_BS: Tensor
    text_BE: Tensor
    actions_BHA: Tensor
    keyframe_BG: Tensor
    task_B: Tensor


def reach_rows(batch: int, generator: torch.Generator, tasks: tuple[int, ...] = (0, 1, 2)) -> Rows:
    """Random scenes with the right chunk: steps of 2 cm straight to the named thing, gripper closing on it."""
    hand = torch.rand(batch, 2, generator=generator) * 0.4 - 0.2
    things = torch.rand(batch, 3, 2, generator=generator) * 0.4 - 0.2
    task = torch.tensor(tasks)[torch.randint(len(tasks), (batch,), generator=generator)]
    goal = things[torch.arange(batch), task]
    features = torch.rand(batch, CAMERAS, CLUSTERS, NUMBERS, generator=generator) * 2 - 1
    features[..., 0] = -6.0 + torch.rand(batch, CAMERAS, CLUSTERS, generator=generator)
    places = torch.cat([hand[:, None], things], dim=1) / 0.2
    features[:, 0, :4, 1:3] = places
    features[:, 1, :4, 1:3] = (places - places[:, :1]) * 0.7
    features[:, :, :4, 0] = -3.0 + 0.3 * torch.rand(batch, CAMERAS, 4, generator=generator)
    state = torch.zeros(batch, STATE)
    state[:, :2] = hand
    state[:, 9] = 1.0
    text = torch.stack([torch.from_numpy(embed(text)) for text in INSTRUCTIONS])[task]
    return Rows(features, state, text, _chunk(goal - hand), torch.nn.functional.pad(goal - hand, (0, 1)), task)


def _chunk(way: Tensor) -> Tensor:
    """Normalised chunk along ``way`` (B, 2) in metres: position / 10 cm, no rotation, gripper +1 open .. -1 closed."""
    length = way.norm(dim=1, keepdim=True).clamp_min(1e-6)
    reached = torch.minimum(STEP_M * torch.arange(1, STEPS + 1), length)
    actions = torch.zeros(len(way), STEPS, ACTION)
    actions[..., :2] = (way / length)[:, None] * reached[..., None] / 0.1
    actions[..., 6] = torch.where(reached < length, 1.0, -1.0)
    return actions


def error_m(predicted_BHA: Tensor, rows: Rows) -> float:
    """Mean distance of the last step from where it should be, metres."""
    return float((predicted_BHA.detach() - rows.actions_BHA)[:, -1, :2].norm(dim=-1).mean() * 0.1)
