"""The network of the VD-VAE: read the action off two pictures, in the words of the frozen Act-VAE (CLAP stage 2).

An inverse-dynamics encoder asks the picture tokens of t and t + H with action and irrelevant queries; action latents
are quantised by the frozen action book, irrelevant ones by a small own book; a forward decoder predicts the features at
t + H from those at t and all codes. Symmetric sigmoid contrast (Zhai et al. 2023) ties robot rows to their true codes.
The path of the tip of what reaches into the picture (``tips``), where depth tells it, is one more picture token.
Letters: B rows, C cameras, K clusters, F numbers, L = C*K + 1 tokens, N action and M irrelevant codes, D numbers per
code, W width, P rows of a window, 5 numbers of a tip.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.act_vae import ActVae, Codebook, Residual, tower
from models.recipes import VdVaeRecipe
from models.tips import APART, PLACE, SEEN

PLACES = slice(1, 3)  # the numbers of a cluster that say where it is, by the encoders' convention
_HEADS = 4
_LARGEST_CHANGE = 4.0
_LARGEST_WAY = 5.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What the encoder reads off a pair of pictures.

    Attributes:
        latent_BND, code_BND, tokens_BN: action latents, their codes (gradient passes through), their numbers.
        irrelevant_BMD, irrelevant_code_BMD, irrelevant_tokens_BM: the same of the rest.
    """

    latent_BND: Tensor
    code_BND: Tensor
    tokens_BN: Tensor
    irrelevant_BMD: Tensor
    irrelevant_code_BMD: Tensor
    irrelevant_tokens_BM: Tensor


