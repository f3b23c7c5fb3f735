"""What this machine is and which versions run on it: printed by every bench, doctor and report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[2]
PACKAGES = ("numpy", "torch", "mujoco", "zarr", "PyQt6", "SQLAlchemy", "av", "imagecodecs", "safetensors")


def machine() -> dict[str, object]:
    """Processor, cores, memory and system of this computer, as plain values."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for a result; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """The command that was typed, for repeating a measurement."""
    return " ".join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])


def child_environment() -> dict[str, str]:
    """Environment of a detached worker: finds the project, one numeric thread, off-screen rendering."""
    path = os.environ.get("PYTHONPATH", "")
    return {
        "PYTHONPATH": os.pathsep.join([str(PROJECT), path] if path else [str(PROJECT)]),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:  # not Linux: the portable answer below is coarser but true
        pass
    return platform.processor() or platform.machine()
