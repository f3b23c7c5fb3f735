"""From sums per seed and take to figures with intervals, and the entries of the table.

Letters: S training seeds, U takes, K sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.services.evaluation import Rate

Array = NDArray[np.float64]
Figure = Callable[[Array], float]
DRAWS = 2000
_AXES = 3


def stack(by_seed: Sequence[Mapping[str, Sequence[float]]]) -> Array:
    """Sums by take of every seed as (S, U, K), takes in the order of their names; zeros where a seed lacks one."""
    names = sorted({name for sums in by_seed for name in sums})
    width = max((len(values) for sums in by_seed for values in sums.values()), default=1)
    found = np.zeros((len(by_seed), len(names), width))
    for s, sums in enumerate(by_seed):
        for u, name in enumerate(names):
            if name in sums:
                found[s, u] = sums[name]
    return found


def interval(sums_SUK: Array, figure: Figure, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a figure of the total sums; seeds and takes are drawn again, crossed.

    Windows of one take are alike and all seeds look at the same takes, so takes are what varies, the same for every
    seed (Owen 2007, "The pigeonhole bootstrap"). One seed tells nothing about seeds: then only takes are drawn.
    One take tells nothing at all: NaN.
    """
    seeds, takes, _ = sums_SUK.shape
    if takes < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    of_seed = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=draws)
    of_take = rng.multinomial(takes, np.full(takes, 1.0 / takes), size=draws)
    totals = np.einsum("ds,du,suk->dk", of_seed, of_take, sums_SUK, optimize=True)
    values = [figure(total) for total in totals]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def share(column: int, of: int) -> Figure:
    """One sum over another."""
    return lambda sums_K: float(sums_K[column] / sums_K[of]) if sums_K[of] else float("nan")


def r2(sums_K: Array) -> float:
    """Share of variance explained, mean over the axes that vary: sums are n, squared errors, values, squares."""
    n, errors, values, squares = sums_K[0], sums_K[1:4], sums_K[4:7], sums_K[7:10]
    spread = squares - values**2 / max(n, 1.0)
    varies = spread > 1e-12
    return float((1.0 - errors[varies] / spread[varies]).mean()) if varies.any() else float("nan")


