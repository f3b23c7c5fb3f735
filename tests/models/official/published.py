"""The released networks once more, from their description alone, under the names that their checkpoints use.

Nothing of the program is imported here: what it converts is compared with this. Sizes are free, so that tests are fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """The release's are the defaults."""

    tokens: int = 8
    codes: int = 512
    code_dim: int = 128
    width: int = 512
    layers: int = 15
    horizon: int = 32
    patches: int = 300
    numbers: int = 768
    blocks: int = 12
    heads: int = 12
    positions: int = 500


TINY = Sizes(4, 16, 6, 16, 5, 32, 12, 24, 2, 4, 50)


class Layer(nn.Module):
    """Attention of torch's own making, sequence first, norm after each sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, 4)
        self.linear1, self.linear2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x, x, x, need_weights=False)[0])
        return self.norm2(x + self.linear2(nn.functional.gelu(self.linear1(x))))


class Skip(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        half = (layers - 1) // 2
        self.input_blocks = nn.ModuleList([Layer(width) for _ in range(half)])
        self.middle_block = Layer(width)
        self.output_blocks = nn.ModuleList([Layer(width) for _ in range(half)])
        self.linear_blocks = nn.ModuleList([nn.Linear(2 * width, width) for _ in range(half)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        stack = []
        for block in self.input_blocks:
            x = block(x)
            stack.append(x)
        x = self.middle_block(x)
        for block, linear in zip(self.output_blocks, self.linear_blocks, strict=True):
            x = block(linear(torch.cat((x, stack.pop()), -1)))
        return self.norm(x)


class Places(nn.Module):
    """A learned vector of every place, (places, 1, width)."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.pe = nn.Parameter(torch.rand(positions, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[: len(x)]


