"""What the encoders that look for clusters share: k-means, and a cluster summed up as five numbers.

The five are log mass, centre x, centre y, spread x, spread y: coordinates -1..1 over the picture, masses shares of it.
Letters: N points, K clusters, P numbers of a point, L places along one axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUMBERS = 5
PRIOR = 2e-4  # share of the picture below which a cluster's centre is drawn to the middle
_ROUNDS = 30

Array = NDArray[np.float64]


def summed_up(by_row_KL: NDArray[np.generic], by_column_KL: NDArray[np.generic]) -> NDArray[np.float32]:
    """(K, 5) numbers of clusters of which is known how much lies in every row and every column of a picture."""
    x_mean, x_spread, mass = _moments(np.asarray(by_column_KL, dtype=np.float64))
    y_mean, y_spread, _ = _moments(np.asarray(by_row_KL, dtype=np.float64))
    log_mass = np.log10(mass + PRIOR) + 2.0
    return np.stack([log_mass, x_mean, y_mean, x_spread, y_spread], axis=1).astype(np.float32)


def nearest(points_NP: Array, centres_KP: Array) -> NDArray[np.int64]:
    """(N,) number of the nearest centre."""
    distance = -2.0 * points_NP @ centres_KP.T + (centres_KP * centres_KP).sum(axis=1)
    found: NDArray[np.int64] = np.argmin(distance, axis=1)
    return found


def k_means(points_NP: Array, weights_N: Array, clusters: int, rng: np.random.Generator) -> Array:
    """(K, P) centres: weighted Lloyd iterations from a k-means++ start; with too few points the last ones repeat."""
    centres = [points_NP[int(np.argmax(weights_N))]]
    distance = np.full(len(points_NP), np.inf)
    for _ in range(clusters - 1):
        distance = np.minimum(distance, ((points_NP - centres[-1]) ** 2).sum(axis=1))
        chance = weights_N * distance
        total = chance.sum()
        index = int(rng.choice(len(points_NP), p=chance / total)) if total > 0 else 0
        centres.append(points_NP[index])
    result = np.stack(centres)
    for _ in range(_ROUNDS):
        label = nearest(points_NP, result)
        mass = np.bincount(label, weights=weights_N, minlength=clusters)
        sums = np.stack(
            [np.bincount(label, weights=weights_N * axis, minlength=clusters) for axis in points_NP.T], axis=1
        )
        moved = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1e-12)[:, None], result)
        if np.allclose(moved, result, atol=1e-7):
            break
        result = moved
    return result


def _moments(counts_KL: Array) -> tuple[Array, Array, Array]:
    """Mean and spread along one axis in -1..1 and the mass of each cluster; weak clusters are drawn to (0, 0)."""
    length = counts_KL.shape[1]
    share = counts_KL / counts_KL.sum()
    mass = share.sum(axis=1)
    place = (2.0 * np.arange(length) + 1.0) / length - 1.0
    trust = mass / (mass + PRIOR)
    mean = share @ place / np.maximum(mass, 1e-12)
    square = share @ (place * place) / np.maximum(mass, 1e-12)
    spread = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return mean * trust, spread * trust, mass
