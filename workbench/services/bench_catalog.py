"""How quick the catalogue is with very many takes: pages and lineage, in CPU milliseconds, on a SQLite file."""

from __future__ import annotations

import datetime
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from storage.catalog import Catalog
from storage.filters import TakeFilter
from storage.layout import Home
from storage.manifest import Manifest
from storage.records import ModelEntry
from workbench.core.types import EpisodeKind, Outcome, StreamSpec

MODELS, TAKES_PER_MODEL, PAGE = 40, 2000, 100
_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_STREAMS = {
    "observation.images.front": StreamSpec("observation.images.front", (480, 640, 3), "uint8"),
    "observation.state": StreamSpec("observation.state", (14,), "float32", rate_hz=100.0),
}
_CAMERA = {"kind": "realsense", "serial": "", "intrinsics": {"color": {"fx": 600.0, "fy": 600.0}}, "pose": None}
_TASKS = [
    f"{colour}_{thing}_to_{place}"
    for colour in ("red", "blue")
    for thing in ("cube", "cup", "box", "ball", "pen")
    for place in ("plate", "mat", "bowl", "tray", "shelf")
]


def measure(takes: int = 100_000, *, repeats: int = 5) -> dict[str, Any]:
    """Fill a temporary catalogue with synthetic takes and ask it for pages and lineage.

    Returns ``takes``, ``page_ms`` and ``lineage_ms`` (``p50``, ``p99``, ``n``, and the slowest question's name),
    ``fill_s``, ``file_mb``; CPU times of this process. Takes about a minute for 100 000.
    """
    with tempfile.TemporaryDirectory(prefix="clap-catalog-") as folder, Catalog(Home.open(Path(folder))) as catalog:
        started = time.process_time()
        models = fill(catalog, takes)
        fill_s = time.process_time() - started
        pages = _times(dict(_page_questions(catalog, models[-1])), repeats)
        lineage = _times(dict(_lineage_questions(catalog, models)), repeats)
        size = (Path(folder) / "catalog.db").stat().st_size
    return {
        "takes": takes,
        "page_ms": _figures(pages),
        "lineage_ms": _figures(lineage),
        "fill_s": round(fill_s, 2),
        "file_mb": round(size / 1e6, 1),
    }


def fill(catalog: Catalog, takes: int, seed: int = 0) -> list[str]:
    """Enter synthetic takes and a chain of models that learnt from them; returns the models' ids, oldest first."""
    rng = random.Random(seed)
    models = [f"model-{number:03d}" for number in range(MODELS)]
    catalog.add_many(_manifest(rng, number, models) for number in range(takes))
    ids = [_take_id(number) for number in range(takes)]
    entries = []
    for number, model_id in enumerate(models):
        bases = (("parent", models[number - 1]), ("act_vae", models[0])) if number else ()
        seen = rng.sample(ids, min(TAKES_PER_MODEL, takes))
        entry = ModelEntry(
            model_id, "rf", created_at=(_START + datetime.timedelta(days=number)).isoformat(), bases=bases
        )
        entries.append((entry, [(episode_id, "0" * 64) for episode_id in seen]))
    catalog.lineage.enter_models(entries)
    return models


def _take_id(number: int) -> str:
    return f"{number:016x}{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}"


