"""What a fine-tuning did to takes that neither model learned from: ``python -m models.forgetting RUN BEFORE TAKES``.

Both models answer the same windows with the same noise. Every take's figures are one line of ``held_out.jsonl`` in the
run's folder as soon as they are known, so that a measurement that was killed goes on behind the last whole line.
Letters: B windows of one take, H steps, A = 7 action numbers, N tokens.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.data import Batch, Windows, load_takes
from models.measured import RESULTS, measured
from models.policy_data import physical
from models.policy_metrics import as_seen_by, chunks
from models.policy_model import PolicyModel, load_policy_model
from models.registry import model_folder
from models.stages import PAUSED, RunSpec
from models.token_head import token_loss
from models.train import plain
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.file_lock import FileLock
from workbench.core.priority import run_after

LOCK = ".measuring.lock"
_MOST = 256  # windows of one take
_NICENESS = 10
_HEADS = ("rf", "ntp")


@dataclass(frozen=True, slots=True)
class Pair:
    """The models that are compared; both see through the encoder and codec of the one before."""

    before: PolicyModel
    after: PolicyModel


@torch.no_grad()
def measure_take(home: Home, pair: Pair, episode_id: str) -> dict[str, Any]:
    """Figures of one take: ``task``, ``windows`` and, for ``before`` and ``after``, ``token_ce`` (nats per token) and
    the mean distance ``rf_mm`` and ``ntp_mm`` between told and true positions over all steps of a chunk.

    A take without a robot window has 0 windows and, in ``why``, the reason.
    """
    model = pair.before
    takes = load_takes(home, [episode_id], model.encoder, model.cameras, model.recipe.step_s)
    if not takes:
        return {"task": "", "windows": 0, "why": "; ".join(takes.skipped) or "it holds no arm"}
    windows = as_seen_by(model, takes)
    batch = windows.train.all("robot", _MOST)
    if not len(batch):
        return {"task": takes[0].task, "windows": 0, "why": "it holds no robot window"}
    found: dict[str, Any] = {"task": takes[0].task, "windows": len(batch)}
    true_BHA = physical(windows, batch, batch.actions_BHA)
    tokens_BN = model.codec.net.encode(batch.actions_BHA)[1]
    for name, each in (("before", pair.before), ("after", pair.after)):
        found[name] = _figures(each, windows, batch, tokens_BN, true_BHA)
    return found


def _figures(
    model: PolicyModel, windows: Windows, batch: Batch, tokens_BN: Tensor, true_BHA: Tensor
) -> dict[str, float]:
    seen = model.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
    logits = model.ntp.logits(seen, tokens_BN)
    found = {"token_ce": float(token_loss(logits, tokens_BN, torch.ones(len(batch))))}
    for head, chunk_BHA in chunks(model, seen, 0).items():
        if head in _HEADS:
            told_BHA = physical(windows, batch, chunk_BHA)
            found[f"{head}_mm"] = float(1000.0 * (told_BHA - true_BHA)[..., :3].norm(dim=-1).mean())
    return {name: round(value, 6) for name, value in found.items()}


def measure(folder: Path, before: str, episode_ids: Sequence[str]) -> None:
    """Measure all takes that are not measured yet. WorkbenchError if a model is broken; ends early as an orphan."""
    spec = RunSpec.read(folder)
    home = Home.open(spec.home)
    pair = Pair(*(load_policy_model(model_folder(home, name)) for name in (before, spec.model_id)))
    known, parent = measured(folder), os.getppid()
    with open(folder / RESULTS, "a") as file:
        if file.tell():
            file.write("\n")  # behind a line that was cut short
        for episode_id in episode_ids:
            while (folder / PAUSED).exists() and os.getppid() == parent:
                time.sleep(0.05)
            if os.getppid() != parent:
                return
            if episode_id not in known:
                value = {"take": episode_id, **measure_take(home, pair, episode_id)}
                file.write(json.dumps(plain(value)) + "\n")
                file.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure; exit status 1 with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m models.forgetting")
    parser.add_argument("folder", type=Path)
    parser.add_argument("before", help="id of the model that was fine-tuned")
    parser.add_argument("episodes", nargs="*")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    run_after(_NICENESS)
    torch.set_num_threads(int(os.environ.get("WORKBENCH_TORCH_THREADS", "1")))
    try:
        with FileLock(options.folder / LOCK, "this run is being measured by another process"):
            measure(options.folder, options.before, options.episodes)
    except WorkbenchError as error:
        print(str(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
