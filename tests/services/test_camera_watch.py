"""Reference pictures on disk, and cameras at the wrist that can only be compared where the arm stood."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core.errors import WorkbenchError
from workbench.services.camera_watch import CameraWatch, check_pictures


def grain(seed=0, shift=0):
    rng = np.random.default_rng(seed)
    blotches = np.kron(rng.integers(40, 215, (64, 84)), np.ones((4, 4)))[:240, : 320 + 8]
    return np.repeat(np.roll(blotches, shift, axis=1)[:, 4:324, None], 3, axis=2).astype(np.uint8)


def test_the_first_look_is_remembered_and_the_next_compared(tmp_path):
    watch = CameraWatch(tmp_path)
    assert watch.look("front", grain()).new
    assert np.array_equal(watch.reference("front"), grain())
    assert CameraWatch(tmp_path).look("front", grain()).to_json()["verdict"] == "ok"
    found = watch.look("front", grain(shift=3)).to_json()
    assert found["verdict"] == "moved" and found["shift_px"][0] == pytest.approx(3.0, abs=0.2)
    watch.remember("front", grain(shift=3))
    assert watch.look("front", grain(shift=3)).to_json()["verdict"] == "ok"
    assert watch.ghost("front").shape == (240, 320) and watch.ghost("other") is None


def test_a_camera_at_the_wrist_needs_the_arm_where_it_was(tmp_path):
    joints = np.zeros(6)
    names = frozenset({"wrist"})
    assert check_pictures(tmp_path, {"wrist": grain()}, joints, names)[0].new
    assert check_pictures(tmp_path, {"wrist": grain()}, joints + 0.01, names)[0].to_json()["verdict"] == "ok"
    away = check_pictures(tmp_path, {"wrist": grain(shift=5)}, joints + 0.2, names)[0]
    assert away.to_json()["verdict"] == "cannot tell" and "park" in away.comparison.reason


def test_a_damaged_reference_is_said(tmp_path):
    watch = CameraWatch(tmp_path)
    watch.remember("front", grain())
    next((tmp_path / "calibration").glob("*.png")).write_bytes(b"no picture")
    with pytest.raises(WorkbenchError, match="damaged"):
        watch.look("front", grain())
