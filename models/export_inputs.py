"""Real inputs for comparing an exported network with its original: windows of takes it never learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.act_vae import ActVaeModel
from models.data import Windows
from models.policy_metrics import as_seen_by
from models.policy_model import PolicyModel
from models.registry import ModelRecord
from models.split import held_out_ids
from models.takes import Takes, load_takes
from storage.layout import Home
from workbench.core.errors import WorkbenchError

ROWS = 64
_TAKES = 4
HELD_OUT, LEARNT, DRAWN = "held-out takes", "takes it learnt from", "drawn by chance"


def observations(home: Home, record: ModelRecord, model: PolicyModel) -> tuple[dict[str, NDArray[Any]], str]:
    """``features`` (R, C, K, F), ``state`` (R, S), ``instruction`` (R, E) of up to ``ROWS`` windows, and whence.

    Where no take of the model is left they are drawn by chance around its input statistics.
    """
    recipe = model.recipe
    for wanted, source in _choices(record, recipe.held_out):
        takes = _load(lambda ids: load_takes(home, ids, model.encoder, model.cameras, recipe.step_s), wanted)
        try:
            batch = as_seen_by(model, takes).train.all("robot", ROWS)
        except WorkbenchError:
            continue  # none of these takes has a window
        if len(batch):
            inputs = {"features": batch.features_BCKF, "state": batch.state_BS, "instruction": batch.text_BE}
            return {name: values.numpy() for name, values in inputs.items()}, source
    return _drawn(model), DRAWN


def tokens(home: Home, record: ModelRecord, model: ActVaeModel) -> tuple[NDArray[np.int64], str]:
    """Tokens (R, N) of up to ``ROWS`` chunks, and whence."""
    recipe = model.recipe
    for wanted, source in _choices(record, recipe.held_out):
        takes = _load(lambda ids: load_takes(home, ids, None, recipe.cameras, recipe.step_s), wanted)
        try:
            windows = Windows(takes, recipe.horizon, scalers=model.scalers, pictures=False, held_out=0.0)
            batch = windows.train.all("robot", ROWS)
        except WorkbenchError:
            continue
        if len(batch):
            return model.net.encode(batch.actions_BHA)[1].numpy(), source
    shape = (ROWS, recipe.tokens)
    return np.random.default_rng(0).integers(0, recipe.codes, shape, dtype=np.int64), DRAWN


def _choices(record: ModelRecord, share: float) -> Iterator[tuple[list[str], str]]:
    """Ids to try, the most telling first."""
    ids = sorted(episode_id for episode_id, _ in record.data)
    kept = held_out_ids([(episode_id, False) for episode_id in ids], share)
    yield sorted(kept), HELD_OUT
    yield [episode_id for episode_id in ids if episode_id not in kept], LEARNT


def _load(load: Any, ids: list[str]) -> Takes:
    """A few robot takes among these."""
    found = Takes()
    for episode_id in ids:
        found.extend(take for take in load([episode_id]) if not take.is_human)
        if len(found) >= _TAKES:
            break
    return found


def _drawn(model: PolicyModel) -> dict[str, NDArray[Any]]:
    """Around the means of the input statistics, in their spreads."""
    chance, backbone = torch.Generator().manual_seed(0), model.ntp.backbone
    size = backbone.size
    features = torch.randn(ROWS, size.cameras, size.clusters, size.numbers, generator=chance)
    state = torch.randn(ROWS, size.state, generator=chance)
    said = torch.randn(ROWS, size.text, generator=chance) / size.text**0.5
    inputs = {
        "features": backbone.usual + features * backbone.shared.spread,
        "state": backbone.state.mean + state * backbone.state.spread,
        "instruction": said,
    }
    return {name: values.detach().numpy() for name, values in inputs.items()}
