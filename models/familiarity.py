"""Has the policy seen something like this? How far an observation lies from the training rows, and how sure it is.

Distance: Mahalanobis distance (P. C. Mahalanobis, Proc. Nat. Inst. Sci. India 2, 1936) of the encoder's features in the
principal directions of the training rows, divided by the root of their number, together with what lies outside of those
directions; as detection of unknown inputs by K. Lee et al., NeurIPS 2018, eq. 2, with one class. Certainty: entropy of
the token head along its most likely chunk, as a share of the most there can be.

Letters: B rows, C cameras, K tokens per picture, F numbers per token, D directions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from models import checkpoint
from models.data import Rows

_FILE = "familiar"
_SHARE, _MOST, _ROWS = 0.98, 32, 6000
_QUANTILE, _ROOM = 0.995, 1.3
_LEAST_ROWS = 40
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Familiarity:
    """Statistics of the training rows' features.

    Attributes:
        mean: (CKF,). directions: (D, CKF) divided by their spread. spread: of what no direction explains.
        limit: distance that one in 200 rows of a take exceeds that was left out of the statistics.
    """

    mean: Tensor
    directions: Tensor
    spread: float
    limit: float

    def distance(self, features_BCKF: Tensor) -> Tensor:
        """(B,) about 1 for an ordinary training row."""
        return _distance(features_BCKF.flatten(1), self.mean, self.directions, self.spread)

    def save(self, folder: Path) -> None:
        """Beside the weights, in a file of its own, so that models without it stay what they are."""
        tensors = {"mean": self.mean, "directions": self.directions}
        checkpoint.save(folder, tensors, {"spread": self.spread, "limit": self.limit}, _FILE)

    @classmethod
    def load(cls, folder: Path) -> Familiarity | None:
        """None for a model that was trained without it. WorkbenchError if the file is broken."""
        if not checkpoint.exists(folder, _FILE):
            return None
        tensors, meta = checkpoint.load(folder, _FILE)
        return cls(tensors["mean"], tensors["directions"], float(meta["spread"]), float(meta["limit"]))


def fit_and_save(rows: Rows, folder: Path) -> None:
    """Fit to the robot's training rows and save beside the weights.

    Nothing for a policy that looks at whole pictures: how pixels scatter says nothing of what they show.
    """
    if rows.has_pictures:
        return
    known = rows.all("robot")
    familiar = fit(known.features_BCKF, known.take_B)
    if familiar is not None:
        familiar.save(folder)


def fit(features_BCKF: Tensor, take_B: Tensor) -> Familiarity | None:
    """Of training rows of the robot; None where there are too few to say anything.

    The limit is a quantile of what takes look like that the statistics do not know: rows of one take are alike, so
    those that were fitted say too little. With fewer than two takes a quantile of the fitted rows gets some room.

    Args:
        take_B: which take a row is of.
    """
    every = slice(None, None, max(1, len(features_BCKF) // _ROWS))
    rows, take_B = features_BCKF[every].flatten(1).double(), take_B[every]
    if len(rows) < _LEAST_ROWS:
        return None
    fold_B = torch.unique(take_B, return_inverse=True)[1] % _FOLDS
    left_out = [_statistics(rows[fold_B != k]).distance(rows[fold_B == k]) for k in range(_FOLDS) if _parts(fold_B, k)]
    found = _statistics(rows)
    limit = torch.cat(left_out).quantile(_QUANTILE) if left_out else _ROOM * found.distance(rows).quantile(_QUANTILE)
    return replace(found, limit=float(limit))


def _parts(fold_B: Tensor, k: int) -> bool:
    """Whether leaving out this fold leaves something to measure, and enough to measure with."""
    out = int((fold_B == k).sum())
    return out > 0 and len(fold_B) - out >= _LEAST_ROWS // 2


def _statistics(rows: Tensor) -> Familiarity:
    """Of rows (B, CKF); without a limit."""
    mean = rows.mean(dim=0)
    _, values, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    variance = values**2 / (len(rows) - 1)
    explained = variance.cumsum(0) / variance.sum().clamp_min(1e-12)
    count = min(_MOST, int((explained < _SHARE).sum()) + 1, len(rows) // 4)
    directions = axes[:count] / variance[:count].sqrt().clamp_min(1e-6)[:, None]
    left = (rows - mean) - (rows - mean) @ axes[:count].T @ axes[:count]
    spread = max(float(left.norm(dim=1).pow(2).mean().sqrt()), 1e-6)
    return Familiarity(mean.float(), directions.float(), spread, float("inf"))


def _distance(rows: Tensor, mean: Tensor, directions: Tensor, spread: float) -> Tensor:
    away = rows - mean.to(rows)
    scaled = away @ directions.to(rows).T
    norms = directions.to(rows).norm(dim=1).clamp_min(1e-12)
    axes = directions.to(rows) / norms[:, None]
    outside = (away - (away @ axes.T) @ axes).norm(dim=1) / spread
    return torch.sqrt((scaled.pow(2).sum(dim=1) / len(directions) + outside.pow(2)) / 2)
