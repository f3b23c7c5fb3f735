from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, RecorderChanged
from workbench.services.hosting import Host, start_detached

CHILDREN = "tests.services.hosted_children:"
ROOT = Path(__file__).parents[2]


def wait_for(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def gone(pid: int) -> bool:
    """True once a process runs no more, whether or not somebody has collected it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(params=["process", "thread"])
def host(request):
    with Host(threads=request.param == "thread") as host:
        yield host


@pytest.fixture
def processes():
    with Host() as host:
        yield host


def test_requests_are_answered_errors_are_raised_and_events_arrive(host):
    heard: list[object] = []
    host.bus.subscribe(object, heard.append)
    child = host.start("worker", CHILDREN + "serve", greeting="good day")
    assert child.call("greet", name="Ada") == "good day Ada"
    picture = np.arange(480 * 640 * 3, dtype=np.uint8)
    assert np.array_equal(child.call("echo", value=picture), picture)

    with pytest.raises(WorkbenchError) as info:
        child.call("complain")
    assert info.value.what == "there is no task named 'red_cub'"
    assert info.value.next_step == "Did you mean 'red_cube'"
    with pytest.raises(WorkbenchError, match="crash failed: ZeroDivisionError: oops"):
        child.call("crash")
    with pytest.raises(WorkbenchError, match="juggle failed"):
        child.call("juggle")
    with pytest.raises(WorkbenchError, match="unpicklable failed"):
        child.call("unpicklable")
    assert child.call("greet", name="again") == "good day again", "an error must not end the child"

    assert child.call("announce", count=50) == 50
    assert wait_for(lambda: len(heard) == 50)
    assert heard == [RecorderChanged("armed", str(number)) for number in range(50)]
    child.call("announce_from_threads", count=100)
    assert wait_for(lambda: len(heard) == 450)
    assert child.alive


def test_requests_from_many_threads_get_their_own_answers(host):
    child = host.start("worker", CHILDREN + "serve")
    wrong: list[object] = []

    def ask(number: int) -> None:
        for i in range(20):
            if child.call("echo", value=(number, i)) != (number, i):
                wrong.append((number, i))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


def test_a_silent_child_is_a_timeout_and_its_late_answer_is_not_mistaken_for_another(host):
    child = host.start("worker", CHILDREN + "serve")
    child.call("pid")
    with pytest.raises(WorkbenchError, match="worker process did not answer 'sleep'"):
        child.call("sleep", seconds=0.4, timeout_s=0.05)
    assert child.call("echo", value="mine") == "mine"


@pytest.mark.parametrize(("function", "message"), [("fail", "the camera is not there"), ("crash", "ZeroDivisionError")])
def test_a_child_that_fails_says_so_and_then_refuses_requests(host, function, message):
    failures: list[Failed] = []
    host.bus.subscribe(Failed, failures.append)
    child = host.start("worker", CHILDREN + function)
    assert wait_for(lambda: not child.alive)
    assert wait_for(lambda: bool(failures)) and message in failures[0].message
    with pytest.raises(WorkbenchError, match=rf"the worker process has ended.*{message}.*Restart the station"):
        child.call("greet", name="x")


def test_a_request_to_a_child_that_is_just_failing_is_told_why(host):
    for _ in range(30 if host.threads else 3):
        child = host.start("worker", CHILDREN + "fail")
        with pytest.raises(WorkbenchError, match="the camera is not there"):
            child.call("greet", name="x")


def test_an_unknown_target_is_a_failure_and_not_a_hang(host):
    failures: list[Failed] = []
    host.bus.subscribe(Failed, failures.append)
    child = host.start("worker", "no.such.module:main")
    assert wait_for(lambda: bool(failures)) and "ModuleNotFoundError" in failures[0].message
    assert wait_for(lambda: not child.alive)


def test_events_of_a_child_that_ends_at_once_still_arrive(host):
    heard: list[object] = []
    host.bus.subscribe(RecorderChanged, heard.append)
    host.start("worker", CHILDREN + "end")
    assert wait_for(lambda: heard == [RecorderChanged("idle")])


def test_a_killed_child_is_an_error_for_who_waits_and_who_comes_later(processes):
    child = processes.start("worker", CHILDREN + "serve")
    pid = child.call("pid")
    assert pid == child.pid != os.getpid()
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    started = time.monotonic()
    with pytest.raises(WorkbenchError, match="the worker process has ended"):
        child.call("sleep", seconds=30)
    assert time.monotonic() - started < 5
    with pytest.raises(WorkbenchError, match="the worker process has ended"):
        child.call("pid")
    assert not child.alive


def test_closing_ends_every_process_and_may_be_repeated():
    host = Host()
    pids = [host.start(f"worker-{i}", CHILDREN + "serve").call("pid") for i in range(2)]
    started = time.monotonic()
    host.close()
    host.close()
    assert time.monotonic() - started < 5
    assert all(gone(pid) for pid in pids)


def test_a_child_that_does_not_listen_is_ended_anyway():
    host = Host()
    child = host.start("deaf", CHILDREN + "deaf")
    child.stop(timeout_s=0.2)
    assert gone(child.pid)
    host.close()


def test_threads_mode_starts_no_process():
    before = {child.pid for child in psutil.Process().children()}
    with Host(threads=True) as host:
        child = host.start("worker", CHILDREN + "serve")
        assert child.call("pid") == os.getpid()
        assert child.pid is None
        assert {child.pid for child in psutil.Process().children()} == before


def test_a_listener_on_the_shared_bus_hears_children():
    bus, heard = Bus(), []
    bus.subscribe(RecorderChanged, heard.append)
    with Host(bus, threads=True) as host:
        host.start("worker", CHILDREN + "serve").call("announce", count=1)
        assert wait_for(lambda: len(heard) == 1)


PARENT = """
import sys, time
from workbench.services.hosting import Host
if __name__ == "__main__":
    host = Host()
    child = host.start("worker", "tests.services.hosted_children:serve", pid_file=sys.argv[1])
    child.call("pid")
    print("ready", flush=True)
    {then}
"""


def start_parent(tmp_path: Path, then: str) -> tuple[subprocess.Popen[str], int]:
    """A real program with one child; returns it and the child's pid."""
    script, pid_file = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT.format(then=then))
    parent = subprocess.Popen(
        [sys.executable, str(script), str(pid_file)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout.readline().strip() == "ready"
    return parent, int(pid_file.read_text())


def test_a_child_goes_within_two_seconds_when_its_parent_is_killed(tmp_path):
    parent, pid = start_parent(tmp_path, "time.sleep(60)")
    try:
        assert not gone(pid)
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
        assert wait_for(lambda: gone(pid), 2.0), "the child outlived its parent"
    finally:
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_program_that_forgets_to_close_still_ends(tmp_path):
    """An exception on the way out must not leave a program hanging on its children."""
    parent, pid = start_parent(tmp_path, "sys.exit(3)")
    try:
        parent.communicate(timeout=5)
        assert parent.returncode == 3
        assert wait_for(lambda: gone(pid), 2.0)
    finally:
        parent.kill()
        parent.communicate()
        if not gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_ctrl_c_reaches_the_parent_and_not_its_children(tmp_path):
    wait = "try:\n        time.sleep(60)"
    then = f"{wait}\n    except KeyboardInterrupt:\n        print(child.call('pid'), flush=True); host.close()"
    parent, pid = start_parent(tmp_path, then)
    os.kill(pid, signal.SIGINT)
    parent.send_signal(signal.SIGINT)
    output, _ = parent.communicate(timeout=10)
    assert int(output) == pid
    assert parent.returncode == 0


def test_a_detached_program_writes_its_log_and_has_its_own_session(tmp_path):
    log = tmp_path / "log"
    text = "import os; print(os.getsid(0) == os.getpid(), os.environ['COLOUR'])"
    pid = start_detached([sys.executable, "-c", text], str(log), {"COLOUR": "teal"})
    assert wait_for(lambda: log.exists() and "\n" in log.read_text())
    assert log.read_text() == "True teal\n"
    os.waitpid(pid, 0)


def test_a_child_that_was_stopped_leaves_no_open_file_behind(processes):
    """Every other model that drives is another process."""

    def once() -> int:
        processes.start("child", CHILDREN + "serve").stop()
        return psutil.Process().num_fds()

    first = once()
    assert [once() for _ in range(3)] == [first] * 3
