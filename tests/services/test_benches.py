"""The arithmetic of the measurements, on made-up timelines whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core.errors import WorkbenchError
from workbench.services.benches import bench_train, lateness


def test_lateness_is_measured_against_the_grid_not_the_last_tick() -> None:
    """Every tenth tick 3 ms late, the others on time: no tick inherits its neighbour's delay."""
    ticks = np.arange(1000) * 0.01
    ticks[::10] += 0.003
    found = lateness(ticks, 0.01)
    assert found["lateness_ms"]["p50"] == pytest.approx(0.0, abs=1e-6)
    assert found["lateness_ms"]["max"] == pytest.approx(3.0, abs=1e-6)
    assert found["ticks"] == 1000 and found["skipped"] == 0


@pytest.mark.parametrize("begin", [0.0, 0.0042, 1234.5678])
def test_lateness_up_to_a_period_is_told_apart(begin: float) -> None:
    late = np.random.default_rng(0).exponential(0.0008, 5000).clip(0, 0.0085)
    late[0] = 0.0
    found = lateness(begin + np.arange(5000) * 0.01 + late, 0.01)["lateness_ms"]
    assert found["p50"] == pytest.approx(1000 * np.median(late), abs=0.01)
    assert found["p99"] == pytest.approx(1000 * np.percentile(late, 99), abs=0.01)
    assert found["max"] == pytest.approx(1000 * late.max(), abs=0.01)


def test_one_tick_that_is_almost_a_period_late_does_not_shift_the_grid() -> None:
    ticks = np.arange(400) * 0.01 + np.random.default_rng(1).uniform(0, 0.002, 400)
    ticks[200] = 2.0 + 0.0085
    found = lateness(ticks, 0.01)["lateness_ms"]
    assert found["max"] == pytest.approx(8.5, abs=0.05) and found["p50"] == pytest.approx(1.0, abs=0.2)


def test_skipped_ticks_are_counted_not_called_late() -> None:
    ticks = np.delete(np.arange(500) * 0.01, [100, 101, 300])
    found = lateness(ticks, 0.01)
    assert found["skipped"] == 3 and found["lateness_ms"]["max"] == pytest.approx(0.0, abs=1e-6)


def test_a_tick_that_never_ran_is_an_error() -> None:
    with pytest.raises(WorkbenchError, match="no control tick"):
        lateness(np.array([0.0]), 0.01)


@pytest.mark.slow
def test_training_speed_is_measured_with_the_real_trainer() -> None:
    found = bench_train(takes=2, steps=10, seed=0)
    assert found["samples_per_s"]["cached"] > 0 and found["samples_per_s"]["recomputed"] > 0
