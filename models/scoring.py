"""How well the motion of a simulated hand was read off its pictures: where the true motion is looked at.

``python -m models.scoring HOME VD_VAE_ID [EPISODE ...]`` prints one JSON object. Nothing here feeds training; the one
arm of a comparison that is given the truth on purpose is made in ``controls``.
Letters: W windows, H steps, N tokens; 7 action numbers.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import judge, normalize
from models.data import Windows, load_takes
from models.takes import Take, interpolate_poses
from models.train import plain
from models.vd_vae import VdVaeModel, glance_all, load_vd_vae
from storage.evaluation import has_truth, read_truth
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind


def score_human(home: Home, vd_vae_id: str, episode_ids: Sequence[str]) -> dict[str, Any]:
    """Displacement at t + H decoded from human windows against what the hand really did.

    Returns ``human_r2`` (mean over x y z), ``human_final_mm`` (median error), ``still_mm`` (median error of "does not
    move"), ``human_gripper_accuracy``, ``by_confidence`` (R2 of the surer half) and ``n`` windows. WorkbenchError if no
    clip has a true motion.
    """
    clips = read_clips(home, load_vd_vae(home, vd_vae_id), episode_ids)
    told, true, confidence_W = clips.told_W7, clips.true_WH7[:, -1], clips.confidence_W
    sure = (confidence_W >= confidence_W.median()).numpy()
    error = np.linalg.norm(told[:, :3] - true[:, :3], axis=1)
    return {
        "human_r2": judge.r2(told[:, :3], true[:, :3]),
        "human_r2_sure": judge.r2(told[sure, :3], true[sure, :3]),
        "human_final_mm": float(1000 * np.median(error)),
        "still_mm": float(1000 * np.median(np.linalg.norm(true[:, :3], axis=1))),
        "human_gripper_accuracy": float(((told[:, 6] > 0) == (true[:, 6] > 0)).mean()),
        "human_r2_axes": [judge.r2(told[:, i : i + 1], true[:, i : i + 1]) for i in range(3)],
        "clips": len(clips.windows.takes),
        "n": len(true),
    }


@dataclass(frozen=True, slots=True)
class Clips:
    """Windows of simulated human clips: tokens read off the pictures and what the hand did.

    Attributes:
        tokens_WN, confidence_W: as ``glance_all`` gives them.
        told_W7: the change at t + H that the tokens decode to (m, rad, gripper -1..+1).
        true_WH7: the true changes at t + 1 .. t + H.
    """

    windows: Windows
    tokens_WN: torch.Tensor
    confidence_W: torch.Tensor
    told_W7: NDArray[np.float64]
    true_WH7: NDArray[np.float64]


def read_clips(home: Home, model: VdVaeModel, episode_ids: Sequence[str]) -> Clips:
    """Read all human takes among these that have a true motion. WorkbenchError if none has."""
    with_truth = [episode_id for episode_id in episode_ids if has_truth(home, episode_id)]
    if not with_truth:
        raise WorkbenchError("none of these takes has a true motion", "Only simulated human clips have one")
    takes = load_takes(home, with_truth, model.encoder, model.cameras, model.recipe.step_s, with_tips=model.recipe.tips)
    clips = [take for take in takes if take.kind is EpisodeKind.HUMAN]
    windows = Windows(clips, model.recipe.horizon, scalers=model.act.scalers, cameras=model.cameras, held_out=0.0)
    tokens_WN, confidence_W = glance_all(model, windows)
    told = model.act.scaler.invert(model.act.net.decode(tokens_WN).numpy())[:, -1]
    true = np.concatenate([_true_chunks(home, take, windows, number) for number, take in enumerate(windows.takes)])
    return Clips(windows, tokens_WN, confidence_W, told, true)


def _true_chunks(home: Home, take: Take, windows: Windows, number: int) -> NDArray[np.float64]:
    """(w, H, 7) true changes from every window's row to the rows after it, in the order of the windows."""
    times, poses = read_truth(home, take.episode_id)
    poses = np.concatenate([poses[:, :7], _commanded(poses[:, 7:])], axis=1)
    on_grid, _ = interpolate_poses(times, poses, take.t_ns, longest_s=1e9)
    rows = windows.row_W[windows.take_W == number].numpy()
    steps = np.minimum(rows[:, None] + 1 + np.arange(windows.horizon), len(take) - 1)
    return normalize.chunk_actions(on_grid[rows], on_grid[steps])


def _commanded(opening_T1: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a gripper would have been told: 0 where the hand is nearer to its narrowest, 1 where to its widest.

    A robot's label is the command, fully open or closed; fingers round a cube stay half open.
    """
    return np.asarray(opening_T1 > (opening_T1.min() + opening_T1.max()) / 2, dtype=np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the named takes, or every human take with a true motion; exit status 1 with a sentence on failure."""
    parser = argparse.ArgumentParser(prog="python -m models.scoring")
    parser.add_argument("home", type=Path)
    parser.add_argument("model")
    parser.add_argument("episodes", nargs="*")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        home = Home.open(options.home, create=False)
        episodes = options.episodes or [path.name.partition(".")[0] for path in sorted(home.episodes.glob("*.zarr"))]
        print(json.dumps(plain(score_human(home, options.model, episodes))))
    except WorkbenchError as error:
        print(str(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
