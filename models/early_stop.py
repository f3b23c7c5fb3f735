"""Ends a training once it no longer helps takes it has not seen, and keeps the weights that helped most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_SEED = 7


class EarlyStop:
    """Counts looks without betterment.

    Args:
        patience: looks in a row without a lower loss after which ``over`` becomes true.
        every: steps between looks.
    """

    def __init__(self, patience: int, every: int) -> None:
        self.patience, self.every = patience, max(1, every)
        self.best = float("inf")
        self.since = 0
        self.weights: dict[str, Tensor] = {}

    @property
    def over(self) -> bool:
        return self.since >= self.patience

    def due(self, step: int) -> bool:
        """Whether to look after this many steps."""
        return step % self.every == 0

    def look(self, loss: float, module: nn.Module) -> None:
        """Take note of a held-out loss and, if it is the lowest so far, of the weights it was measured with."""
        if loss < self.best:
            self.best, self.since = loss, 0
            self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        else:  # a loss that is not a number is no betterment
            self.since += 1

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint's meta, beside ``weights``."""
        return {"best": self.best if self.weights else None, "since": self.since}

    def fill(self, value: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Invert ``to_json``."""
        if value.get("best") is not None:
            self.best, self.weights = float(value["best"]), weights
        self.since = int(value.get("since", 0))


class quiet:  # noqa: N801  (reads as a word in a with statement)
    """Measure without leaving a trace: evaluation mode, fixed randomness, everything put back afterwards."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __enter__(self) -> None:
        self._state = torch.get_rng_state()
        self._training = self._module.training
        self._kept = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        self._module.eval()
        torch.manual_seed(_SEED)

    def __exit__(self, *_: object) -> None:
        self._module.load_state_dict(self._kept)
        self._module.train(self._training)
        torch.set_rng_state(self._state)
