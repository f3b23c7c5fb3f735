"""Chunks are executed by time, joined without a jump, and refused when old, senseless or out of reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.sim.limits import DEFAULT_LIMITS
from workbench.core.chunks import Blend, Played, chunk_spec, mix, pack_chunk, plan_at, played_spec, unpack_chunk
from workbench.core.types import ActionChunk, Frame
from workbench.services.inference import LEAST_PACE, Answer, ChunkPlayer, Playback
from workbench.services.plan_time import DelayEstimate, PlanClock

S = 1_000_000_000
MS = 1_000_000
ORIGIN = np.array([0, 0, 0, 1, 0, 0, 0, 1.0])
TICK = 10 * MS


def line(t_ns: int, start: float, steps: int = 8, speed: float = 0.1, step_s: float = 0.1, **more) -> ActionChunk:
    """A plan that moves along x; at t_observed it stands at ``start``."""
    targets = np.tile(ORIGIN, (steps, 1))
    targets[:, 0] = start + speed * step_s * np.arange(1, steps + 1)
    return ActionChunk(t_ns, step_s, targets, "model", **more)


def run(player: ChunkPlayer, begin_ns: int, seconds: float) -> list[float | None]:
    """x at every tick, None where nothing is in force."""
    times = range(begin_ns, begin_ns + int(seconds * S), TICK)
    found = [player.target(t) for t in times]
    return [None if target is None else float(target[0]) for target in found]


def test_actions_are_due_by_time_and_interpolated() -> None:
    player = ChunkPlayer()
    assert player.accept(line(S, 0.0), ORIGIN, S) is Answer.TAKEN
    assert player.target(S)[0] == pytest.approx(0.0)
    assert player.target(S + S // 10)[0] == pytest.approx(0.01)
    assert player.target(S + S // 4)[0] == pytest.approx(0.025)


@pytest.mark.parametrize("late_ms", [50, 130, 250, 470])
def test_late_actions_are_skipped_while_the_arm_goes_on(late_ms: int) -> None:
    """A chunk that comes late continues where the arm is by now, whatever its delay."""
    player = ChunkPlayer(Playback(Blend.SWITCH))
    player.accept(line(S, 0.0, step_s=0.1), ORIGIN, S)
    observed, arrives = S + 100 * MS, S + (100 + late_ms) * MS
    run(player, S, (100 + late_ms) / 1000)
    player.accept(line(observed, 0.01, number=2), player.target(arrives), arrives)
    target = player.target(arrives)
    assert target[0] == pytest.approx(0.01 + 0.1 * late_ms / 1000)
    assert player.played.chunk == 2 and player.played.step == pytest.approx(late_ms / 100)


def test_a_late_chunk_begins_at_its_first_action_when_the_arm_has_stood_since() -> None:
    """Nothing was executed since the observation, so nothing is late, and the arm does not leap into the middle."""
    player = ChunkPlayer()
    player.accept(line(S, 0.0), ORIGIN, S + S // 2)
    xs = [x for x in run(player, S + S // 2, 0.5) if x is not None]
    assert xs[0] == pytest.approx(0.0) and max(np.diff(xs)) <= 0.1 * 0.01 + 1e-9


def test_a_plan_runs_out_and_every_tick_without_one_is_counted() -> None:
    player = ChunkPlayer()
    chunk = line(S, 0.0)
    player.accept(chunk, ORIGIN, S)
    assert player.target(chunk.valid_until_ns) is not None
    assert player.stalls == 0
    assert run(player, chunk.valid_until_ns + TICK, 0.05) == [None] * 5
    assert player.stalls == 5 and player.played.chunk == -1
    assert player.stood_s(chunk.valid_until_ns + 2 * TICK) == pytest.approx(0.01)


def test_chunks_from_before_a_reset_are_refused_by_time_and_by_epoch() -> None:
    player = ChunkPlayer()
    player.reset(2 * S)
    epoch = player.played.epoch
    assert player.accept(line(2 * S - 1, 0.0), ORIGIN, 2 * S) is Answer.OLD
    assert player.accept(line(2 * S, 0.0, epoch=epoch - 1), ORIGIN, 2 * S) is Answer.OLD
    assert player.accept(line(2 * S + 1, 0.0, epoch=epoch), ORIGIN, 2 * S) is Answer.TAKEN
    assert player.accept(line(2 * S + 1, 0.5), ORIGIN, 2 * S) is Answer.KNOWN, "the same observation twice"
    assert player.answers[Answer.OLD] == 2 and player.answers[Answer.TAKEN] == 1


def test_a_change_of_task_refuses_old_observations_and_keeps_moving() -> None:
    player = ChunkPlayer()
    player.accept(line(S, 0.0), ORIGIN, S)
    player.renew(S + 100 * MS)
    assert player.accept(line(S + 50 * MS, 0.0), ORIGIN, S + 110 * MS) is Answer.OLD
    assert player.target(S + 120 * MS) is not None
    assert player.played.epoch == 1
    assert player.accept(line(S + 120 * MS, 0.0), ORIGIN, S + 130 * MS) is Answer.TAKEN


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_chunks_are_refused(bad: float) -> None:
    chunk = line(S, 0.0)
    chunk.targets[3, 1] = bad
    answer = ChunkPlayer().accept(chunk, ORIGIN, S)
    assert answer is Answer.NOT_FINITE and answer.holds


@pytest.mark.parametrize(
    "targets",
    [np.zeros((0, 8)), np.zeros((8, 7)), np.zeros(8), np.zeros((4, 8)), np.tile(ORIGIN * 3, (4, 1))],
    ids=["empty", "seven numbers", "one action", "zero quaternion", "long quaternion"],
)
def test_chunks_of_another_shape_are_refused(targets: np.ndarray) -> None:
    answer = ChunkPlayer().accept(ActionChunk(S, 0.1, targets, "m"), ORIGIN, S)
    assert answer is Answer.SHAPE and answer.holds


def test_chunks_far_outside_the_workspace_are_refused_near_ones_left_to_the_guard() -> None:
    player = ChunkPlayer(Playback().within(DEFAULT_LIMITS))
    inside = np.tile([0.45, 0.0, 0.2, 0.0, 1.0, 0.0, 0.0, 1.0], (8, 1))
    near, far = inside.copy(), inside.copy()
    near[5, 2], far[5, 2] = DEFAULT_LIMITS.workspace_min_m[2] - 0.03, -0.2
    assert player.accept(ActionChunk(S, 0.1, far, "m"), inside[0], S) is Answer.OUT_OF_REACH
    assert player.accept(ActionChunk(S + 1, 0.1, near, "m"), inside[0], S + 1) is Answer.TAKEN


def test_a_chunk_whose_time_is_over_is_refused() -> None:
    chunk = line(S, 0.0)
    assert ChunkPlayer().accept(chunk, ORIGIN, chunk.valid_until_ns + 1) is Answer.EXPIRED


@settings(max_examples=25, deadline=None)
@given(
    blend=st.sampled_from([Blend.RTC, Blend.FADE]),
    jumps=st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=5),
    every=st.integers(10, 40),
    delay=st.integers(20, 50),
)
def test_take_overs_are_continuous_in_place_and_speed(blend: Blend, jumps: list[float], every: int, delay: int) -> None:
    """Whatever the plans' offsets, also when one take-over begins inside another: no jump, no kick."""
    player, tick = ChunkPlayer(Playback(blend)), 5 * MS
    player.accept(line(S, 0.0), ORIGIN, S)
    observed = [S + (k + 1) * every * tick for k in range(len(jumps))]
    arrivals = {
        at + delay * tick: line(at, 0.1 * (at - S) / S + jump) for at, jump in zip(observed, jumps, strict=True)
    }
    xs = []
    for now in range(S, S + 700 * MS, tick):
        if now in arrivals:
            player.accept(arrivals[now], player.target(now), now)
        xs.append(player.target(now)[0])
    speeds = np.diff(xs) / 0.005
    widest, fade_s = 2 * 0.03 * len(jumps), Playback().fade_s
    assert np.abs(speeds - 0.1).max() <= 1.5 * widest / fade_s + 1e-6
    assert np.abs(np.diff(speeds)).max() <= 1.2 * 6 * widest / fade_s**2 * 0.005 + 1e-6, "speed jumps at a boundary"


