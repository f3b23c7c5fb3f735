"""The example of docs/arms.md: taken from the page, registered, and put through the suite that every arm passes."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from hardware.arm import ARMS
from tests.conformance import test_arms as suite
from tests.conformance.benches import check_config
from tests.emulators.arms import real_time

PAGE = Path(__file__).parents[2] / "docs" / "arms.md"


@pytest.fixture(scope="module")
def plugin():
    (text,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    kinds = ARMS.all()  # before the example registers itself
    module = types.ModuleType("lag_arm")
    sys.modules["lag_arm"] = module
    exec(compile(text, str(PAGE), "exec"), module.__dict__)
    try:
        assert set(ARMS.all()) == {*kinds, "lag"}
        yield ARMS.get("lag")
    finally:
        del ARMS._plugins["lag"], sys.modules["lag_arm"]


@pytest.fixture
def arm(plugin):
    arm = plugin.build(plugin.config())
    arm.connect()
    yield arm
    arm.close()


@pytest.fixture
def bench():
    return "lag", real_time({}, lambda: None)


def test_it_passes_the_suite_of_every_arm(plugin, bench, arm):
    check_config(plugin)
    suite.test_connecting_does_not_move_the_arm(bench, arm)
    suite.test_state_is_complete_and_finite(arm)
    suite.test_kinematics_agree_with_the_measured_pose_and_invert(arm)
    suite.test_a_command_is_followed_and_its_expiry_kept(bench, arm)
    suite.test_a_slow_sine_is_followed_closely(bench, arm)
    suite.test_hold_stops_a_moving_arm(bench, arm)
    suite.test_parking_is_for_an_arm_at_home(bench, arm)


def test_its_suggestion_contains_its_home(plugin):
    suite.test_suggested_limits_fit_the_arm_and_are_not_in_force(plugin.kind)


def test_every_kind_has_its_line_on_the_page():
    page = PAGE.read_text()
    for kind in suite.KINDS:
        assert f"| `{kind}` |" in page, kind
