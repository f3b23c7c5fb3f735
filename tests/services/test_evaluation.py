"""Intervals of rates: known values, and what every interval must satisfy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import NotFoundError
from workbench.services.evaluation import Rate, pooled, trial_jobs, wilson


def test_wilson_matches_published_values() -> None:
    """Newcombe 1998, table I: 81/263 and 15/148; 0/20 and 1/29 are the small ones."""
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_nothing_tried_means_nothing_known() -> None:
    assert Rate.of(0, 0).to_json() == {"success": 0.0, "n": 0, "interval": [0.0, 1.0]}


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_rate_and_mirrors(pair: tuple[int, int]) -> None:
    successes, n = pair
    low, high = wilson(successes, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    mirrored = wilson(n - successes, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


@given(st.integers(0, 30), st.integers(0, 30))
def test_more_trials_narrow_the_interval(successes: int, failures: int) -> None:
    n = successes + failures
    if n:
        wide, narrow = wilson(successes, n), wilson(4 * successes, 4 * n)
        assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_pooling_counts_trials_not_tasks() -> None:
    assert pooled([Rate.of(1, 1), Rate.of(0, 9)]) == Rate.of(1, 10)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="red_cube_to_white_plate"):
        trial_jobs("model", {"red_cube_to_white_plat": 1})


def test_two_models_are_asked_the_same_questions() -> None:
    trials = {"red_cube_to_white_plate": 3, "yellow_box_to_pink_mat": 1}
    first, second = (trial_jobs(model, trials) for model in ("old", "new"))
    assert [(job.task, job.seed) for job in first] == [(job.task, job.seed) for job in second]
    assert {task: sum(job.task == task for job in first) for task in trials} == trials
    assert len({(job.task, job.seed) for job in first}) == 4
