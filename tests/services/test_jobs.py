"""Training runs seen from outside: started, watched, cancelled, killed, resumed; the real trainer on tiny takes."""

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

from models.recipes import preset
from models.stages import RunSpec
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.events import JobProgressed
from workbench.core.states import JobState
from workbench.services.jobs import Jobs
from workbench.services.machine import PROJECT

LONG = 100_000  # steps; such a run ends only by being ended


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def stocked(home: Home) -> Iterator[Home]:
    """A data folder with eight demonstrations; whatever trains in it is ended afterwards."""
    for seed in range(8):
        write_reach(home, seed)
    yield home
    for path in home.runs.glob("*/process.json"):
        pid = json.loads(path.read_text())["pid"]
        with contextlib.suppress(psutil.Error):  # it has ended, as it should
            process = psutil.Process(pid)
            if any(str(home.path) in part for part in process.cmdline()):
                process.kill()


def write_run(home: Home, run_id: str = "run", **status: object) -> Path:
    """A run folder as a trainer leaves it."""
    spec = RunSpec("act_vae", preset("tiny", "act_vae"), ("take",), home.path, run_id=run_id)
    folder = spec.write()
    (folder / "status.json").write_text(json.dumps({"state": "running", "step": 5, "steps": 100, **status}))
    return folder


