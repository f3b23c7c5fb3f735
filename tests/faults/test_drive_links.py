"""What is between the arm and those who watch it fails while a policy drives: a slow link, a killed window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.stance import arm_kinematics
from storage.doctor import examine
from storage.layout import Home
from tests.faults.drive_rig import ROUNDING, Proof, Rig, until
from tests.faults.test_processes import running, words
from tests.hardware.limit_check import broken
from workbench.core.ring import Ring
from workbench.services.capture import GONE, ring_path
from workbench.services.settings import Settings
from workbench.services.station import Station

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
DELAY_S = 0.2


class FarStation(Station):
    """The arm process reaches the simulated world through a process that can be made slow."""

    def _start_simulation(self, settings: Settings) -> Settings:
        settings = super()._start_simulation(settings)
        far = self._folder / "far"
        self._start_child("link", "tests.faults.slow_link:main", world=str(self._folder / "world"), far=str(far))
        self._child("link").call("delay", seconds=0.0, timeout_s=30)
        arm = settings.arm.model_copy(update={"options": {"address": str(far)}})
        return settings.model_copy(update={"arm": arm})


def test_an_arm_link_delayed_by_200_ms_holds(tmp_path: Path) -> None:
    """Noticed by the age of the measured state in the first tick in which it is over its limit."""
    rig = Rig(tmp_path, FarStation, DEFAULT_LIMITS.state_age_s)
    try:
        rig.load()
        rig.drive()
        delayed_ns = rig.station._child("link").call("delay", seconds=DELAY_S)
        until(lambda: rig.state().state == "holding", 5, "it drives on over a slow link")
        assert "too old" in rig.state().fault
        proof = Proof(tmp_path, rig.take())
        assert (
            proof.driven_after(delayed_ns + round(DELAY_S * 1e9)) <= 2 + 1
        )  # one tick until the first state comes late
        assert "too old" in proof.ended_by
        proof.judge()
        rig.station._child("link").call("delay", seconds=0.0)
        time.sleep(0.5)
        assert rig.state().state == "holding", "it went on by itself"
        rig.drive()
        rig.station.end_drive("it can be driven again")
        Proof(tmp_path, rig.take()).judge()
    finally:
        rig.close()


WINDOW = """
import json, sys, time
from pathlib import Path
from tests.faults.drive_rig import Rig
if __name__ == "__main__":
    rig = Rig(Path(sys.argv[1]))
    rig.load()
    rig.drive()
    print(json.dumps({"folder": str(rig.station._folder)}), flush=True)
    time.sleep(60)
"""


def test_a_window_killed_under_a_policy_leaves_a_held_arm_and_a_sealed_take(tmp_path: Path) -> None:
    (tmp_path / "window.py").write_text(WINDOW)
    home = tmp_path / "home"
    window = subprocess.Popen(
        [sys.executable, str(tmp_path / "window.py"), str(home)],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    try:
        folder = Path(json.loads(window.stdout.readline())["folder"])
        children = [
            p for p in psutil.Process(window.pid).children(recursive=True) if "resource_tracker" not in words(p)
        ]
        rings = {name: Ring.attach(ring_path(folder, name)) for name in ("authority", "action")}
    finally:
        window.kill()
        window.wait()  # the system needs some time to end a large process; until then nobody can know
        ended_ns = time.monotonic_ns()
        window.stdout.close()
    until(lambda: not running(children), 20, "a process was left")
    kept = {name: [ring.read(i) for i in range(max(0, ring.written - ring.slots + 1), ring.written)]
            for name, ring in rings.items()}  # fmt: skip
    for ring in rings.values():
        ring.close()
    driven = [f for f in kept["authority"] if f and f.t_host_ns > ended_ns and f.data[0] == 2.0]
    assert len(driven) <= 2
    joints = np.array([f.data[:6] for f in kept["action"] if f], float)
    assert broken(joints, DEFAULT_LIMITS, 0.01, arm_kinematics().path(joints, False)[0], None, ROUNDING) == {}
    assert np.abs(joints[-1] - joints[-2]).max() < 1e-6, "it was let go while still moving"
    examine(Home.open(home), fix=True)
    proof = Proof(home, next(iter((home / "episodes").glob("*.zarr"))).name.partition(".")[0])
    assert proof.ended_by == GONE
    proof.judge()
