"""What stands in for each kind of arm: the settings that reach it, how time passes there, how it is unplugged.

The makers' own packages run against these; nothing of theirs is replaced.
"""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hardware.servo_calibration import GripperServo, JointServo, ServoCalibration
from tests.conformance.benches import Bench, simulated
from tests.emulators.servos import ServoEmulator

ROOT = Path(__file__).parents[2]
SO101 = ServoCalibration(
    tuple(
        JointServo(name, i + 1, 2048, 1, 2048 - span, 2048 + span)
        for i, (name, span) in enumerate(
            (("pan", 1200), ("lift", 1100), ("elbow", 1050), ("flex", 1000), ("roll", 1800))
        )
    ),
    GripperServo(6, 2000, 3300),
)


def real_time(settings: dict[str, object], unplug: Callable[[], None]) -> Bench:
    """A bench whose world goes on by itself."""
    return Bench(settings, time.sleep, unplug, time.monotonic_ns)


@contextmanager
def so101(folder: Path) -> Iterator[Bench]:
    """Six servos on a pseudo terminal."""
    SO101.save(folder / "so101.json")
    emulator = ServoEmulator("feetech", {1: 2100, 2: 1500, 3: 2700, 4: 2300, 5: 2048, 6: 2600}, 3000.0)
    try:
        yield real_time(
            {"port": emulator.port, "calibration": str(folder / "so101.json"), "home_rad": (0.1, -0.8, 1.1, 0.4, 0.1)},
            emulator.close,
        )
    finally:
        emulator.close()


@contextmanager
def piper(folder: Path) -> Iterator[Bench]:
    """The virtual bus of python-can."""
    from tests.emulators.can_piper import PiperEmulator

    emulator = PiperEmulator(f"piper-{uuid.uuid4().hex[:6]}")
    try:
        yield real_time(
            {"channel": emulator.channel, "bus": "virtual", "home_rad": (0.1, 1.0, -1.0, 0.1, 0.6, 0.0)}, emulator.close
        )
    finally:
        emulator.close()


@contextmanager
def xarm(folder: Path) -> Iterator[Bench]:
    """A control box on port 502."""
    from tests.emulators.xarm_box import PORT, XArmBox

    if not can_bind(PORT):
        pytest.skip(f"port {PORT} of the xArm cannot be opened here")
    box = XArmBox()
    try:
        yield real_time({"address": "127.0.0.1", "home_rad": (0.1, -0.4, -0.9, 0.0, 1.3, 0.0)}, box.close)
    finally:
        box.close()


@contextmanager
def ur(folder: Path) -> Iterator[Bench]:
    """A controller in a process of its own."""
    for port in (29999, 30001, 30002, 30003, 30004):
        if not can_bind(port):
            pytest.skip(f"port {port} of the UR controller cannot be opened here")
    with process([sys.executable, "-m", "tests.emulators.ur"], "ready") as child:
        yield real_time({"address": "127.0.0.1", "home_rad": (0.2, -1.3, 1.4, -1.5, -1.5, 0.1)}, lambda: end(child))


@contextmanager
def trossen(folder: Path) -> Iterator[Bench]:
    """The maker's simulated controller in a process of its own; the gripper needs its time to open."""
    if importlib.util.find_spec("trossen_arm_sim") is None:
        pytest.skip("trossen-arm-sim is not installed")
    for port in (50000, 50001):
        if not can_bind(port):
            pytest.skip(f"port {port} of the WidowX controller cannot be opened here")
    command = [sys.executable, "-m", "trossen_arm_sim", "--host", "127.0.0.1", "--ws-port", str(free_port())]
    with process(command, "Listening") as child:
        yield real_time({"address": "127.0.0.1", "home_rad": (0.1, 0.3, 0.2, 0.1, 0.0, 0.0)}, lambda: end(child))


BENCHES = {
    "simulated": lambda folder: simulated(),
    "so101": so101,
    "piper": piper,
    "xarm": xarm,
    "ur": ur,
    "trossen": trossen,
}


@contextmanager
def process(command: list[str], ready: str) -> Iterator[subprocess.Popen[str]]:
    """A child that has said ``ready`` on either of its outputs."""
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # some have children of their own
    )
    try:
        stop = time.monotonic() + 30
        said = ""
        while ready not in said:
            if time.monotonic() > stop or child.poll() is not None:
                raise RuntimeError(f"{command} did not start: {said}")
            if select.select([child.stdout], [], [], 0.2)[0]:
                said = child.stdout.readline()
        yield child
    finally:
        end(child)


def end(child: subprocess.Popen[str]) -> None:
    """Kill it and its children, and reap; twice too."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(10)
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
