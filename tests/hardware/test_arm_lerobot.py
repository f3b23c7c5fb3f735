"""The LeRobot bridge against a small class of the shape that LeRobot documents: no driver of theirs runs here."""

from __future__ import annotations

import sys
import time
import types

import numpy as np
import pytest

from hardware.arms import lerobot, so101
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.types import ArmCommand

NAMES = tuple(f"joint_{i + 1}" for i in range(5))


class TinyConfig:
    def __init__(self, port="", calibrated=True):
        self.port, self.calibrated = port, calibrated


class TinyRobot:
    """Degrees and per cent, as LeRobot's arms count; goes where it is sent at once."""

    last = None

    def __init__(self, config):
        self.config, self.is_connected, self.gone = config, False, False
        self.values = dict.fromkeys([f"{name}.pos" for name in NAMES], 10.0) | {"gripper.pos": 40.0}
        TinyRobot.last = self

    @property
    def action_features(self):
        return dict.fromkeys(self.values, float)

    observation_features = action_features

    @property
    def is_calibrated(self):
        return self.config.calibrated

    def connect(self, calibrate=True):
        assert calibrate is False, "a person must be asked before an arm calibrates itself"
        self.is_connected = True

    def get_observation(self):
        if self.gone:
            raise ConnectionError("no status packet")
        return dict(self.values)

    def send_action(self, action):
        self.values.update(action)
        return action

    def disconnect(self):
        self.is_connected = False


@pytest.fixture
def settings(tmp_path, monkeypatch):
    module = types.ModuleType("tiny_robots")
    module.TinyRobot, module.TinyConfig = TinyRobot, TinyConfig
    monkeypatch.setitem(sys.modules, "tiny_robots", module)
    (tmp_path / "arm.xml").write_text(so101.CHAIN.to_mjcf())
    model = str(tmp_path / "arm.xml")
    return {
        "module": "tiny_robots", "robot": "TinyRobot", "config": "TinyConfig", "options": '{"port": "x"}',
        "joints": NAMES, "model": model, "tool": "tool",
    }  # fmt: skip


def test_units_gripper_and_the_model_from_a_file(settings):
    arm = lerobot.build(lerobot.Config(**settings))
    arm.connect()
    try:
        state = arm.read()
        assert state.joints_rad == pytest.approx(np.deg2rad([10.0] * 5)) and state.gripper == pytest.approx(0.4)
        assert state.pose.position_m == pytest.approx(so101.CHAIN.matrix(state.joints_rad)[:3, 3], abs=1e-6)
        arm.send(ArmCommand(np.full(5, 0.3), 1.0, time.monotonic_ns() + 10**8))
        time.sleep(0.06)
        assert TinyRobot.last.values["joint_1.pos"] == pytest.approx(np.rad2deg(0.3))
        assert TinyRobot.last.values["gripper.pos"] == pytest.approx(100.0)
        TinyRobot.last.gone = True
        time.sleep(0.06)
        with pytest.raises(DeviceError, match="no status packet"):
            arm.read()
    finally:
        arm.close()
    assert not TinyRobot.last.is_connected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module": "no_such_module"}, "cannot be made"),
        ({"options": '{"nonsense": 1}'}, "cannot be made"),
        ({"options": '{"calibrated": false}'}, "not calibrated"),
        ({"unit": "furlongs"}, "unit"),
        ({"tool": "nowhere"}, "does not describe"),
        ({"joints": ()}, "not described"),
    ],
)
def test_wrong_settings_are_said(settings, change, words):
    with pytest.raises(WorkbenchError, match=words):
        lerobot.build(lerobot.Config(**{**settings, **change})).connect()
