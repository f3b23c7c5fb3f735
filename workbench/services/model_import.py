"""Bringing a published checkpoint into the data folder, converted in a process that may load torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.events import ModelImportProgressed
from workbench.services.hosting import Host
from workbench.services.runs import suitable_episodes

IMPORT_MAIN = "models.official.worker:main"
_LONGEST_S = 3600.0
_MOST_TAKES = 200  # to measure scale and error on; the newest
Progress = Callable[[str, int, int], None]


def import_checkpoint(
    home: Path,
    file: Path,
    stage: str,
    *,
    encoder: str = "",
    camera: str = "",
    statistics: Path | None = None,
    threads: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Convert a checkpoint of OpenCLAP; returns what ``models.official.importing.import_model`` tells. Blocks.

    Args:
        stage: ``act_vae`` or ``vd_vae``.
        encoder: folder or hub id of the picture network that an alignment looks through.
        camera: whose pictures an alignment reads; "" is the usual one.
        statistics: a file with the scales of more robots.
        threads: work in this process (tests).
        progress: hears of every step from another thread.

    WorkbenchError says why it cannot be; then no model was made.
    """
    Home.open(home)
    values = {
        "home": str(home),
        "file": str(file.expanduser().absolute()),
        "stage": stage,
        "episodes": list(suitable_episodes(home, "act_vae"))[-_MOST_TAKES:],
        "encoder": encoder,
        "camera": camera,
        "statistics": str(statistics.expanduser().absolute()) if statistics else "",
    }
    with Host(threads=threads) as host:
        listening = host.bus.subscribe(ModelImportProgressed, lambda e: progress(e.what, e.done, e.total))
        try:
            child = host.start("model import", IMPORT_MAIN, **values)
            result: dict[str, Any] = child.call("import", timeout_s=_LONGEST_S)
        finally:
            listening.close()
    return result
