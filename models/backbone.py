"""What every policy head looks through: instruction, colour clusters and proprioception become one feature vector.

Letters in tensor names: B rows of a batch, C cameras, K clusters per camera, F numbers per cluster, N = C*K clusters,
S state numbers, E instruction embedding (or a part of it), Q selectors, D width, G keyframe numbers, H steps, A numbers
per action.

The instruction generates Q softmax selectors over clusters ("look at the red thing"), so a small object is found by its
cluster and not by its few pixels. Half of them hear only which thing is meant, half only which place, and all later
layers hear only what is to be done with it (they are scaled by it, a multiplicative gate): so known things and
places that were never put together are understood, and a thing that only people handled is found by what their clips
taught about it. A selector looks for the same in every camera; clips of people, who wear no wrist camera, teach that
one too. A hindsight keyframe head (where will the gripper next close or open?) is trained beside the actions and its
answer is fed back.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.text import MANNER, PLACE, THING
from workbench.core.errors import WorkbenchError

_LEAST_SPREAD = 1e-3
_ROLES = 2  # thing and place
_CENTRE = slice(1, 3)  # where the cluster's centre lies in its numbers: log mass, cx, cy, sx, sy


@dataclass(frozen=True, slots=True)
class BackboneSize:
    """Shape of the inputs and widths of the network.

    Attributes:
        by_role: selectors and gates hear their own part of the instruction (``text.embed_roles``), and a selector looks
            for the same in every camera; without it all of them hear all of it (``text.embed``).
    """

    cameras: int
    clusters: int
    numbers: int
    state: int
    text: int
    keyframe: int
    horizon: int
    action: int
    width: int = 160
    depth: int = 2
    selectors: int = 16
    by_role: bool = False


@dataclass(frozen=True, slots=True)
class InputNoise:
    """What is added to the inputs while training, in the usual spread of each kind of number.

    Attributes:
        features: independent noise on every cluster number.
        shift: noise on the cluster centres that all clusters of one camera share in one row (a camera moved a little).
        state: noise on the proprioception.
        text: noise on the instruction vector, relative to its length.
        outside: chance that a robot row is seen as a clip of a person is: first camera only, no proprioception.
    """

    features: float = 0.0
    shift: float = 0.0
    state: float = 0.0
    text: float = 0.0
    outside: float = 0.0


class Standardiser(nn.Module):
    """Zero mean and unit spread per number; the statistics are saved with the weights."""

    mean: Tensor
    spread: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("spread", torch.ones(*shape))

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take the statistics of ``values`` (rows first)."""
        self.mean.copy_(values.mean(dim=0))
        self.spread.copy_(values.std(dim=0, correction=0))

    def forward(self, values: Tensor) -> Tensor:
        """Numbers that hardly ever changed in training stay near zero instead of being blown up."""
        return ((values - self.mean) / self.spread.clamp_min(_LEAST_SPREAD)).clamp(-6.0, 6.0)


class GatedBlock(nn.Module):
    """A residual layer whose hidden units are scaled by the instruction."""

    def __init__(self, width: int, text: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 2 * width)
        self.gate = nn.Linear(text, 2 * width)
        self.leave = nn.Linear(2 * width, width)

    def forward(self, hidden_BD: Tensor, text_BE: Tensor) -> Tensor:
        inner = functional.gelu(self.enter(self.norm(hidden_BD)))
        out: Tensor = hidden_BD + self.leave(inner * (1.0 + torch.tanh(self.gate(text_BE))))
        return out


@dataclass(frozen=True, slots=True)
class Seen:
    """What the backbone makes of one batch.

    Attributes:
        feature_BD: input of every head.
        state_BS: the proprioception the heads may use, standardised, noisy in training, zero where absent.
        keyframe_BG: predicted way of the gripper to where it next closes or opens, m.
        regression_BHA: the plain regression head's chunk, normalised actions.
    """

    feature_BD: Tensor
    state_BS: Tensor
    keyframe_BG: Tensor
    regression_BHA: Tensor


