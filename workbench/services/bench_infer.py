"""Latency and smoothness of a trained policy: alone, live with everything running, and four ways to join chunks.

The four ways are compared in lockstep on the simulated station with answers that take simulated time, so that their
figures do not depend on how busy the machine is; the latency of the running station is measured in real time.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardware.sim.tasks import DEMONSTRATED
from models.registry import ModelRecord, newest, read_record
from storage.layout import Home
from workbench.core.chunks import Blend
from workbench.core.errors import WorkbenchError
from workbench.core.events import TakeSealed
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, EpisodeKind, Outcome
from workbench.services.evaluation import TRIAL_SEED, Rate
from workbench.services.hosting import Child, Host
from workbench.services.library import Library
from workbench.services.lockstep import LockstepJob, LockstepSettings, TakeResult
from workbench.services.lockstep_batch import run_batch
from workbench.services.settings import simulated_settings
from workbench.services.smoothness import Trace, jump_ratio
from workbench.services.station import Station
from workbench.services.take_view import TakeView
from workbench.services.unattended import running_station

ACT_EVERY_ROWS = 2
SHARES = (0.0, 0.3, 0.6)
_SEAL_S, _MOST_DRIVES = 60.0, 100


def bench_infer(
    home: Path,
    model_id: str | None,
    calls: int,
    *,
    seconds: float = 20.0,
    trials: int = 6,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a model; needs a demonstration in ``home``, which is only read.

    ``latency_ms`` is inference alone, along a recorded take. ``observation_to_command_ms``, ``stalls`` (ticks without
    an action in force) and ``boundary_jump_ratio`` (see ``smoothness.jump_ratio``) are of the running station: cameras,
    recorder, arm and policy as processes. ``modes`` holds, per way to join chunks, all latencies together and each by
    itself (``latency``, in percent of a chunk's duration); ``success`` with n and 95 % interval.

    Args:
        seconds: how long the running station drives.
        trials: per way and latency.
        shares: latencies to inject, as shares of a chunk's duration.
    """
    root = Home.open(home)
    record = read_record(root, model_id) if model_id else newest(root, "rf")
    found: dict[str, Any] = {"model": record.id, "calls": calls, "latency_ms": _latencies(root, record, calls)}
    with tempfile.TemporaryDirectory(prefix="clap-bench-") as folder:
        place = Home.open(Path(folder))
        shutil.copytree(root.models / record.id, place.models / record.id, dirs_exist_ok=True)
        found |= _live(Path(folder), record, seconds)
        found["modes"] = {mode.value: _mode(Path(folder), record, mode, shares, trials, seed) for mode in Blend}
    return found


def chunk_s(record: ModelRecord) -> float:
    """How long a chunk of the model lasts."""
    return float(record.recipe["horizon_s"])


# the model alone --------------------------------------------------------------------------------------------------


def _latencies(root: Home, record: ModelRecord, calls: int) -> dict[str, dict[str, float]]:
    with Library(root.path) as library:
        takes = library.episodes(kind=EpisodeKind.TELEOP)
        if not takes:
            raise WorkbenchError("there is no demonstration to show the model", "Record one first")
        view = library.open(takes[0].id)
    found = {}
    for head in ("rf", "ntp"):
        spent = [chunk.latency_ms for chunk in _ask(root.models / record.id, view, head, calls)]
        found[head] = percentiles_of(spent)
    return found


