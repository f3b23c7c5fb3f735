"""Measurements of this machine, through the same services that people use. Each returns plain values."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from hardware.sim.tasks import DEMONSTRATED
from models.registry import read_record
from storage.layout import Home
from workbench.services.bench_control import bench_control, lateness
from workbench.services.bench_infer import bench_infer
from workbench.services.jobs import Jobs
from workbench.services.lockstep import LockstepJob
from workbench.services.lockstep_batch import run_batch
from workbench.services.machine import command_line, machine, versions

__all__ = ["about", "bench_control", "bench_infer", "bench_train", "lateness"]
TASK = DEMONSTRATED[0]


def about(seed: int) -> dict[str, Any]:
    """What every measurement states beside its figures."""
    return {"machine": machine(), "versions": versions(), "seed": seed, "command": command_line()}


def bench_train(takes: int, steps: int, seed: int) -> dict[str, Any]:
    """Train CLAP-NTP on fresh takes twice: the first run computes picture features, the second finds them cached.

    ``samples_per_s`` are rows per second of the whole run, process start included; ``loop_samples_per_s`` those of the
    training loop alone.
    """
    with tempfile.TemporaryDirectory(prefix="clap-bench-") as folder:
        home = Path(folder)
        run_batch(home, [LockstepJob("demonstration", TASK, seed + k) for k in range(takes)])
        jobs = Jobs(home)
        codec = jobs.wait(jobs.start("act_vae", "tiny", seed=seed)).model_id
        rates = {}
        for name in ("recomputed", "cached"):
            started = time.monotonic()
            run_id = jobs.start("ntp", "quick", base={"act_vae": codec}, steps=steps, seed=seed, report_every=5)
            status = jobs.wait(run_id, poll_s=0.05)
            batch = int(read_record(Home.open(home), status.model_id).recipe["batch"])
            rates[name] = round(steps * batch / (time.monotonic() - started), 1)
        at, seconds = jobs.curve(run_id)["seconds"]
        loop = (at[-1] - at[0]) * batch / (seconds[-1] - seconds[0])
        return {"samples_per_s": rates, "loop_samples_per_s": round(loop, 1), "steps": steps, "takes": takes}
