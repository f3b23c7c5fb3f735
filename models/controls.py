"""What comparing recipes needs beside training: alignment judged take by take, an oracle's labels, the heads' pace.

Runs as a process of its own (``models.controls:main``). Sums per take are handed out instead of averages, because
windows of one take are alike: whoever draws intervals must draw takes, not windows.

Letters: B rows, H steps, N tokens, W windows; 7 action numbers.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models import labels
from models.by_take import motion_sums, retrieval_sums
from models.data import Windows, load_takes
from models.pace import chunk_errors, measure_pace
from models.registry import RECORD, model_folder, read_record, write_record
from models.scoring import Clips, read_clips
from models.vd_vae import VdVaeModel, load_vd_vae
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.link import Link

_IDLE_S = 1.0


def main(link: Link, *, home: str) -> None:
    """Answer requests about models of a data folder until the parent says stop."""
    torch.set_num_threads(1)
    root = Home.open(Path(home), create=False)
    handlers = {
        "alignment": lambda **values: measure_alignment(root, **values),
        "oracle": lambda **values: make_oracle(root, **values),
        "pace": lambda **values: measure_pace(root, **values),
        "chunk_errors": lambda **values: chunk_errors(root, **values),
    }
    while link.serve_pending(handlers, timeout_s=_IDLE_S):
        pass


def measure_alignment(home: Home, model_id: str, clips: Sequence[str], gallery: int, seed: int = 0) -> dict[str, Any]:
    """How well one alignment reads robot and human pictures.

    Returns ``retrieval``: by held-out robot take [hits at 1, hits at 5, windows], each window looked for among
    ``gallery`` random held-out ones with equal tokens merged; ``distinct``: mean number of different items in a
    gallery; ``human``: by clip with a true motion [windows, squared errors x y z, sums x y z, squares x y z] of the
    displacement at t + H in metres; ``codes_used``: codes that occur in the clips' tokens (robot's without clips).
    """
    model = load_vd_vae(home, model_id)
    ids = [episode_id for episode_id, _ in read_record(home, model_id).data]
    takes = load_takes(home, ids, model.encoder, model.cameras, model.recipe.step_s, with_tips=model.recipe.tips)
    windows = Windows(
        takes,
        model.recipe.horizon,
        scalers=model.act.scalers,
        cameras=model.cameras,
        held_out=model.recipe.held_out,
    )
    found, distinct, used = retrieval_sums(model, windows, gallery, seed)
    human = _clips(home, model, clips)
    if human is not None:
        used = len(torch.unique(human.tokens_WN))
    return {
        "retrieval": found,
        "distinct": distinct,
        "human": _motion_sums(human) if human is not None else {},
        "codes_used": used,
        "codes": len(model.net.book.codes_KD),
    }


def make_oracle(home: Home, model_id: str, oracle_id: str, clips: Sequence[str]) -> int:
    """A copy of an alignment whose labels of simulated clips are the tokens of what the hand really did.

    It answers what perfect labels would be worth. Only the stored labels differ, so a policy is trained from it by
    the same code as from any alignment. Returns the number of clips; WorkbenchError if none has a true motion.
    """
    model = load_vd_vae(home, model_id)
    human = read_clips(home, model, clips)
    folder = model_folder(home, oracle_id)
    shutil.copytree(model_folder(home, model_id), folder, ignore=shutil.ignore_patterns(RECORD), dirs_exist_ok=True)
    actions = torch.from_numpy(model.act.scaler.normalise(human.true_WH7))
    tokens_WN = model.act.net.encode(actions)[1]
    written = labels.write_labels(home, oracle_id, human.windows, tokens_WN, torch.ones(len(tokens_WN)))
    record = read_record(home, model_id)
    metrics = {**record.metrics, "labels": "true motion of the simulated hand"}
    write_record(home, replace(record, id=oracle_id, parent=model_id, metrics=metrics))
    return written


def _clips(home: Home, model: VdVaeModel, clips: Sequence[str]) -> Clips | None:
    try:
        return read_clips(home, model, clips)
    except WorkbenchError:
        return None  # real clips have no true motion; then there is nothing to compare with


def _motion_sums(clips: Clips) -> dict[str, list[float]]:
    """What R2 over any choice of clips is made of; see ``measure_alignment``."""
    names = [clips.windows.takes[int(take)].episode_id for take in clips.windows.take_W]
    return motion_sums(names, clips.told_W7[:, :3], clips.true_WH7[:, -1, :3])
