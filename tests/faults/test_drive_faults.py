"""A policy drives the simulated station, all in processes, and something fails.

The arm holds within two ticks of the moment at which the fault can be known, nothing outside of the limits is sent, the
take is sealed with the reason, and nothing goes on by itself.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faults.drive_rig import TASK, Proof, Rig, until
from workbench.core.errors import StateError, WorkbenchError
from workbench.core.events import Replayed, ReplayProgressed
from workbench.core.types import Authority, EpisodeKind
from workbench.services.driver_watch import PICTURE_AGE_S
from workbench.services.live import INTERRUPTED, OUT_OF_TIME, LiveRequest, live_attempt
from workbench.services.replay import COMPLETE, ReplayPlan, ReplayRequest, plan_replay


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("driven")


@pytest.fixture(scope="module")
def station_rig(home: Path) -> Iterator[Rig]:
    made = Rig(home)
    made.load()
    yield made
    made.close()


@pytest.fixture
def rig(station_rig: Rig) -> Iterator[Rig]:
    """At home, holding, nothing recorded, nothing sealed that nobody has asked about."""
    while not station_rig.sealed.empty():
        station_rig.sealed.get()
    if station_rig.state().state == "stopped":
        station_rig.station.clear_stop("the test")
    station_rig.station.reset_scene(TASK, seed=1)
    yield station_rig
    if station_rig.station._recording():
        station_rig.station.end_drive("the test is over")
        station_rig.take()


def held(rig: Rig, words: str) -> None:
    """It holds for that reason, and goes on holding."""
    until(lambda: rig.state().state == "holding", 5, lambda: f"it is {rig.state().state}: {rig.state().reason}")
    status = rig.state()
    assert words in status.reason and words in status.fault
    time.sleep(0.3)
    assert rig.state().state == "holding" and rig.speed() < 1e-6, "it went on by itself"


@pytest.mark.parametrize(("manner", "words"), [("nan", "not finite"), ("outside", "far outside of its workspace")])
def test_a_senseless_chunk_is_refused_when_it_comes(rig: Rig, home: Path, manner: str, words: str) -> None:
    """Noticed in the tick that reads the chunk; nothing of it is executed."""
    rig.drive()
    rig.station._child("policy").call("be", manner=manner)
    held(rig, words)
    came_ns = rig.station._child("policy").call("misbehaved_ns")
    proof = Proof(home, rig.take())
    assert came_ns and proof.driven_after(came_ns) <= 2
    assert words in proof.ended_by
    proof.judge()


def test_wild_chunks_within_reach_move_the_arm_only_as_far_as_allowed(rig: Rig, home: Path) -> None:
    rig.drive()
    rig.station._child("policy").call("be", manner="wild")
    time.sleep(1.5)
    rig.station.end_drive("enough")
    proof = Proof(home, rig.take())
    assert proof.ended_by == "enough"
    assert np.abs(np.diff(proof.joints, axis=0)).max() * 100 > 0.5, "the wild policy did not move it"
    proof.judge()


def test_an_unplugged_camera_holds_once_its_picture_is_too_old(rig: Rig, home: Path) -> None:
    """Noticed by the age of its newest picture, and by nothing earlier: cameras do not say goodbye."""
    rig.drive()
    world = rig.station._simulation()
    world.ask("unplug", camera="wrist")
    try:
        held(rig, "picture is too old")
        last_ns = rig.station._rings["observation.images.wrist"].newest_host_ns()
    finally:
        world.ask("plug", camera="wrist")
    proof = Proof(home, rig.take())
    assert proof.driven_after(last_ns + round(PICTURE_AGE_S * 1e9)) <= 2
    assert "picture is too old" in proof.ended_by
    proof.judge()


def test_a_stop_ends_the_take_and_only_a_person_leaves_it(rig: Rig, home: Path) -> None:
    rig.drive()
    rig.station.stop()
    stopped_ns = time.monotonic_ns()
    proof = Proof(home, rig.take())
    assert proof.driven_after(stopped_ns) <= 2 and "pressed stop" in proof.ended_by
    assert proof.manifest.outcome == "failure"
    for move in (rig.station.resume, rig.station.park, lambda: rig.station.drive(TASK)):
        with pytest.raises(WorkbenchError):
            move()
        if rig.station._recording():
            rig.station.discard_take()
    assert rig.state().state == "stopped" and rig.state().latched
    proof.judge()
    rig.station.clear_stop("Ada")
    until(lambda: rig.state().state == "parked", 5, "it was not cleared")


BURN = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: sum(range(10000))"


@pytest.mark.slow
def test_a_trainer_on_both_cores_does_not_make_the_arm_leave_its_limits(rig: Rig, home: Path) -> None:
    """As many burners as there are cores, at normal priority. Late ticks are counted; nothing leaves a limit."""
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(os.cpu_count() or 2)]
    try:
        rig.drive()
        time.sleep(3.0)
        timing, playing = rig.state().timing, rig.state().playing
        if rig.state().state == "driving":
            rig.station.end_drive("enough")
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    proof = Proof(home, rig.take())
    proof.judge()
    between_ms = np.diff(proof.times_ns) / 1e6
    print(f"lateness {timing['lateness_ms']} missed {timing['missed']} stalls {playing['stalls']} "
          f"ticks {len(proof.codes)} longest gap {between_ms.max():.1f} ms priority {timing['priority']}")  # fmt: skip
    assert len(proof.codes) > 100 and np.median(between_ms) < 12.0


class Told:
    """What a station says about its replays."""

    def __init__(self, rig: Rig) -> None:
        self.ended: queue.SimpleQueue[Replayed] = queue.SimpleQueue()
        self.phases: list[str] = []
        self.played_s = 0.0
        self._words = (
            rig.station.bus.subscribe(Replayed, self.ended.put),
            rig.station.bus.subscribe(ReplayProgressed, self._progressed),
        )

    def _progressed(self, event: ReplayProgressed) -> None:
        self.phases.append(event.phase)
        self.played_s = event.done_s

    def close(self) -> None:
        for words in self._words:
            words.close()


@pytest.fixture
def told(rig: Rig) -> Iterator[Told]:
    made = Told(rig)
    yield made
    made.close()


def test_a_take_is_replayed_through_the_guard_and_may_be_held(rig: Rig, home: Path, told: Told) -> None:
    rig.drive()
    rig.station.end_drive("enough")
    first = rig.take()
    plan = plan_replay(rig.station.home, rig.station.settings, ReplayRequest(first))
    rig.station.replay(plan)
    with pytest.raises(StateError, match="correcting"):
        rig.station.replay(plan)
    event = told.ended.get(timeout=30)
    assert event.ended_by == COMPLETE and event.replay_of == first, event
    assert "approach" in told.phases and "play" in told.phases
    tracking = event.report["tracking"]
    assert tracking["rmse_rad_without_lag"] < 0.04 and tracking["rmse_rad"] < 0.08, tracking
    assert event.report["seconds"] == pytest.approx(plan.motion.duration_s, abs=0.01)
    proof = Proof(home, rig.take())
    assert proof.manifest.extra["replay_of"] == first and proof.manifest.kind == "rollout"
    assert set(proof.codes) <= {0.0, float(Authority.OPERATOR.code)}
    proof.judge()
    held_in_the_middle(rig, home, told, plan)


def held_in_the_middle(rig: Rig, home: Path, told: Told, plan: ReplayPlan) -> None:
    """A person holds: the arm brakes, the take is sealed with the reason; then home, and held on the way there."""
    told.phases.clear()
    rig.station.replay(plan)
    until(lambda: told.phases[-1:] == ["play"] and told.played_s > 0, 15, "it never began")
    rig.station.hold()
    held_ns = time.monotonic_ns()
    event = told.ended.get(timeout=15)
    assert event.ended_by == "the operator asked for it"
    assert 0 < event.report["seconds"] < plan.motion.duration_s
    proof = Proof(home, rig.take())
    assert np.count_nonzero(proof.times_ns[proof.codes == Authority.OPERATOR.code] > held_ns) <= 2
    proof.judge()
    rig.station.park()
    rig.station.hold()
    assert not rig.state().homing and rig.state().state == "parked"
    assert rig.station.park_and_wait()["parked"] and rig.state().at_home


@pytest.mark.slow
def test_a_demonstration_succeeds_again_when_it_is_replayed_on_the_same_table(rig: Rig, home: Path, told: Told) -> None:
    """Half as fast, too: what was sent is enough to do the task again."""
    rig.station.play(TASK, EpisodeKind.TELEOP)
    first = rig.take(60)
    assert Proof(home, first).manifest.outcome == "success"
    for speed in (1.0, 0.5):
        plan = plan_replay(rig.station.home, rig.station.settings, ReplayRequest(first, speed=speed))
        assert plan.seed is not None
        rig.station.reset_scene(TASK, seed=plan.seed)
        rig.station.replay(plan, judge=True)
        event = told.ended.get(timeout=60)
        print(speed, event.report)
        assert event.ended_by == COMPLETE and event.report["outcome"] == "success", event
        Proof(home, rig.take()).judge()


def test_a_live_attempt_ends_by_time_and_by_ctrl_c(rig: Rig, home: Path) -> None:
    """What `rollout --live` does with each attempt."""
    asked = LiveRequest("scripted", "rf", TASK, most_s=0.8)
    attempt = live_attempt(rig.station, asked, 0)
    assert attempt.ended_by == OUT_OF_TIME and attempt.success is False and attempt.episode_id == rig.take()
    threading.Timer(2.0, signal.raise_signal, (signal.SIGINT,)).start()
    attempt = live_attempt(rig.station, LiveRequest("scripted", "rf", TASK, most_s=20.0), 1)
    assert attempt.ended_by == INTERRUPTED and attempt.success is None and attempt.seconds < 10
    assert rig.state().state == "holding"
    proof = Proof(home, rig.take())
    assert proof.manifest.outcome == "unlabelled" and proof.ended_by == INTERRUPTED
    proof.judge()


def test_a_killed_policy_is_noticed_by_the_next_tick(rig: Rig, home: Path) -> None:
    """Noticed by the arm process itself: its handle on the policy's process says in each tick whether it runs."""
    rig.drive()
    os.kill(rig.station._child("policy").pid, signal.SIGKILL)
    rig.station._child("policy")._runner.join(5)  # the system needs some time to end it; until then nobody can know
    ended_ns = time.monotonic_ns()
    held(rig, "the policy process has ended")
    proof = Proof(home, rig.take())
    assert proof.driven_after(ended_ns) <= 2
    assert proof.ended_by == "the policy process has ended" and proof.manifest.outcome == "unlabelled"
    assert proof.rest_s(ended_ns) < 0.6
    proof.judge()
    with pytest.raises(WorkbenchError, match="policy process has ended"):
        rig.station.resume()
    assert rig.state().state == "holding"
