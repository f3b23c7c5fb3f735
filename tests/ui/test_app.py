"""The program as a user starts and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ui.app import check_display
from workbench.core.errors import WorkbenchError

ROOT = Path(__file__).parents[2]
_RUN = "import sys; from pathlib import Path; from ui.app import run; sys.exit(run(Path(sys.argv[1]), threads={}))"


def test_no_screen_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WorkbenchError, match="no screen"):
        check_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    with pytest.raises(WorkbenchError, match="no screen"):
        check_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    check_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.setenv("DISPLAY", ":0")
    check_display()


@pytest.mark.parametrize("threads", [pytest.param(True, marks=pytest.mark.slow), False], ids=["threads", "processes"])
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_closes_everything(tmp_path: Path, number: signal.Signals, threads: bool) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "MUJOCO_GL": "egl"}
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN.format(threads), str(tmp_path)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until_started(process, tmp_path)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, said = process.communicate(timeout=40)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive, f"left running: {alive}"


def _wait_until_started(process: subprocess.Popen[str], home: Path) -> None:
    """The catalogue exists and a moment has passed: the station is starting or has started."""
    deadline = time.monotonic() + 60
    while not list(home.glob("catalog.db")) and time.monotonic() < deadline:
        assert process.poll() is None, "the window ended by itself"
        time.sleep(0.1)
    time.sleep(3)
