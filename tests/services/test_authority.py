"""Who commands the arm: a hand takes over from a policy, lets go, and the policy goes on only when it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.sim.limits import DEFAULT_LIMITS
from tests.services.test_driver import HZ, Bench
from workbench.core.errors import DeviceError, StateError
from workbench.core.events import DriverChanged
from workbench.core.states import DRIVER, DriverState
from workbench.core.types import ActionChunk, ArmState, Authority, TeleopAction
from workbench.services.driver_watch import LET_GO_S


class Hand:
    """A device with a dead-man; pushes along y while it is held."""

    def __init__(self) -> None:
        self.held = False

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction:
        return TeleopAction(np.array([0.0, 0.1 * period_s, 0.0]), np.zeros(3), 1.0, engaged=self.held)


class Rig(Bench):
    """The bench with a policy that always has a new plan, and a hand beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hand = Hand()
        self.plans: list[ActionChunk] = []
        self.driver.ready()
        self.driver.watch(self.hand)

    def plan(self) -> ActionChunk:
        if not self.plans or self.clock.now_ns() - self.plans[-1].t_observed_ns > 2e8:
            self.plans.append(self.chunk(0.02))
        return self.plans[-1]

    def go(self) -> None:
        self.driver.drive(self.plan)

    def codes(self) -> list[float]:
        ring = self.rings["authority"]
        frames = [ring.read(i) for i in range(max(0, ring.written - 60), ring.written)]
        return [float(frame.data[0]) for frame in frames if frame is not None]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_squeezing_takes_over_and_letting_go_holds_until_somebody_resumes(rig: Rig) -> None:
    rig.go()
    rig.run(0.4)
    assert rig.driver.status().authority == Authority.POLICY
    before = rig.arm.read().pose.position_m.copy()
    rig.hand.held = True
    rig.run(2 / HZ)
    assert rig.driver.state == "correcting" and rig.driver.status().authority == Authority.OPERATOR
    rig.run(0.6)
    assert rig.arm.read().pose.position_m[1] - before[1] > 0.03
    rig.hand.held = False
    rig.run(LET_GO_S - 0.1)
    assert rig.driver.state == "correcting", "opening the hand for a moment is part of correcting"
    rig.run(0.3)
    assert rig.driver.state == "holding" and "let go" in rig.driver.status().reason
    rest = rig.arm.read().pose.position_m.copy()
    rig.run(1.0)
    assert rig.driver.state == "holding", "the policy never resumes by itself"
    assert np.linalg.norm(rig.arm.read().pose.position_m - rest) < 0.004
    assert {Authority.POLICY.code, Authority.OPERATOR.code, Authority.NOBODY.code} >= set(rig.codes())


def test_the_hand_may_come_back_while_the_arm_holds(rig: Rig) -> None:
    rig.go()
    rig.run(0.2)
    rig.driver.hold("look")
    rig.run(0.2)
    rig.hand.held = True
    rig.run(0.1)
    assert rig.driver.state == "correcting"


def test_plans_from_before_a_correction_are_refused_and_the_way_back_is_soft(rig: Rig) -> None:
    rig.go()
    rig.run(0.4)
    old = rig.plans[-1]
    rig.hand.held = True
    rig.run(0.8)
    rig.hand.held = False
    rig.run(1.0)
    epoch = rig.driver.status().playing["epoch"]
    rig.driver.drive(lambda: old)
    rig.run(0.3)
    status = rig.driver.status()
    assert status.playing["answers"]["old"] == 1 and status.playing["epoch"] > epoch
    place = rig.arm.read().joints_rad.copy()
    rig.driver.hold("again")
    rig.run(0.2)
    far = replace(rig.chunk(0.0), targets=rig.chunk(0.0).targets + np.r_[0.06, np.zeros(7)])
    rig.driver.drive(lambda: replace(far, t_observed_ns=rig.clock.now_ns()) if not rig.plans[1:] else far)
    speeds, last = [], place
    for _ in range(round(0.3 * HZ)):
        rig.run(1 / HZ)
        sent = rig.rings["action"].latest().data[:6].astype(float)
        speeds.append(float(np.abs(sent - last).max()) * HZ)
        last = sent
    assert speeds[1] < 0.5 * max(speeds), "a hand-over begins slowly"


def test_who_was_asked_to_drive_keeps_the_arm_when_pausing(rig: Rig) -> None:
    rig.driver.operate(rig.hand)
    rig.run(3 * LET_GO_S)
    assert rig.driver.state == "correcting"


def test_a_hand_cannot_move_a_parked_or_stopped_arm(rig: Rig) -> None:
    rig.hand.held = True
    rig.run(0.2)
    assert rig.driver.state == "ready"
    rig.driver.stop("test")
    rig.run(0.2)
    assert rig.driver.state == "stopped"


