"""What a simulated camera hands over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Exposure:
    """One picture of one simulated camera; ``depth`` in mm or None. ``t_ns`` is the station's clock."""

    sequence: int
    t_ns: int
    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None
