"""The figures of smoothness on made-up ticks whose answer is known, and a slow policy in simulated time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.core.chunks import Blend, Played, plan_change_m_s, played_spec
from workbench.core.clock import LockstepClock
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk
from workbench.services.inference import ChunkPlayer, Playback
from workbench.services.lockstep import LockstepSettings
from workbench.services.slow_policy import SlowPolicy
from workbench.services.smoothness import Trace, jump_ratio

PERIOD_S, STEP_S = 0.02, 0.1
S = 1_000_000_000


def trace(x: np.ndarray, chunk: np.ndarray) -> Trace:
    at = np.zeros((len(x), 3))
    at[:, 0] = x
    ticks = np.arange(len(x)) * PERIOD_S
    return Trace(ticks, at, at, chunk.astype(np.int64), np.where(chunk >= 0, 0.05, 0.0))


def test_chunks_that_continue_each_other_do_not_jump() -> None:
    steady = trace(0.2 * np.arange(100) * PERIOD_S, np.arange(100) // 10)
    assert np.allclose(steady.boundary_changes_m_s(STEP_S), 0.0, atol=1e-9)
    assert len(steady.boundary_changes_m_s(STEP_S)) == 9
    assert steady.jerk_m_s3() == pytest.approx(0.0, abs=1e-6)
    assert steady.stalls() == 0 and len(steady.first_ages_s()) == 10


def test_a_jump_is_told_in_velocity_changes_of_a_plan() -> None:
    """2 cm to the side at a take-over is 0.2 m/s over a step; the plans themselves change by 0.1 m/s."""
    x = 0.2 * np.arange(100) * PERIOD_S
    x[50:] += 0.02
    jumped = trace(x, np.arange(100) // 50)
    assert jumped.boundary_changes_m_s(STEP_S) == pytest.approx([0.2])
    assert jump_ratio([jumped], [0.04, 0.1], STEP_S) == pytest.approx(2.0)
    assert jumped.jerk_m_s3() > 100


def test_what_is_far_from_a_take_over_does_not_count() -> None:
    x = 0.2 * np.arange(100) * PERIOD_S
    x[80:] += 0.02
    assert trace(x, np.arange(100) // 50).boundary_changes_m_s(STEP_S) == pytest.approx([0.0], abs=1e-9)


def test_setting_off_from_rest_is_not_a_take_over() -> None:
    x = 0.2 * np.maximum(0.0, np.arange(100) - 3) * PERIOD_S
    assert trace(x, np.arange(100) // 10).boundary_changes_m_s(STEP_S) == pytest.approx([0.0] * 9, abs=1e-9)


def test_ticks_without_an_action_are_stalls_only_once_it_has_begun() -> None:
    chunk = np.array([-1] * 5 + [0] * 10 + [-1] * 7 + [1] * 10 + [-1] * 2)
    x = np.where(chunk < 0, np.nan, 0.0)
    stalled = trace(x, chunk)
    assert stalled.stalls() == 9
    assert len(stalled.boundary_changes_m_s(STEP_S)) == 0, "nothing was taken over while moving"
    assert jump_ratio([stalled], [0.1], STEP_S) is None
    assert len(stalled.first_ages_s()) == 2


def test_the_change_inside_a_plan_is_that_between_its_steps() -> None:
    targets = np.zeros((5, 8))
    targets[:, 3] = 1
    targets[:, 0] = [0.0, 0.01, 0.02, 0.05, 0.08]
    assert plan_change_m_s(ActionChunk(0, 0.1, targets, "m")) == pytest.approx(0.2)
    assert plan_change_m_s(ActionChunk(0, 0.1, targets[:2], "m")) == 0.0


class Answers:
    """A policy process that answers at once with a standing chunk."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def call(self, verb: str, /, t_observed_ns: int, timeout_s: float) -> ActionChunk:
        self.asked.append(t_observed_ns)
        targets = np.tile([0.4, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0], (8, 1))
        return ActionChunk(t_observed_ns, 0.1, targets, "m", 5.0, len(self.asked))


@pytest.mark.parametrize("blend", list(Blend))
@pytest.mark.parametrize("latency_s", [0.0, 0.24, 0.48])
def test_answers_come_so_late_and_one_at_a_time(tmp_path: Path, blend: Blend, latency_s: float) -> None:
    clock, policy = LockstepClock(S), Answers()
    played = Ring.create(tmp_path / "played", played_spec(50.0), 8)
    settings = LockstepSettings(blend=blend, latency_s=latency_s)
    slow = SlowPolicy(policy, clock, played, settings)
    player = ChunkPlayer(Playback(blend, execute_s=settings.execute_s))
    waits, last = [], None
    for tick in range(200):
        chunk = slow.newest()
        if chunk is not None and chunk is not last:
            waits.append((clock.now_ns() - chunk.t_observed_ns) / 1e9)
            last = chunk
        if chunk is not None:
            player.accept(chunk, chunk.targets[0], clock.now_ns())
        player.target(clock.now_ns())
        played.write(player.played.vector(), sequence=tick, t_device_ns=0, t_host_ns=clock.now_ns())
        if tick % 5 == 0:
            slow.think()
        clock.advance_ns(20_000_000)
    played.close()
    assert waits and all(wait == pytest.approx(max(latency_s, 0.02), abs=0.021) for wait in waits)
    gaps = np.diff(policy.asked) / 1e9
    assert gaps.min() >= max(settings.execute_s, latency_s) - 0.002
    if blend is Blend.SYNCHRONOUS:
        assert gaps.min() >= settings.execute_s + latency_s - 0.002, "it must have stood before it is asked again"
        assert player.stalls > 0
    else:
        assert player.stalls == 0
    assert slow.latency_ms() == 5.0


def test_what_is_played_is_recorded_in_the_axes_that_a_trace_reads() -> None:
    spec = played_spec(50.0)
    item = Played(chunk=3, step=1.5, age_s=0.25).vector()
    assert item[spec.axes.index("chunk")] == 3 and item[spec.axes.index("age_s")] == pytest.approx(0.25)
