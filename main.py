"""CLAP Workbench: without a verb open the window; with one, run it without a display."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from workbench.cli import main
from workbench.core.errors import WorkbenchError


def open_window(home: Path, threads: bool) -> int:
    """Open the window; named by a dotted path so that verbs never load a window toolkit."""
    try:
        run = importlib.import_module("ui.app").run
    except ImportError as error:
        raise WorkbenchError(
            f"the window cannot be loaded ({error})", "Install what is missing; the verbs work without it"
        ) from error
    return int(run(home, threads))


if __name__ == "__main__":
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")  # the simulated station renders off-screen
    sys.exit(main(sys.argv[1:], open_window))
