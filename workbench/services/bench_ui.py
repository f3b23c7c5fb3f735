"""What the window costs: processor time until the first picture, per picture shown, and the longest it stands still.

A process of its own runs the program as people start it, without a screen (``ui/measured_window.py``), on the simulated
arm and four playback cameras of 640x480 at 30 Hz, one with depth. Cameras and arm are processes of their own, as
always, so what is measured is the window alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.bench_pictures import RATE_HZ, camera_takes
from workbench.services.settings import FILE_NAME, CameraSettings, simulated_settings
from workbench.services.station_setup import to_toml

CAMERAS = 4
_PICTURES = 60
_ROOT = Path(__file__).resolve().parents[2]
_START_S = 240.0


def bench_ui(seconds: float, pictures: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Measure the window for so many seconds of live pictures, plots and a take being recorded.

    ``first_picture_cpu_s``: own processor time from the start of the process to the first live picture on screen.
    ``cpu_ms_per_shown_frame``: all of the process's time while it shows, plots included, per picture shown.
    ``longest_gui_block_ms``: longest work of the window's thread at a stretch meanwhile; ``page_block_ms`` when each
    page is visited, ``startup_block_ms`` before. ``share_of_a_core``: with four cameras, depth and plots.

    Args:
        pictures: folder with videos (and depth frames) that the cameras show; None: the simulated station's pictures.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-") as folder:
        place = Path(folder)
        takes, shown = camera_takes(Home.open(place / "pictures"), CAMERAS, _PICTURES, pictures, seed)
        home = Home.open(place / "home")
        _write_settings(home.path, takes)
        return {"cameras": CAMERAS, "pictures": shown, **_measured(home.path, place, seconds)}


def _write_settings(home: Path, takes: list[Path]) -> None:
    options = {"rate_hz": RATE_HZ, "first": _PICTURES}
    cameras = tuple(
        CameraSettings(name=f"camera{k}", kind="playback", options={**options, "path": str(take), "depth": k == 0})
        for k, take in enumerate(takes)
    )
    settings = simulated_settings().model_copy(update={"cameras": cameras})
    (home / FILE_NAME).write_text(to_toml(settings), encoding="utf-8")


def _measured(home: Path, config: Path, seconds: float) -> dict[str, Any]:
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": str(_ROOT),
        "XDG_CONFIG_HOME": str(config),
    }
    command = [sys.executable, "-m", "ui.measured_window", str(home), str(seconds)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=seconds + _START_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WorkbenchError("the measured window did not end in time", "Measure with less load") from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        cause = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkbenchError(f"the measured window failed ({cause})", "Open the window once by itself")
    told: dict[str, Any] = json.loads(lines[-1])
    return told
