"""Next-token prediction of the Act-VAE's codes (CLAP stage 3) on the features of ``backbone.py``.

Letters: B rows, N tokens of a chunk, V codes in the book, D width, H steps, A numbers per action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from models import text
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
        return self.decode(feature_BD, lambda logits_BV: logits_BV.argmax(dim=-1))

    @torch.no_grad()
    def decode(self, feature_BD: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """One position after the other, each token chosen from its logits (B, V): (B, N) int64.

        Everything that a later position needs of the earlier ones is kept (their running sum), so every position is
        computed once. A choice of -1 is kept and goes on as token 0.
        """
        base = self.enter(feature_BD)
        said = torch.zeros_like(base)
        tokens = []
        for place in range(self.tokens):
            hidden = self._mix(base + said + self.position[place], self.scale[place])
            token = choose(hidden @ self.out[place].T + self.bias[place])
            said = said + self.said[place, token.clamp_min(0)]
            tokens.append(token)
        return torch.stack(tokens, dim=1)

    def _mix(self, summed: Tensor, scale: Tensor) -> Tensor:
        inner = functional.gelu(self.inner(self.norm(summed))) * (1.0 + scale)
        mixed: Tensor = summed + self.leave(inner)
        return mixed


class TokenNet(nn.Module):
    """CLAP-NTP without the Act-VAE's decoder, whatever it looks and thinks with.

    Attributes:
        backbone: what it looks with.
        head: has ``tokens`` per chunk and ``codes`` to choose from.
    """

    backbone: Any
    head: Any

    def see(self, features_BCKF: Tensor, state_BS: Tensor, text_BE: Tensor, robot_B: Tensor) -> Seen:
        """Features for the heads; see ``Backbone.forward``. ``text_BE`` is made by ``embed``."""
        raise NotImplementedError

    def logits(self, seen: Seen, tokens_BN: Tensor) -> Tensor:
        """Teacher-forced logits; position n predicts token n. (B, N, V) or, with a class for "no action", V + 1."""
        raise NotImplementedError

    def say(self, seen: Seen, temperature: float = 0.0, generator: Generator | None = None) -> Tensor:
        """The tokens of a chunk, (B, N) int64, decoded one after the other; each position is computed once.

        Args:
            temperature: 0 = the most likely token; else tokens are drawn from softmax(logits / temperature).

        From the first position on where a row says no action, or where a number is not finite, its tokens are -1.
        """
        raise NotImplementedError

    def unsureness(self, seen: Seen) -> Tensor:
        """(B,) entropy of the tokens, 0 (sure) to 1 (no idea)."""
        raise NotImplementedError

    def embed(self, instruction: str) -> NDArray[np.float32]:
        """An instruction as a row of ``text_BE``."""
        raise NotImplementedError

    def understand(self, instruction: str, known: Sequence[str]) -> NDArray[np.float32]:
        """``embed`` of what an operator said to a policy that learned the ``known`` instructions."""
        raise NotImplementedError


class NtpNet(TokenNet):
    """The small backbone and token head."""

    backbone: Backbone
    head: TokenHead

    def __init__(self, backbone: Backbone, tokens: int, codes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = TokenHead(backbone.size.width, tokens, codes)

    def see(self, features_BCKF: Tensor, state_BS: Tensor, text_BE: Tensor, robot_B: Tensor) -> Seen:
        seen: Seen = self.backbone(features_BCKF, state_BS, text_BE, robot_B)
        return seen

    def logits(self, seen: Seen, tokens_BN: Tensor) -> Tensor:
        logits: Tensor = self.head(seen.feature_BD, tokens_BN)
        return logits

    def say(self, seen: Seen, temperature: float = 0.0, generator: Generator | None = None) -> Tensor:
        tokens_BN = self.head.decode(seen.feature_BD, lambda logits: pick(logits, temperature, generator))
        return tokens_BN.masked_fill((tokens_BN < 0).cumsum(dim=1) > 0, -1)

    def unsureness(self, seen: Seen) -> Tensor:
        return token_entropy(self.head, seen.feature_BD)

    def embed(self, instruction: str) -> NDArray[np.float32]:
        return (text.embed_roles if self.backbone.size.by_role else text.embed)(instruction)

    def understand(self, instruction: str, known: Sequence[str]) -> NDArray[np.float32]:
        """Misspelt words are mended first: see ``text.mend``."""
        return self.embed(text.mend(instruction, known))


def pick(logits_BV: Tensor, temperature: float = 0.0, generator: Generator | None = None) -> Tensor:
    """A token per row of logits, (B,) int64: the likeliest, or drawn at a temperature; -1 where one is not finite."""
    sound_B = torch.isfinite(logits_BV).all(dim=-1)
    if temperature <= 0:
        return torch.where(sound_B, logits_BV.argmax(dim=-1), -1)
    shares = (torch.where(sound_B[:, None], logits_BV, 0.0) / temperature).softmax(dim=-1)
    return torch.where(sound_B, torch.multinomial(shares, 1, generator=generator)[:, 0], -1)


def token_entropy(head: TokenHead, feature_BD: Tensor) -> Tensor:
    """(B,) mean entropy of the tokens along the most likely chunk, 0 (sure) to 1 (no idea)."""
    with torch.no_grad():
        return entropy_share(head(feature_BD, head.greedy(feature_BD))).mean(dim=1)


def entropy_share(logits: Tensor) -> Tensor:
    """Entropy over the last axis as a share of the most there can be."""
    shares = logits.softmax(dim=-1)
    entropy: Tensor = -(shares * shares.clamp_min(1e-12).log()).sum(dim=-1)
    return entropy / torch.log(torch.tensor(float(logits.shape[-1])))


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
