"""Aligning as one thing that outlives its starter: real trainers on tiny takes, stopped, killed and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.states import JobState
from workbench.core.types import EpisodeKind
from workbench.services.align_time import GUESS_S, estimate
from workbench.services.aligning import Aligning, Plan
from workbench.services.alignment_report import has_report, read_report
from workbench.services.jobs import Jobs
from workbench.services.machine import PROJECT

SMALL = {"act_vae": {"steps": 20, "batch": 32}, "vd_vae": {"steps": 6, "batch": 32}}
LONG = {"act_vae": {"steps": 100_000, "batch": 16, "report_every": 5}, "vd_vae": {"steps": 4, "batch": 16}}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Eight robot takes; whatever still works in the folder afterwards is ended."""
    found = Home.open(tmp_path / "home")
    for seed in range(8):
        write_reach(found, seed)
    yield found
    for path in found.runs.glob("*/process.json"):
        with contextlib.suppress(psutil.Error):  # it has ended, as it should
            process = psutil.Process(json.loads(path.read_text())["pid"])
            if any(str(found.path) in part for part in process.cmdline()):
                process.kill()


def until(met: Callable[[], bool], seconds: float = 900.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def worker_pid(home: Home, align_id: str) -> int:
    return int(json.loads((home.runs / align_id / "process.json").read_text())["pid"])


def test_wrong_wishes_are_answered_before_anything_starts(tmp_path: Path, home: Home) -> None:
    with pytest.raises(NotFoundError, match="station"):
        Aligning(home.path).start("sation")
    with pytest.raises(NotFoundError, match="steps"):
        Aligning(home.path).start("tiny", changes={"vd_vae": {"stesp": 3}})
    with pytest.raises(NotFoundError, match="take"):
        Aligning(home.path).start("tiny", ["0" * 32])
    empty = Home.open(tmp_path / "empty")
    with pytest.raises(WorkbenchError, match="no robot take"):
        Aligning(empty.path).start("tiny")
    write_reach(empty, 1, kind=EpisodeKind.HUMAN)
    with pytest.raises(WorkbenchError, match="no robot take"):
        Aligning(empty.path).start("tiny")
    assert not list(home.runs.iterdir()) and not list(empty.runs.iterdir())


def test_a_process_that_died_is_told_and_a_damaged_plan_too(home: Home) -> None:
    folder = home.runs / "x-align"
    folder.mkdir()
    Plan("tiny", {"act_vae": [], "vd_vae": []}, state="running").write(folder)
    (folder / "log.txt").write_text("first\nno more memory\n")
    assert Aligning(home.path).status("x-align").state is JobState.RUNNING  # its process is about to be written down
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (folder / "process.json").write_text(json.dumps({"pid": int(gone.stdout)}))
    status = Aligning(home.path).status("x-align")
    assert status.state is JobState.FAILED and "no more memory" in status.message and "resume" in status.message
    with pytest.raises(StateError):
        Aligning(home.path).cancel("x-align")
    with pytest.raises(NotFoundError, match="x-align"):
        Aligning(home.path).status("x-aling")
    (folder / "align.json").write_text('{"unknown": 1}')
    with pytest.raises(WorkbenchError, match="damaged"):
        Aligning(home.path).status("x-align")


def test_the_estimate_learns_from_earlier_runs(home: Home) -> None:
    guess = estimate(home.path, "tiny")
    assert not guess.measured and guess.seconds > 60 * GUESS_S["vd_vae"] / 2
    from models.recipes import preset
    from models.stages import RunSpec

    for stage, bases in (("act_vae", {}), ("vd_vae", {"act_vae": "m"})):
        spec = RunSpec(stage, preset("tiny", stage), ("take",), home.path, bases, run_id=f"r-{stage}")
        lines = [{"step": 10, "seconds": 5.0}, {"step": 60, "seconds": 105.0}]
        (spec.write() / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    slow = estimate(home.path, "tiny")
    assert slow.measured and slow.seconds == pytest.approx(45 + 2.0 * (200 + 60))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_trainings_and_the_report_go_on_without_their_starter(home: Home) -> None:
    """Started by a process that ends at once; cancelled, killed with -9, gone on with; then everything is there."""
    for seed in range(20, 24):
        write_reach(home, seed, kind=EpisodeKind.HUMAN)
    starter = (
        "from pathlib import Path; from workbench.services.aligning import Aligning;"
        f"print(Aligning(Path({str(home.path)!r})).start('tiny', changes={SMALL!r}))"
    )
    said = subprocess.run([sys.executable, "-c", starter], cwd=PROJECT, capture_output=True, text=True, check=True)
    align_id, aligning = said.stdout.strip(), Aligning(home.path)
    until(lambda: "act_vae" in aligning.status(align_id).runs)
    os.kill(worker_pid(home, align_id), signal.SIGKILL)
    until(lambda: aligning.status(align_id).state is JobState.FAILED)
    aligning.resume(align_id)
    done = aligning.wait(align_id)
    assert done.state is JobState.DONE and done.step == done.steps == 26
    jobs = Jobs(home.path)
    codec, aligned = (jobs.status(done.runs[stage]) for stage in ("act_vae", "vd_vae"))
    assert {record.id for record in jobs.models()} == {codec.model_id, aligned.model_id}
    assert {"perplexity", "used_share", "perplexity_human", "perplexity_p6"} <= jobs.curve(aligned.run_id).keys()
    assert has_report(home.path, aligned.run_id)
    report = read_report(home.path, aligned.run_id)
    top = report.figure("retrieval_top1")
    assert top is not None and top.n > 0 and top.baseline is not None and report.found["human"]["windows"] > 0
    for run_id in done.runs.values():
        assert "<svg" in (home.runs / run_id / "report.html").read_text()
    with pytest.raises(StateError):
        aligning.resume(align_id)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cancelled_alignment_can_go_on(home: Home) -> None:
    aligning = Aligning(home.path)
    align_id = aligning.start("tiny", changes=LONG)
    until(lambda: aligning.status(align_id).step > 10)
    aligning.cancel(align_id)
    until(lambda: aligning.status(align_id).ended)
    status = aligning.status(align_id)
    assert status.state is JobState.CANCELLED and status.job is not None and status.job.state is JobState.CANCELLED
    stood = status.step
    aligning.resume(align_id)
    until(lambda: aligning.status(align_id).step > stood + 10)
    assert aligning.status(align_id).runs == status.runs
    aligning.cancel(align_id)
    until(lambda: aligning.status(align_id).ended)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_verb_aligns_and_prints_figures_with_their_intervals(home: Home) -> None:
    command = [sys.executable, "main.py", "align", "--home", str(home.path), "--recipe", "tiny", "--json"]
    said = subprocess.run(
        [*command, "--set", "steps=4"], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=1700
    )
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout.splitlines()[-1])
    assert {"run", "model", "metrics", "report"} <= told["act_vae"].keys()
    figure = told["alignment"]["figures"]["retrieval_top1"]
    assert 0 <= figure["value"] <= 1 and figure["n"] > 0 and Path(told["alignment"]["report"]).exists()
