"""Sums by take instead of averages: windows of one take are alike, so intervals must draw takes, never windows.

Letters: B rows, N tokens, W windows, D numbers that are predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import judge, vd_vae
from models.act_vae import measured_on
from models.data import Batch, Windows
from models.vd_net import Glance
from models.vd_vae import VdVaeModel

Sums = dict[str, list[float]]


@torch.no_grad()
def look(model: VdVaeModel, batch: Batch) -> Glance:
    """What the model reads off a batch's pictures, under the rule of which cameras and numbers may be looked at."""
    return vd_vae.look(model.net, model.recipe, batch)


def by_take(names_B: Sequence[str], values_BK: NDArray[np.float64]) -> Sums:
    """(B, K) numbers added up per name, names in the order they first occur."""
    order = {name: place for place, name in enumerate(dict.fromkeys(names_B))}
    totals = np.zeros((len(order), values_BK.shape[1]))
    np.add.at(totals, [order[name] for name in names_B], values_BK)
    return {name: [float(value) for value in totals[place]] for name, place in order.items()}


def take_names(windows: Windows, batch: Batch) -> list[str]:
    """The take of every row."""
    return [windows.takes[int(take)].episode_id for take in batch.take_B]


def motion_sums(names_B: Sequence[str], told_BD: NDArray[np.float64], true_BD: NDArray[np.float64]) -> Sums:
    """What R2 over any choice of takes is made of: n, then squared errors, true values and their squares per number."""
    ones = np.ones((len(true_BD), 1))
    return by_take(names_B, np.concatenate([ones, (told_BD - true_BD) ** 2, true_BD, true_BD**2], axis=1))


@torch.no_grad()
def retrieval_sums(model: VdVaeModel, windows: Windows, size: int, seed: int) -> tuple[Sums, float, int]:
    """Hits at 1, hits at 5 and windows by held-out robot take, each window looked for among ``size`` random ones.

    Windows with equal tokens are one item of a gallery. Also: mean number of distinct items in a gallery, and how many
    codes the pictures' tokens use.
    """
    index = measured_on(windows, "robot")[0].index["robot"]
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))]
    galleries = [part for part in torch.split(index, size) if len(part) == size] or [index]
    names: list[str] = []
    hits, distinct, seen = [], [], []
    for gallery in galleries:
        batch = windows.batch(gallery)
        rank_B, items, tokens_BN = _rank(model, batch)
        names += take_names(windows, batch)
        hits.append(torch.stack([rank_B < 1, rank_B < 5, torch.ones_like(rank_B, dtype=torch.bool)], dim=1))
        distinct.append(items)
        seen.append(tokens_BN)
    sums = by_take(names, torch.cat(hits).double().numpy())
    return sums, float(np.mean(distinct)), len(torch.unique(torch.cat(seen)))


def _rank(model: VdVaeModel, batch: Batch) -> tuple[Tensor, int, Tensor]:
    """Rank of every row's own action, distinct items and the tokens that were seen."""
    glance = look(model, batch)
    codes, tokens = model.act.net.encode(batch.actions_BHA)
    visual = glance.code_BND if model.recipe.contrast_on == "quantised" else glance.latent_BND
    rank_B, cosine_BU = judge.ranks(model.net.item(visual), model.net.item(codes), tokens)
    return rank_B, cosine_BU.shape[1], glance.tokens_BN
