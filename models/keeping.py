"""Leaves what old instructions say to a policy exactly as it was while a new one is learned.

The weights that read the instruction are linear in its vector. Where such a weight W moves only in directions in which
no old instruction points, W' t = W t for every old vector t: what an old instruction selects, and how it gates the
layers, does not change at all, whatever the new one learns. (The idea of projecting onto what earlier tasks leave free:
Zeng et al. 2019, "Continual learning of context-dependent processing", orthogonal weights modification; here the
instructions' vectors are known, so nothing has to be estimated.) Letters: E numbers of an instruction's vector, I old
instructions, O outputs of a weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LEAST = 1e-4  # share of the largest singular value below which a direction counts as taken already


class OldDirections:
    """Takes out of some weights (O, E) what they moved in the directions of old instructions (I, E). One thread.

    Each weight comes with the part of the vector that it reads.

    The weights' values at the time this is made are those that count as old.
    """

    def __init__(self, weights: Sequence[tuple[nn.Parameter, slice]], old_IE: Tensor) -> None:
        self._weights = [weight for weight, _ in weights]
        self._start = [weight.detach().clone() for weight in self._weights]
        self._parts = [part for _, part in weights]
        self._taken = {_key(part): _directions(old_IE[:, part]) for part in self._parts}

    def free_share(self, said_IE: Tensor) -> Tensor:
        """(I,) how much of each vector's length points where no old one does, 0 to 1; of the part with most of that.

        A sentence put together from the words of old ones, in their roles, has next to nothing: it *is* a sum of them.
        """
        shares = []
        for part in self._parts:
            said, taken_RE = said_IE[:, part], self._taken[_key(part)]
            rest = said - (said @ taken_RE.T) @ taken_RE
            shares.append(rest.norm(dim=1) / said.norm(dim=1).clamp_min(1e-9))
        return torch.stack(shares).amax(dim=0)

    @torch.no_grad()
    def restore(self) -> None:
        """To be called after every optimiser step."""
        for weight, start, part in zip(self._weights, self._start, self._parts, strict=True):
            moved, taken_RE = weight - start, self._taken[_key(part)]
            weight.copy_(start + moved - (moved @ taken_RE.T) @ taken_RE)


def _directions(old_IE: Tensor) -> Tensor:
    """(R, E) orthonormal directions that the vectors (I, E) lie in."""
    _, sizes, directions = torch.linalg.svd(old_IE, full_matrices=False)
    taken: Tensor = directions[sizes > _LEAST * sizes.max()]
    return taken


def _key(part: slice) -> tuple[int, int]:
    return part.start, part.stop
