"""Chunks are executed by time, blended, and refused when old or not finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.chunks import chunk_spec, pack_chunk, unpack_chunk
from workbench.core.types import ActionChunk, Frame
from workbench.services.inference import BLEND_S, ChunkPlayer, mix

S = 1_000_000_000
ORIGIN = np.array([0, 0, 0, 1, 0, 0, 0, 1.0])


def line(t_ns: int, start: float, steps: int = 8, speed: float = 0.1, step_s: float = 0.1) -> ActionChunk:
    """A plan that moves along x; at t_observed it stands at ``start``."""
    targets = np.tile(ORIGIN, (steps, 1))
    targets[:, 0] = start + speed * step_s * np.arange(1, steps + 1)
    return ActionChunk(t_ns, step_s, targets, "model")


def test_actions_are_due_by_time_and_interpolated() -> None:
    player = ChunkPlayer()
    assert player.accept(line(S, 0.0), ORIGIN, S)
    assert player.target(S)[0] == pytest.approx(0.0)
    assert player.target(S + S // 10)[0] == pytest.approx(0.01)
    assert player.target(S + S // 4)[0] == pytest.approx(0.025)


def test_late_actions_are_skipped_not_replayed() -> None:
    player = ChunkPlayer()
    player.accept(line(S, 0.0), ORIGIN, S + S // 2)
    assert player.target(S + S // 2)[0] == pytest.approx(0.05)


def test_a_plan_runs_out() -> None:
    player = ChunkPlayer()
    chunk = line(S, 0.0)
    player.accept(chunk, ORIGIN, S)
    assert player.target(chunk.valid_until_ns) is not None
    assert player.target(chunk.valid_until_ns + 1) is None


def test_chunks_from_before_a_reset_are_refused() -> None:
    player = ChunkPlayer()
    player.reset(2 * S)
    assert not player.accept(line(2 * S - 1, 0.0), ORIGIN, 2 * S)
    assert player.accept(line(2 * S, 0.0), ORIGIN, 2 * S)
    assert not player.accept(line(2 * S, 0.5), ORIGIN, 2 * S), "the same observation twice"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_chunks_are_refused(bad: float) -> None:
    chunk = line(S, 0.0)
    chunk.targets[3, 1] = bad
    assert not ChunkPlayer().accept(chunk, ORIGIN, S)


@given(st.floats(-0.05, 0.05), st.integers(1, 7))
def test_a_take_over_is_continuous(offset: float, step: int) -> None:
    """Whatever the new plan's offset, the target moves by no more per millisecond than the blend spreads it."""
    player = ChunkPlayer()
    player.accept(line(S, 0.0), ORIGIN, S)
    taken = S + step * S // 10
    held = player.target(taken)
    before = held[0]
    player.accept(line(taken, before + offset), held, taken)
    times = taken + np.arange(0, 300) * 1_000_000
    path = np.array([player.target(int(t))[0] for t in times if player.target(int(t)) is not None])
    assert abs(path[0] - before) < 1e-9
    limit = (abs(offset) * (1 / BLEND_S + 1 / 0.1) + 0.3) * 1e-3
    assert np.abs(np.diff(path)).max() <= limit


def test_mix_takes_the_short_way_round() -> None:
    first = ORIGIN.copy()
    second = ORIGIN.copy()
    second[3:7] *= -1
    assert np.allclose(np.abs(mix(first, second, 0.5)[3]), 1.0)


@given(st.integers(1, 16), st.integers(0, 2**60))
def test_chunks_survive_the_ring(steps: int, t_ns: int) -> None:
    chunk = ActionChunk(t_ns, 0.1, np.random.default_rng(steps).normal(size=(steps, 8)), "m", 12.5)
    item = pack_chunk(chunk)
    assert item.shape == chunk_spec(steps).shape
    back = unpack_chunk(Frame(0, t_ns, t_ns, 0, item), "m")
    assert back.t_observed_ns == t_ns and back.latency_ms == 12.5
    assert np.array_equal(back.targets, chunk.targets)
