"""The published VD-VAE network: space-time attention over patches of two pictures (CLAP stage 2, arXiv 2601.04061).

Queries for what the action explains and for what it does not are put before the patches of each picture. Blocks look
within a picture, then from every token to the same token of the picture before, then think. What the queries of the
second picture find becomes codes; a decoder of blocks within one picture predicts the patches at t + H from those at t
and the codes. It answers to everything that ``VdVae`` answers to, so that it is trained, measured and asked alike.
Letters: B rows, T = 2 pictures, K patches, F numbers of a patch, Q queries = M irrelevant + R action ones, of which the
last N are those of the arm that is read, D numbers per code, W width, L = Q + K tokens.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.act_vae import ActVae, Codebook
from models.encoders import Encoder
from models.official.skip import attend
from models.recipes import VdVaeRecipe
from models.vd_net import Glance, VdVae, spacing
from workbench.core.errors import WorkbenchError

_AT_ONCE = 16  # rows of two pictures with 318 tokens each: about 1 GB while they pass through


@dataclass(frozen=True, slots=True)
class WideGlance(Glance):
    """A glance that also holds the codes of every arm, for the forward decoder.

    Attributes:
        arms_BRD: codes of all action queries; the last N are ``code_BND``.
    """

    arms_BRD: Tensor


class PatchAttention(nn.Module):
    """Attention without biases on what is asked, compared and told."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise WorkbenchError(f"a width of {width} cannot be split into {heads} heads", "Choose a multiple of it")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.joined = nn.Linear(width, width)

    def forward(self, hidden_BLW: Tensor, causal: bool = False) -> Tensor:
        query, key, value = (part(hidden_BLW) for part in (self.query, self.key, self.value))
        out: Tensor = self.joined(attend(query, key, value, self.heads, causal=causal))
        return out


class Block(nn.Module):
    """Within each picture, then (if ``times``) from picture to picture, then an MLP; norms come first."""

    def __init__(self, width: int, heads: int, *, times: bool) -> None:
        super().__init__()
        self.across, self.norm_across = PatchAttention(width, heads), nn.LayerNorm(width)
        self.along = PatchAttention(width, heads) if times else None
        self.norm_along = nn.LayerNorm(width) if times else None
        self.norm_think = nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden_BTLW: Tensor) -> Tensor:
        batch, times, places, _ = hidden_BTLW.shape
        flat = hidden_BTLW.flatten(0, 1)
        hidden = (flat + self.across(self.norm_across(flat))).unflatten(0, (batch, times))
        if self.along is not None and self.norm_along is not None:
            turned = hidden.transpose(1, 2).flatten(0, 1)
            turned = turned + self.along(self.norm_along(turned), causal=True)
            hidden = turned.unflatten(0, (batch, places)).transpose(1, 2)
        out: Tensor = hidden + self.leave(functional.gelu(self.enter(self.norm_think(hidden))))
        return out


