"""Driving both models of a fine-tuning on the simulated station, trial by trial; may be broken off anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.evaluation import Rate, remember, trial_jobs
from workbench.services.finetune_plan import Plan
from workbench.services.lockstep import LockstepJob, TakeResult
from workbench.services.lockstep_batch import run_batch

RESULTS, REMEMBERED = "trials.jsonl", "trials.remembered"
WHICH = ("before", "after")


class Stopping(Exception):  # noqa: N818  (no error)
    """Somebody wants it to end."""


class Pausing(Exception):  # noqa: N818  (no error)
    """Somebody wants it to rest."""


def drive(
    folder: Path,
    home: Home,
    plan: Plan,
    models: tuple[str, str],
    count: Callable[[int, int], None],
    between: Callable[[], None],
) -> None:
    """Drive what was not driven yet, the same scenes with both models, and enter all trials into the catalogue.

    Args:
        models: ids of the one before and the one after.
        count: hears (done, of). between: called after every trial; what it raises ends the driving.
    """
    asked = {
        which: trial_jobs(model, dict.fromkeys(plan.driven, plan.trials))
        for which, model in zip(WHICH, models, strict=True)
    }
    total = sum(map(len, asked.values()))
    _borrow(folder, home, plan)
    count(len(tried(folder)), total)
    between()
    done = {_key(line) for line in tried(folder)}
    waiting = [(w, job) for w in WHICH for job in asked[w] if (w, job.task, job.seed) not in done]
    which_of = {job: which for which, job in waiting}

    def made(result: TakeResult) -> None:
        _note(folder, which_of[result.job], result)
        count(len(tried(folder)), total)
        between()

    if waiting:
        run_batch(home.path, [job for _, job in waiting], workers=plan.workers, made=made)
    _remember(folder, home, models)


def tried(folder: Path) -> list[dict[str, Any]]:
    """Every trial so far; a line that a kill cut short is none."""
    found, path = [], folder / RESULTS
    for text in path.read_text().splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
            _key(line)
            found.append(dict(line))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def rates(folder: Path, which: str) -> dict[str, Rate]:
    """Success by task of the model ``before`` or ``after``; trials that broke for technical reasons do not count."""
    counted = [line for line in tried(folder) if line["which"] == which and line["episode"]]
    found = {}
    for task in dict.fromkeys(str(line["task"]) for line in counted):
        outcomes = [bool(line["success"]) for line in counted if line["task"] == task]
        found[task] = Rate.of(sum(outcomes), len(outcomes))
    return found


def _key(line: Mapping[str, Any]) -> tuple[str, str, int]:
    return str(line["which"]), str(line["task"]), int(line["seed"])


def _note(folder: Path, which: str, result: TakeResult) -> None:
    line = {
        "which": which,
        "task": result.job.task,
        "seed": result.job.seed,
        "success": bool(result.success),
        "episode": result.episode_id,
        "seconds": round(result.seconds, 3),
        "latency_ms": result.latency_ms,
        "message": result.message,
    }
    with open(folder / RESULTS, "a") as file:
        lead = "\n" if file.tell() and not (folder / RESULTS).read_bytes().endswith(b"\n") else ""
        file.write(lead + json.dumps(line) + "\n")


def _borrow(folder: Path, home: Home, plan: Plan) -> None:
    """A second attempt does not drive the model before once more: same model, same scenes."""
    source = home.runs / plan.retry_of if plan.retry_of else None
    if source is None or (folder / RESULTS).exists() or not (source / RESULTS).is_file():
        return
    try:
        if Plan.read(source).parent != plan.parent:
            return
    except WorkbenchError:
        return
    lines = [line for line in tried(source) if line["which"] == "before" and line["episode"]]
    text = "".join(json.dumps({**line, "borrowed": True}) + "\n" for line in lines if line["task"] in plan.driven)
    (folder / RESULTS).write_text(text)


def _remember(folder: Path, home: Home, models: tuple[str, str]) -> None:
    """Enter the trials into the catalogue, once."""
    if (folder / REMEMBERED).exists():
        return
    model_of = dict(zip(WHICH, models, strict=True))
    own = [line for line in tried(folder) if line["episode"] and not line.get("borrowed")]
    remember(home.path, [_result(line, model_of[line["which"]]) for line in own])
    (folder / REMEMBERED).touch()


def _result(line: Mapping[str, Any], model_id: str) -> TakeResult:
    job = LockstepJob("rollout", line["task"], line["seed"], model_id, "rf")
    return TakeResult(
        job, line["episode"], line["success"], line["seconds"], line.get("message", ""), line.get("latency_ms", 0.0)
    )
