"""How alignment is judged: does a pair of pictures find its own action, and how much of the motion does it tell.

Letters: B rows, N tokens, V numbers of an item, U distinct token strings, D numbers that are predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def retrieval(visual_BV: Tensor, action_BV: Tensor, tokens_BN: Tensor) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """How often the pictures' item finds its own action among all: top-1 and top-5 against chance.

    Actions with equal token strings are one item of the gallery. Ties count against the model. The second value is the
    (B, U) matrix of cosines for the report.
    """
    rank_B, cosine_BU = ranks(visual_BV, action_BV, tokens_BN)
    size = cosine_BU.shape[1]
    metrics = {
        "retrieval_top1": float((rank_B < 1).double().mean()),
        "retrieval_top5": float((rank_B < 5).double().mean()),
        "chance": 1.0 / size,
        "chance_top5": min(1.0, 5.0 / size),
        "n": len(tokens_BN),
        "gallery": size,
    }
    return metrics, cosine_BU.numpy().astype(np.float32)


def ranks(visual_BV: Tensor, action_BV: Tensor, tokens_BN: Tensor) -> tuple[Tensor, Tensor]:
    """How many items of the gallery are at least as near as the own one, (B,), and the cosines (B, U); see above."""
    gallery_UN, own_B = torch.unique(tokens_BN, dim=0, return_inverse=True)
    first_U = torch.full((len(gallery_UN),), len(tokens_BN)).scatter_reduce(
        0, own_B, torch.arange(len(tokens_BN)), reduce="amin"
    )
    cosine_BU = functional.normalize(visual_BV, dim=1) @ functional.normalize(action_BV[first_U], dim=1).T
    own = cosine_BU.gather(1, own_B[:, None])
    return (cosine_BU >= own - 1e-6).sum(dim=1) - 1, cosine_BU


def r2(predicted_BD: NDArray[Any], true_BD: NDArray[Any]) -> float:
    """Share of variance explained, mean over the columns that vary; NaN without any."""
    error = ((predicted_BD - true_BD) ** 2).sum(axis=0)
    spread = ((true_BD - true_BD.mean(axis=0)) ** 2).sum(axis=0)
    varies = spread > 1e-12
    return float((1.0 - error[varies] / spread[varies]).mean()) if varies.any() else float("nan")


def probe_r2(fit_on: Sequence[Tensor], measure_on: Sequence[Tensor], weight: float = 1e-3) -> float:
    """R2 of a linear probe from the first to the second of each pair, fitted on one and measured on the other."""
    return r2(ridge(fit_on[0], fit_on[1], measure_on[0], weight), measure_on[1].double().numpy())


def ridge(inputs_BV: Tensor, outputs_BD: Tensor, measure_on_BV: Tensor, weight: float = 1e-3) -> NDArray[np.float64]:
    """What a linear map, fitted from inputs to outputs with a penalty of ``weight`` per row, makes of other inputs."""
    design = functional.pad(inputs_BV.double(), (0, 1), value=1.0)
    gram = design.T @ design + weight * len(design) * torch.eye(design.shape[1], dtype=torch.double)
    weights = torch.linalg.solve(gram, design.T @ outputs_BD.double())
    found: NDArray[np.float64] = (functional.pad(measure_on_BV.double(), (0, 1), value=1.0) @ weights).numpy()
    return found