def percentiles_of(values_ms: Sequence[float]) -> dict[str, float]:
    """p50 and p99, rounded to a microsecond."""
    p50, p99 = np.percentile(values_ms, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


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


# everything running -----------------------------------------------------------------------------------------------


def _live(place: Path, record: ModelRecord, seconds: float) -> dict[str, Any]:
    """Drive the simulated station in real time, task after task, and look at what was recorded."""
    with running_station(place, simulated_settings()) as station:
        station.load_policy(record.id)
        station.policy_stats()  # answers once the model is loaded and warm
        driven_s, tried = 0.0, 0
        while driven_s < seconds and tried < _MOST_DRIVES:
            driven_s += _drive_once(station, DEMONSTRATED[tried % len(DEMONSTRATED)], seconds - driven_s)
            tried += 1
        stats = station.policy_stats()
    with Library(place) as library:
        rollouts = library.episodes(kind=EpisodeKind.ROLLOUT)
        traces = [_trace(library, take.id) for take in rollouts]
        succeeded = sum(take.outcome is Outcome.SUCCESS for take in rollouts)
    ages = np.concatenate([np.zeros(0), *(trace.first_ages_s() for trace in traces)])
    if not len(ages):
        raise WorkbenchError("the policy gave the running station no chunk", "Look at the log of the policy process")
    return {
        "observation_to_command_ms": {**percentiles_of(list(1000.0 * ages)), "n": len(ages)},
        "stalls": sum(trace.stalls() for trace in traces),
        "boundary_jump_ratio": jump_ratio(traces, [stats["plan_change_m_s"]], float(record.recipe["step_s"])),
        "live": {
            "drives": len(traces),
            "succeeded": succeeded,
            "seconds": seconds,
            "skew_ms": round(stats["skew_ms"], 3),
        },
    }


def _drive_once(station: Station, task: str, most_s: float) -> float:
    """One attempt, recorded; it ends by itself or is ended when its time is up. Returns how long the policy drove."""
    sealed: queue.SimpleQueue[TakeSealed] = queue.SimpleQueue()
    with station.bus.subscribe(TakeSealed, sealed.put):
        station.reset_scene(task)
        station.drive(task)
        begun = time.monotonic()
        with contextlib.suppress(queue.Empty):
            sealed.get(timeout=most_s)
            return time.monotonic() - begun
        station.park()
        try:
            sealed.get(timeout=_SEAL_S)
        except queue.Empty:
            raise WorkbenchError("the rollout was not sealed", "Run `main.py doctor --fix`") from None
    return most_s


def _trace(library: Library, episode_id: str) -> Trace:
    with library.open(episode_id) as view:
        return Trace.of(view)


# four ways to join chunks -----------------------------------------------------------------------------------------


def _mode(
    place: Path, record: ModelRecord, mode: Blend, shares: Sequence[float], trials: int, seed: int
) -> dict[str, Any]:
    """One way to join chunks: at every latency, and all of them together."""
    parts = {share: _tried(place, record, mode, share, trials, seed) for share in shares}
    everything = [take for takes in parts.values() for take in takes]
    by_latency = {str(round(100 * share)): _figures(takes, record) for share, takes in parts.items()}
    return {**_figures(everything, record), "latency": by_latency}


_Tried = tuple[Trace, float, bool]


def _tried(place: Path, record: ModelRecord, mode: Blend, share: float, trials: int, seed: int) -> list[_Tried]:
    """Rollouts of one way at one latency: what was executed, the largest velocity change in a plan, success.

    A trial that broke for a technical reason does not count; ``n`` says how many did.
    """
    settings = LockstepSettings(blend=mode, latency_s=share * chunk_s(record), depth=False)
    tasks = [DEMONSTRATED[k % len(DEMONSTRATED)] for k in range(trials)]
    jobs = [LockstepJob("rollout", task, TRIAL_SEED + seed + k, record.id) for k, task in enumerate(tasks)]
    results = run_batch(place, jobs, settings=settings)
    counted = [result for result in results if result.episode_id]
    if not counted:
        raise WorkbenchError(
            f"no trial could be carried out ({results[0].message.rstrip('.')})", "Run `main.py doctor`"
        )
    with Library(place) as library:
        return [_judged(library, result) for result in counted]


def _judged(library: Library, result: TakeResult) -> _Tried:
    with library.open(result.episode_id) as view:
        return Trace.of(view), float(view.manifest.extra["plan_change_m_s"]), result.success


def _figures(tried: Sequence[_Tried], record: ModelRecord) -> dict[str, Any]:
    traces, plans = [trace for trace, _, _ in tried], [plan for _, plan, _ in tried]
    jerks = [trace.jerk_m_s3() for trace in traces]
    return {
        "stalls": sum(trace.stalls() for trace in traces),
        "boundary_jump_ratio": jump_ratio(traces, plans, float(record.recipe["step_s"])),
        "jerk": round(float(np.mean(jerks)), 2) if jerks else 0.0,
        "success": Rate.of(sum(success for _, _, success in tried), len(tried)).to_json(),
    }
