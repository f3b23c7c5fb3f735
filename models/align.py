"""Pseudo-labels: what an aligned model says was done in every window of some takes. See ``judge`` for how good it is.

Letters: W windows, N action tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.data import Windows
from models.judge import probe_r2, r2, retrieval
from models.labels import gather_labels, read_labels, write_labels
from models.takes import seen_through
from models.telling import tell
from models.vd_vae import VdVaeModel, glance_all, load_vd_vae
from storage.layout import Home

__all__ = ["gather_labels", "label", "probe_r2", "r2", "read_labels", "retrieval", "write_labels"]


def label(home: Home, vd_vae_id: str, windows: Windows) -> tuple[Tensor, Tensor]:
    """Tokens (W, N) and confidence (W,), 0..1, of all windows, robot and human, as read off their pictures.

    Labels stored with the model are used; missing ones are made and stored: from the windows' features, which must
    come from the model's own encoder, or, where the model reads patches or the windows hold whole pictures, from the
    pictures of people's takes (what a robot did is known). WorkbenchError if the windows have another horizon or
    encoder shape.
    """
    model: VdVaeModel = load_vd_vae(home, vd_vae_id)
    tokens_WN, confidence_W, known_W = gather_labels(home, vd_vae_id, windows, model.act.net.tokens)
    if model.encoder.layout == "patches" or windows.has_pictures:
        _look_again(home, vd_vae_id, model, windows, known_W)
        return gather_labels(home, vd_vae_id, windows, model.act.net.tokens)[:2]
    if not bool(known_W.all()):
        new_tokens, new_confidence = glance_all(model, windows)
        tokens_WN = torch.where(known_W[:, None], tokens_WN, new_tokens)
        confidence_W = torch.where(known_W, confidence_W, new_confidence)
        write_labels(home, vd_vae_id, windows, tokens_WN, confidence_W)
    return tokens_WN, confidence_W


def _look_again(home: Home, vd_vae_id: str, model: VdVaeModel, windows: Windows, known_W: Tensor) -> None:
    """Store labels of people's takes that lack them, one by one: patches of many takes would fill the memory."""
    unknown = sorted({int(number) for number in windows.take_W[windows.is_human_W & ~known_W]})
    for done, number in enumerate(unknown):
        tell(done, len(unknown))
        take = windows.takes[number]
        if not any(camera in take.features for camera in model.cameras):
            continue  # no picture that the model could read; its windows stay without a label
        seen = seen_through(home, take, model.encoder, model.cameras)
        alone = Windows([seen], windows.horizon, scalers=model.act.scalers, cameras=model.cameras, held_out=0.0)
        write_labels(home, vd_vae_id, alone, *glance_all(model, alone))
