"""Pseudo-labels on disk: action tokens read off pictures, kept with the model that read them, never inside takes.

Letters: W windows, N tokens, T grid rows of a take.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data import Windows
from models.registry import model_folder
from models.takes import Take
from storage.layout import Home
from workbench.core.files import write_atomic


@dataclass(frozen=True, slots=True)
class Labels:
    """Action tokens read off the pictures of one take: (T, N), -1 = none, and their confidence (T,), 0..1."""

    tokens_TN: NDArray[np.int16]
    confidence_T: NDArray[np.float32]


def write_labels(home: Home, model_id: str, windows: Windows, tokens_WN: Tensor, confidence_W: Tensor) -> int:
    """Store the labels of all windows, one file per take, below ``models/<id>/labels``; returns how many files.

    Takes themselves are never touched.
    """
    for number, take in enumerate(windows.takes):
        mine = windows.take_W == number
        rows = windows.row_W[mine].numpy()
        tokens = np.full((len(take), tokens_WN.shape[1]), -1, dtype=np.int16)
        confidence = np.zeros(len(take), dtype=np.float32)
        tokens[rows] = tokens_WN[mine].numpy()
        confidence[rows] = confidence_W[mine].numpy()
        buffer = BytesIO()
        np.savez(buffer, tokens=tokens, confidence=confidence)
        write_atomic(_path(home, model_id, take), buffer.getvalue())
    return len(windows.takes)


def read_labels(home: Home, model_id: str, take: Take) -> Labels | None:
    """The stored labels of a take, or None if there are none that fit its contents."""
    try:
        with np.load(_path(home, model_id, take), allow_pickle=False) as stored:
            labels = Labels(stored["tokens"], stored["confidence"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return labels if len(labels.tokens_TN) == len(take) == len(labels.confidence_T) else None


def gather_labels(home: Home, model_id: str, windows: Windows, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Stored labels of all windows: tokens (W, N), confidence (W,) and whether their take has any (W,)."""
    count = len(windows.take_W)
    tokens_WN = torch.full((count, tokens), -1)
    confidence_W = torch.zeros(count)
    known_W = torch.zeros(count, dtype=torch.bool)
    for number, take in enumerate(windows.takes):
        labels = read_labels(home, model_id, take)
        if labels is None or labels.tokens_TN.shape[1] != tokens:
            continue
        mine = windows.take_W == number
        rows = windows.row_W[mine].numpy()
        tokens_WN[mine] = torch.from_numpy(labels.tokens_TN[rows].astype(np.int64))
        confidence_W[mine] = torch.from_numpy(labels.confidence_T[rows])
        known_W[mine] = True
    return tokens_WN, confidence_W, known_W


def _path(home: Home, model_id: str, take: Take) -> Path:
    arm = f"-{take.arm}" if take.arm else ""
    name = f"{take.episode_id}{arm}-{take.content_hash[:16]}-{round(1e6 / take.rows_hz)}.npz"
    return model_folder(home, model_id) / "labels" / name
