"""When an attempt is over; what ends it at once and what leaves a person time; parking is not a way out of a stop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.services.test_driver import Bench, Push, go_aside
from workbench.core.companion import Companion
from workbench.core.errors import StateError
from workbench.services.driver import HEARTBEAT_S
from workbench.services.driver_status import DriverStatus
from workbench.services.ending import DONE, FAULT_S, Ending


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def look(ending: Ending, now_s: float, state: str = "holding", reason: str = "", fault: str = "", success=False) -> str:
    return ending.look(DriverStatus(state, reason, fault=fault), success, now_s)


def test_a_hold_by_a_person_ends_nothing_however_long() -> None:
    ending = Ending()
    assert [look(ending, t, reason="the operator asked for it") for t in (0.0, 10.0, 1000.0)] == ["", "", ""]


def test_a_fault_ends_it_unless_somebody_takes_over_in_time() -> None:
    ending = Ending()
    assert look(ending, 5.0, fault="a camera's picture is too old") == ""
    assert look(ending, 5.0 + FAULT_S / 2, state="correcting") == "", "somebody has taken over"
    assert look(ending, 6.0 + FAULT_S, fault="a camera's picture is too old") == "", "a new fault has its own time"
    assert look(ending, 6.1 + 2 * FAULT_S, fault="a camera's picture is too old") == "a camera's picture is too old"
    assert ending.faulted


def test_success_park_and_stop_end_it_at_once() -> None:
    assert look(Ending(), 0.0, success=True) == DONE
    for state, fault, faulted in (("parked", "", False), ("stopped", "", False), ("stopped", "no answer", True)):
        ending = Ending()
        assert look(ending, 0.0, state=state, reason="why", fault=fault) == "why" and ending.faulted is faulted


def test_only_what_the_program_does_by_itself_is_a_fault(bench: Bench) -> None:
    driver = bench.driver
    driver.ready()
    driver.drive(lambda: bench.chunk())
    bench.run(0.1)
    driver.hold("the operator asked for it")
    assert driver.status().fault == ""
    driver.drive(lambda: bench.chunk())
    driver.fail("the policy process has ended")
    status = driver.status()
    assert status.state == "holding" and status.fault == status.reason == "the policy process has ended"
    driver.fail("and the capture process too")
    assert driver.status().fault == "the policy process has ended"
    driver.operate(Push())
    assert driver.status().fault == ""
    driver.fail("the policy process has ended")
    assert driver.state == "correcting", "an operator does not need the policy"
    driver.beat()
    bench.run(HEARTBEAT_S + 0.1)
    assert driver.state == "holding" and "window" in driver.status().fault


def test_a_stop_by_a_person_is_no_fault_and_one_by_the_program_is(bench: Bench) -> None:
    bench.driver.stop("the operator pressed stop", latched=True, by_person=True)
    assert bench.driver.status().fault == ""
    bench.driver.clear_stop("Ada")
    bench.driver.stop("the arm is not answering")
    assert bench.driver.status().fault == "the arm is not answering"


def test_parking_does_not_leave_a_stop(bench: Bench) -> None:
    go_aside(bench)
    bench.driver.stop("the operator pressed stop", latched=True, by_person=True)
    before = bench.arm.read().joints_rad.copy()
    with pytest.raises(StateError, match="stopped"):
        bench.driver.park()
    bench.run(1.0)
    assert bench.driver.state == "stopped" and np.abs(bench.arm.read().joints_rad - before).max() < 0.01


def test_the_way_home_can_be_held_and_gone_on(bench: Bench) -> None:
    go_aside(bench)
    bench.driver.park()
    bench.run(0.15)
    assert bench.driver.status().homing
    bench.driver.hold("the operator asked for it")
    bench.run(0.5)
    here = bench.arm.read().joints_rad.copy()
    bench.run(0.5)
    status = bench.driver.status()
    assert not status.homing and not status.at_home and "way home" in status.reason
    assert np.abs(bench.arm.read().joints_rad - here).max() < 1e-3, "it goes on by itself"
    bench.driver.park()
    bench.run(4.0)
    assert bench.driver.status().at_home, "parking a parked arm that is not home takes it there"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no process handles")
def test_a_companion_is_known_to_have_ended_before_anybody_reaps_it() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    companion = Companion(other.pid)
    try:
        assert not companion.ended
        other.kill()
        end = time.monotonic() + 5
        while not companion.ended and time.monotonic() < end:
            time.sleep(0.001)
        assert companion.ended
    finally:
        other.wait()
        other.stdin.close()
        companion.close()
        companion.close()
    assert Companion(other.pid).ended, "one that ended before it was looked for"