def write_lines(folder: Path, *lines: dict[str, object]) -> None:
    (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def until(met: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


# files only ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["dead", "ours"])
def test_a_trainer_that_is_gone_is_a_failed_run_that_can_be_resumed(home: Home, whose: str) -> None:
    """A recycled process id (here: this very test's) is not the trainer."""
    folder = write_run(home)
    pid = dead_pid() if whose == "dead" else os.getpid()
    (folder / "process.json").write_text(json.dumps({"pid": pid, "started_at": 1.0}))
    status = Jobs(home.path).jobs()[0]
    assert status.state is JobState.FAILED
    assert "was killed at step 5; resume it" in status.message
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"  # another window sees the same


def test_a_killed_run_that_was_being_cancelled_is_cancelled(home: Home) -> None:
    folder = write_run(home, state="queued")
    (folder / "process.json").write_text(json.dumps({"pid": dead_pid(), "started_at": 1.0}))
    (folder / "cancelled").touch()
    assert Jobs(home.path).status("run").state is JobState.CANCELLED


def test_the_curve_survives_a_torn_last_line(home: Home) -> None:
    folder = write_run(home)
    write_lines(folder, {"step": 1, "loss": 2.0, "seconds": 0.1}, {"step": 2, "loss": 1.0, "seconds": 0.2})
    with open(folder / "progress.jsonl", "a") as file:
        file.write('{"step": 3, "lo')
    assert Jobs(home.path).curve("run")["loss"] == ([1.0, 2.0], [2.0, 1.0])


def test_time_left_counts_from_the_last_start_only(home: Home) -> None:
    folder = write_run(home, step=40)
    old = [{"step": k, "seconds": 1000.0 + k} for k in (10, 20)]
    write_lines(folder, *old, {"step": 30, "seconds": 1.0}, {"step": 40, "seconds": 6.0})
    assert Jobs(home.path).status("run").eta_s == pytest.approx(60 * 0.5)


def test_progress_is_told_once_per_change(home: Home) -> None:
    bus, heard = Bus(), []
    bus.subscribe(JobProgressed, heard.append)
    jobs, folder = Jobs(home.path, bus), write_run(home)
    for _ in range(3):
        jobs.jobs()
    write_lines(folder, {"step": 7, "loss": 1.0, "seconds": 1.0})
    jobs.jobs()
    assert [(event.step, event.metrics.get("loss")) for event in heard] == [(5, None), (7, 1.0)]


def test_polling_many_runs_is_cheap(home: Home) -> None:
    for number in range(100):
        write_run(home, f"run{number:03}", state="done")
    jobs = Jobs(home.path)
    jobs.jobs()
    started = time.process_time()
    assert len(jobs.jobs()) == 100
    assert time.process_time() - started < 0.1


def test_wrong_names_are_answered_with_the_nearest(stocked: Home) -> None:
    jobs = Jobs(stocked.path)
    write_run(stocked, "0123-act_vae")
    with pytest.raises(NotFoundError, match="0123-act_vae"):
        jobs.status("0124-act_vae")
    with pytest.raises(NotFoundError, match="'act_vae'"):
        jobs.start("act_va", "tiny")
    with pytest.raises(NotFoundError, match="'tiny'"):
        jobs.start("act_vae", "tiniy")
    with pytest.raises(NotFoundError, match="'steps'"):
        jobs.start("act_vae", "tiny", stepz=3)
    with pytest.raises(NotFoundError):
        jobs.start("act_vae", "tiny", episodes=["0" * 32])


def test_a_stage_without_its_forerunner_or_takes_is_refused(home: Home) -> None:
    with pytest.raises(WorkbenchError, match="Train the stage 'act_vae' first"):
        Jobs(home.path).start("vd_vae", "tiny")
    with pytest.raises(WorkbenchError, match="no take"):
        Jobs(home.path).start("act_vae", "tiny")
    assert not list(home.runs.iterdir())


def test_an_ended_run_cannot_be_cancelled_and_a_done_one_not_resumed(home: Home) -> None:
    write_run(home, state="done")
    for request in (Jobs(home.path).cancel, Jobs(home.path).resume):
        with pytest.raises(StateError):
            request("run")


# with the real trainer -----------------------------------------------------------------------------------------------


def test_train_to_the_end(stocked: Home) -> None:
    seen = []
    jobs = Jobs(stocked.path)
    status = jobs.wait(jobs.start("act_vae", "tiny", steps=60, report_every=10), seen.append, poll_s=0.02)
    assert status.state is JobState.DONE and status.step == status.steps == 60
    assert [record.id for record in jobs.models()] == [status.model_id]
    assert len(jobs.models()[0].data) == 8
    assert {entry.state for entry in seen} >= {JobState.RUNNING, JobState.DONE}
    steps, losses = jobs.curve(status.run_id)["loss"]
    assert steps[-1] == 60 and losses[-1] < losses[0]
    assert jobs.metrics(status.run_id)["rmse_mm"] > 0


@pytest.mark.slow
def test_cancel_then_resume_from_the_checkpoint(stocked: Home) -> None:
    jobs = Jobs(stocked.path)
    run_id = jobs.start("act_vae", "tiny", steps=LONG, report_every=5)
    until(lambda: jobs.status(run_id).step >= 20)
    jobs.cancel(run_id)
    until(lambda: jobs.status(run_id).ended)
    stopped = jobs.status(run_id)
    assert stopped.state is JobState.CANCELLED and stopped.step >= 20
    jobs.resume(run_id)
    until(lambda: jobs.status(run_id).step > stopped.step)
    steps, _ = jobs.curve(run_id)["loss"]
    assert sorted(set(steps)) == steps  # it went on; nothing was done twice
    jobs.cancel(run_id)
    until(lambda: jobs.status(run_id).ended)


def test_killed_run_is_noticed_and_resumes(stocked: Home) -> None:
    jobs = Jobs(stocked.path)
    run_id = jobs.start("act_vae", "tiny", steps=LONG, report_every=5, checkpoint_s=0.1)
    until(lambda: jobs.status(run_id).step >= 30)
    os.kill(json.loads((stocked.runs / run_id / "process.json").read_text())["pid"], signal.SIGKILL)
    until(lambda: jobs.status(run_id).ended)
    killed = jobs.status(run_id)
    assert killed.state is JobState.FAILED and "was killed" in killed.message
    jobs.resume(run_id)
    until(lambda: jobs.status(run_id).state is JobState.RUNNING and jobs.status(run_id).step > killed.step)
    jobs.cancel(run_id)
    until(lambda: jobs.status(run_id).ended)


@pytest.mark.slow
def test_ctrl_c_at_the_terminal_ends_the_run_at_a_checkpoint(stocked: Home) -> None:
    words = ["train", "act_vae", "--preset", "tiny", "--set", f"steps={LONG}", "--home", str(stocked.path)]
    typed = subprocess.Popen([sys.executable, "main.py", *words], stderr=subprocess.PIPE, text=True, cwd=PROJECT)
    jobs = Jobs(stocked.path)
    until(lambda: any(status.step > 0 for status in jobs.jobs()))
    typed.send_signal(signal.SIGINT)
    _, said = typed.communicate(timeout=60)
    assert typed.returncode == 1 and "train --resume" in said.splitlines()[-1] and "Traceback" not in said
    until(lambda: jobs.jobs()[0].ended)
    assert jobs.jobs()[0].state is JobState.CANCELLED


@pytest.mark.slow
def test_a_run_outlives_the_program_that_started_it(stocked: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from workbench.services.jobs import Jobs;"
        "print(Jobs(Path(sys.argv[1])).start('act_vae', 'tiny', steps=80))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(stocked.path)], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    status = Jobs(stocked.path).wait(done.stdout.strip())
    assert status.state is JobState.DONE and status.model_id