class Eyes(nn.Module):
    """What every backbone has: a size, noise for training, and the scales of proprioception and keyframes."""

    def __init__(self, size: BackboneSize, noise: InputNoise | None = None) -> None:
        super().__init__()
        self.size = size
        self.noise = noise or InputNoise()
        self.state = Standardiser((size.state,))
        self.keyframe_scale = Standardiser((size.keyframe,))

    def _metres(self, keyframe: Tensor) -> Tensor:
        scale = self.keyframe_scale
        return keyframe * scale.spread.clamp_min(_LEAST_SPREAD) + scale.mean

    def keyframe_loss(self, seen: Seen, target_BG: Tensor, weight_B: Tensor) -> Tensor:
        """Hindsight keyframe error in spreads of the target, mean over weighted rows; NaN targets count as absent."""
        known = torch.isfinite(target_BG).all(dim=1) & (weight_B > 0)
        spread = self.keyframe_scale.spread.clamp_min(_LEAST_SPREAD)
        error = (seen.keyframe_BG - torch.nan_to_num(target_BG)) / spread
        per_row = functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=0.5).mean(dim=1)
        return weighted_mean(per_row, known.to(per_row.dtype) * weight_B)


class RoleSelect(nn.Module):
    """What the selectors look for, (B, Q K): half of them hear the thing only, half the place."""

    def __init__(self, selectors: int, clusters: int) -> None:
        super().__init__()
        if selectors < _ROLES or selectors % _ROLES:
            raise WorkbenchError(f"{selectors} selectors cannot be shared by thing and place", "Set an even number")
        self.thing = nn.Linear(_size(THING), selectors // _ROLES * clusters)
        self.place = nn.Linear(_size(PLACE), selectors // _ROLES * clusters)

    def forward(self, text_BE: Tensor) -> Tensor:
        return torch.cat([self.thing(text_BE[:, THING]), self.place(text_BE[:, PLACE])], dim=1)


class Backbone(Eyes):
    """Instruction-selected clusters, gated layers, keyframe and regression heads.

    Only what a selector picks goes on: a second path for all clusters learned the training scenes by heart.
    """

    usual: Tensor

    def __init__(self, size: BackboneSize, noise: InputNoise | None = None) -> None:
        super().__init__(size, noise)
        self._heard = MANNER if size.by_role else slice(0, size.text)
        heard = _size(self._heard)
        self.register_buffer("usual", torch.zeros(size.cameras, size.clusters, size.numbers))
        self.shared = Standardiser((size.numbers,))
        self.select: nn.Module
        if size.by_role:
            self.select = RoleSelect(size.selectors, size.clusters)
        else:
            self.select = nn.Linear(size.text, size.selectors * size.cameras * size.clusters)
        self.presence = nn.Parameter(torch.full((size.selectors, 1), 0.5))
        picked = size.selectors * size.numbers
        if size.by_role:
            self.trust = nn.Parameter(torch.zeros(_ROLES, size.selectors // _ROLES))
            picked = _ROLES * size.cameras * size.numbers
        self.look = nn.Linear(picked, size.width)
        self.body = nn.Linear(size.state + 1, size.width)
        self.asked = nn.Linear(heard, size.width)
        self.blocks = nn.ModuleList(GatedBlock(size.width, heard) for _ in range(size.depth))
        self.keyframe = nn.Linear(size.width, size.keyframe)
        self.told = nn.Linear(size.keyframe, size.width)
        self.last = GatedBlock(size.width, heard)
        self.norm = nn.LayerNorm(size.width)
        self.regression = nn.Linear(size.width, size.horizon * size.action)
        self._soften()

    def _soften(self) -> None:
        """Start with selectors that differ from one another and from instruction to instruction."""
        for layer, _ in self._looking():
            nn.init.normal_(layer.weight, std=1.0)
            nn.init.normal_(layer.bias, std=0.3)
        with torch.no_grad():
            self.regression.weight *= 0.3

    def _looking(self) -> list[tuple[nn.Linear, slice]]:
        """The layers of the selectors, each with the part of the instruction that it hears."""
        if isinstance(self.select, RoleSelect):
            return [(self.select.thing, THING), (self.select.place, PLACE)]
        return [(self.select, self._heard)] if isinstance(self.select, nn.Linear) else []

    def said_weights(self) -> list[tuple[nn.Parameter, slice]]:
        """The weights (outputs, E) that read the instruction (selectors, offset, gates), and which part of it."""
        gates = [block.gate for block in (*self.blocks, self.last)]
        heard = [*self._looking(), *((layer, self._heard) for layer in (self.asked, *gates))]
        return [(layer.weight, part) for layer, part in heard]

    def fit(self, features_BCKF: Tensor, state_BS: Tensor, keyframe_BG: Tensor) -> None:
        """Take the input statistics from training rows; rows without state or keyframe must be left out."""
        self.usual.copy_(features_BCKF.mean(dim=0))
        self.shared.fit(features_BCKF.flatten(0, 2))
        self.state.fit(state_BS)
        self.keyframe_scale.fit(keyframe_BG)

    def selectors(self, shared_BCKF: Tensor, text_BE: Tensor) -> Tensor:
        """What the instruction looks at; clusters without pixels count less.

        (B, 2, C, K): thing and place, summing to 1 over the clusters of a camera. Not by role (B, Q, 1, C K): every
        selector, over the clusters of all cameras.
        """
        wanted = self.select(text_BE).view(len(text_BE), self.size.selectors, 1, -1)
        pixels = shared_BCKF[..., 0] if self.size.by_role else shared_BCKF[..., 0].flatten(1)[:, None]
        looked = torch.softmax(wanted + self.presence[:, :, None] * pixels[:, None], dim=-1)
        if not self.size.by_role:
            return looked
        candidates = looked.view(len(looked), _ROLES, -1, *looked.shape[2:])
        # Many candidates, so that one of them finds the thing early; one answer, so that all things are seen alike.
        return torch.einsum("brqck,rq->brck", candidates, self.trust.softmax(dim=-1))

    def forward(self, features_BCKF: Tensor, state_BS: Tensor, text_BE: Tensor, robot_B: Tensor) -> Seen:
        """See one batch.

        Where ``robot_B`` is False (clips of people) there is no proprioception and only the first camera counts.
        """
        raw, state, text, robot = self._noisy(features_BCKF, self.state(state_BS), text_BE, robot_B)
        # One common scale for all clusters, so that what is learned about one colour holds for the next.
        shared = self.shared(raw)
        places = shared if self.size.by_role else shared.flatten(1, 2)[:, None]
        picked = torch.einsum("bqck,bckf->bqcf", self.selectors(shared, text), places).flatten(1)
        body, heard = torch.cat([state, robot[:, None]], dim=1), text[:, self._heard]
        hidden = self.look(picked) + self.body(body) + self.asked(heard)
        for block in self.blocks:
            hidden = block(hidden, heard)
        keyframe = self.keyframe(hidden)
        hidden = self.norm(self.last(hidden + self.told(keyframe), heard))
        chunk = self.regression(hidden).view(-1, self.size.horizon, self.size.action)
        return Seen(hidden, state, self._metres(keyframe), chunk)

    def _noisy(
        self, features: Tensor, state: Tensor, text: Tensor, robot_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training noise, and what a clip of a person does not show replaced by its mean."""
        noise, robot = self.noise, robot_B
        if self.training:
            spread = self.shared.spread
            features = features + torch.randn_like(features) * spread * noise.features
            features[..., _CENTRE] += torch.randn(*features.shape[:2], 1, 2) * spread[_CENTRE] * noise.shift
            state = state + torch.randn_like(state) * noise.state
            text = text + torch.randn_like(text) * (noise.text / text.shape[1] ** 0.5)
            robot = robot & (torch.rand(len(state)) >= noise.outside)
        here = robot.to(state.dtype)
        if features.shape[1] > 1:
            inner = torch.lerp(self.usual[1:], features[:, 1:], here[:, None, None, None])
            features = torch.cat([features[:, :1], inner], dim=1)
        return features, state * here[:, None], text, here


def _size(part: slice) -> int:
    return int(part.stop - part.start)


def weighted_mean(values_B: Tensor, weight_B: Tensor) -> Tensor:
    """Mean of ``values_B`` under ``weight_B``; 0 when all weights are 0."""
    return (values_B * weight_B).sum() / weight_B.sum().clamp_min(1e-6)
