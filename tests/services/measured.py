"""A measured alignment as the explaining process leaves it on disk, over real takes, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from storage.layout import Home

USE = {"used": 50, "perplexity": 30.0}
CODES = {"used": 60, "codes": 64, "dead": 4, "perplexity": 40.0, "n": 80, "positions": [USE]}
TAKES = ("a", "b", "c", "d")


def measured(**changes: Any) -> dict[str, Any]:
    """An ``alignment.json`` of four takes with twenty windows each."""
    rng = np.random.default_rng(0)

    def motion(error: float) -> dict[str, list[float]]:
        return {take: [20.0, *[error] * 3, *[0.1] * 3, *[1.0] * 3] for take in TAKES}

    errors = {take: [160.0, 160.0 * 16, 160.0, 150.0, 20.0, 20.0 * 25] for take in TAKES}
    found = {
        "model": "m",
        "held_out": True,
        "windows": 80,
        "takes": 4,
        "horizon": 8,
        "step_s": 0.1,
        "cameras": ["front"],
        "codec": {"codes": CODES, "errors": errors, "switches": {take: [5.0, 4.0, 2.0, 15.0, 0.0] for take in TAKES}},
        "retrieval": {"by_take": {take: [8.0, 16.0, 20.0] for take in TAKES}, "distinct": 50.0, "gallery": 80},
        "tokens": {"by_take": {take: [30.0, 12.0, 120.0] for take in TAKES}},
        "decoded": {
            "errors": errors,
            "mean_chunk": {take: [160.0, 160.0 * 100, 160.0, 150.0, 20.0, 20.0 * 100] for take in TAKES},
            "switches": {take: [0.0, 0.0, 0.0, 20.0, 0.0] for take in TAKES},
            "motion": motion(0.25),
        },
        "probes": {name: motion(0.1) for name in ("action", "irrelevant", "difference", "shuffled")},
        "reliability": {
            "ece": 0.05,
            "n": 480,
            "bins": [{"from": 0.1, "to": 0.2, "n": 480, "confidence": 0.15, "right": 0.2}],
        },
        "sureness": [{"n": 40, "confidence": 0.2, "rmse_mm": 30.0}, {"n": 40, "confidence": 0.6, "rmse_mm": 12.0}],
        "codes_seen": CODES,
        "swap": {
            "n": 40,
            "takes": 4,
            **{name: {take: [40.0, 60.0] for take in TAKES} for name in ("swap", "sham", "noise", "other")},
            "moved_mm": {"swap": 10.0, "sham": 1.0, "noise": 4.0, "other": 90.0},
        },
        "human": {
            "windows": 30,
            "takes": 2,
            "held_out": True,
            "codes": CODES,
            "confidence": 0.2,
            "motion": {take: [20.0, *rng.uniform(1, 20, 9)] for take in TAKES},
        },
        "skipped": {"takes shorter than four steps": 3},
    }
    return {**found, **changes}


def write_measured(home: Home, run_id: str, humans: list[str], robot: str) -> Path:
    """``alignment.json``, ``alignment.npz``, ``metrics.json`` and ``report.npz`` of a run that shows these takes."""
    folder = home.runs / run_id
    folder.mkdir(exist_ok=True)
    (folder / "alignment.json").write_text(json.dumps(measured()))
    metrics = {"token_accuracy": 0.25, "control": {"name": "no_contrast", "token_accuracy": 0.1}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    count, path = len(humans), np.cumsum(np.full((9, 3), 0.01), axis=0)
    rng = np.random.default_rng(0)
    arrays = {
        "camera": np.array("front"),
        "map.xy": rng.normal(size=(50, 2)),
        "map.share": np.array([0.4, 0.2]),
        "map.human": np.arange(50) >= 30,
        "map.told": rng.normal(size=(50, 3)),
        "near.human": np.array(humans),
        "near.human_ns": np.array([[10**9, 2 * 10**9]] * count),
        "near.confidence": np.linspace(0.4, 0.1, count),
        "near.told": np.stack([path[1:]] * count),
        "near.robot": np.array([[robot, "", ""]] * count),
        "near.robot_ns": np.tile([10**9, 2 * 10**9], (count, 3, 1)),
        "near.cosine": np.array([[0.9, np.nan, np.nan]] * count),
        "near.path": np.stack([np.stack([path, path * np.nan, path * np.nan])] * count),
        "drawn.take": np.array([robot]),
        "drawn.ns": np.array([[10**9, 2 * 10**9]]),
        "drawn.path": path[None],
        "drawn.told": path[None],
    }
    np.savez(folder / "alignment.npz", **arrays)
    np.savez(folder / "report.npz", retrieval=np.eye(6), tokens_true=np.arange(6)[:, None])
    return folder
