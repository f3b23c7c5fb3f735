"""The Franka arm with the maker's real package against a simulated robot in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from hardware.arms import franka
from tests.emulators.arms import can_bind, end, process
from workbench.core.errors import DeviceError
from workbench.core.types import ArmCommand

PORT = 1337


def test_the_filter_keeps_speed_acceleration_and_jerk_bounded():
    rng = np.random.default_rng(0)
    smooth = franka.Smooth(np.zeros(7))
    path = [smooth.position.copy()]
    target = np.zeros(7)
    for i in range(4000):
        if i % 400 == 0 and i < 2400:
            target = rng.uniform(-0.3, 0.3, 7)
        path.append(smooth.step(target, 0.001).copy())
    speed = np.diff(path, axis=0) / 0.001
    acceleration = np.diff(speed, axis=0) / 0.001
    jerk = np.diff(acceleration, axis=0) / 0.001
    assert np.max(np.abs(acceleration)) <= 5.0 + 1e-6 and np.max(np.abs(jerk)) <= 2500.0 + 1e-3
    assert path[-1] == pytest.approx(target, abs=2e-3) and smooth.still


def test_without_an_address_it_says_so():
    pytest.importorskip("pylibfranka", reason="pylibfranka is not installed")
    with pytest.raises(DeviceError, match="address"):
        franka.build(franka.Config()).connect()


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """A simulated robot listening on the robot's own port."""
    pytest.importorskip("pylibfranka", reason="pylibfranka is not installed")
    if not can_bind(PORT):
        pytest.skip(f"port {PORT} of the Franka robot cannot be opened here")
    folder = tmp_path_factory.mktemp("franka")
    pip = [sys.executable, "-m", "venv", str(folder / "venv")]
    install = [str(folder / "venv/bin/pip"), "install", "-q", "franka-sim"]
    for command in (pip, install):
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        if done.returncode:
            pytest.skip(f"franka-sim cannot be installed here: {done.stderr[-200:]}")
    (folder / "fr3.xml").write_text(skeleton())
    command = [str(folder / "venv/bin/run-franka-sim-server"), "--physics", "mujoco"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "FR3_MJCF", str(folder / "fr3.xml"))
        with process(command, "Server ready") as child:
            yield child


def skeleton():
    """Our own chain with the names, bodies and inertia that the simulator wants."""
    text = franka.CHAIN.to_mjcf().replace("joint_", "fr3_joint").replace('name="link_', 'name="fr3_link')
    text = text.replace('limited="true"', 'limited="true" armature="2" damping="1"').replace('mass="1"', 'mass="0.5"')
    return text.replace("<worldbody>", '<worldbody><body name="fr3_link0">').replace(
        "</worldbody>", "</body></worldbody>"
    )


@pytest.mark.slow
def test_the_real_package_moves_a_simulated_robot(robot):
    arm = franka.build(franka.Config(address="127.0.0.1"))
    arm.connect()
    try:
        start = arm.read().joints_rad
        time.sleep(0.3)
        assert arm.read().joints_rad == pytest.approx(start, abs=2e-3), "connecting does not move it"
        errors, begin = [], time.monotonic()
        while (passed := time.monotonic() - begin) < 2.5:
            wanted = start + 0.05 * (1 - np.cos(2 * passed))
            arm.send(ArmCommand(wanted, 0.5, time.monotonic_ns() + 10**8))
            time.sleep(0.01)
            errors.append(np.max(np.abs(arm.read().joints_rad - wanted)))
        assert np.max(errors) < 0.05 and arm.read().mode == "move"
        target = start + 0.05
        for _ in range(100):
            arm.send(ArmCommand(target, 0.2, time.monotonic_ns() + 10**8))
            time.sleep(0.01)
        assert arm.read().joints_rad == pytest.approx(target, abs=5e-3)
        arm.hold()
        time.sleep(0.5)
        assert np.max(np.abs(arm.read().velocities_rad_s)) < 0.01
        solver = arm.kinematics()
        assert solver.pose(arm.read().joints_rad)[0] == pytest.approx(arm.read().pose.position_m, abs=1e-3)
        end(robot)
        stop = time.monotonic() + 0.5
        with pytest.raises(DeviceError):
            while time.monotonic() < stop:
                arm.read()
                time.sleep(0.005)
        arm.hold()
    finally:
        begin = time.monotonic()
        arm.close()
        arm.close()
        assert time.monotonic() - begin < 3.0
