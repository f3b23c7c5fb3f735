"""The headset's page itself: its script parses, and in a real browser fingers and an imitated headset move the arm."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import hardware.headset
from hardware.teleop import TELEOPS, words_of
from tests.emulators.browser import PROGRAM, Browser
from tests.hardware.planar import START_RAD, state

PAGE = Path(hardware.headset.__file__).with_name("page")
STATE = state(START_RAD, 0, gripper=0.9)
PERIOD_S = 0.01

# A headset with one right controller, as the WebXR device API shows it; the test turns its knobs.
HEADSET = """
window.knobs = {at: [0, 1.5, 0], squeeze: false, trigger: 0, button: false, emulated: false};
const button = (pressed, value) => ({pressed, value});
const pose = () => ({emulatedPosition: knobs.emulated, transform: {
  position: {x: knobs.at[0], y: knobs.at[1], z: knobs.at[2]}, orientation: {x: 0, y: 0, z: 0, w: 1}}});
class Session extends EventTarget {
  visibilityState = 'visible';
  get inputSources() { return [{handedness: 'right', targetRaySpace: {}, gamepad: {buttons: [
    button(knobs.trigger > 0.5, knobs.trigger), button(knobs.squeeze, 0), button(false, 0), button(false, 0),
    button(knobs.button, 0), button(false, 0)]}}]; }
  async requestReferenceSpace() { return {}; }
  updateRenderState() {}
  requestAnimationFrame(call) { setTimeout(() => call(performance.now(), {getPose: pose, getViewerPose: pose}), 11); }
  async end() { this.dispatchEvent(new Event('end')); }
}
Object.defineProperty(navigator, 'xr', {value: {
  isSessionSupported: async (mode) => mode === 'immersive-vr', requestSession: async () => new Session()}});
window.XRWebGLLayer = class {};
"""


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_script_parses():
    done = subprocess.run(["node", "--check", PAGE / "hand.js"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_asks_for_nothing_from_elsewhere():
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "http://" not in text and "https://" not in text and "//cdn" not in text, path.name


def follow(device, seconds, wanted=lambda action: False, until=None):
    """Read at the tick's pace; the sum of moves, the last action."""
    moved, action, end = np.zeros(3), None, time.monotonic() + seconds
    while time.monotonic() < end:
        action = device.read(STATE, 0, PERIOD_S)
        moved += action.linear_m if action is not None else 0.0
        if wanted(action) or (until is not None and until()):
            break
        time.sleep(PERIOD_S)
    return moved, action


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM, reason="no Chromium is installed")
def test_fingers_and_an_imitated_headset_move_the_arm(tmp_path):
    device = TELEOPS.build("webxr", port=0, certificate_folder=str(tmp_path / "certificate"), speed_m_s=0.5)
    device.open()
    browser = Browser(tmp_path / "browser")
    try:
        browser.go(words_of(device).split()[1], HEADSET)
        follow(device, 20, until=lambda: device.words == "hold to move")
        assert device.words == "hold to move", browser.run("document.body.innerText")
        assert browser.run("document.getElementById('latency').textContent").endswith("ms")

        x, y = browser.middle_of("pad-plane")
        browser.touch("touchStart", (x, y))
        browser.touch("touchMove", (x, y - 300))
        _, action = follow(device, 5, lambda action: action is not None and action.linear_m[0] > 0)
        assert np.allclose(action.linear_m, [0.5 * PERIOD_S, 0, 0], atol=1e-6)
        browser.touch("touchEnd")
        assert follow(device, 2, lambda action: action is None)[1] is None

        browser.run("document.getElementById('success').click()")
        follow(device, 0.3)
        assert device.take_marks() == ("success",)

        browser.run("document.getElementById('mode-xr').click()")
        follow(device, 0.5)
        browser.run("knobs.squeeze = true")
        follow(device, 5, lambda action: action is not None)
        browser.run("knobs.at = [0, 1.6, -0.05]; knobs.trigger = 1")
        moved, action = follow(device, 1.5)
        assert np.allclose(moved, [0.05, 0, 0.1], atol=5e-3) and action.gripper == 0.0
        browser.run("knobs.emulated = true")
        assert follow(device, 2, lambda action: action is None)[1] is None, "tracking was lost"
        browser.run("knobs.emulated = false; knobs.squeeze = false; knobs.button = true")
        follow(device, 0.5)
        assert device.take_marks() == ("success",)
        browser.run("knobs.squeeze = true")
        follow(device, 5, lambda action: action is not None)
        browser.ask("Page.navigate", url="about:blank")
        assert follow(device, 2, lambda action: action is None)[1] is None, "the page was left"
    finally:
        browser.close()
        device.close()
