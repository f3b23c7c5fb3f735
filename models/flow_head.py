"""A rectified-flow head that draws whole action chunks from the NTP's features.

x_t = (1 - t) noise + t chunk; the head predicts v = chunk - noise (Liu et al. 2022, rectified flow, eq. 1); a chunk is
drawn by a few Euler steps from t = 0 to 1. Letters: B rows, H steps, A numbers per action, D backbone width,
W head width, L tokens in the head's sequence = state and H action steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backbone import Seen, weighted_mean
from models.token_head import TokenNet


class MixBlock(nn.Module):
    """Self-attention over the sequence, then a small MLP; both scaled and shifted by the condition (picture, time)."""

    def __init__(self, width: int, heads: int, condition: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attend = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.enter = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(2 * width, width)
        self.modulate = nn.Linear(condition, 4 * width)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, tokens_BLW: Tensor, condition_BW: Tensor) -> Tensor:
        return self.mix(tokens_BLW, self.modulate(condition_BW))

    def mix(self, tokens_BLW: Tensor, modulation: Tensor) -> Tensor:
        """The block with its scales and shifts (B, 4 W) at hand."""
        scale1, shift1, scale2, shift2 = modulation[:, None].chunk(4, dim=-1)
        tokens = tokens_BLW + self._attend(self.norm_attend(tokens_BLW) * (1.0 + scale1) + shift1)
        inner = functional.gelu(self.enter(self.norm_mlp(tokens) * (1.0 + scale2) + shift2))
        out: Tensor = tokens + self.leave(inner)
        return out

    def _attend(self, tokens_BLW: Tensor) -> Tensor:
        batch, length, width = tokens_BLW.shape
        split = self.query_key_value(tokens_BLW).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        joined: Tensor = self.joined(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined


class FlowHead(nn.Module):
    """The velocity field v(x_t, t | picture, instruction, state)."""

    def __init__(
        self, feature: int, state: int, horizon: int, action: int, width: int = 96, depth: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.horizon, self.action = horizon, action
        self.width, self.depth, self.heads = width, depth, heads
        self.step = nn.Linear(2 * action, width)
        self.place = nn.Parameter(torch.randn(horizon, width) * 0.2)
        self.body = nn.Linear(state, width)
        self.condition = nn.Linear(feature, width)
        self.time = nn.Sequential(nn.Linear(_TIME_WAVES * 2, width), nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(MixBlock(width, heads, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, action)

    def forward(self, noisy_BHA: Tensor, time_B: Tensor, seen: Seen) -> Tensor:
        """Velocity of every action step, (B, H, A). ``time_B`` is in 0 (noise) .. 1 (chunk)."""
        return self._fields(seen, time_B[None])[0](noisy_BHA)

    def fields(self, seen: Seen, euler_steps: int) -> list[Callable[[Tensor], Tensor]]:
        """The velocity, chunk (B, H, A) to (B, H, A), at each Euler step's time.

        Whatever does not depend on the chunk is computed once for all steps: at one row a step costs what calling its
        operations costs, and these are half of them.
        """
        times_K = torch.arange(euler_steps) / euler_steps
        return self._fields(seen, times_K[:, None].expand(-1, len(seen.feature_BD)))

    def _fields(self, seen: Seen, times_KB: Tensor) -> list[Callable[[Tensor], Tensor]]:
        # The regression's answer comes along as a hint; its own loss shapes it, the flow does not.
        told, hint = self.step.weight.chunk(2, dim=1)
        steps = functional.linear(seen.regression_BHA.detach(), hint, self.step.bias) + self.place
        body = self.body(seen.state_BS)[:, None]
        condition_KBW = functional.gelu(self.condition(seen.feature_BD) + self.time(_waves(times_KB)))
        blocks = [block for block in self.blocks if isinstance(block, MixBlock)]
        modulations = [block.modulate(condition_KBW).unbind() for block in blocks]

        def velocity(noisy_BHA: Tensor, at: int) -> Tensor:
            tokens = torch.cat([body, steps + noisy_BHA @ told.T], dim=1)
            for block, modulation in zip(blocks, modulations, strict=True):
                tokens = block.mix(tokens, modulation[at])
            out: Tensor = self.out(self.norm(tokens[:, 1:]))
            return out

        return [partial(velocity, at=at) for at in range(len(times_KB))]

    @torch.no_grad()
    def draw(self, seen: Seen, noise_BHA: Tensor, euler_steps: int = 4) -> Tensor:
        """Integrate from noise to a chunk of normalised actions, (B, H, A)."""
        chunk = noise_BHA
        for velocity in self.fields(seen, euler_steps):
            chunk = chunk + velocity(chunk) / euler_steps
        return chunk


_TIME_WAVES = 8


def _waves(times: Tensor) -> Tensor:
    """Sines and cosines of times, with a last axis of 2 * waves."""
    angles = times[..., None] * torch.pi * 2.0 ** torch.arange(_TIME_WAVES).to(times.dtype) / 4.0
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class RfNet(nn.Module):
    """CLAP-NTP plus the flow head, trained together."""

    def __init__(self, ntp: TokenNet, *, width: int = 96, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.ntp = ntp
        size = ntp.backbone.size
        self.flow = FlowHead(size.width, size.state, size.horizon, size.action, width, depth, heads)


def fixed_noise(horizon: int, action: int, seed: int = 0) -> Tensor:
    """The noise that every chunk of a driving policy starts from, (1, H, A)."""
    return torch.randn(1, horizon, action, generator=torch.Generator().manual_seed(seed))


def draw_times(batch: int, a: float, b: float) -> Tensor:
    """Times 0.999 (1 - Beta(a, b)), (batch,): for a > b mostly near the noise (pi0, Black et al. 2024, appendix B)."""
    first, second = (torch._standard_gamma(torch.full((batch,), shape)) for shape in (a, b))
    return 0.999 * second / (first + second)


def flow_loss(
    head: FlowHead, seen: Seen, actions_BHA: Tensor, weight_B: Tensor, time_B: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the velocity at the given times and noise."""
    at = time_B[:, None, None]
    velocity = head((1.0 - at) * noise + at * actions_BHA, time_B, seen)
    per_row = (velocity - (actions_BHA - noise)).square().mean(dim=(1, 2))
    return weighted_mean(per_row, weight_B)
