"""Next-token prediction of the Act-VAE's codes (CLAP stage 3) on the features of ``backbone.py``.

Letters: B rows, N tokens of a chunk, V codes in the book, D width, H steps, A numbers per action.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backbone import Backbone, Seen, weighted_mean


class TokenHead(nn.Module):
    """p(token_n | picture, instruction, token_0 .. token_n-1).

    Each position has its own table of embeddings; what is already said is their running sum, which is all that has to
    be kept between two decoding steps. Logits at position n predict token n: no shift anywhere.
    """

    def __init__(self, width: int, tokens: int, codes: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.codes = codes
        self.said = nn.Parameter(torch.randn(tokens, codes, width) * 0.1)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.1)
        self.enter = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 2 * width)
        self.scale = nn.Parameter(torch.zeros(tokens, 2 * width))
        self.leave = nn.Linear(2 * width, width)
        self.out = nn.Parameter(torch.randn(tokens, codes, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(tokens, codes))

    def forward(self, feature_BD: Tensor, tokens_BN: Tensor) -> Tensor:
        """Teacher-forced logits (B, N, V); the token at position n influences only positions after n."""
        place = torch.arange(self.tokens)
        said = self.said[place, tokens_BN].cumsum(dim=1)
        before = torch.cat([torch.zeros_like(said[:, :1]), said[:, :-1]], dim=1)
        hidden = self._mix(self.enter(feature_BD)[:, None] + before + self.position, self.scale)
        return torch.einsum("bnd,nvd->bnv", hidden, self.out) + self.bias

    @torch.no_grad()
    def greedy(self, feature_BD: Tensor) -> Tensor:
        """The most likely token, one position after the other: (B, N) int64."""
        base = self.enter(feature_BD)
        said = torch.zeros_like(base)
        tokens = []
        for place in range(self.tokens):
            hidden = self._mix(base + said + self.position[place], self.scale[place])
            token = (hidden @ self.out[place].T + self.bias[place]).argmax(dim=-1)
            said = said + self.said[place, token]
            tokens.append(token)
        return torch.stack(tokens, dim=1)

    def _mix(self, summed: Tensor, scale: Tensor) -> Tensor:
        inner = functional.gelu(self.inner(self.norm(summed))) * (1.0 + scale)
        mixed: Tensor = summed + self.leave(inner)
        return mixed


class NtpNet(nn.Module):
    """Backbone and token head: everything of CLAP-NTP but the Act-VAE's decoder."""

    def __init__(self, backbone: Backbone, tokens: int, codes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = TokenHead(backbone.size.width, tokens, codes)

    def see(self, features_BCKF: Tensor, state_BS: Tensor, text_BE: Tensor, robot_B: Tensor) -> Seen:
        """Features for the heads; see ``Backbone.forward``."""
        seen: Seen = self.backbone(features_BCKF, state_BS, text_BE, robot_B)
        return seen


def token_loss(logits_BNV: Tensor, tokens_BN: Tensor, weight_B: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy in nats per token, mean over rows weighted by how far their tokens are trusted."""
    per_token = functional.cross_entropy(
        logits_BNV.flatten(0, 1), tokens_BN.flatten(), reduction="none", label_smoothing=smoothing
    )
    return weighted_mean(per_token.view_as(tokens_BN).mean(dim=1), weight_B)


def chunk_loss(predicted_BHA: Tensor, actions_BHA: Tensor, weight_B: Tensor) -> Tensor:
    """Huber error of normalised chunks, mean over rows with a true action."""
    per_number = functional.smooth_l1_loss(predicted_BHA, actions_BHA, reduction="none", beta=0.2)
    return weighted_mean(per_number.mean(dim=(1, 2)), weight_B)