class PatchStack(nn.Module):
    """Norm, linear, norm, fixed waves that say which place a token has, blocks."""

    def __init__(self, inputs: int, width: int, layers: int, heads: int, *, times: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.LayerNorm(width))
        self.blocks = nn.ModuleList(Block(width, heads, times=times) for _ in range(layers))

    def forward(self, tokens_BTLF: Tensor) -> Tensor:
        hidden: Tensor = self.enter(tokens_BTLF)
        hidden = hidden + waves(hidden.shape[2], hidden.shape[3]).to(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class SpaceTimeVae(VdVae):
    """See the module. One camera; patches of one encoder, unscaled. The action book is a copy that never changes."""

    def __init__(self, recipe: VdVaeRecipe, act: ActVae, cameras: int, patches: int, numbers: int) -> None:
        nn.Module.__init__(self)  # of VdVae only the answers are taken over, not what it is made of
        if cameras != 1:
            raise WorkbenchError(f"the space-time network looks through one camera, not {cameras}", "Name one camera")
        width, others = recipe.width, recipe.irrelevant_tokens
        self.shape = (1, patches, numbers)
        self.action_tokens, self.code_dim = act.tokens, act.code_dim
        self.path = None
        for name, value in (("mean_F", 0.0), ("spread_F", 1.0), ("change_F", 1.0)):
            self.register_buffer(name, torch.full((numbers,), value))
        self.register_buffer("scale_D", act.codebook.std(0).clone())
        self.register_buffer("spacing", spacing(act.codebook))
        self.book = Codebook(len(act.codebook), act.code_dim)
        self.book.load_state_dict(act.book.state_dict())
        self.irrelevant_book = Codebook(recipe.irrelevant_codes, act.code_dim)
        self.ask_irrelevant = nn.Parameter(torch.empty(others, numbers).uniform_(-1.0, 1.0))
        self.ask_action = nn.Parameter(torch.empty(recipe.arms * act.tokens, numbers).uniform_(-1.0, 1.0))
        self.reader = PatchStack(numbers, width, recipe.layers, recipe.heads, times=True)
        self.leave_irrelevant, self.leave_action = nn.Linear(width, act.code_dim), nn.Linear(width, act.code_dim)
        self.patch_in, self.code_in = nn.Linear(numbers, width), nn.Linear(act.code_dim, width)
        self.foreseer = PatchStack(width, width, recipe.layers, recipe.heads, times=False)
        self.foreseen = nn.Linear(width, numbers)
        self.logit_scale = nn.Parameter(torch.tensor(recipe.logit_scale))
        self.logit_bias = nn.Parameter(torch.tensor(recipe.logit_bias))

    def glance(
        self,
        features_BCKF: Tensor,
        future_BCKF: Tensor,
        seen_BC: Tensor,
        shaped_B: Tensor | None = None,
        tips_BP5: Tensor | None = None,
        bare_B: Tensor | None = None,
    ) -> WideGlance:
        """Encode pairs. Patches cannot be shown by their places alone, and no path is read."""
        latents = [
            self._latents(now, then) for now, then in zip(*self._portions(features_BCKF, future_BCKF), strict=True)
        ]
        irrelevant, action = (torch.cat(parts) for parts in zip(*latents, strict=True))
        other, other_numbers = self.irrelevant_book.quantise(irrelevant)
        codes, tokens = self.book.quantise(action)
        mine = slice(-self.action_tokens, None)
        read = action[:, mine], codes[:, mine], tokens[:, mine]
        return WideGlance(*read, irrelevant, other, other_numbers, codes)

    def predict(self, features_BCKF: Tensor, seen: Glance, seen_BC: Tensor) -> Tensor:
        """The forward decoder: changes (B, 1, K, F) from the patches at t and all codes, see ``change``."""
        arms = seen.arms_BRD if isinstance(seen, WideGlance) else seen.code_BND
        codes = torch.cat([seen.irrelevant_code_BMD, arms], dim=1)
        whole = torch.cat([self.code_in(codes), self.patch_in(features_BCKF[:, 0])], dim=1)
        future = self.foreseen(self.foreseer(whole[:, None])[:, 0, codes.shape[1] :])
        change: Tensor = (future - features_BCKF[:, 0]) / self.change_F
        return change[:, None]

    def item(self, codes_BND: Tensor) -> Tensor:
        """The vector that contrast and retrieval compare: the codes as they are, flat (B, N*D)."""
        return codes_BND.flatten(1)

    def _portions(self, now: Tensor, then: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """All rows at once where a gradient is wanted, else a few at a time."""
        rows = max(1, len(now)) if torch.is_grad_enabled() else _AT_ONCE
        return torch.split(now, rows), torch.split(then, rows)

    def _latents(self, now_BCKF: Tensor, then_BCKF: Tensor) -> tuple[Tensor, Tensor]:
        """Irrelevant (B, M, D) and action latents (B, R, D) that the queries of the second picture find."""
        pair = torch.stack([now_BCKF[:, 0], then_BCKF[:, 0]], dim=1)
        queries = torch.cat([self.ask_irrelevant, self.ask_action])
        asked = queries.expand(len(pair), 2, -1, -1)
        found = self.reader(torch.cat([asked, pair], dim=2))[:, 1, : len(queries)]
        irrelevant, action = torch.split(found, [len(self.ask_irrelevant), len(self.ask_action)], dim=1)
        return self.leave_irrelevant(irrelevant), self.leave_action(action)


def waves(places: int, width: int) -> Tensor:
    """(L, W) sines and cosines of every place in turn, wavelengths 2 pi to 20 000 pi (Vaswani et al. 2017, 3.5)."""
    rate = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(places)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def alignment_net(recipe: VdVaeRecipe, act: ActVae, cameras: int, encoder: Encoder) -> VdVae:
    """The network a recipe names, for what its encoder gives. WorkbenchError if the two do not fit."""
    wanted = "patches" if recipe.net == "space_time" else "keypoints"
    if encoder.layout != wanted:
        raise WorkbenchError(
            f"the network '{recipe.net}' reads {wanted}, the encoder '{encoder.kind}' gives {encoder.layout}",
            "Set net=space_time for patches and net=ask for keypoints",
        )
    make = SpaceTimeVae if recipe.net == "space_time" else VdVae
    return make(recipe, act, cameras, *encoder.shape)