@given(delay_ms=st.integers(0, 99))
def test_a_chunk_that_comes_before_its_first_action_is_joined_without_a_jump(delay_ms: int) -> None:
    player = ChunkPlayer(Playback(Blend.SWITCH))
    player.accept(line(S, 0.0), ORIGIN, S)
    arrives = S + (200 + delay_ms) * MS
    before = player.target(arrives)
    player.accept(line(S + 200 * MS, 0.05), before, arrives)
    assert player.target(arrives)[0] == pytest.approx(before[0])
    assert player.target(S + 300 * MS)[0] == pytest.approx(0.06)


def test_switching_jumps_and_fading_does_not() -> None:
    """The comparison that the measurement makes can tell the two apart."""
    kicks = {}
    for blend in (Blend.SWITCH, Blend.FADE):
        player = ChunkPlayer(Playback(blend))
        player.accept(line(S, 0.0), ORIGIN, S)
        xs = run(player, S, 0.3)
        player.accept(line(S + 300 * MS, 0.05), ORIGIN, S + 300 * MS)
        kicks[blend] = np.abs(np.diff(xs + run(player, S + 300 * MS, 0.3), 2)).max()
    assert kicks[Blend.SWITCH] > 10 * kicks[Blend.FADE]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.45, 0.6])
def test_commands_never_run_dry_up_to_sixty_percent_of_a_chunk(share: float) -> None:
    """A policy that answers one question at a time, each as late as this share of a chunk; pictures come at 30 Hz."""
    player, chunk_s = ChunkPlayer(), 0.8
    now, asked, ready, dry = S, S, S + int(share * chunk_s * S), []
    number = 0
    for tick in range(1500):
        now = S + tick * TICK
        if now >= ready:
            begins = 0.1 * plan_time(player, asked)
            player.accept(line(asked, begins, number=number), ORIGIN, now)
            number += 1
            asked = now + (33 * MS if tick % 3 else 0)
            ready = asked + int(share * chunk_s * S)
        if player.target(now) is None and number:
            dry.append(now)
    assert number > 15 and not dry and player.stalls == 0
    assert player.played.pace == 1.0 if share <= 0.45 else LEAST_PACE <= player.played.pace < 1.0