class AskBlock(nn.Module):
    """Queries look at the tokens, then at one another, then think."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_query, self.norm_self = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.joined, self.mixed = nn.Linear(width, width), nn.Linear(width, width)
        self.among = nn.Linear(width, 3 * width)
        self.think = Residual(width)

    def forward(self, query_BQW: Tensor, tokens_BLW: Tensor, seen_BL: Tensor) -> Tensor:
        """New queries (B, Q, W); tokens where ``seen_BL`` is False are not looked at."""
        key, value = self.key_value(tokens_BLW).chunk(2, dim=-1)
        found = _attend(self.query(self.norm_query(query_BQW)), key, value, seen_BL[:, None, None])
        query = query_BQW + self.joined(found)
        asked, key, value = self.among(self.norm_self(query)).chunk(3, dim=-1)
        out: Tensor = self.think(query + self.mixed(_attend(asked, key, value, None)))
        return out


class Path(nn.Module):
    """The path of a tip over a window: where it starts, the way from there, what is seen and what is apart.

    It becomes a picture token, and it has a straight way to the action latents besides: a linear map goes on being
    right where no arm has been, and hands come from where no arm has been.
    """

    mean_3: Tensor
    spread_3: Tensor
    change_3: Tensor

    def __init__(self, horizon: int, width: int, latents: int) -> None:
        super().__init__()
        numbers = 3 + 3 * horizon + 2 * (horizon + 1)
        self.register_buffer("mean_3", torch.zeros(3))
        self.register_buffer("spread_3", torch.ones(3))
        self.register_buffer("change_3", torch.ones(3))
        self.enter = tower(numbers, 2 * width, width, 1)
        self.straight = nn.Linear(numbers, latents)
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)

    def fit(self, tips_BP5: Tensor) -> None:
        """Take the scale of places and of how far tips move in a window from the sample rows that show them."""
        seen = tips_BP5[whole_path(tips_BP5)]
        if len(seen) > 1:
            start = seen[:, 0, PLACE]
            self.mean_3.copy_(start.mean(0))
            self.spread_3.copy_(start.std(0).clamp_min(1e-3))
            self.change_3.copy_((seen[:, -1, PLACE] - start).std(0).clamp_min(1e-3))

    def forward(self, tips_BP5: Tensor) -> tuple[Tensor, Tensor]:
        """Token (B, W) and what is added to the action latents (B, N*D)."""
        seen, place = tips_BP5[..., SEEN], tips_BP5[..., PLACE]
        start = (place[:, 0] - self.mean_3) / self.spread_3
        way = (place[:, 1:] - place[:, :1]) / self.change_3 * seen[:, 1:, None]
        numbers = [start, way.clamp(-_LARGEST_WAY, _LARGEST_WAY).flatten(1), seen, tips_BP5[..., APART]]
        flat = torch.cat(numbers, dim=1)
        return self.enter(flat), self.straight(flat)


class VdVae(nn.Module):
    """Inverse-dynamics encoder, books and forward decoder. The action book is a copy that never changes."""

    def __init__(self, recipe: VdVaeRecipe, act: ActVae, cameras: int, clusters: int, numbers: int) -> None:
        super().__init__()
        width = recipe.width
        self.shape = (cameras, clusters, numbers)
        self.action_tokens, self.code_dim = act.tokens, act.code_dim
        self.register_buffer("mean_F", torch.zeros(numbers))
        self.register_buffer("spread_F", torch.ones(numbers))
        self.register_buffer("change_F", torch.ones(numbers))
        self.register_buffer("centre_D", act.codebook.mean(0).clone())
        self.register_buffer("scale_D", act.codebook.std(0).clone())
        self.register_buffer("spacing", spacing(act.codebook))
        self.book = Codebook(len(act.codebook), act.code_dim)
        self.book.load_state_dict(act.book.state_dict())
        self.irrelevant_book = Codebook(recipe.irrelevant_codes, act.code_dim)
        self.enter = nn.Linear(3 * numbers, width)
        self.camera = nn.Parameter(torch.randn(cameras, 1, width) * 0.3)
        self.identity = nn.Parameter(torch.randn(1, clusters, width) * 0.3)
        self.token = Residual(width)
        self.path = Path(act.horizon, width, act.tokens * act.code_dim) if recipe.tips else None
        queries = act.tokens + recipe.irrelevant_tokens
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.3)
        self.ask = nn.ModuleList(AskBlock(width) for _ in range(recipe.layers))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, act.code_dim))
        inputs = cameras * clusters * numbers + queries * act.code_dim
        self.forward_model = tower(inputs, 2 * width, cameras * clusters * numbers, recipe.layers)
        self.logit_scale = nn.Parameter(torch.tensor(recipe.logit_scale))
        self.logit_bias = nn.Parameter(torch.tensor(recipe.logit_bias))

    mean_F: Tensor
    spread_F: Tensor
    change_F: Tensor
    centre_D: Tensor
    scale_D: Tensor
    spacing: Tensor

    def fit(self, features_BCKF: Tensor, future_BCKF: Tensor) -> None:
        """Take the scale of every kind of number from sample rows; shared by all clusters."""
        numbers = features_BCKF.shape[-1]
        self.mean_F.copy_(features_BCKF.reshape(-1, numbers).mean(0))
        self.spread_F.copy_(features_BCKF.reshape(-1, numbers).std(0).clamp_min(1e-3))
        change = (future_BCKF - features_BCKF).reshape(-1, numbers)
        self.change_F.copy_(change.std(0).clamp_min(1e-3))

    def standardise(self, features_BCKF: Tensor) -> Tensor:
        """Features in spreads around the mean."""
        return (features_BCKF - self.mean_F) / self.spread_F

    def change(self, features_BCKF: Tensor, future_BCKF: Tensor) -> Tensor:
        """What the forward decoder predicts: changes in their usual size, outliers cut."""
        change = (future_BCKF - features_BCKF) / self.change_F
        return change.clamp(-_LARGEST_CHANGE, _LARGEST_CHANGE)

    def glance(
        self,
        features_BCKF: Tensor,
        future_BCKF: Tensor,
        seen_BC: Tensor,
        shaped_B: Tensor | None = None,
        tips_BP5: Tensor | None = None,
        bare_B: Tensor | None = None,
    ) -> Glance:
        """Encode pairs. Cameras with ``seen_BC`` False are ignored; of rows with ``shaped_B`` False only the places of
        clusters are looked at, and of rows with ``bare_B`` True nothing but the path of the tip, if there is one."""
        tokens, straight = self._tokens(features_BCKF, future_BCKF, shaped_B), None
        seen_BL = seen_BC.repeat_interleave(self.shape[1], dim=1)
        if self.path is not None and tips_BP5 is not None:
            path_B = whole_path(tips_BP5)
            if bare_B is not None:
                seen_BL = seen_BL & ~(bare_B & path_B)[:, None]
            token, added = self.path(tips_BP5)
            straight = added.view(-1, self.action_tokens, self.code_dim) * path_B[:, None, None]
            tokens = torch.cat([tokens, token[:, None]], dim=1)
            seen_BL = torch.cat([seen_BL, path_B[:, None]], dim=1)
        query = self.queries.expand(len(tokens), -1, -1)
        for block in self.ask:
            query = block(query, tokens, seen_BL)
        latent = self.leave(query)
        action = latent[:, : self.action_tokens] + (0.0 if straight is None else straight)
        action = self.centre_D + 1.5 * self.scale_D * action
        irrelevant = latent[:, self.action_tokens :]
        code, numbers = self.book.quantise(action)
        other, other_numbers = self.irrelevant_book.quantise(irrelevant)
        return Glance(action, code, numbers, irrelevant, other, other_numbers)

    def predict(self, features_BCKF: Tensor, seen: Glance, seen_BC: Tensor) -> Tensor:
        """The forward decoder: changes (B, C, K, F) from the features at t and all codes."""
        now = self.standardise(features_BCKF) * seen_BC[:, :, None, None]
        action = (seen.code_BND - self.centre_D) / self.scale_D
        inputs = torch.cat([now.flatten(1), action.flatten(1), seen.irrelevant_code_BMD.flatten(1)], dim=1)
        out: Tensor = self.forward_model(inputs)
        return out.view(-1, *self.shape)

    def item(self, codes_BND: Tensor) -> Tensor:
        """The vector that contrast and retrieval compare: codes around the book's centre, flat (B, N*D)."""
        return ((codes_BND - self.centre_D) / self.scale_D).flatten(1)

    def log_chance(self, latent_BND: Tensor) -> Tensor:
        """Log probability of every code, (B, N, K): a Gaussian around each as wide as codes lie apart."""
        return functional.log_softmax(-self.book.distance(latent_BND) / (2.0 * self.spacing), dim=-1)

    def confidence(self, seen: Glance) -> Tensor:
        """(B,) geometric mean of the chosen codes' probabilities."""
        chosen = self.log_chance(seen.latent_BND).gather(-1, seen.tokens_BN[..., None])[..., 0]
        return chosen.mean(dim=1).exp()

    def _tokens(self, features_BCKF: Tensor, future_BCKF: Tensor, shaped_B: Tensor | None) -> Tensor:
        parts = [
            self.standardise(features_BCKF),
            self.standardise(future_BCKF),
            self.change(features_BCKF, future_BCKF),
        ]
        if shaped_B is not None:
            places = torch.zeros(self.shape[2])
            places[PLACES] = 1.0
            shown = torch.maximum(places, shaped_B.to(places.dtype)[:, None])[:, None, None]
            parts = [part * shown for part in parts]
        tokens = self.enter(torch.cat(parts, dim=-1)) + self.camera + self.identity
        out: Tensor = self.token(tokens.flatten(1, 2))
        return out


