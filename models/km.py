"""Knowledge Matching: learn a new task while staying close to a frozen copy of the policy that knew the old ones.

Both heads are matched, because the continuous one is what forgets: KL(reference || policy) of the tokens (CLAP, section
"Knowledge Matching"), the velocity field at the same noise and time, and the regression. Everything is asked on the
pictures of the present batch, but under instructions of the *old* tasks: under the new instruction, and on a new
picture under its own (somebody may just have corrected that answer), the reference is wrong and would pull towards its
wrong answer. Logits at position n predict token n, so no position is left out.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.backbone import Seen, weighted_mean
from models.flow_head import RfNet


@dataclass(frozen=True, slots=True)
class Asked:
    """Inputs under which policy and reference are compared; see ``Backbone.forward``."""

    features_BCKF: Tensor
    state_BS: Tensor
    text_BE: Tensor
    robot_B: Tensor


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How far the policy is from the reference; each a scalar with gradient to the policy alone."""

    token_kl: Tensor
    velocity: Tensor
    regression: Tensor


def freeze(net: RfNet) -> RfNet:
    """A copy that never changes and adds no noise to its inputs."""
    reference = copy.deepcopy(net).eval()
    for parameter in reference.parameters():
        parameter.requires_grad_(False)
    return reference


def old_instructions(known_IE: Tensor, barred_BI: Tensor) -> tuple[Tensor, Tensor]:
    """One random old instruction per row that is not barred there, (B, E), and which rows have one, (B,) bool."""
    free_B = ~barred_BI.all(dim=1)
    weights_BI = torch.where(free_B[:, None], ~barred_BI, torch.ones_like(barred_BI)).float()
    return known_IE[torch.multinomial(weights_BI, 1)[:, 0]], free_B


def same_instruction(text_BE: Tensor, known_IE: Tensor) -> Tensor:
    """(B, I) whether a row says exactly this."""
    return (text_BE[:, None] == known_IE).all(dim=2)


def mismatch(reference: RfNet, policy: RfNet, asked: Asked, time_B: Tensor) -> Mismatch:
    """Compare the two on the same inputs, tokens, noise and time.

    The tokens are the reference's own most likely ones and the flow runs towards its own regression, so that both are
    compared where the reference would really be used.
    """
    with torch.no_grad():
        theirs = _see(reference, asked)
        tokens_BN = reference.ntp.say(theirs).clamp_min(0)
        their_logits = reference.ntp.logits(theirs, tokens_BN)
        noise = torch.randn_like(theirs.regression_BHA)
        at = time_B[:, None, None]
        noisy_BHA = (1.0 - at) * noise + at * theirs.regression_BHA
        their_velocity = reference.flow(noisy_BHA, time_B, theirs)
    ours = _see(policy, asked)
    velocity = policy.flow(noisy_BHA, time_B, ours)
    everyone = torch.ones(len(time_B))
    return Mismatch(
        token_kl=token_kl(their_logits, policy.ntp.logits(ours, tokens_BN)),
        velocity=weighted_mean((velocity - their_velocity).square().mean(dim=(1, 2)), everyone),
        regression=weighted_mean(
            functional.smooth_l1_loss(ours.regression_BHA, theirs.regression_BHA, reduction="none", beta=0.2).mean(
                dim=(1, 2)
            ),
            everyone,
        ),
    )


def token_kl(reference_BNV: Tensor, policy_BNV: Tensor) -> Tensor:
    """KL(reference || policy) in nats per token, over every action-token position."""
    return functional.kl_div(
        functional.log_softmax(policy_BNV.flatten(0, 1), dim=-1),
        functional.log_softmax(reference_BNV.flatten(0, 1), dim=-1),
        reduction="batchmean",
        log_target=True,
    )


def _see(net: RfNet, asked: Asked) -> Seen:
    return net.ntp.see(asked.features_BCKF, asked.state_BS, asked.text_BE, asked.robot_B)