def _manifest(rng: random.Random, number: int, models: list[str]) -> Manifest:
    kind = rng.choice(list(EpisodeKind))
    task, seconds = rng.choice(_TASKS), rng.uniform(2.0, 60.0)
    extra: dict[str, Any] = {"quality": {"version": 1, "flags": rng.choices(["dark", "still", "gaps"], k=number % 2)}}
    extra["tags"] = sorted(rng.sample(["good", "blurred", "slow", "paper", "recheck", "night"], rng.randrange(3)))
    if kind is EpisodeKind.ROLLOUT:
        extra["model"] = rng.choice(models)
    counts = {name: round(spec.rate_hz * seconds) for name, spec in _STREAMS.items()}
    return Manifest(
        id=_take_id(number),
        kind=kind,
        task=task,
        instruction=f"put the {task.replace('_', ' ')}",
        operator=f"operator {rng.randrange(12)}",
        scene=f"scene {rng.randrange(6)}",
        station=f"station {rng.randrange(4)}",
        clock="realtime",
        outcome=rng.choice(list(Outcome)),
        notes=f"the gripper slipped at attempt {number}" if number % 20 == 0 else "",
        streams=_STREAMS,
        counts=counts,
        gaps=dict.fromkeys(_STREAMS, 0),
        rows=round(30 * seconds),
        rows_hz=30.0,
        duration_s=seconds,
        started_at=(_START + datetime.timedelta(seconds=90 * number)).isoformat(),
        content_hash="0" * 64,
        sealed=True,
        devices={name: {**_CAMERA, "serial": f"{name}-{rng.randrange(8)}"} for name in ("front", "wrist")},
        extra=extra,
    )


def _page_questions(catalog: Catalog, model: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    filters = {
        "all": TakeFilter(),
        "kind": TakeFilter(kind="human"),
        "kind and outcome": TakeFilter(kind="teleop", outcome="success"),
        "task": TakeFilter(task=_TASKS[7]),
        "operator, scene, station": TakeFilter(operator="operator 3", scene="scene 2", station="station 1"),
        "two words": TakeFilter(text="red plate"),
        "words of a note": TakeFilter(text="slipped attempt"),
        "a word nobody wrote": TakeFilter(text="elephant"),
        "part of an id": TakeFilter(text="00000000000ab"),
        "tag": TakeFilter(tags=("paper",)),
        "tag, not another": TakeFilter(tags=("good",), without_tags=("blurred",)),
        "flag": TakeFilter(flags=("dark",)),
        "without flags": TakeFilter(without_flags=("dark", "still"), rate_ok=True),
        "model": TakeFilter(model=model),
        "serial": TakeFilter(serial="front-3"),
        "time": TakeFilter(since="2026-02-01", until="2026-02-08"),
        "length": TakeFilter(min_s=10.0, max_s=11.0),
        "trash": TakeFilter(trashed=True),
        "everywhere": TakeFilter(trashed=None, task=_TASKS[3]),
    }
    for name, wanted in filters.items():
        yield name, partial(catalog.page, wanted, 0, PAGE)
    yield "far down", lambda: catalog.page(TakeFilter(kind="rollout"), 20_000, PAGE)
    for order in ("oldest", "longest", "task", "outcome"):
        yield f"{order} first", partial(catalog.page, TakeFilter(kind="teleop"), 0, PAGE, order)


def _lineage_questions(catalog: Catalog, models: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    take = catalog.page(TakeFilter(), 0, 1).records[0].id
    yield "takes of a model", lambda: catalog.lineage.takes_of(models[5])
    yield "models of a take", lambda: catalog.lineage.models_of(take)
    yield "rollouts of a model", lambda: catalog.lineage.rollouts_of(models[5])
    yield "ancestors", lambda: catalog.lineage.ancestors(models[-1])
    yield "descendants", lambda: catalog.lineage.descendants(models[0])


def _times(questions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """CPU milliseconds of each question, the first time included."""
    found: dict[str, list[float]] = {}
    for name, ask in questions.items():
        for _ in range(repeats):
            started = time.process_time()
            ask()
            found.setdefault(name, []).append((time.process_time() - started) * 1e3)
    return found


def _figures(times: dict[str, list[float]]) -> dict[str, Any]:
    values = sorted(value for one in times.values() for value in one)
    slowest = max(times, key=lambda name: sorted(times[name])[len(times[name]) // 2])
    return {
        "p50": round(values[len(values) // 2], 2),
        "p99": round(values[min(len(values) - 1, int(len(values) * 0.99))], 2),
        "n": len(values),
        "slowest": slowest,
        "each": {name: round(sorted(one)[len(one) // 2], 2) for name, one in times.items()},
    }
