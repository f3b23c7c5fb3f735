"""The driver on the simulated arm in lockstep: authority, holds, stops, parking; nothing outside the limits is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.arm import ARMS
from hardware.contact import ContactWatch
from hardware.safety import GuardReason
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.sim.link import LocalStation
from hardware.sim.tasks import DEMONSTRATED
from hardware.sim.world import World
from workbench.core.clock import LockstepClock
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk, ArmState, Authority, TeleopAction
from workbench.services.driver import HEARTBEAT_S, Driver, arm_streams
from workbench.services.inference import pose_target

HZ = 50.0


class Bench:
    """A driver, its simulated arm and the clock, stepped by hand."""

    def __init__(self, folder: Path, *, limits: bool = True) -> None:
        self.clock = LockstepClock(10**9)
        self.world = World()
        self.world.reset(DEMONSTRATED[0], 1)
        self.station = LocalStation(self.world, self.clock)
        self.arm = ARMS.build("simulated", address=self.station.address)
        self.arm.connect()
        self.rings = {s.name: Ring.create(folder / s.name, s, 64) for s in arm_streams(self.arm.joints, HZ)}
        chosen = DEFAULT_LIMITS if limits else None
        self.driver = Driver(self.arm, chosen, self.rings, self.clock, 1 / HZ)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * HZ)):
            self.driver.tick()
            self.world.step(1 / HZ)
            self.clock.advance_ns(round(1e9 / HZ))

    def chunk(self, dx: float = 0.05, steps: int = 8) -> ActionChunk:
        state = self.arm.read()
        targets = np.tile(pose_target(state.pose, 1.0), (steps, 1))
        targets[:, 0] += np.linspace(dx / steps, dx, steps)
        return ActionChunk(self.clock.now_ns(), 0.1, targets, "m")

    def close(self) -> None:
        self.station.close()
        self.arm.close()
        for ring in self.rings.values():
            ring.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


class Push:
    """A hand that pushes steadily along y."""

    done = False

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self, state: ArmState, now_ns: int, period_s: float) -> TeleopAction:
        return TeleopAction(np.array([0.0, 0.1 * period_s, 0.0]), np.zeros(3), 1.0)


def test_without_limits_it_stays_parked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limits=False)
    with pytest.raises(StateError, match="limits"):
        bench.driver.ready()
    bench.run(0.1)
    assert bench.driver.state == "parked"
    bench.close()


def test_a_policy_moves_the_arm_and_holds_when_its_plan_runs_out(bench: Bench) -> None:
    bench.driver.ready()
    start = bench.arm.read().pose.position_m.copy()
    chunk = bench.chunk()
    bench.driver.drive(lambda: chunk)
    bench.run(0.8)
    moved = bench.arm.read().pose.position_m - start
    assert moved[0] == pytest.approx(0.05, abs=0.012)
    assert bench.driver.status().authority == Authority.POLICY
    bench.run(0.5)
    assert bench.driver.state == "holding" and "run out" in bench.driver.status().reason


def test_a_policy_that_never_answers_is_held(bench: Bench) -> None:
    bench.driver.ready()
    bench.driver.drive(lambda: None)
    bench.run(5.5)
    assert bench.driver.state == "holding"


def test_a_plan_from_before_a_hold_is_refused_after_resuming(bench: Bench) -> None:
    bench.driver.ready()
    old = bench.chunk(0.2)
    bench.driver.drive(lambda: old)
    bench.run(0.1)
    bench.driver.hold("test")
    bench.run(0.3)
    place = bench.arm.read().pose.position_m.copy()
    bench.driver.drive(lambda: old)
    bench.run(0.4)
    assert np.linalg.norm(bench.arm.read().pose.position_m - place) < 0.004


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_means_hold(bench: Bench, bad: float) -> None:
    bench.driver.ready()
    chunk = bench.chunk()
    chunk.targets[2, 0] = bad
    bench.driver.drive(lambda: chunk)
    place = bench.arm.read().pose.position_m.copy()
    bench.run(0.2)
    assert bench.driver.state == "holding" and "finite" in bench.driver.status().reason
    assert np.linalg.norm(bench.arm.read().pose.position_m - place) < 0.004


def test_an_operator_takes_over_and_hands_back(bench: Bench) -> None:
    bench.driver.ready()
    chunk = bench.chunk()
    bench.driver.drive(lambda: chunk)
    bench.run(0.1)
    bench.driver.operate(Push())
    start = bench.arm.read().pose.position_m.copy()
    bench.run(0.6)
    assert bench.driver.status().authority == Authority.OPERATOR
    assert bench.arm.read().pose.position_m[1] - start[1] > 0.03
    bench.driver.hold("handed back")
    assert bench.driver.state == "holding"
    codes = {float(bench.rings["authority"].read(i).data[0]) for i in range(bench.rings["authority"].written)}
    assert {1.0, 2.0} <= codes


def test_a_silent_window_means_hold(bench: Bench) -> None:
    bench.driver.ready()
    bench.driver.beat()

    def always_new() -> ActionChunk:
        return bench.chunk(0.01)

    bench.driver.drive(always_new)
    bench.run(HEARTBEAT_S - 0.2)
    assert bench.driver.state == "driving"
    bench.run(0.5)
    assert bench.driver.state == "holding" and "window" in bench.driver.status().reason


def test_stop_latches_until_a_person_clears_it(bench: Bench) -> None:
    bench.driver.ready()
    bench.driver.stop("test")
    bench.run(0.1)
    for request in (bench.driver.ready, lambda: bench.driver.drive(lambda: None)):
        with pytest.raises(StateError):
            request()
    bench.driver.clear_stop()
    assert bench.driver.state == "parked"


def test_parking_goes_home_slowly(bench: Bench) -> None:
    bench.driver.ready()
    bench.driver.operate(Push())
    bench.run(1.0)
    bench.driver.park()
    bench.run(4.0)
    assert bench.driver.state == "parked"
    assert np.allclose(bench.arm.read().joints_rad, bench.arm.home_rad, atol=0.03)


def test_wild_targets_never_leave_the_limits(bench: Bench) -> None:
    """A policy that asks for far-away and jumping targets: what is sent stays inside position and speed limits."""
    bench.driver.ready()
    rng = np.random.default_rng(0)

    def wild() -> ActionChunk:
        chunk = bench.chunk()
        return replace(chunk, targets=chunk.targets + np.r_[rng.normal(0, 2, 3), np.zeros(5)])

    bench.driver.drive(wild)
    sent = []
    for _ in range(150):
        bench.run(1 / HZ)
        frame = bench.rings["action"].latest()
        assert frame is not None
        sent.append(frame.data[: bench.arm.joints])
    joints = np.array(sent, dtype=np.float64)
    assert np.all(joints >= np.array(DEFAULT_LIMITS.joint_min_rad) - 1e-6)
    assert np.all(joints <= np.array(DEFAULT_LIMITS.joint_max_rad) + 1e-6)
    speed = np.abs(np.diff(joints, axis=0)) * HZ
    assert np.all(speed <= np.array(DEFAULT_LIMITS.joint_speed_rad_s) * 1.001 + 1e-4)
    assert bench.driver.status().guard_reasons


def place_block(bench: Bench, position_m: np.ndarray) -> None:
    """A block of the simulated world that does not give way and that the arm's shells collide with."""
    model, data = bench.world._model, bench.world._data
    geom, body = model.geom("distractor_1"), model.body("distractor_1")
    model.geom_contype[geom.id] = model.geom_conaffinity[geom.id] = 3
    model.body_contype[body.id] = model.body_conaffinity[body.id] = 3
    data.mocap_pos[body.mocapid[0]] = position_m


