"""What comparing recipes needs beside training: alignment judged take by take, an oracle's labels, latency by steps.

Runs as a process of its own (``models.controls:main``). Sums per take are handed out instead of averages, because
windows of one take are alike: whoever draws intervals must draw takes, not windows.

Letters: B rows, H steps, N tokens, W windows; 7 action numbers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import judge, labels
from models.act_vae import measured_on
from models.data import Batch, Windows, load_takes
from models.policy import Policy
from models.registry import RECORD, model_folder, read_record, write_record
from models.scoring import Clips, read_clips
from models.vd_vae import VdVaeModel, load_vd_vae, present_cameras, seen_cameras
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.link import Link
from workbench.core.types import POSE_AXES

_WARM_UP = 5
_IDLE_S = 1.0
_PICTURE = (480, 640, 3)
_STATE = (0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0)


def main(link: Link, *, home: str) -> None:
    """Answer requests about models of a data folder until the parent says stop."""
    torch.set_num_threads(1)
    root = Home.open(Path(home), create=False)
    handlers = {
        "alignment": lambda **values: measure_alignment(root, **values),
        "oracle": lambda **values: make_oracle(root, **values),
        "latency": lambda **values: measure_latency(root, **values),
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
    takes = load_takes(home, ids, model.encoder, model.cameras, model.recipe.step_s)
    windows = Windows(
        takes,
        model.recipe.horizon,
        scalers=model.act.scalers,
        cameras=model.cameras,
        held_out=model.recipe.held_out,
    )
    found, distinct, used = _retrieval(model, windows, gallery, seed)
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


def measure_latency(home: Home, model_id: str, head: str, steps: int, calls: int) -> list[float]:
    """Milliseconds of ``calls`` answers of a policy's head to pictures of 480 x 640 pixels, after a warm-up.

    ``steps`` are the flow head's integration steps; the token head ignores them.
    """
    policy = Policy.load(model_folder(home, model_id))
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, _PICTURE, dtype=np.uint8) for name in policy.cameras}
    state, axes = np.array(_STATE, np.float32), (*POSE_AXES, "gripper")
    instruction = policy.model.instructions[0] if policy.model.instructions else "wait"
    spent = []
    for _ in range(_WARM_UP + calls):
        begun = time.perf_counter()
        policy.act(pictures, state, axes, instruction, 0, head=head, euler_steps=steps or None)
        spent.append(1000.0 * (time.perf_counter() - begun))
    return spent[_WARM_UP:]


@torch.no_grad()
def _retrieval(model: VdVaeModel, windows: Windows, size: int, seed: int) -> tuple[dict[str, list[int]], float, int]:
    """Sums by take, mean distinct items per gallery and codes used, of held-out robot windows."""
    index = measured_on(windows, "robot")[0].index["robot"]
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))]
    galleries = [part for part in torch.split(index, size) if len(part) == size] or [index]
    sums: dict[str, list[int]] = {}
    distinct, seen = [], []
    for gallery in galleries:
        batch = windows.batch(gallery)
        rank_B, items, tokens_BN = _rank(model, batch)
        distinct.append(items)
        seen.append(tokens_BN)
        for take, rank in zip(batch.take_B.tolist(), rank_B.tolist(), strict=True):
            mine = sums.setdefault(windows.takes[take].episode_id, [0, 0, 0])
            mine[0] += rank < 1
            mine[1] += rank < 5
            mine[2] += 1
    return sums, float(np.mean(distinct)), len(torch.unique(torch.cat(seen)))


def _rank(model: VdVaeModel, batch: Batch) -> tuple[torch.Tensor, int, torch.Tensor]:
    """Rank of every row's own action, distinct items and the tokens that were seen."""
    seen_BC = seen_cameras(batch.is_human_B, present_cameras(batch))
    glance = model.net.glance(batch.features_BCKF, batch.future_BCKF, seen_BC, shaped_B=~batch.is_human_B)
    codes, tokens = model.act.net.encode(batch.actions_BHA)
    visual = glance.code_BND if model.recipe.contrast_on == "quantised" else glance.latent_BND
    rank_B, cosine_BU = judge.ranks(model.net.item(visual), model.net.item(codes), tokens)
    return rank_B, cosine_BU.shape[1], glance.tokens_BN


def _clips(home: Home, model: VdVaeModel, clips: Sequence[str]) -> Clips | None:
    try:
        return read_clips(home, model, clips)
    except WorkbenchError:
        return None  # real clips have no true motion; then there is nothing to compare with


def _motion_sums(clips: Clips) -> dict[str, list[float]]:
    """What R2 over any choice of clips is made of; see ``measure_alignment``."""
    told, true = clips.told_W7[:, :3], clips.true_WH7[:, -1, :3]
    return {
        take.episode_id: _sums(told[mine], true[mine])
        for number, take in enumerate(clips.windows.takes)
        if (mine := (clips.windows.take_W == number).numpy()).any()
    }


def _sums(told: NDArray[np.float64], true: NDArray[np.float64]) -> list[float]:
    parts = [((told - true) ** 2).sum(axis=0), true.sum(axis=0), (true**2).sum(axis=0)]
    return [float(len(true)), *(float(value) for part in parts for value in part)]
