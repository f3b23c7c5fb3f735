"""The published codec's two sides: transformers with long skip connections (Act-VAE of CLAP, arXiv 2601.04061).

Learned queries read a chunk through a stack whose first half is joined to its second half, as a U-Net does (MLD, Chen
et al. 2023); the same stack turns codes and empty queries back into a chunk. Blocks normalise after they add.
Letters: B rows, H steps, A = 7 action numbers, N tokens, n <= N of them, D numbers per code, W width, L = N + H places.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.core.errors import WorkbenchError

_ACTION = 7


class PostBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + MLP(x)); every place looks at every place."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise WorkbenchError(f"a width of {width} cannot be split into {heads} heads", "Choose a multiple of it")
        self.heads = heads
        self.among, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.enter, self.leave = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm_seen, self.norm_thought = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, hidden_BLW: Tensor) -> Tensor:
        asked, key, value = self.among(hidden_BLW).chunk(3, dim=-1)
        seen = self.norm_seen(hidden_BLW + self.joined(attend(asked, key, value, self.heads)))
        out: Tensor = self.norm_thought(seen + self.leave(functional.gelu(self.enter(seen))))
        return out


class SkipStack(nn.Module):
    """An odd number of blocks; what leaves the first half is joined, last first, to what enters the second."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        if layers < 1 or layers % 2 == 0:
            raise WorkbenchError(f"{layers} layers have no middle one", "Choose an odd number of layers")
        half = layers // 2
        self.down = nn.ModuleList(PostBlock(width, heads) for _ in range(half))
        self.middle = PostBlock(width, heads)
        self.up = nn.ModuleList(PostBlock(width, heads) for _ in range(half))
        self.joins = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, hidden_BLW: Tensor) -> Tensor:
        kept = []
        for block in self.down:
            hidden_BLW = block(hidden_BLW)
            kept.append(hidden_BLW)
        hidden_BLW = self.middle(hidden_BLW)
        for block, join in zip(self.up, self.joins, strict=True):
            hidden_BLW = block(join(torch.cat([hidden_BLW, kept.pop()], dim=-1)))
        out: Tensor = self.norm(hidden_BLW)
        return out


class SkipEncoder(nn.Module):
    """Flat chunks (B, H*A) to flat latents (B, N*D)."""

    def __init__(self, horizon: int, tokens: int, code_dim: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.horizon, self.tokens = horizon, tokens
        self.enter = nn.Linear(_ACTION, width)
        self.queries = nn.Parameter(torch.randn(tokens, width))
        self.places = nn.Parameter(torch.rand(tokens + horizon, width))
        self.stack = SkipStack(width, layers, heads)
        self.told = nn.Linear(width, width)
        self.leave = _mlp(width, width, code_dim)

    def forward(self, chunk_BX: Tensor) -> Tensor:
        steps = self.enter(chunk_BX.view(-1, self.horizon, _ACTION))
        whole = torch.cat([self.queries.expand(len(steps), -1, -1), steps], dim=1) + self.places
        latent: Tensor = self.leave(self.told(self.stack(whole)[:, : self.tokens]))
        return latent.flatten(1)


class SkipDecoder(nn.Module):
    """Flat codes (B, n*D) to flat chunks (B, H*A); a chunk of fewer codes than N is a rougher one."""

    def __init__(self, horizon: int, tokens: int, code_dim: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.horizon, self.code_dim = horizon, code_dim
        self.enter = _mlp(code_dim, width, width)
        self.places = nn.Parameter(torch.rand(tokens + horizon, width))
        self.stack = SkipStack(width, layers, heads)
        self.leave = nn.Linear(width, _ACTION)

    def forward(self, codes_BX: Tensor) -> Tensor:
        codes = self.enter(codes_BX.view(len(codes_BX), -1, self.code_dim))
        empty = codes.new_zeros(len(codes), self.horizon, codes.shape[-1])
        whole = torch.cat([codes, empty], dim=1)
        chunk: Tensor = self.leave(self.stack(whole + self.places[: whole.shape[1]])[:, codes.shape[1] :])
        return chunk.flatten(1)


def attend(query_BQW: Tensor, key_BLW: Tensor, value_BLW: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    """Attention in ``heads`` equal slices of the width, (B, Q, W)."""

    def split(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)

    found = functional.scaled_dot_product_attention(
        split(query_BQW), split(key_BLW), split(value_BLW), is_causal=causal
    )
    out: Tensor = found.transpose(1, 2).flatten(2)
    return out


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, outputs))
