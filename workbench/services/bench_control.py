"""How punctual the control tick is while everything else works: two cameras recorded, window open, policy thinking.

The loaded run is the program as people use it: a process of its own opens the real window without a screen and starts
the station from it, so that drawing the pictures, the station's threads and the arm process compete as they do at work
(``ui/measured.py``). The ticks are read from the take that it recorded. Beside it, for comparison: the same station
with all parts as threads of one process, and the station left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.sim.tasks import DEMONSTRATED
from models.registry import newest, read_record
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services.library import Library
from workbench.services.settings import simulated_settings
from workbench.services.unattended import running_station

TASK = DEMONSTRATED[0]
_ROOT = Path(__file__).resolve().parents[2]
_START_S = 180.0
_IDLE_S = 4.0


def bench_control(seconds: float, home: Path | None = None, model_id: str | None = None) -> dict[str, Any]:
    """Measure the tick with the window open, as threads, and idle.

    ``lateness_ms`` counts every tick of the recorded take; ``tick_ms`` is how long a tick works; ``priority`` what the
    system granted the arm process. ``inference`` says whether a policy drove, and if not, why.

    Args:
        home: where the model lies; None or one without a model measures without inference.
        model_id: default: the newest rf model of ``home``.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-") as folder:
        loaded = _with_window(Path(folder), seconds, *_lend_model(Path(folder), home, model_id))
    return {**loaded, "threads_only": _as_threads(seconds), "idle": _idle(min(seconds, _IDLE_S))}


def _lend_model(place: Path, home: Path | None, model_id: str | None) -> tuple[str, str]:
    """Make a model of the user's visible in the bench's own home: (its id, "") or ("", why there is none)."""
    if home is None:
        return "", "no data folder with a model was given"
    root = Home.open(home)
    try:
        record = read_record(root, model_id) if model_id else newest(root, "rf")
    except WorkbenchError as error:
        if model_id:
            raise
        return "", f"{error.what}; train one or give --model"
    models = Home.open(place).models
    models.mkdir(parents=True, exist_ok=True)
    shutil.copytree(root.models / record.id, models / record.id, dirs_exist_ok=True)
    return record.id, ""


def _with_window(place: Path, seconds: float, model_id: str, why_not: str) -> dict[str, Any]:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "ui.measured", str(place), str(seconds), TASK, model_id]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=seconds + _START_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WorkbenchError(
            "the measured window did not end in time", "Measure on a machine with less load"
        ) from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        cause = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkbenchError(f"the measured window failed ({cause})", "Open the window once by itself")
    told: dict[str, Any] = json.loads(lines[-1])
    inference = {"running": bool(model_id), "model": model_id, "reason": why_not, "held": told["held"]}
    return {
        **_recorded(place, told["episode"]),
        "tick_ms": told["timing"].get("tick_ms", {}),
        "priority": told["timing"].get("priority", ""),
        "window": "open, without a screen",
        "cameras_recorded": len(simulated_settings().cameras),
        "inference": inference,
    }


def _as_threads(seconds: float) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="clap-bench-") as folder,
        running_station(Path(folder), simulated_settings(), threads=True) as station,
    ):
        episode_id = station.start_take(TASK, EpisodeKind.TELEOP)
        time.sleep(seconds)
        station.stop_take()
        return _recorded(Path(folder), episode_id)


def _idle(seconds: float) -> dict[str, Any]:
    """The station alone: nothing recorded, no window, nobody drives."""
    with (
        tempfile.TemporaryDirectory(prefix="clap-bench-") as folder,
        running_station(Path(folder), simulated_settings()) as station,
    ):
        time.sleep(seconds)
        return dict(station.status().driver.timing)


def _recorded(home: Path, episode_id: str) -> dict[str, Any]:
    with Library(home) as library:
        ticks_s, _, _ = library.open(episode_id).signal("authority")
    hz = simulated_settings().control_hz
    return {"hz": hz, **lateness(ticks_s, 1.0 / hz)}


def lateness(ticks_s: NDArray[np.float64], period_s: float) -> dict[str, Any]:
    """How late ticks were against the fixed grid they belong to.

    Ticks come at or after their due time, most of them soon after it. So of all places in the period the due time is
    the one after which ticks are least late on average: a later one would make those before it almost a period late.
    A tick later than a whole period is one that was skipped.

    Args:
        ticks_s: (T,) recorded times of the ticks.
    """
    if len(ticks_s) < 2:
        raise WorkbenchError("no control tick was recorded", "Measure longer with --seconds")
    phase = np.sort(ticks_s % period_s)
    due = phase[int(np.argmin(period_s * np.arange(len(phase)) / len(phase) - phase))]
    number = np.floor((ticks_s - due) / period_s + 1e-6)
    late_ms = 1000 * np.maximum(ticks_s - due - number * period_s, 0.0)
    p50, p99 = np.percentile(late_ms, [50, 99])
    figures = {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(late_ms.max()), 3)}
    return {"lateness_ms": figures, "ticks": len(ticks_s), "skipped": int(number[-1] - number[0]) + 1 - len(ticks_s)}