def go_aside(bench: Bench) -> np.ndarray:
    """Push the arm 15 cm along y and return its tool position."""
    bench.driver.ready()
    bench.driver.operate(Push())
    bench.run(2.0)
    bench.driver.hold("aside")
    bench.run(0.3)
    return bench.arm.read().pose.position_m.copy()


def test_going_home_stops_at_a_real_obstacle_and_no_longer_pushes(bench: Bench) -> None:
    place = go_aside(bench)
    place_block(bench, place + np.array([0.0, -0.09, 0.02]))
    bench.driver.park()
    seen: set[str] = set()
    for _ in range(150):
        bench.run(1 / HZ)
        seen.update(bench.driver.status().guard_reasons)
    status = bench.driver.status()
    assert status.state == "stopped" and "in the way" in status.reason and status.latched
    stopped = bench.arm.read()
    assert stopped.pose.position_m[1] > place[1] - 0.09, "it went through the obstacle"
    sent = bench.rings["action"].latest()
    assert sent is not None and np.abs(sent.data[:6] - stopped.joints_rad).max() < 0.02, "it still pushes"
    assert GuardReason.CONTACT.value in seen
    bench.driver.clear_stop("Ada")
    bench.run(0.5)
    assert np.abs(bench.arm.read().joints_rad - stopped.joints_rad).max() < 0.01, "clearing a stop moved the arm"
    assert "Ada" in bench.driver.status().reason


def test_going_home_without_an_obstacle_arrives_and_says_so(bench: Bench) -> None:
    go_aside(bench)
    bench.driver.park()
    assert not bench.driver.at_home
    bench.run(4.0)
    assert bench.driver.state == "parked" and bench.driver.at_home and bench.driver.at_rest


def test_motor_effort_stops_the_way_home(bench: Bench) -> None:
    watch = ContactWatch(0.04, 3, 0.2, 1 / HZ, (1.0,) * 6)
    state = bench.arm.read()
    easy, hard = (replace(state, effort=np.array([0.0, 0.0, share, 0.0, 0.0, 0.0])) for share in (0.9, -1.1))
    assert [watch.look(easy, state.joints_rad) for _ in range(9)] == [""] * 9
    said = [watch.look(hard, state.joints_rad) for _ in range(3)]
    assert said[:2] == ["", ""] and "joint 3" in said[2]


def test_a_limit_that_needs_the_arms_shape_is_refused_where_it_is_not_known(bench: Bench) -> None:
    class Blank:
        """An arm without a shape."""

        home_rad, joints = bench.arm.home_rad, 6

        def kinematics(self) -> object:
            return object()

    limits = replace(DEFAULT_LIMITS, obstacle_boxes_m=((0.5, 0.0, 0.0, 0.6, 0.1, 0.1),))
    with pytest.raises(WorkbenchError, match="shape"):
        Driver(Blank(), limits, bench.rings, bench.clock, 1 / HZ)  # type: ignore[arg-type]
    Driver(bench.arm, limits, bench.rings, bench.clock, 1 / HZ)
