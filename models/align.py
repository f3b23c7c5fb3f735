"""Pseudo-labels: what an aligned model says was done in every window of some takes. See ``judge`` for how good it is.

Letters: W windows, N action tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.data import Windows
from models.judge import probe_r2, r2, retrieval
from models.labels import gather_labels, read_labels, write_labels
from models.vd_vae import VdVaeModel, glance_all, load_vd_vae
from storage.layout import Home

__all__ = ["gather_labels", "label", "probe_r2", "r2", "read_labels", "retrieval", "write_labels"]


def label(home: Home, vd_vae_id: str, windows: Windows) -> tuple[Tensor, Tensor]:
    """Tokens (W, N) and confidence (W,), 0..1, of all windows, robot and human, as read off their pictures.

    Labels stored with the model are used; missing ones are made from the windows' features, which must come from the
    model's own encoder, and stored. WorkbenchError if the windows have another horizon or encoder shape.
    """
    model: VdVaeModel = load_vd_vae(home, vd_vae_id)
    tokens_WN, confidence_W, known_W = gather_labels(home, vd_vae_id, windows, model.act.net.tokens)
    if not bool(known_W.all()):
        new_tokens, new_confidence = glance_all(model, windows)
        tokens_WN = torch.where(known_W[:, None], tokens_WN, new_tokens)
        confidence_W = torch.where(known_W, confidence_W, new_confidence)
        write_labels(home, vd_vae_id, windows, tokens_WN, confidence_W)
    return tokens_WN, confidence_W
