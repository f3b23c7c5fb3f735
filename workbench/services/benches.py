"""Measurements of this machine, through the same services that people use. Each returns plain values."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hardware.sim.tasks import DEMONSTRATED
from models.registry import newest, read_record
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, EpisodeKind
from workbench.services.bench_control import bench_control, lateness
from workbench.services.hosting import Child, Host
from workbench.services.jobs import Jobs
from workbench.services.library import Library, TakeView
from workbench.services.lockstep import LockstepJob, run_batch
from workbench.services.machine import command_line, machine, versions
from workbench.services.settings import simulated_settings
from workbench.services.station import Station
from workbench.services.unattended import running_station

__all__ = ["about", "bench_control", "bench_infer", "bench_train", "boundary_jump", "lateness"]
TASK = DEMONSTRATED[0]
ACT_EVERY_ROWS = 2


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


def bench_infer(home: Path, model_id: str | None, calls: int) -> dict[str, Any]:
    """Ask the policy process for chunks along a recorded take, with each head.

    ``boundary_jump_ratio``: median distance between where one chunk and the next want the tool at the moment of the
    take-over, over the median step inside a chunk. ``stalls``: calls slower than the time a chunk is executed.
    """
    root = Home.open(home)
    record = read_record(root, model_id) if model_id else newest(root, "rf")
    with Library(home) as library:
        takes = library.episodes(kind=EpisodeKind.TELEOP)
        if not takes:
            raise WorkbenchError("there is no demonstration to show the model", "Record one first")
        view = library.open(takes[0].id)
    latencies: dict[str, Any] = {}
    result: dict[str, Any] = {"model": record.id, "calls": calls, "latency_ms": latencies, "stalls": 0}
    for head in ("rf", "ntp"):
        chunks = _ask(root.models / record.id, view, head, calls)
        spent = np.array([chunk.latency_ms for chunk in chunks])
        p50, p99 = np.percentile(spent, [50, 99])
        latencies[head] = {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
        result["stalls"] += int((spent > 1000 * ACT_EVERY_ROWS * chunks[0].step_s).sum())
        if head == "rf":
            result["boundary_jump_ratio"] = boundary_jump(chunks, view.rows)
    return result


def boundary_jump(chunks: list[ActionChunk], rows: int) -> float:
    """See ``bench_infer``; pairs that wrap round the take's end are left out."""
    per_lap = max(1, (rows + ACT_EVERY_ROWS - 1) // ACT_EVERY_ROWS)
    pairs = [(a, b) for k, (a, b) in enumerate(itertools.pairwise(chunks)) if (k + 1) % per_lap]
    jumps = [np.linalg.norm(a.targets[ACT_EVERY_ROWS, :3] - b.targets[0, :3]) for a, b in pairs]
    inside = [np.linalg.norm(np.diff(chunk.targets[:, :3], axis=0), axis=1).mean() for chunk in chunks]
    return round(float(np.median(jumps) / max(float(np.median(inside)), 1e-9)), 3) if jumps else 0.0


def _ask(folder: Path, view: TakeView, head: str, calls: int) -> list[ActionChunk]:
    """Chunks for every second row of a take, round and round; the first call only warms up."""
    wanted = [name for name in view.streams if name.startswith("observation.images.")] + ["observation.state"]
    signal = view.signal("observation.state")
    with tempfile.TemporaryDirectory(prefix="clap-bench-") as place, Host() as host:
        rings = {name: Ring.create(Path(place) / f"{name}.ring", view.streams[name], 8) for name in wanted}
        paths = {name: str(ring.path) for name, ring in rings.items()}
        _show_row(rings, view, signal, 0)
        policy = host.start(
            "policy", "models.policy_worker:main", folder=str(folder), rings=paths, chunks=None, head=head
        )
        policy.call("set_task", instruction=view.record.instruction, timeout_s=120)
        chunks = [_act(policy, rings, view, signal, (k * ACT_EVERY_ROWS) % view.rows) for k in range(calls + 1)]
        for ring in rings.values():
            ring.close()
        return chunks[1:]


def _act(policy: Child, rings: dict[str, Ring], view: TakeView, signal: Any, row: int) -> ActionChunk:
    now_ns = _show_row(rings, view, signal, row)
    chunk: ActionChunk = policy.call("act", t_observed_ns=now_ns, timeout_s=120)
    return chunk


def _show_row(rings: dict[str, Ring], view: TakeView, signal: Any, row: int) -> int:
    """Put one row's pictures and state into the rings, stamped with one time."""
    now_ns = time.monotonic_ns()
    times_s, values, _ = signal
    for name, ring in rings.items():
        item = view.picture(name, row) if name.startswith("observation.images.") else None
        if item is None:
            item = values[min(int(np.searchsorted(times_s, view.row_times_s[row])), len(values) - 1)]
        ring.write(item, sequence=ring.written, t_device_ns=now_ns, t_host_ns=now_ns)
    return now_ns


@contextmanager
def _running_station(threads: bool = False) -> Iterator[tuple[Station, Path]]:
    """The simulated station in a folder of its own, every camera live."""
    with (
        tempfile.TemporaryDirectory(prefix="clap-bench-") as folder,
        running_station(Path(folder), simulated_settings(), threads=threads) as station,
    ):
        yield station, Path(folder)
