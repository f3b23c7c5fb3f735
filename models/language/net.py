"""CLAP-NTP on a vision-language model (CLAP, stage 3): the same faces as the small backbone and token head.

A prompt of all cameras' pictures and the instruction is read once; then follows one token that holds the arm's state,
then the action tokens. These are V new entries of the vocabulary, with rows of their own beside the base's: a softmax
over them and all words is the vocabulary after adding them, while the base's file stays what it was. At every position
the model may also say a word; then it has said no action, and decoding ends there. What the flow head gets is the
state token's hidden state, which has seen everything but the answer.

Letters: B rows, C cameras, N action tokens of a chunk, V codes, M width of the language model, D feature width,
S state numbers, E letters of an instruction, H steps, A numbers per action, G keyframe numbers.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from models.backbone import BackboneSize, Eyes, InputNoise, Seen
from models.language.brain import Brain, Context
from models.language.pictures import unpacked
from models.language.sentence import letters, sentence
from models.token_head import TokenNet, entropy_share, pick

Asked = tuple[Tensor, Tensor, Tensor, Tensor]
AT_ONCE = 16  # rows whose keys and values are kept at a time while only measuring
_GREY = 128
_SCATTER = 0.02  # of new rows around the mean word, in spreads of words


@dataclass(frozen=True, slots=True)
class Told(Seen):
    """What a language model makes of a batch; see ``Seen``.

    Attributes:
        hidden_BM: of the state token: what predicts the first action token.
        asked: the inputs, in the order of ``Eyes.forward``.
        context: what was read, or None for a large batch that is only measured: it is read again, part by part.
    """

    hidden_BM: Tensor
    asked: Asked
    context: Context | None


class LanguageBackbone(Eyes):
    """Pictures, instruction and state through a language model to one feature vector, keyframe and regression."""

    def __init__(self, size: BackboneSize, noise: InputNoise | None, brain: Brain) -> None:
        super().__init__(size, noise)
        self.brain = brain
        self.tuned = nn.ParameterDict({name.replace(".", "/"): value for name, value in brain.tuned.items()})
        self.body = nn.Linear(size.state + 1, brain.width)
        self.enter = nn.Linear(brain.width, size.width)
        self.norm = nn.LayerNorm(size.width)
        self.keyframe = nn.Linear(size.width, size.keyframe)
        self.regression = nn.Linear(size.width, size.horizon * size.action)
        with torch.no_grad():
            self.body.weight *= 0.1
            self.regression.weight *= 0.3

    def fit_body(self, state_BS: Tensor, keyframe_BG: Tensor) -> None:
        """Take the statistics of state and keyframes from training rows; what is not finite is left out."""
        known = keyframe_BG[torch.isfinite(keyframe_BG).all(dim=1)]
        self.state.fit(state_BS)
        self.keyframe_scale.fit(known if len(known) else torch.zeros(1, keyframe_BG.shape[1]))

    def forward(self, features_BCKF: Tensor, state_BS: Tensor, text_BE: Tensor, robot_B: Tensor) -> Told:
        """See one batch; see ``Backbone.forward``. Features are rows of ``Pictures``, text is ``letters``."""
        asked = features_BCKF, state_BS, text_BE, robot_B
        if not torch.is_grad_enabled() and len(state_BS) > AT_ONCE:
            return _joined([self(*part) for part in parts(asked)], asked)
        pictures, state, here = self._shown(features_BCKF, self.state(state_BS), robot_B)
        said = [sentence(row.numpy()) for row in text_BE]
        read = self.brain.read(pictures, said)
        body = self.body(torch.cat([state, here[:, None]], dim=1))
        hidden, context = self.brain.go_on(body[:, None], read)
        feature = self.norm(self.enter(hidden[:, 0].to(state.device)))
        chunk = self.regression(feature).view(-1, self.size.horizon, self.size.action)
        return Told(feature, state, self._metres(self.keyframe(feature)), chunk, hidden[:, 0], asked, context)

    def _shown(self, features: Tensor, state: Tensor, robot: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures 0..1 with training noise; a clip of a person shows grey for all cameras but the first, no state."""
        noise = self.noise
        if self.training:
            state = state + torch.randn_like(state) * noise.state
            robot = robot & (torch.rand(len(state)) >= noise.outside)
        here = robot.to(state.dtype)
        pictures = unpacked(features)
        if pictures.shape[1] > 1:
            grey = torch.full_like(pictures[:, 1:], _GREY / 255.0)
            pictures = torch.cat([pictures[:, :1], torch.where(robot.view(-1, 1, 1, 1, 1), pictures[:, 1:], grey)], 1)
        if self.training:
            contrast, light = noise.features * torch.randn(2, len(state), 1, 1, 1, 1)
            pictures = ((pictures - 0.5) * (1.0 + contrast) + 0.5 + light).clamp(0.0, 1.0)
        return pictures, state * here[:, None], here


