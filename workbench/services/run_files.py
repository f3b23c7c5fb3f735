"""How a training run stands, read from the small files in its folder. Cheap: only the ends of long files are read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.files import read_json
from workbench.core.states import JobState

TAIL_BYTES = 8192
HEAD_BYTES = 1024
CHAIN, PHASES = "finetune.json", "phases.jsonl"  # only in the folder of a fine-tuning with its check
PAUSED, WAITING, CANCELLED = "paused", ".waiting", "cancelled"  # there while it rests, waits; once it was cancelled
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a training run stands.

    Attributes:
        metrics: the newest line of its progress file (losses, held-out figures).
        eta_s: seconds left at the newest pace, or None while unknown or when ended.
        message: what is going on, or why it ended.
        model_id: the model it made, "" until it is done.
        started_at: seconds since the epoch.
        phase: of a fine-tuning with its check: ``train``, ``measure``, ``drive``, ``judge``; "" for other runs.
        done, of: how far the phase is, in its own units. tuning: it is such a fine-tuning.
        pausing: somebody wants it to rest. memory_mb, samples_per_s: of the trainer, 0 while unknown.
    """

    run_id: str
    stage: str
    state: JobState
    step: int
    steps: int
    metrics: dict[str, Any]
    eta_s: float | None
    message: str
    model_id: str
    started_at: float
    phase: str = ""
    done: int = 0
    of: int = 0
    tuning: bool = False
    pausing: bool = False
    memory_mb: int = 0
    samples_per_s: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def read_status(folder: Path) -> JobStatus:
    """The status as the files say it, whether or not anybody is still at work."""
    status = read_json(folder / "status.json") if (folder / "status.json").exists() else {}
    process = read_json(folder / "process.json") if (folder / "process.json").exists() else {}
    lines = _parse(read_tail(folder / "progress.jsonl", TAIL_BYTES))
    state = JobState(status.get("state", "queued"))
    tuning = (folder / CHAIN).exists()
    phases = _parse(read_tail(folder / PHASES, TAIL_BYTES), "phase") if tuning else []
    phase = phases[-1] if phases and state not in ENDED else {}
    step, steps = int(status.get("step", 0)), int(status.get("steps", 0))
    if lines and state is JobState.RUNNING:
        step = max(step, int(lines[-1].get("step", 0)))
    return JobStatus(
        run_id=folder.name,
        stage=str(read_json(folder / "run.json").get("stage", "")),
        state=state,
        step=step,
        steps=steps,
        metrics=lines[-1] if lines else {},
        eta_s=_left(phase, _eta(lines, step, steps)) if state is JobState.RUNNING else None,
        message=str(status.get("message", "")),
        model_id=str(status.get("model_id") or ""),
        started_at=float(process.get("started_at", 0.0)),
        phase=str(phase.get("phase", "")),
        done=int((phase or status).get("done", 0)),
        of=int((phase or status).get("of", 0)),
        tuning=tuning,
        pausing=(folder / PAUSED).exists(),
        memory_mb=int(status.get("memory_mb", 0)),
        samples_per_s=float(status.get("samples_per_s", 0.0)),
    )


def _left(phase: Mapping[str, Any], training_s: float | None) -> float | None:
    """Seconds left of everything: of the training as its pace tells, and of what comes behind as the phases tell."""
    if not phase:
        return training_s
    own, later = phase.get("left_s"), float(phase.get("later_s", 0.0))
    if phase["phase"] == "train":
        own = training_s
    return None if own is None else round(float(own) + later, 1)


def _eta(lines: list[dict[str, Any]], step: int, steps: int) -> float | None:
    """Seconds left at the pace of the newest reports; a resumed run starts its clock anew, so only rising ones count.

    ``lines`` are in the order they were written.
    """
    recent: list[dict[str, Any]] = []
    for line in reversed(lines[-20:]):
        if "seconds" not in line or (recent and line["seconds"] >= recent[-1]["seconds"]):
            break
        recent.append(line)
    if len(recent) < 2 or recent[0]["step"] <= recent[-1]["step"]:
        return None
    pace_s = float(recent[0]["seconds"] - recent[-1]["seconds"]) / (recent[0]["step"] - recent[-1]["step"])
    return round(float(max(0, steps - step) * pace_s), 1)


def run_stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever a file that the status is read from changes."""
    found = []
    for name in ("status.json", "progress.jsonl", "process.json", PHASES, CANCELLED, PAUSED):
        try:
            stat = (folder / name).stat()
            found += [stat.st_mtime_ns, stat.st_size]
        except FileNotFoundError:
            found += [0, 0]
    return tuple(found)


def read_tail(path: Path, most: int) -> bytes:
    """The last ``most`` bytes of a file; nothing if there is no file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return file.read()
    except FileNotFoundError:
        return b""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a progress file."""
    return _parse(path.read_bytes()) if path.exists() else []


def read_ends(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and the last whole line of a progress file. ValueError without one."""
    with open(path, "rb") as file:
        first = _parse(file.read(HEAD_BYTES))
    last = _parse(read_tail(path, TAIL_BYTES))
    if not first or not last:
        raise ValueError(f"{path} has no whole line")
    return first[0], last[-1]


def _parse(data: bytes, must_have: str = "step") -> list[dict[str, Any]]:
    """The whole JSON lines of a piece of a file that have a key; a cut first or last line is skipped."""
    found = []
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, Mapping) and must_have in value:
            found.append(dict(value))
    return found


def last_line(path: Path) -> str:
    """The last words of a log, shortened."""
    lines = [line for line in read_tail(path, 2000).decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""
