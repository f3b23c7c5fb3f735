"""Why an alignment is good or bad: ``python -m models.explain HOME VD_VAE_ID FOLDER``.

Looks at a finished model through held-out takes and writes ``alignment.json`` (sums by take; see ``explain``) and
``alignment.npz`` (see ``explain_exhibits``) into the folder, both whole or not at all. A process of its own, after
training: it may read what a simulated hand really did, training may not.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.act_vae import code_figures, measured_on
from models.by_take import Sums, look, motion_sums, retrieval_sums, take_names
from models.data import Windows, load_takes
from models.explain_exhibits import exhibits
from models.explain_figures import (
    error_sums,
    metres,
    probe_sums,
    reliability,
    sureness,
    switch_sums,
    token_sums,
)
from models.explain_swap import swap_figures
from models.registry import read_record
from models.scoring import read_clips
from models.train import plain
from models.vd_vae import VdVaeModel, load_vd_vae
from storage.evaluation import has_truth
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import write_atomic, write_json
from workbench.core.priority import run_after

FIGURES, EXHIBITS = "alignment.json", "alignment.npz"
GALLERY = 128
MOST = 4000
_NICENESS = 10


def windows_of(home: Home, model: VdVaeModel, model_id: str) -> tuple[Windows, dict[str, int]]:
    """The windows a model was trained with, split as then; and what was left out, and why, then and since then."""
    record = read_record(home, model_id)
    ids, recipe = [episode_id for episode_id, _ in record.data], model.recipe
    takes = load_takes(home, ids, model.encoder, model.cameras, recipe.step_s, with_tips=recipe.tips)
    windows = Windows(takes, recipe.horizon, scalers=model.act.scalers, cameras=model.cameras, held_out=recipe.held_out)
    then = record.metrics.get("skipped")
    return windows, {**takes.skipped, **(then if isinstance(then, dict) else {})}


@torch.no_grad()
def explain(home: Home, model_id: str, model: VdVaeModel, windows: Windows) -> dict[str, Any]:
    """Every figure of a report on held-out robot windows (and how human clips are read), as plain values.

    WorkbenchError if there is no robot window to measure on.
    """
    rows, held_out = measured_on(windows, "robot")
    if not rows.count("robot"):
        raise WorkbenchError("none of the model's robot takes can be read any more", "Restore them from the trash")
    held = rows.all("robot", MOST)
    seen = look(model, held)
    codes = len(model.net.book.codes_KD)
    true_tokens = model.act.net.encode(held.actions_BHA)[1]
    names = take_names(windows, held)
    true = metres(model, held.actions_BHA)
    through = metres(model, model.act.net.decode(true_tokens))
    told = metres(model, model.act.net.decode(seen.tokens_BN))
    mean = np.broadcast_to(metres(model, windows.train.all("robot", MOST).actions_BHA).mean(axis=0), true.shape)
    found, distinct, _ = retrieval_sums(model, windows, GALLERY, 0)
    return {
        "model": model_id,
        "held_out": held_out,
        "windows": len(held),
        "takes": len(set(names)),
        "horizon": windows.horizon,
        "step_s": model.recipe.step_s,
        "cameras": list(model.cameras),
        "codec": {
            "codes": code_figures(true_tokens, codes),
            "errors": error_sums(names, through, true),
            "switches": switch_sums(names, through, true),
        },
        "retrieval": {"by_take": found, "distinct": distinct, "gallery": GALLERY},
        "tokens": {"by_take": token_sums(names, seen.tokens_BN, true_tokens)},
        "decoded": {
            "errors": error_sums(names, told, true),
            "mean_chunk": error_sums(names, mean, true),
            "switches": switch_sums(names, told, true),
            "motion": motion_sums(names, told[:, -1, :3], true[:, -1, :3]),
        },
        "probes": probe_sums(model, windows, held, seen),
        "reliability": reliability(model, seen, true_tokens),
        "sureness": sureness(model.net.confidence(seen), told, true),
        "codes_seen": code_figures(seen.tokens_BN, codes),
        "swap": swap_figures(home, model, windows, rows.index["robot"]),
        "human": _human(home, model, windows, codes),
    }


def _human(home: Home, model: VdVaeModel, windows: Windows, codes: int) -> dict[str, Any]:
    """How human clips are read: held-out ones, and all that have a true motion for ``motion`` (none of them taught)."""
    rows, held_out = measured_on(windows, "human")
    clips = rows.all("human", MOST)
    if not len(clips):
        return {"windows": 0}
    seen = look(model, clips)
    return {
        "windows": len(clips),
        "takes": len(set(take_names(windows, clips))),
        "held_out": held_out,
        "codes": code_figures(seen.tokens_BN, codes),
        "confidence": float(model.net.confidence(seen).mean()),
        "motion": _human_motion(home, model, windows),
    }


def _human_motion(home: Home, model: VdVaeModel, windows: Windows) -> Sums:
    """``motion_sums`` of simulated hands, of which alone the true motion is known."""
    ids = [take.episode_id for take in windows.takes if take.is_human and has_truth(home, take.episode_id)]
    if not ids:
        return {}
    clips = read_clips(home, model, ids)
    names = [clips.windows.takes[int(take)].episode_id for take in clips.windows.take_W]
    return motion_sums(names, clips.told_W7[:, :3], clips.true_WH7[:, -1, :3])


def write(home: Home, model_id: str, folder: Path) -> Path:
    """Write both files; returns that of the figures, which is written last."""
    model = load_vd_vae(home, model_id)
    windows, skipped = windows_of(home, model, model_id)
    figures = explain(home, model_id, model, windows) | {"skipped": skipped}
    buffer = io.BytesIO()
    np.savez(buffer, **exhibits(model, windows))  # type: ignore[arg-type]
    write_atomic(folder / EXHIBITS, buffer.getvalue())
    write_json(folder / FIGURES, plain(figures))
    return folder / FIGURES


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m models.explain")
    parser.add_argument("home", type=Path)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    run_after(_NICENESS)
    torch.set_num_threads(1)
    try:
        write(Home.open(options.home, create=False), options.model, options.folder)
    except WorkbenchError as error:
        print(str(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