def difference(figure: Figure) -> Figure:
    """A figure of the second half of the sums minus the same of the first half."""
    return lambda sums_K: figure(sums_K[len(sums_K) // 2 :]) - figure(sums_K[: len(sums_K) // 2])


def against(reference: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How much more an arm has than the reference arm, paired by take and seed: the same takes are drawn for both."""
    found: dict[str, Any] = {}
    for name, part, figure in (
        ("retrieval_top1", "retrieval", share(0, 2)),
        ("retrieval_top5", "retrieval", share(1, 2)),
        ("human_r2", "human", r2),
    ):
        pair = [stack([each[part] for each in arm]) for arm in (reference, measured)]
        if pair[0].shape != pair[1].shape or not pair[0].size:
            continue
        both, more = np.concatenate(pair, axis=2), difference(figure)
        found[name] = {"more": _round(more(both.sum(axis=(0, 1)))), "interval": _edges(interval(both, more))}
    return found


def alignment_entry(
    measured: Sequence[Mapping[str, Any]], seconds: float, reference: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """One arm's line: pooled over seeds, intervals over takes and seeds; ``against_clap`` if a reference is given."""
    found = stack([each["retrieval"] for each in measured])
    entry: dict[str, Any] = {"seeds": len(measured), "seconds": round(seconds, 1), "n": int(found[..., 2].sum())}
    entry["takes"] = found.shape[1]
    total = found.sum(axis=(0, 1))
    for name, column in (("retrieval_top1", 0), ("retrieval_top5", 1)):
        figure = share(column, 2)
        entry[name] = _round(figure(total))
        entry["interval" if column == 0 else "interval_top5"] = _edges(interval(found, figure))
        entry[f"{name}_by_seed"] = [_round(figure(each)) for each in found.sum(axis=1)]
    distinct = float(np.mean([each["distinct"] for each in measured]))
    entry |= {"distinct": _round(distinct), "chance": _round(1 / distinct), "chance_top5": _round(min(1, 5 / distinct))}
    entry["codes_used"] = [each["codes_used"] for each in measured]
    motion = stack([each["human"] for each in measured])
    if motion.size and motion.shape[2] == 1 + 3 * _AXES:
        entry |= {
            "human_r2": _round(r2(motion.sum(axis=(0, 1)))),
            "human_interval": _edges(interval(motion, r2)),
            "human_r2_by_seed": [_round(r2(each)) for each in motion.sum(axis=1)],
            "human_n": int(motion[..., 0].sum()),
            "human_clips": motion.shape[1],
        }
    if reference:
        entry["against_clap"] = against(reference, measured)
    return entry


def rate_entry(by_seed: Sequence[Mapping[str, bool]], tasks: Sequence[str] = ()) -> dict[str, Any]:
    """Success of all trials (of some tasks) together with its Wilson interval, by task and by seed.

    ``by_seed`` holds the outcome of every trial by "<task> <seed>".
    """
    mine = [{key: ok for key, ok in trials.items() if not tasks or _task(key) in tasks} for trials in by_seed]
    names = sorted({_task(key) for trials in mine for key in trials})
    every = [ok for trials in mine for ok in trials.values()]
    by_task = {name: [ok for trials in mine for key, ok in trials.items() if _task(key) == name] for name in names}
    return {
        **Rate.of(sum(every), len(every)).to_json(),
        "by_task": {name: Rate.of(sum(found), len(found)).to_json() for name, found in by_task.items()},
        "by_seed": [_round(sum(trials.values()) / len(trials)) for trials in mine if trials],
        "seeds": sum(bool(trials) for trials in mine),
    }


def latency_entry(spent_ms: Sequence[float], seconds: float) -> dict[str, Any]:
    """Median and 99th percentile of single answers, and a bootstrap interval of the median."""
    values = np.array(spent_ms)
    rng = np.random.default_rng(0)
    medians = np.median(values[rng.integers(len(values), size=(DRAWS, len(values)))], axis=1)
    p50, p99 = np.percentile(values, [50, 99])
    edges = np.percentile(medians, [2.5, 97.5])
    low, high = float(edges[0]), float(edges[1])
    about = {"n": len(values), "interval": _edges((low, high)), "seeds": 1, "seconds": round(seconds, 1)}
    return {"p50": _round(float(p50)), "p99": _round(float(p99)), **about}


def pace_entries(spent_ms: Mapping[str, Mapping[str, Sequence[float]]], errors: Mapping[str, Any]) -> dict[str, Any]:
    """The heads of one policy side by side; see ``models.pace`` for what was measured.

    ``rf`` by Euler steps and ``ntp``: ``latency_entry`` of whole answers, medians of the head alone (``head_ms``) and
    of processor time (``cpu_ms``, ``head_cpu_ms``), ``error_mm`` of the chunks. ``ntp_over_rf``: how many times as long
    the token head takes. ``codec``: the floor of its error.
    """
    entries = {way: _pace_entry(spent, errors.get(way)) for way, spent in spent_ms.items()}
    flows = {way.removeprefix("rf"): entry for way, entry in entries.items() if way.startswith("rf")}
    ntp = entries["ntp"] | {"broken_off": errors.get("broken_off", 0)}
    names = ("p50", "cpu_ms", "head_ms", "head_cpu_ms")
    ratios = {count: {name: _round(ntp[name] / entry[name]) for name in names} for count, entry in flows.items()}
    about = {name: errors[name] for name in ("windows", "takes", "held_out") if name in errors}
    return {"rf": flows, "ntp": ntp, "ntp_over_rf": ratios, "codec": {"error_mm": errors.get("codec"), **about}}


def _pace_entry(spent_ms: Mapping[str, Sequence[float]], error_mm: float | None) -> dict[str, Any]:
    median = {name: _round(float(np.median(values))) for name, values in spent_ms.items()}
    return {
        **latency_entry(spent_ms["act"], sum(spent_ms["act"]) / 1000.0),
        "cpu_ms": median["act_cpu"],
        "head_ms": median["head"],
        "head_cpu_ms": median["head_cpu"],
        "error_mm": error_mm,
    }


def _task(key: str) -> str:
    return key.split(" ", 1)[0]


def _round(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _edges(pair: tuple[float, float]) -> list[float | None]:
    return [_round(pair[0]), _round(pair[1])]
