"""Situations on the simulated station that no demonstration begins in: what a policy has not learned to get out of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hardware.sim.world import World
from workbench.core.errors import NotFoundError

Place = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Situation:
    """The arm stands elsewhere than at home; the table is laid as ever.

    Attributes:
        words: what a person would call it.
        low_m, high_m: corners of the box in which the tool stands, base frame, m.
    """

    name: str
    words: str
    low_m: Place
    high_m: Place

    def lay(self, world: World, seed: int) -> None:
        """Bring a table that was just laid into this situation. The same seed gives the same place."""
        place = np.random.default_rng([seed, 31]).uniform(self.low_m, self.high_m)
        world.stand((float(place[0]), float(place[1]), float(place[2])))


_SITUATIONS = (Situation("low_start", "the arm was left low above the table", (0.36, -0.22, 0.08), (0.60, 0.22, 0.10)),)
SITUATIONS: Mapping[str, Situation] = MappingProxyType({each.name: each for each in _SITUATIONS})


def situation(name: str) -> Situation:
    """The situation of that name, or NotFoundError with the nearest one."""
    if name not in SITUATIONS:
        raise NotFoundError.of("situation", name, SITUATIONS)
    return SITUATIONS[name]
