"""How long a fine-tuning will take, from what earlier runs in this data folder really took; and how that is known."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.registry import ModelRecord
from storage.catalog import Catalog
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.services.finetune import Material
from workbench.services.run_files import read_ends

RECEIPT = "receipt.json"
MATCHING_COST = 2.2  # seconds per row with Knowledge Matching over seconds per row without; measured, docs/training.md
_RECENT_TRIALS = 40


@dataclass(frozen=True, slots=True)
class Estimate:
    """A guess before anything is started.

    Attributes:
        seconds: of everything that is known, or None while the training's own part is not.
        how: what it rests on, as a sentence.
        parts: seconds by phase, for those that are known.
    """

    seconds: float | None
    how: str
    parts: Mapping[str, float]


def estimate(
    home: Home, material: Material, recipe: Mapping[str, Any], measured: int, trials: int, workers: int
) -> Estimate:
    """Time for training, measuring ``measured`` takes and driving ``trials`` attempts with each of both models.

    Args:
        recipe: at least ``steps`` and ``batch``.
    """
    parts: dict[str, float] = {}
    said: list[str] = []
    receipts = _receipts(home)
    pace = _tuning_pace(home, receipts) or _parent_pace(home, material.parent)
    if pace is not None:
        rows_per_s, words = pace
        parts["train"] = round(int(recipe["steps"]) * int(recipe["batch"]) / rows_per_s, 1)
        said.append(words)
    for phase, units in (("read", len(material.episodes) + len(material.replay)), ("measure", measured)):
        each = _per_unit(receipts, phase)
        if each is not None and units:
            parts[phase] = round(each * units, 1)
    each_s = _trial_s(home) if trials else None
    if each_s is not None:
        parts["drive"] = round(2 * trials * each_s / max(1, workers), 1)
        said.append(f"{each_s:.1f} s per trial, as the latest ones took")
    if trials and each_s is None:
        said.append("no trial was driven here yet, so their time is not in it")
    if pace is None:
        return Estimate(None, "no training ran in this data folder yet: the first steps will be timed", parts)
    return Estimate(round(sum(parts.values()), 1), "; ".join(said), parts)


def receipt_of(home: Path, run_id: str) -> Mapping[str, Any] | None:
    """The receipt of a fine-tuning that has ended, else None. WorkbenchError if it is broken."""
    path = Home.open(home).runs / run_id / RECEIPT
    return dict(read_json(path)) if path.is_file() else None


def _receipts(home: Home) -> list[Mapping[str, Any]]:
    """Receipts of earlier fine-tunings, newest first."""
    found = []
    for path in sorted(home.runs.glob(f"*/{RECEIPT}"), reverse=True)[:5]:
        try:
            value = read_json(path)
        except WorkbenchError:
            continue  # a broken one tells nothing
        if isinstance(value, Mapping):
            found.append(value)
    return found


def _per_unit(receipts: list[Mapping[str, Any]], phase: str) -> float | None:
    """Seconds per take of a phase, as the newest receipt that has it says."""
    for receipt in receipts:
        spent = receipt.get("seconds", {}).get(phase)
        units = receipt.get("units", {}).get(phase)
        if isinstance(spent, int | float) and isinstance(units, int) and units > 0:
            return float(spent) / units
    return None


def _tuning_pace(home: Home, receipts: list[Mapping[str, Any]]) -> tuple[float, str] | None:
    """Rows per second of the newest fine-tuning here."""
    for receipt in receipts:
        run_id = str(receipt.get("run", ""))
        rows = run_pace(home.runs / run_id) if run_id else None
        if rows is not None:
            return rows, f"{rows:.0f} rows a second, as the fine-tuning {run_id[:12]} here reached"
    return None


def _parent_pace(home: Home, parent: ModelRecord) -> tuple[float, str] | None:
    """Rows per second that the parent's own run reached, less the cost of matching if it had none."""
    rows = run_pace(home.runs / parent.run_id) if parent.run_id else None
    if rows is None:
        return None
    if parent.recipe.get("km_token_weight"):
        return rows, f"{rows:.0f} rows a second, as the training of the model before reached here"
    words = (
        f"{rows:.0f} rows a second in the training of the model before, matching takes {MATCHING_COST} times as long"
    )
    return rows / MATCHING_COST, words


def run_pace(folder: Path) -> float | None:
    """Rows per second over the whole training of a run, or None if it did not come far enough to tell."""
    try:
        batch = int(read_json(folder / "run.json")["recipe"]["batch"])
        first, last = read_ends(folder / "progress.jsonl")
        steps, spent_s = last["step"] - first["step"], last["seconds"] - first["seconds"]
    except (WorkbenchError, OSError, KeyError, TypeError, ValueError):
        return None
    return steps * batch / spent_s if steps > 0 and spent_s > 0 else None


def _trial_s(home: Home) -> float | None:
    """Median wall time of the latest trials on this machine."""
    with Catalog(home) as catalog:
        spent = [trial.seconds for trial in catalog.trials() if trial.seconds > 0]
    return statistics.median(spent[-_RECENT_TRIALS:]) if spent else None


def shown_time(seconds: float) -> str:
    """``40 s``, ``6 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
