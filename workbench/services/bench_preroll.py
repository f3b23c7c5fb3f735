"""What it costs to keep the last half minute: the real capture process, with and without it, nothing being recorded."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from storage.layout import Home
from workbench.core.ring import runtime_directory
from workbench.services.bench_pictures import camera_takes
from workbench.services.bench_record import PICTURES, camera_settings, cpu_s, missed, wait_live
from workbench.services.hosting import Child, Host
from workbench.services.settings import RecordSettings, Settings


def bench_preroll(seconds: float, cameras: int, pictures: Path | None, home: Path | None, seed: int) -> dict[str, Any]:
    """Watch ``cameras`` cameras of 640x480 colour and depth at 30 Hz for ``seconds`` without, then with the memory.

    ``idle`` and ``remembering``: share of one core, resident bytes and exposures missed by the capture process;
    ``kept_s``, ``kept_bytes``: what could be saved at the end; ``more``: what remembering costs beside watching.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-", dir=home) as folder:
        takes, shown = camera_takes(Home.open(Path(folder)), cameras, PICTURES, pictures, seed)
        settings = Settings(
            station="measure",
            cameras=tuple(camera_settings(k, take) for k, take in enumerate(takes)),
            record=RecordSettings(remember_s=seconds),
        )
        with Host() as host, tempfile.TemporaryDirectory(dir=runtime_directory()) as rings:
            capture = host.start(
                "capture", "workbench.services.capture:main", home=folder, settings=settings.plain(), folder=rings
            )
            wait_live(capture)
            idle = _watched(capture, seconds)
            capture.call("remember", streams=[])
            remembering = _watched(capture, seconds)
            kept = capture.call("remembered")
    return {
        "pictures": shown,
        "cameras": cameras,
        "seconds": seconds,
        "idle": idle,
        "remembering": remembering,
        "more": {
            "cores": round(remembering["cores"] - idle["cores"], 3),
            "memory_bytes": remembering["memory_bytes"] - idle["memory_bytes"],
        },
        "kept_s": round(kept.seconds, 2),
        "kept_bytes": kept.bytes,
    }


def _watched(capture: Child, seconds: float) -> dict[str, Any]:
    """Let so much time pass; what the capture process took meanwhile."""
    process = psutil.Process(capture.pid)
    spent_s, lost, began_s = cpu_s(process), missed(capture), time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began_s
    return {
        "cores": round((cpu_s(process) - spent_s) / passed_s, 3),
        "memory_bytes": process.memory_info().rss,
        "missed": missed(capture) - lost,
    }