class LanguageHead(nn.Module):
    """The action tokens' rows of the vocabulary: one embedding and one output row per code."""

    def __init__(self, brain: Brain, tokens: int, codes: int) -> None:
        super().__init__()
        self.tokens, self.codes = tokens, codes
        middle, spread, out = (part.cpu() for part in brain.usual_rows())
        self.said = nn.Parameter(middle + _SCATTER * spread * torch.randn(codes, brain.width, device="cpu"))
        self.out = nn.Parameter(out + _SCATTER * spread * torch.randn(codes, brain.width, device="cpu"))
        self._brain = brain

    def embed(self, tokens_Bn: Tensor) -> Tensor:
        """(B, n, M)."""
        return self.said[tokens_Bn]

    def scores(self, hidden_BnM: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the codes (B, n, V) and of the base's words (B, n, W), on one scale."""
        words = self._brain.words(hidden_BnM)
        return hidden_BnM @ self.out.to(hidden_BnM.device).T, words


class LanguageNet(TokenNet):
    """CLAP-NTP on a language model: everything but the Act-VAE's decoder."""

    backbone: LanguageBackbone
    head: LanguageHead

    def __init__(self, backbone: LanguageBackbone, tokens: int, codes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = LanguageHead(backbone.brain, tokens, codes)

    def see(self, features_BCKF: Tensor, state_BS: Tensor, text_BE: Tensor, robot_B: Tensor) -> Told:
        told: Told = self.backbone(features_BCKF, state_BS, text_BE, robot_B)
        return told

    def logits(self, seen: Seen, tokens_BN: Tensor) -> Tensor:
        """Teacher-forced logits (B, N, V + 1); the last stands for all words together, so a softmax is exact."""
        told = _told(seen)
        if told.context is None:
            return self._by_parts(told, lambda part, rows: self.logits(part, tokens_BN[rows]))
        hidden = told.hidden_BM[:, None]
        if tokens_BN.shape[1] > 1:
            later, _ = self.backbone.brain.go_on(self.head.embed(tokens_BN[:, :-1]), told.context)
            hidden = torch.cat([hidden, later], dim=1)
        codes, words = self.head.scores(hidden)
        return torch.cat([codes, words.logsumexp(dim=-1, keepdim=True)], dim=-1).to(seen.feature_BD.device)

    @torch.no_grad()
    def say(self, seen: Seen, temperature: float = 0.0, generator: Generator | None = None) -> Tensor:
        """The tokens of a chunk, see ``TokenNet.say``; from the first word or broken number on they are -1."""
        told = _told(seen)
        if told.context is None:
            return self._by_parts(told, lambda part, _: self.say(part, temperature, generator))
        hidden, context = told.hidden_BM[:, None], told.context
        tokens: list[Tensor] = []
        valid = torch.ones(len(hidden), dtype=torch.bool)
        for place in range(self.head.tokens):
            if place:
                embedded = self.head.embed(tokens[-1].clamp_min(0)[:, None])
                hidden, context = self.backbone.brain.go_on(embedded, context)
            codes, words = self.head.scores(hidden[:, 0])
            token = pick(torch.cat([codes, words], dim=-1).cpu(), temperature, generator)
            valid = valid & (token >= 0) & (token < self.head.codes)
            tokens.append(torch.where(valid, token, -1))
            if not bool(valid.any()):
                break
        rest = [torch.full_like(tokens[0], -1)] * (self.head.tokens - len(tokens))
        return torch.stack([*tokens, *rest], dim=1)

    @torch.no_grad()
    def unsureness(self, seen: Seen) -> Tensor:
        """(B,) entropy of the first token among the codes, 0 (sure) to 1; the rest would cost a decoding."""
        codes, _ = self.head.scores(_told(seen).hidden_BM[:, None])
        return entropy_share(codes[:, 0].cpu())

    def embed(self, instruction: str) -> NDArray[np.float32]:
        return letters(instruction)

    def understand(self, instruction: str, known: Sequence[str]) -> NDArray[np.float32]:
        """As it stands: a language model knows more words than the instructions it was tuned on."""
        return letters(instruction)

    def _by_parts(self, told: Told, ask: Callable[[Told, slice], Tensor]) -> Tensor:
        found, first = [], 0
        with torch.no_grad():
            for asked in parts(told.asked):
                rows = slice(first, first + len(asked[0]))
                found.append(ask(self.see(*asked), rows))
                first = rows.stop
        return torch.cat(found)


def parts(asked: Asked) -> Iterator[Asked]:
    """The same inputs, ``AT_ONCE`` rows at a time."""
    for first in range(0, len(asked[0]), AT_ONCE):
        features, state, text, robot = (tensor[first : first + AT_ONCE] for tensor in asked)
        yield features, state, text, robot


def _joined(found: Sequence[Told], asked: Asked) -> Told:
    return Told(
        torch.cat([part.feature_BD for part in found]),
        torch.cat([part.state_BS for part in found]),
        torch.cat([part.keyframe_BG for part in found]),
        torch.cat([part.regression_BHA for part in found]),
        torch.cat([part.hidden_BM for part in found]),
        asked,
        None,
    )


def _told(seen: Seen) -> Told:
    if not isinstance(seen, Told):
        raise TypeError("a language model goes on only from what it has read itself")
    return seen
