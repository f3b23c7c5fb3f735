"""Calibration from the first picture to the manifest: the simulated arm moves itself, guarded, in lockstep."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.calibration import difference
from hardware.charuco import Board
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.stance import arm_kinematics
from tests.hardware.limit_check import broken
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.types import Pose
from workbench.services.calibrate import Calibration
from workbench.services.calibration_rig import calibrate_simulated, simulated_rig
from workbench.services.calibration_shelf import Shelf

ROOT = Path(__file__).parents[2]
OPTICS = {"width": 640, "height": 480, "fx": 600.0, "fy": 600.0, "cx": 319.5, "cy": 239.5}


@pytest.mark.parametrize("camera", ["front", pytest.param("wrist", marks=pytest.mark.slow)])
def test_the_simulated_station_calibrates_itself(camera, tmp_path):
    """8 pictures: within 3 mm and 0.3 degrees of the truth, which the calibration never sees."""
    calibration, errors = calibrate_simulated(camera, 8, 0, lambda done, total: None)
    assert errors["error_mm"] <= 3.0 and errors["error_deg"] <= 0.3
    saved = calibration.save(tmp_path)
    assert saved["mount"] == ("base" if camera == "front" else "tool") and saved["residual_px"] < 0.5
    again = Shelf(tmp_path).load(f"sim-{camera}")
    assert difference(np.array(again["pose"]), calibration.solution.pose)[0] < 1e-6
    device = Shelf(tmp_path).apply({"serial": f"sim-{camera}", "pose": None})
    assert (device["pose"] is not None) == (camera == "front")
    assert device["calibration"]["views"] >= 6 and "history" not in device["calibration"]
    with pytest.raises(StateError):
        calibration.take(np.zeros((48, 64, 3), np.uint8), Pose(np.zeros(3), np.array([1.0, 0, 0, 0])))


@pytest.mark.slow
@pytest.mark.parametrize("camera", ["front", "wrist"])
@pytest.mark.parametrize("seed", range(4))
def test_every_seed_is_accurate(camera, seed):
    _, errors = calibrate_simulated(camera, 16, seed, lambda done, total: None)
    assert errors["error_mm"] <= 3.0 and errors["error_deg"] <= 0.3


def test_the_way_to_the_poses_stays_inside_tight_limits():
    tight = replace(DEFAULT_LIMITS, workspace_min_m=(0.30, -0.2, 0.15), tool_speed_m_s=0.2)
    with simulated_rig("wrist", Board(), tight) as rig:
        assert rig.go(np.array([0.45, 0.05, 0.25]), np.array([0.0, 1.0, 0.0, 0.0]))
        assert not rig.go(np.array([0.45, 0.0, 0.05]), np.array([0.0, 1.0, 0.0, 0.0])), "it went below the box"
        assert not rig.go(np.array([2.0, 0.0, 0.3]), np.array([0.0, 1.0, 0.0, 0.0])), "it went out of reach"
        sent = rig.sent()
    tools = arm_kinematics().path(sent, False)[0]
    assert broken(sent, tight, 1 / 50, tools, None, 5e-4) == {}


def test_a_picture_without_the_board_gives_advice_and_no_view():
    calibration = Calibration("front", "simulated", "1", OPTICS, "base", Board())
    taken = calibration.take(np.zeros((480, 640, 3), np.uint8), Pose(np.zeros(3), np.array([1.0, 0, 0, 0])))
    assert not taken.accepted and taken.views == 0 and "top left" in taken.advice
    with pytest.raises(WorkbenchError, match="too few"):
        calibration.solve()
    with pytest.raises(StateError):
        calibration.save(Path("/nowhere"))


def values(serial, x):
    return {"serial": serial, "mount": "base", "pose": np.diag([1.0, 1, 1, 1]).tolist(), "x": x,
            "taken_at": "2024-01-01T00:00:00+00:00"}  # fmt: skip


def test_the_shelf_keeps_history_and_any_serial(tmp_path):
    shelf = Shelf(tmp_path)
    for x in range(3):
        shelf.save(values("local:1/../front", x))
    found = shelf.load("local:1/../front")
    assert found["x"] == 2 and [old["x"] for old in found["history"]] == [1, 0]
    assert shelf.path("local:1/../front").parent == tmp_path / "calibration"
    assert shelf.age_days("local:1/../front") > 300 and shelf.age_days("other") is None
    assert shelf.apply({"serial": "other", "pose": None}) == {"serial": "other", "pose": None}


def test_a_damaged_calibration_is_said_not_used(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.save(values("a", 0))
    shelf.path("a").write_text('{"pose": [[1, 2]]}')
    with pytest.raises(WorkbenchError, match="damaged"):
        shelf.load("a")


@pytest.mark.slow
def test_the_verb_calibrates_unattended(tmp_path):
    done = subprocess.run(
        [sys.executable, "main.py", "calibrate", "--camera", "front", "--simulated-board", "--views", "8",
         "--home", str(tmp_path), "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["error_mm"] <= 3.0 and Path(result["file"]).exists()
