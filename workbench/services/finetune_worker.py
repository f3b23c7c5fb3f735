"""Fine-tuning from start to verdict, in a process of its own (``finetune_worker RUN_FOLDER``).

Train, measure both models on held-out takes, drive both on the simulated station, judge. Every phase leaves what it
found in the run's folder piece by piece, so that a chain that was killed or cancelled goes on where it was: training at
its checkpoint, measuring behind the last take, driving behind the last trial. ``phases.jsonl`` gets a line at every
piece that is done and at least one a second.

Exit status: 0 done, 1 failed (the reason is in ``status.json``), 3 stopped on request (SIGTERM).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from models.measured import measured
from models.registry import read_record, set_gate
from models.stages import RunSpec
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, write_json
from workbench.core.priority import run_after
from workbench.core.states import JobState
from workbench.services.evaluation import Rate, pooled
from workbench.services.finetune_drive import Pausing, Stopping, drive, rates
from workbench.services.finetune_plan import Plan
from workbench.services.finetune_time import RECEIPT
from workbench.services.forgetting import TaskLine, judge, task_figures
from workbench.services.machine import child_environment, machine
from workbench.services.report import write_run_report
from workbench.services.run_files import PAUSED, PHASES, last_line, read_status

DONE, FAILED, STOPPED = 0, 1, 3
ORDER = ("train", "measure", "drive", "judge")
_NICENESS = 10
_PULSE_S = 1.0
_LOOK_S = 0.1
_INSIST_S = 30.0
_TITLES = {
    "train": "training",
    "measure": "measuring both models on takes neither learned from",
    "drive": "driving both models",
    "judge": "comparing",
}
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Now:
    """What the pulse tells; written by the work, read by the pulse."""

    phase: str = ""
    done: int = 0
    of: int = 0
    begun: float = field(default_factory=time.monotonic)


class Chain:
    """One run. ``go`` blocks; ``stop`` is asked all the time."""

    def __init__(self, folder: Path, stop: Callable[[], bool]) -> None:
        self._folder = folder
        self._stop = stop
        self.spec = RunSpec.read(folder)
        self.plan = Plan.read(folder)
        self._home = Home.open(self.spec.home)
        self._seconds: dict[str, float] = dict(_spent(folder))
        self._now = _Now()
        self._told = threading.Lock()
        self._ended = threading.Event()

    def go(self) -> int:
        """Do what is not done yet; returns the exit status."""
        pulse = threading.Thread(target=self._pulse, name="pulse", daemon=True)
        pulse.start()
        work = {"train": self._train, "measure": self._measure, "drive": self._drive, "judge": self._judge}
        try:
            for phase in ORDER:
                self._begin(phase)
                code = work[phase]()
                self._end_phase(phase)
                if code != DONE:
                    return code
            return DONE
        finally:
            self._ended.set()
            pulse.join()

    # phases ---------------------------------------------------------------------------------------------------------

    def _train(self) -> int:
        if self._model_is_there():
            return DONE
        resume = ["--resume"] if (self._folder / "checkpoint").is_dir() else []

        def look() -> None:
            status = self._written()
            reading = not status.get("step") and "of" in status
            counts = (status["done"], status["of"]) if reading else (status.get("step", 0), self.spec.recipe.steps)
            self._count(int(counts[0]), int(counts[1]))

        code = self._child(["models.train_worker", str(self._folder), "--part", *resume], look)
        if code == FAILED and read_status(self._folder).state is not JobState.FAILED:
            self._fail(f"training ended without a word ({last_line(self._folder / 'log.txt')})")
        return code

    def _measure(self) -> int:
        ids = [i for of_task in self.plan.measured.values() for i in of_task]
        self._count(len(measured(self._folder)), len(ids))
        if set(ids) <= set(measured(self._folder)):
            return DONE
        words = ["models.forgetting", str(self._folder), self.plan.parent, *ids]
        code = self._child(words, lambda: self._count(len(measured(self._folder)), len(ids)))
        if code == FAILED:
            self._fail(f"the models could not be compared ({last_line(self._folder / 'log.txt')})")
        return code

    def _drive(self) -> int:
        models = (self.plan.parent, self.spec.model_id)
        while True:
            try:
                drive(self._folder, self._home, self.plan, models, self._count, self._rest_or_stop)
                return DONE
            except Stopping:
                self._say(JobState.CANCELLED, "stopped; it can be resumed")
                return STOPPED
            except Pausing:
                self._rest()

    def _judge(self) -> int:
        lines = self._lines()
        gate = judge(lines, self.plan.margins).to_json(self.plan.margins)
        overall = {name: rate.to_json() for name, rate in _overall(lines).items()}
        receipt = {
            "run": self.spec.run_id,
            "parent": self.plan.parent,
            "model": self.spec.model_id,
            "rung": self.plan.rung,
            "retry_of": self.plan.retry_of,
            "tasks": {line.task: line.to_json() for line in lines},
            "earlier_tasks": overall,
            "gate": gate,
            "trials": self.plan.trials,
            "estimate_s": self.plan.estimate.seconds,
            "estimate_how": self.plan.estimate.how,
            "seconds": self._spent_by_phase(),
            "units": {
                "measure": sum(map(len, self.plan.measured.values())),
                "read": len(self.spec.episodes) + len(self.spec.replay),
            },
            "warnings": list(self.plan.warnings),
            "machine": machine(),
        }
        write_json(self._folder / RECEIPT, receipt)
        set_gate(self._home, self.spec.model_id, {**gate, "run": self.spec.run_id})
        write_run_report(self._home.path, self.spec.run_id)
        self._say(JobState.DONE, "" if gate["passed"] else "it forgot: " + "; ".join(gate["reasons"]))
        return DONE

    def _spent_by_phase(self) -> dict[str, float]:
        """Seconds by phase; reading takes, measuring and saving apart from the training proper (``read``)."""
        found = dict(self._seconds)
        spent = read_record(self._home, self.spec.model_id).metrics.get("training", {}).get("seconds")
        if isinstance(spent, int | float) and "train" in found:
            found |= {"train": float(spent), "read": max(0.0, found["train"] - float(spent))}
        return {name: round(value, 2) for name, value in found.items()}

    def _lines(self) -> list[TaskLine]:
        known, plan = measured(self._folder), self.plan
        before, after = (rates(self._folder, which) for which in ("before", "after"))
        lines = []
        for task in plan.tasks:
            taken = [known[i] for i in plan.measured.get(task, ()) if i in known]
            figures = task_figures(taken)
            why = "no take of it was held out" if not taken else "; ".join({str(k.get("why", "")) for k in taken})
            driven = task in before and task in after
            undriven = plan.why_not_driven.get(task) or plan.why_not_driven.get("", "every trial of it broke")
            lines.append(
                TaskLine(
                    task,
                    task in plan.new_tasks,
                    before.get(task) if driven else None,
                    after.get(task) if driven else None,
                    figures,
                    "" if driven else undriven,
                    "" if figures else why,
                )
            )
        return lines

    # parts ----------------------------------------------------------------------------------------------------------

    def _child(self, words: Sequence[str], look: Callable[[], None]) -> int:
        """Run a program of ours to its end; a wish to stop is passed on. Returns its exit status."""
        with open(self._folder / "log.txt", "ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
            )
        asked = 0.0
        while child.poll() is None:
            look()
            if self._stop() and not asked:
                asked = time.monotonic()
                child.send_signal(signal.SIGTERM)
            elif asked and time.monotonic() - asked > _INSIST_S:
                child.kill()  # what is on disk is whole; it costs the steps since the last checkpoint
            time.sleep(_LOOK_S)
        look()
        if asked and child.returncode != DONE:
            self._say(JobState.CANCELLED, "stopped; it can be resumed")
            return STOPPED
        return DONE if child.returncode == DONE else STOPPED if child.returncode == STOPPED else FAILED

    def _rest_or_stop(self) -> None:
        if self._stop():
            raise Stopping
        if (self._folder / PAUSED).exists():
            raise Pausing

    def _rest(self) -> None:
        self._say(JobState.PAUSED, "paused between trials")
        while (self._folder / PAUSED).exists() and not self._stop():
            time.sleep(_LOOK_S)
        self._say(JobState.RUNNING, _TITLES["drive"])

    def _written(self) -> dict[str, Any]:
        path = self._folder / "status.json"
        return dict(read_json(path)) if path.is_file() else {}

    def _model_is_there(self) -> bool:
        try:
            read_record(self._home, self.spec.model_id)
            return True
        except WorkbenchError:
            return False

    def _begin(self, phase: str) -> None:
        self._now = _Now(phase)
        self._say(JobState.RUNNING, _TITLES[phase])
        self._tell()

    def _end_phase(self, phase: str) -> None:
        spent = time.monotonic() - self._now.begun
        self._seconds[phase] = self._seconds.get(phase, 0.0) + spent
        self._tell(spent_s=round(self._seconds[phase], 2))

    def _count(self, done: int, of: int) -> None:
        if (done, of) != (self._now.done, self._now.of):
            self._now.done, self._now.of = done, of
            self._tell()

    def _pulse(self) -> None:
        while not self._ended.wait(_PULSE_S):
            with contextlib.suppress(OSError):  # a full disk is the work's to report
                self._tell()

    def _tell(self, **more: float) -> None:
        """One line of ``phases.jsonl``; from the work's thread and from the pulse's."""
        now = self._now
        spent = time.monotonic() - now.begun
        line = {"phase": now.phase, "done": now.done, "of": now.of, "for_s": round(spent, 2), **more}
        if now.done and now.of:
            line["left_s"] = round(spent * (now.of - now.done) / now.done, 1)
        elif now.phase in self.plan.estimate.parts:
            line["left_s"] = round(max(0.0, self.plan.estimate.parts[now.phase] - spent), 1)
        behind = ORDER[ORDER.index(now.phase) + 1 :] if now.phase in ORDER else ()
        line["later_s"] = round(sum(self.plan.estimate.parts.get(phase, 0.0) for phase in behind), 1)
        with self._told, open(self._folder / PHASES, "a") as file:
            file.write(json.dumps(line) + "\n")

    def _fail(self, message: str) -> None:
        self._say(JobState.FAILED, message)

    def _say(self, state: JobState, message: str) -> None:
        say(self._folder, state, message, self.spec.model_id if state is JobState.DONE else "")


def say(folder: Path, state: JobState, message: str, model_id: str = "") -> None:
    """Replace the state and words of ``status.json``, keeping what the trainer wrote of its steps."""
    path = folder / "status.json"
    written = read_json(path) if path.is_file() else {}
    more = {"state": str(state), "message": message, "model_id": model_id, "updated_at": time.time()}
    own = {"pid": os.getpid()}
    write_json(path, {**written, **more, **own})


def _overall(lines: Sequence[TaskLine]) -> dict[str, Rate]:
    driven = [(line.before, line.after) for line in lines if not line.new and line.before and line.after]
    if not driven:
        return {}
    return {"before": pooled([a for a, _ in driven]), "after": pooled([b for _, b in driven])}


def _spent(folder: Path) -> dict[str, float]:
    """Seconds by phase that earlier attempts at this run spent."""
    found: dict[str, float] = {}
    path = folder / PHASES
    for text in path.read_text().splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that was cut short
            line = json.loads(text)
            if "spent_s" in line:
                found[str(line["phase"])] = float(line["spent_s"])
    return found


def _environment() -> dict[str, str]:
    return {**os.environ, **child_environment()}


def run(folder: Path, stop: Callable[[], bool]) -> int:
    """Carry a run out; returns the exit status. Never raises."""
    try:
        return Chain(folder, stop).go()
    except WorkbenchError as error:
        message = str(error)
    except OSError as error:
        _log.exception("the disk refused")
        message = f"the disk refused ({error}). What was done is kept: free space, then resume the run."
    except Exception as error:
        _log.exception("fine-tuning failed")
        message = f"fine-tuning failed ({type(error).__name__}: {error}). See the log."
    print(message, file=sys.stderr)
    with contextlib.suppress(OSError):
        say(folder, JobState.FAILED, message)
    return FAILED


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, settle signals, run."""
    parser = argparse.ArgumentParser(prog="python -m workbench.services.finetune_worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true", help="what is done is never done twice; said for its namesake")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    run_after(_NICENESS, own_session=True)
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return run(options.folder, lambda: bool(asked))


if __name__ == "__main__":
    sys.exit(main())
