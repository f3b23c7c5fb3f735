"""CLAP Workbench: without a verb open the window; with one, run it without a display."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from workbench.cli import main


def open_window(home: Path | None, threads: bool) -> int:
    """Open the window; named by a dotted path so that verbs never load a window toolkit."""
    run = importlib.import_module("ui.app").run
    return int(run(home=home, threads=threads))


if __name__ == "__main__":
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")  # the simulated station renders off-screen
    sys.exit(main(sys.argv[1:], open_window))