class ActionVae(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.s = s
        self.query_pos_encoder = Places(s.positions, s.width)
        self.query_pos_decoder = Places(s.positions, s.width)
        self.encoder, self.decoder = Skip(s.width, s.layers), Skip(s.width, s.layers)
        self.global_motion_token = nn.Parameter(torch.randn(s.tokens, s.width))
        self.dist_layer = nn.Linear(s.width, s.width)
        self.skel_embedding = nn.Linear(7, s.width)
        self.final_layer = nn.Linear(s.width, 7)
        self.to_codebook = nn.Sequential(nn.Linear(s.width, s.width), nn.GELU(), nn.Linear(s.width, s.code_dim))
        self.from_codebook = nn.Sequential(nn.Linear(s.code_dim, s.width), nn.GELU(), nn.Linear(s.width, s.width))

    def encode(self, actions: Tensor) -> Tensor:
        steps = self.skel_embedding(actions).transpose(0, 1)
        asked = self.global_motion_token[:, None].repeat(1, len(actions), 1)
        seen = self.encoder(self.query_pos_encoder(torch.cat((asked, steps))))[: self.s.tokens]
        return self.to_codebook(self.dist_layer(seen)).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        memory = self.from_codebook(codes.transpose(0, 1))
        empty = torch.zeros(self.s.horizon, len(codes), self.s.width)
        seen = self.decoder(self.query_pos_decoder(torch.cat((memory, empty))))
        return self.final_layer(seen[len(memory) :]).transpose(0, 1)


class Book(nn.Module):
    def __init__(self, codes: int, code_dim: int) -> None:
        super().__init__()
        self.codebook = nn.Embedding(codes, code_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tokens = torch.cdist(x, self.codebook.weight[None]).argmin(-1)
        return self.codebook(tokens), tokens


class StageOne(nn.Module):
    """The codec: chunks (B, H, 7) to tokens (B, N) and back."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.vq_t = Book(s.codes, s.code_dim)
        self.action_vae = ActionVae(s)

    def tokens(self, actions: Tensor) -> Tensor:
        return self.vq_t(self.action_vae.encode(actions))[1]

    def decode(self, tokens: Tensor) -> Tensor:
        return self.action_vae.decode(self.vq_t.codebook(tokens))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        b, n, w = x.shape
        q, k, v = (f(x).reshape(b, n, self.heads, -1).permute(0, 2, 1, 3) for f in (self.to_q, self.to_k, self.to_v))
        logits = q @ k.transpose(-1, -2) / (w // self.heads) ** 0.5
        if causal:
            logits = logits.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        return self.to_out((logits.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(b, n, w))


class TimeBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.spatial_attn, self.temporal_attn = Attention(width, heads), Attention(width, heads)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * width, width))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.stack([self.spatial_attn(f) for f in self.norm1(x).unbind(1)], 1)
        x = x + torch.stack([self.temporal_attn(f, causal=True) for f in self.norm2(x).unbind(2)], 2)
        return x + self.ffn(self.norm3(x))


class SpaceBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.spatial_attn = Attention(width, heads)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * width, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.stack([self.spatial_attn(f) for f in self.norm1(x).unbind(1)], 1)
        return x + self.ffn(self.norm2(x))


def sinusoid(places: int, width: int) -> Tensor:
    table = torch.zeros(places, width)
    for place in range(places):
        for pair in range(width // 2):
            angle = place / 10_000 ** (2 * pair / width)
            table[place, 2 * pair], table[place, 2 * pair + 1] = torch.tensor(angle).sin(), torch.tensor(angle).cos()
    return table


class Stack(nn.Module):
    def __init__(self, inputs: int, width: int, blocks: list[nn.Module], out: nn.Module) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.LayerNorm(width))
        self.transformer_blocks = nn.ModuleList(blocks)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        x = self.ffn(x)
        x = x + sinusoid(x.shape[2], x.shape[3])
        for block in self.transformer_blocks:
            x = block(x)
        return self.out(x)


class StageTwo(StageOne):
    """The alignment beside its frozen codec; width of the networks = numbers of a patch, as released."""

    def __init__(self, s: Sizes) -> None:
        super().__init__(s)
        self.s, w = s, s.numbers
        self.action_latent_i = nn.Parameter(torch.rand(1, 1, 2, w) * 2 - 1)
        self.action_latent_t = nn.Parameter(torch.rand(1, 1, 2 * s.tokens, w) * 2 - 1)
        self.visual_encoder = Stack(w, w, [TimeBlock(w, s.heads) for _ in range(s.blocks)], nn.Identity())
        self.to_codebook_i, self.to_codebook_t = nn.Linear(w, s.code_dim), nn.Linear(w, s.code_dim)
        self.vq_i = Book(s.codes, s.code_dim)
        self.patch_up, self.action_up = nn.Linear(w, w), nn.Linear(s.code_dim, w)
        self.visual_decoder = Stack(w, w, [SpaceBlock(w, s.heads) for _ in range(s.blocks)], nn.Linear(w, w))
        self.temperature, self.bias = nn.Parameter(torch.tensor(10.0).log()), nn.Parameter(torch.tensor(-10.0))

    def look(self, now: Tensor, then: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (B, K, F) of two pictures to tokens (B, 2), (B, 2 N) and the patches foreseen (B, K, F)."""
        asked = torch.cat((self.action_latent_i, self.action_latent_t), 2).expand(len(now), 2, -1, -1)
        z = self.visual_encoder(torch.cat((asked, torch.stack((now, then), 1)), 2))
        codes_i, tokens_i = self.vq_i(self.to_codebook_i(z[:, 1, :2]))
        codes_t, tokens_t = self.vq_t(self.to_codebook_t(z[:, 1, 2 : asked.shape[2]]))
        told = torch.cat((self.action_up(torch.cat((codes_i, codes_t), 1)), self.patch_up(now)), 1)
        return tokens_i, tokens_t, self.visual_decoder(told[:, None])[:, 0, asked.shape[2] :]


@torch.no_grad()
def spread(net: StageOne, sizes: Sizes) -> None:
    """Put the codes among what the networks find, as training would: of random ones, one would stand for all."""
    found = [net.action_vae.encode(torch.randn(sizes.codes, sizes.horizon, 7)).flatten(0, 1)]
    if isinstance(net, StageTwo):
        z = [net.visual_encoder(torch.randn(1, 2, 2 + 2 * sizes.tokens + sizes.patches, sizes.numbers))[0, 1, :40]]
        found.append(net.to_codebook_t(torch.cat(z)))
        net.vq_i.codebook.weight[: min(40, sizes.codes)] = net.to_codebook_i(z[0])[: sizes.codes]
    for part in range(sizes.codes):
        source = found[part % len(found)]
        net.vq_t.codebook.weight[part] = source[torch.randint(len(source), ())]


def checkpoint_of(net: nn.Module, **settings: object) -> dict[str, Any]:
    """What the release's trainer writes of a network, as far as anybody reads it."""
    state = {f"clap.{name}": value for name, value in net.state_dict().items()}
    return {"state_dict": state, "hyper_parameters": dict(settings), "global_step": 7, "epoch": 0}


def scales_of(seed: int = 0) -> Mapping[str, Tensor]:
    """The release's scales of seven robots, as buffers that lie in a checkpoint beside the network."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for prefix, robots in (("", 3), ("extra_", 4)):
        wide = torch.rand(robots, 14, generator=generator) * 0.2 + 0.05
        for what in ("action", "state"):
            found[f"action_denormalization.{prefix}{what}_q01"] = -wide
            found[f"action_denormalization.{prefix}{what}_q99"] = wide * 1.1
    return found