def test_a_change_of_task_refuses_older_plans_but_goes_on(rig: Rig) -> None:
    source = [rig.plan]
    rig.driver.drive(lambda: source[0]())
    rig.run(0.4)
    late = replace(rig.plans[-1], t_observed_ns=rig.clock.now_ns())
    rig.run(2 / HZ)
    rig.driver.renew()
    source[0] = lambda: late
    rig.run(2 / HZ)
    status = rig.driver.status()
    assert status.playing["answers"]["old"] == 1 and status.state == "driving"
    source[0] = rig.plan
    rig.run(0.3)
    assert rig.driver.state == "driving"


def test_clearing_a_stop_brings_the_arm_back_and_forgets_where_it_was_sent(rig: Rig) -> None:
    calls: list[str] = []
    recover = rig.arm.recover

    def slow() -> None:
        calls.append(rig.driver.status().reason)
        ticks = rig.rings["action"].written
        rig.driver.tick()
        assert rig.rings["action"].written == ticks, "nothing is sent while the arm is brought back"
        recover()

    rig.arm.recover = slow
    rig.go()
    rig.run(0.5)
    rig.driver.stop("a protective stop")
    rig.driver.clear_stop("Ada")
    assert rig.driver.state == "parked" and "bringing the arm back" in calls[0]
    rig.run(2 / HZ)
    measured, sent = rig.arm.read().joints_rad, rig.rings["action"].latest().data[:6]
    assert np.abs(measured - sent).max() < 0.02


def test_an_arm_that_cannot_be_brought_back_stays_stopped(rig: Rig) -> None:
    def refuse() -> None:
        raise DeviceError("the safety circuit is open", "Close the gate")

    rig.arm.recover = refuse
    rig.driver.stop("gate opened", latched=True)
    with pytest.raises(DeviceError):
        rig.driver.clear_stop("Ada")
    status = rig.driver.status()
    assert status.state == "stopped" and status.latched and "safety circuit" in status.reason


def test_pressing_stop_while_the_arm_comes_back_wins(rig: Rig) -> None:
    rig.arm.recover = lambda: rig.driver.stop("pressed again", latched=True, by_person=True)
    rig.driver.stop("first")
    with pytest.raises(StateError, match="again"):
        rig.driver.clear_stop("Ada")
    assert rig.driver.state == "stopped" and rig.driver.latched


def test_a_parked_arm_is_put_to_rest_once_and_wakes_where_it_is(rig: Rig) -> None:
    parked: list[int] = []
    rig.arm.park = lambda: parked.append(1)
    assert not rig.driver.rest()
    rig.driver.operate(rig.hand)
    rig.hand.held = True
    rig.run(0.5)
    rig.driver.park()
    assert not rig.driver.rest(), "not before it is home"
    rig.run(4.0)
    assert rig.driver.rest() and rig.driver.rest() and parked == [1]
    sends: list[object] = []
    rig.arm.send, rig.arm.hold = sends.append, lambda: sends.append("hold")
    rig.run(0.2)
    assert sends == [], "an arm at rest is left alone"
    rig.driver.ready()
    rig.run(0.1)
    assert len(sends) == round(0.1 * HZ)


STEPS = st.sampled_from(
    ["ready", "drive", "operate", "hold", "park", "stop", "clear", "squeeze", "open", "fail", "renew", "run"]
)


@settings(max_examples=12, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=16))
def test_no_order_of_events_leaves_the_table_or_the_limits(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    """Whatever people, policy and hand do: every change is one the table allows, and nobody moves a stopped arm."""
    rig = Rig(tmp_path_factory.mktemp("rig"))
    states = [rig.driver.state]
    rig.driver._publish = lambda event: states.append(event.state) if isinstance(event, DriverChanged) else None
    acts = {
        "ready": rig.driver.ready,
        "drive": rig.go,
        "operate": lambda: rig.driver.operate(rig.hand),
        "hold": lambda: rig.driver.hold("test"),
        "park": rig.driver.park,
        "stop": lambda: rig.driver.stop("test"),
        "clear": lambda: rig.driver.clear_stop("Ada"),
        "squeeze": lambda: setattr(rig.hand, "held", True),
        "open": lambda: setattr(rig.hand, "held", False),
        "fail": lambda: rig.driver.fail("test"),
        "renew": rig.driver.renew,
        "run": lambda: rig.run(0.2),
    }
    try:
        for step in steps:
            try:
                acts[step]()
            except StateError:
                continue
            rig.run(2 / HZ)
            sent = rig.rings["action"].latest().data[:6]
            assert np.all(sent <= np.array(DEFAULT_LIMITS.joint_max_rad) + 1e-6)
            if rig.driver.state in (DriverState.STOPPED, DriverState.READY, DriverState.PARKED):
                assert rig.codes()[-1] == Authority.NOBODY.code
        for before, after in pairwise(states):
            assert before == after or DriverState(after) in DRIVER[DriverState(before)]
    finally:
        rig.close()
