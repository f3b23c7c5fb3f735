"""The whole chain with real processes: from one click to the gate, killed and cancelled on the way and gone on."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from models import checkpoint
from models.registry import model_folder, promote, read_record
from storage.layout import Home
from tests.services.tuning import NEW, OLD, stock
from workbench.core.states import JobState
from workbench.services.finetune import gather
from workbench.services.finetune_plan import Options, one_click
from workbench.services.jobs import Jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
LONGEST_S = 900.0
SMALL = {"steps": 40, "batch": 16, "report_every": 4, "checkpoint_s": 0.2}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home.open(tmp_path_factory.mktemp("stock") / "home")
    stock(home)
    return home.path


@pytest.fixture
def home(stocked: Path, tmp_path: Path) -> Iterator[Home]:
    shutil.copytree(stocked, tmp_path / "home")
    made = Home.open(tmp_path / "home")
    yield made
    for process in psutil.process_iter(["cmdline"]):
        if any(str(made.path) in part for part in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.kill()


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not met():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def begin(home: Home, trials: int = 0) -> tuple[Jobs, str]:
    jobs = Jobs(home.path)
    return jobs, one_click(jobs, gather(home.path), Options(preset="tiny", trials=trials, workers=1, changes=SMALL))


def read_receipt(home: Home, run_id: str) -> dict:
    return json.loads((home.runs / run_id / "receipt.json").read_text())


def phases(home: Home, run_id: str) -> list[dict]:
    return [json.loads(line) for line in (home.runs / run_id / "phases.jsonl").read_text().splitlines()]


def test_one_click_ends_in_a_receipt_a_gate_and_a_page(home: Home) -> None:
    jobs, run_id = begin(home)
    status = jobs.wait(run_id)
    found = read_receipt(home, run_id)
    assert set(found["tasks"]) == {OLD, NEW} and found["tasks"][NEW]["new"]
    for line in found["tasks"].values():
        assert line["held_out"]["rf_mm"]["before"]["mean"] > 0 and line["why_not_driven"] == "no trials were asked for"
    record = read_record(home, status.model_id)
    assert record.gate["passed"] == found["gate"]["passed"] and record.gate["run"] == run_id
    assert "What it did to every task" in (home.runs / run_id / "report.html").read_text()
    assert list((home.runs / run_id / "tensorboard").iterdir())
    told = phases(home, run_id)
    takes = sum(line["held_out"]["rf_mm"]["n"] for line in found["tasks"].values())
    counts = [line["done"] for line in told if line["phase"] == "measure"]
    assert counts == sorted(counts) and counts[-1] == takes, "every take that was compared was told"
    silences = [b["for_s"] - a["for_s"] for a, b in itertools.pairwise(told) if a["phase"] == b["phase"]]
    assert sorted(silences)[len(silences) // 2] <= 2.0, "usually a line a second, however loaded the machine is"


def test_killed_in_every_phase_it_goes_on_where_it_was(home: Home) -> None:
    jobs, run_id = begin(home)
    folder = home.runs / run_id

    def kill() -> None:
        os.kill(json.loads((folder / "process.json").read_text())["pid"], signal.SIGKILL)
        until(lambda: jobs.status(run_id).ended)
        assert jobs.status(run_id).state is JobState.FAILED and "resume it" in jobs.status(run_id).message

    until(lambda: checkpoint.exists(folder / "checkpoint", "state"))
    kill()
    jobs.resume(run_id)
    results = folder / "held_out.jsonl"
    until(lambda: results.is_file() and len(results.read_text().splitlines()) >= 1)
    spec = json.loads((folder / "run.json").read_text())
    with pytest.raises(Exception, match="has not ended yet"):
        promote(home, spec["model_id"])
    weights = checkpoint.load(model_folder(home, spec["model_id"]))[0]
    kill()
    jobs.resume(run_id)
    jobs.wait(run_id)
    takes = [json.loads(line)["take"] for line in results.read_text().split("\n") if line.strip().endswith("}")]
    assert len(takes) == len(set(takes)), "no take was compared twice"
    again = checkpoint.load(model_folder(home, spec["model_id"]))[0]
    assert all(bool((weights[name] == again[name]).all()) for name in weights), "it was not trained twice"
    steps, _ = jobs.curve(run_id)["loss"]
    assert steps == sorted(set(steps)) and steps[-1] == SMALL["steps"]


def test_cancelled_while_driving_and_gone_on_with(home: Home) -> None:
    jobs, run_id = begin(home, trials=1)
    trials = home.runs / run_id / "trials.jsonl"
    until(lambda: trials.is_file() and len(trials.read_text().splitlines()) >= 1)
    jobs.cancel(run_id)
    until(lambda: jobs.status(run_id).ended)
    assert jobs.status(run_id).state is JobState.CANCELLED
    driven = trials.read_text().splitlines()
    jobs.resume(run_id)
    jobs.wait(run_id)
    after = trials.read_text().splitlines()
    assert after[: len(driven)] == driven and len(after) == 4, "two tasks, both models, once each"
    assert read_receipt(home, run_id)["trials"] == 1
