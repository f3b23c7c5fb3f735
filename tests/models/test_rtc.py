"""Real-time chunking: chunks go on from the plan in force, on heads whose answer is known and on a trained policy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.backbone import Seen
from models.observing import Follower
from models.rtc import draw_following, guidance_weight, soft_mask
from workbench.core.chunks import Blend, Played, played_spec
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk

S, MS = 1_000_000_000, 1_000_000
NOTHING = Seen(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 3), torch.zeros(1, 8, 7))


class Narrow(nn.Module):
    """The flow of a policy that knows one way: straight from any noise to ``goal``."""

    def __init__(self, goal: Tensor) -> None:
        super().__init__()
        self.goal = goal

    def fields(self, seen: Seen, euler_steps: int) -> list[Callable[[Tensor], Tensor]]:
        rests = [max(1.0 - step / euler_steps, 1e-3) for step in range(euler_steps)]
        return [lambda noisy, rest=rest: (self.goal - noisy) / rest for rest in rests]


@given(horizon=st.integers(1, 20), overlap=st.integers(0, 20), frozen=st.integers(0, 20))
def test_the_mask_is_one_then_falls_to_nothing_where_the_plan_ends(horizon: int, overlap: int, frozen: int) -> None:
    overlap = min(overlap, horizon)
    weights = soft_mask(horizon, overlap, frozen)
    assert weights.shape == (horizon,)
    assert (weights[: min(frozen, overlap)] == 1.0).all() and (weights[overlap:] == 0.0).all()
    assert (np.diff(weights) <= 1e-6).all() and weights.min(initial=0.0) >= 0.0
    soft = weights[frozen:overlap]
    assert (soft < 1.0).all() and (soft > 0.0).all()


def test_the_mask_has_the_values_of_the_paper() -> None:
    weights = soft_mask(8, 6, 2)
    for i in range(2, 6):
        c = (6 - i) / (6 - 2 + 1)
        assert weights[i] == pytest.approx(c * (np.exp(c) - 1) / (np.e - 1), rel=1e-5)


def test_the_weight_is_clipped_at_the_noise_and_vanishes_at_the_chunk() -> None:
    assert guidance_weight(0.0, 4.0) == 4.0
    assert guidance_weight(0.5, 40.0) == pytest.approx((0.5**2 + 0.5**2) / (0.5 * 0.5))
    assert guidance_weight(1.0, 4.0) == 0.0


@pytest.mark.parametrize("euler_steps", [1, 2, 4, 10])
def test_a_chunk_continues_the_plan_in_place_and_ends_at_its_own_goal(euler_steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1, 8, 7, generator=generator)
    goal, plan = torch.zeros(1, 8, 7), torch.ones(1, 8, 7)
    weights = torch.from_numpy(soft_mask(8, 6, 2))
    chunk = draw_following(Narrow(goal), NOTHING, noise, plan, weights, euler_steps)  # type: ignore[arg-type]
    track = chunk[0, :, 0].numpy()
    assert (chunk[0, :2] == 1.0).all(), "what is executed anyway stays"
    assert np.allclose(track[6:], 0.0, atol=1e-5), "beyond the plan the policy is free"
    assert (np.diff(track) <= 1e-6).all() and np.abs(np.diff(track)).max() < 0.6, "no step from one plan to the other"


def test_without_any_weight_it_is_the_ordinary_draw() -> None:
    noise, goal = torch.randn(1, 8, 7), torch.randn(1, 8, 7)
    chunk = draw_following(Narrow(goal), NOTHING, noise, torch.zeros(1, 8, 7), torch.zeros(8), 4)  # type: ignore[arg-type]
    assert torch.allclose(chunk, goal, atol=1e-5)


# what the arm says about the chunk in force ---------------------------------------------------------------------------


@pytest.fixture
def ticks(tmp_path: Path) -> Iterator[Ring]:
    ring = Ring.create(tmp_path / "ticks", played_spec(100.0), 16)
    yield ring
    ring.close()


def say(ring: Ring, t_ns: int, played: Played) -> None:
    ring.write(played.vector(), sequence=ring.written, t_device_ns=t_ns, t_host_ns=t_ns)


def line(number: int, t_ns: int = S) -> ActionChunk:
    targets = np.tile([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], (8, 1))
    targets[:, 0] = 0.01 * np.arange(1, 9)
    return ActionChunk(t_ns, 0.1, targets, "m", number=number)


def test_the_committed_part_lies_where_the_arm_will_be(ticks: Ring) -> None:
    """Observed 150 ms after the chunk in force: its first action due one step later is at step 2.5."""
    arm = Follower(ticks, 0.1, Blend.RTC)
    say(ticks, S, Played())
    arm.remember(line(5))
    say(ticks, S + 180 * MS, Played(5, step=1.8, delay_s=0.12, epoch=3))
    epoch, committed = arm.committed(S + 150 * MS)
    assert epoch == 3 and committed is not None and committed.chunk == 5
    assert committed.targets[:, 0] == pytest.approx([0.025, 0.035, 0.045, 0.055, 0.065, 0.075])
    assert committed.frozen == 2, "one whole step passes in 120 ms, and the arm is on its way to the second"


def test_a_slow_pace_freezes_fewer_actions_and_moves_less(ticks: Ring) -> None:
    arm = Follower(ticks, 0.1, Blend.RTC)
    say(ticks, S, Played())
    arm.remember(line(5))
    say(ticks, S + 200 * MS, Played(5, step=1.0, delay_s=0.48, pace=0.5))
    _, committed = arm.committed(S + 100 * MS)
    assert committed is not None and committed.targets[0, 0] == pytest.approx(0.015)
    assert committed.frozen == 3


@pytest.mark.parametrize("blend", [Blend.FADE, Blend.SWITCH, Blend.SYNCHRONOUS])
def test_the_other_ways_draw_freely(ticks: Ring, blend: Blend) -> None:
    arm = Follower(ticks, 0.1, blend)
    say(ticks, S, Played())
    arm.remember(line(5))
    say(ticks, S + 100 * MS, Played(5, step=1.0, epoch=2))
    assert arm.committed(S + 100 * MS) == (2, None)


def test_nothing_is_continued_after_a_hold_or_a_new_task(ticks: Ring) -> None:
    arm = Follower(ticks, 0.1, Blend.RTC)
    assert arm.committed(S) == (-1, None), "nothing is known before the first tick"
    say(ticks, S, Played())
    arm.remember(line(5))
    say(ticks, S + 100 * MS, Played(-1, epoch=4))
    assert arm.committed(S + 100 * MS) == (4, None)
    say(ticks, S + 110 * MS, Played(5, step=1.1, epoch=4))
    assert arm.committed(S + 110 * MS)[1] is not None
    arm.forget()
    assert arm.committed(S + 110 * MS) == (4, None)


def test_the_next_question_waits_until_the_last_answer_has_been_taken_up(ticks: Ring) -> None:
    arm = Follower(ticks, 0.1, Blend.RTC)
    say(ticks, S, Played(4))
    arm.remember(line(5))
    assert not arm.may_ask(S)
    say(ticks, S + 10 * MS, Played(5))
    assert arm.may_ask(S + 10 * MS)
    arm.remember(line(6))
    say(ticks, S + 80 * MS, Played(5))
    assert arm.may_ask(S + 80 * MS), "the arm has refused it; waiting longer would starve it"


def test_in_synchronous_mode_the_arm_is_seen_standing(ticks: Ring) -> None:
    arm = Follower(ticks, 0.1, Blend.SYNCHRONOUS)
    say(ticks, S, Played())
    assert not arm.may_ask(S - MS), "a picture from before it stood"
    assert arm.may_ask(S)
    arm.remember(line(5))
    assert not arm.may_ask(S + MS)
    say(ticks, S + 20 * MS, Played(5))
    assert not arm.may_ask(S + 20 * MS)
    say(ticks, S + 300 * MS, Played())
    assert not arm.may_ask(S + 290 * MS)
    assert arm.may_ask(S + 300 * MS)