def plan_time(player: ChunkPlayer, host_ns: int) -> float:
    return player._clock.at(host_ns)


def test_a_synchronous_arm_stands_while_the_policy_thinks() -> None:
    player = ChunkPlayer(Playback(Blend.SYNCHRONOUS, execute_s=0.2))
    player.accept(line(S, 0.0), ORIGIN, S + 300 * MS)
    xs = run(player, S + 300 * MS, 0.5)
    moving = [x for x in xs if x is not None]
    assert moving[0] == pytest.approx(0.0) and moving[-1] == pytest.approx(0.02)
    assert len(moving) == 21 and player.stalls == len(xs) - 21
    player.accept(line(S + 900 * MS, 0.02), ORIGIN, S + 1200 * MS)
    assert player.target(S + 1200 * MS)[0] == pytest.approx(0.0), "from where it is wanted, which is the origin"
    assert player.target(S + 1300 * MS)[0] == pytest.approx(0.03)


def test_one_slow_answer_is_forgotten_and_the_first_counts_only_until_the_second() -> None:
    delay = DelayEstimate()
    delay.add(2.0)
    assert delay.value == 2.0
    delay.add(0.03)
    assert delay.value == 0.03
    delay.add(0.5)
    assert delay.value == 0.5, "a slow answer counts at once"
    for _ in range(40):
        delay.add(0.03)
    assert 0.03 <= delay.value < 0.04


@given(st.lists(st.tuples(st.integers(1, 500), st.sampled_from([0.0, 0.5, 0.8, 1.0])), min_size=1, max_size=20))
def test_plan_time_never_runs_back_nor_faster_than_the_clock(turns: list[tuple[int, float]]) -> None:
    clock, now = PlanClock(), S
    clock.set_pace(now, 1.0)
    for wait_ms, pace in turns:
        now += wait_ms * MS
        clock.set_pace(now, pace)
    times = np.arange(S, now + S, 7 * MS)
    steps = np.diff([clock.at(int(t)) for t in times])
    assert (steps >= -1e-12).all() and (steps <= 0.007 + 1e-9).all()
    assert clock.at(S - 1) == clock.at(0) == 0.0


def test_mix_takes_the_short_way_round() -> None:
    first = ORIGIN.copy()
    second = ORIGIN.copy()
    second[3:7] *= -1
    assert np.allclose(np.abs(mix(first, second, 0.5)[3]), 1.0)


def test_a_plan_stays_at_its_ends() -> None:
    chunk = line(S, 0.0)
    assert plan_at(chunk.targets, 99.0)[0] == pytest.approx(0.08)
    assert plan_at(chunk.targets, -3.0)[0] == plan_at(chunk.targets, 0.2)[0] == pytest.approx(0.01)
    assert plan_at(chunk.targets[:1], 1.5)[0] == pytest.approx(0.01)


@given(st.integers(1, 16), st.integers(0, 2**60), st.integers(-1, 2**20), st.integers(-1, 2**20))
def test_chunks_survive_the_ring(steps: int, t_ns: int, epoch: int, follows: int) -> None:
    chunk = ActionChunk(t_ns, 0.1, np.random.default_rng(steps).normal(size=(steps, 8)), "m", 12.5, 7, epoch, follows)
    item = pack_chunk(chunk)
    assert item.shape == chunk_spec(steps).shape
    back = unpack_chunk(Frame(7, t_ns, t_ns, 0, item), "m")
    assert np.array_equal(back.targets, chunk.targets)
    assert dataclasses.replace(back, targets=chunk.targets) == chunk


def test_what_is_played_survives_its_stream() -> None:
    played = Played(12, 3.25, 0.5, 0.125, 0.75, 4, 0.5)
    assert Played.from_vector(played.vector()) == played
    assert played_spec(100.0).shape == played.vector().shape
