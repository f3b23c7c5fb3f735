"""An instruction as numbers, letter for letter: it passes through batches and is a sentence again at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.text import TEXT_SIZE
from workbench.core.errors import WorkbenchError


def letters(instruction: str) -> NDArray[np.float32]:
    """The UTF-8 bytes of an instruction, shape (TEXT_SIZE,), filled up with zeros; it may be ``TEXT_SIZE`` bytes long.

    WorkbenchError for a longer one: cutting it could turn it into another.
    """
    data = instruction.replace("\0", " ").strip().encode("utf-8", errors="replace")
    if len(data) > TEXT_SIZE:
        raise WorkbenchError(
            f"the instruction '{instruction[:40]}...' has {len(data)} bytes, a language model takes {TEXT_SIZE}",
            "Shorten the instruction",
        )
    numbers = np.zeros(TEXT_SIZE, dtype=np.float32)
    numbers[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    return numbers


def sentence(numbers: NDArray[np.floating]) -> str:
    """Invert ``letters``. Numbers that are no bytes, as in a batch of noise, give replacement signs."""
    data: bytes = np.clip(np.nan_to_num(numbers), 0, 255).astype(np.uint8).tobytes()
    return data.rstrip(b"\0").decode("utf-8", errors="replace")
