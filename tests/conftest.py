"""What every test gets: no screen, software rendering, one thread per process, and guards against leftovers."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MUJOCO_GL", "egl")
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from workbench.core.ring import runtime_directory

hypothesis.settings.register_profile(
    "workbench",
    max_examples=60,
    deadline=None,  # shared machines pause
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("workbench")

# Started in the background of a shell, everything would inherit "ignore Ctrl-C", which some tests are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
_GRACE_S = 3.0
_IN_REAL_TIME = ("conformance", "core", "faults", "hardware", "services", "ui", "walk")
_LIBRARY_THREADS = ("zarr", "asyncio", "pytest_timeout", "Dummy")  # pools that live as long as the process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of things that happen in real time are tried up to three times (decision 24); every repeat is reported."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in _IN_REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of real recordings is not beside the project")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """Fails a test that leaves a thread, a child process or a runtime folder."""
    before = [_threads(), _children(), _folders()]
    yield
    for noun, look, old in zip(
        ("threads", "child processes", "runtime folders"), (_threads, _children, _folders), before
    ):
        left = _settle(lambda look=look, old=old: look() - old)
        assert not left, f"the test left {noun} behind: {sorted(left)}"


def _settle(look: Callable[[], set[str]]) -> set[str]:
    """What is still there once the grace time is over, or nothing as soon as all is gone."""
    deadline = time.monotonic() + _GRACE_S
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _threads() -> set[str]:
    alive = (thread for thread in threading.enumerate() if not thread.daemon)
    return {f"{thread.name} ({thread.ident})" for thread in alive if not thread.name.startswith(_LIBRARY_THREADS)}


def _children() -> set[str]:
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            words = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in words:
                found.add(f"{child.pid}: {words[:120]}")
        except psutil.NoSuchProcess:
            continue
    return found


def _folders() -> set[str]:
    """Runtime folders of this process, and of dead ones where nobody else runs tests on the machine."""
    alone = "CI" in os.environ and "PYTEST_XDIST_WORKER" not in os.environ
    found = set()
    for folder in runtime_directory().glob("*-*"):
        pid = folder.name.split("-")[0]
        if pid == str(os.getpid()) or (alone and not Path(f"/proc/{pid}").exists()):
            found.add(folder.name)
    return found