def whole_path(tips_BP5: Tensor) -> Tensor:
    """(B,) rows whose tip is seen at both ends of the window."""
    return (tips_BP5[:, 0, SEEN] > 0) & (tips_BP5[:, -1, SEEN] > 0)


def contrast(net: VdVae, visual_BV: Tensor, action_BV: Tensor, clash_BB: Tensor) -> Tensor:
    """Symmetric sigmoid loss: sum of softplus(-label * logit) over pairs, divided by the items (SigLIP, eq. 1).

    Pairs marked in ``clash_BB`` off the diagonal are neither positive nor negative (equal or nearly equal actions).
    """
    cosine = functional.normalize(visual_BV, dim=1) @ functional.normalize(action_BV, dim=1).T
    logits = net.logit_scale.exp() * cosine + net.logit_bias
    own = torch.eye(len(logits), dtype=torch.bool)
    per_pair = functional.softplus(torch.where(own, -logits, logits))
    # With one matrix of logits, video-to-action and action-to-video are the same sum; halving their sum gives it back.
    return (per_pair * (own | ~clash_BB)).sum() / max(1, len(logits))


def clashes(tokens_BN: Tensor, actions_BHA: Tensor, distance: float) -> Tensor:
    """(B, B) pairs with equal tokens or with chunks closer than ``distance`` (root mean square)."""
    equal = (tokens_BN[:, None] == tokens_BN[None]).all(-1)
    flat = actions_BHA.flatten(1)
    close: Tensor = torch.cdist(flat, flat) / flat.shape[1] ** 0.5 < distance
    return equal | close


def shuffle_clusters(features_BCKF: Tensor, future_BCKF: Tensor, rows_B: Tensor, generator: Generator) -> list[Tensor]:
    """Both pictures with their clusters permuted alike, another permutation for each of the marked rows."""
    batch, _, clusters, _ = features_BCKF.shape
    order = torch.rand(batch, clusters, generator=generator).argsort(dim=1)
    order = torch.where(rows_B[:, None], order, torch.arange(clusters))
    index = order[:, None, :, None].expand(-1, features_BCKF.shape[1], -1, features_BCKF.shape[3])
    return [features_BCKF.gather(2, index), future_BCKF.gather(2, index)]


def _attend(query_BQW: Tensor, key_BLW: Tensor, value_BLW: Tensor, mask: Tensor | None) -> Tensor:
    def heads(x: Tensor) -> Tensor:
        return x.view(len(x), x.shape[1], _HEADS, -1).transpose(1, 2)

    found = functional.scaled_dot_product_attention(heads(query_BQW), heads(key_BLW), heads(value_BLW), mask)
    out: Tensor = found.transpose(1, 2).flatten(2)
    return out


def spacing(codes_KD: Tensor) -> Tensor:
    """Mean squared distance from a code to its nearest neighbour."""
    distance = torch.cdist(codes_KD, codes_KD) + torch.diag(torch.full((len(codes_KD),), float("inf")))
    nearest: Tensor = distance.min(dim=1).values
    return nearest.square().mean().clamp_min(1e-6)
