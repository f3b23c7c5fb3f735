"""How a receipt is read and when the gate refuses: figures over takes, rates over attempts, margins."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.services.evaluation import Rate, change_interval
from workbench.services.forgetting import Figure, Margins, TaskLine, judge, task_figures

MARGINS = Margins(success=0.15, error=0.25)


def line(task: str = "old", before: int = 18, after: int = 18, n: int = 20, new: bool = False, **more: Any) -> TaskLine:
    return TaskLine(task, new, Rate.of(before, n), Rate.of(after, n), **more)


def figure(before: float, after: float, takes: int = 6) -> Figure:
    """``takes`` values that scatter by a tenth around each mean."""
    scatter = [0.1 * (k - (takes - 1) / 2) for k in range(takes)]
    return Figure.of([before + s for s in scatter], [after + 1.2 * s for s in scatter])


# the interval of a change ---------------------------------------------------------------------------------------------


def test_the_interval_of_a_change_is_newcombes() -> None:
    """His worked example: 56/70 against 48/80 (method 10)."""
    low, high = change_interval(Rate.of(48, 80), Rate.of(56, 70))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_interval_holds_the_change_and_turns_around_with_it(n: int, m: int, data: st.DataObject) -> None:
    before, after = (Rate.of(data.draw(st.integers(0, size)), size) for size in (n, m))
    low, high = change_interval(before, after)
    assert -1 <= low <= after.success - before.success <= high <= 1
    back = change_interval(after, before)
    assert math.isclose(back[0], -high, abs_tol=1e-12) and math.isclose(back[1], -low, abs_tol=1e-12)


# the gate -------------------------------------------------------------------------------------------------------------


def test_a_clear_fall_beyond_the_margin_is_refused() -> None:
    gate = judge([line(before=19, after=6), line("new", 0, 18, new=True)], MARGINS)
    assert not gate.passed and "old fell from 95 %" in gate.reasons[0]


def test_a_fall_that_may_be_chance_is_a_remark() -> None:
    gate = judge([line(before=4, after=3, n=4)], MARGINS)
    assert gate.passed and "too few trials" in gate.remarks[0]


def test_small_falls_of_many_tasks_are_seen_together() -> None:
    gate = judge([line(f"old {k}", 18, 13, 20) for k in range(6)], MARGINS)
    assert not gate.passed and "6 earlier tasks together" in gate.reasons[0]


def test_a_new_task_cannot_be_forgotten() -> None:
    assert judge([line(new=True, before=20, after=0), line()], MARGINS).passed


def test_without_driving_the_error_decides_and_with_driving_it_only_remarks() -> None:
    worse = {"rf_mm": figure(4.0, 8.0)}
    undriven = TaskLine("old", False, held_out=worse)
    assert undriven.verdict == "worse" and not judge([undriven], MARGINS).passed
    driven = line(held_out=worse)
    gate = judge([driven], MARGINS)
    assert driven.verdict == "no clear change" and gate.passed and "grew from 4.0 to 8.0 mm" in gate.remarks[0]


def test_growth_within_the_margin_or_of_a_single_take_does_not_refuse() -> None:
    assert judge([TaskLine("old", False, held_out={"rf_mm": figure(4.0, 4.6)})], MARGINS).passed
    gate = judge([TaskLine("old", False, held_out={"rf_mm": Figure.of([4.0], [40.0])})], MARGINS)
    assert gate.passed and "too few to be sure" in gate.remarks[0]


def test_nothing_measured_is_said() -> None:
    gate = judge([TaskLine("old", False)], MARGINS)
    assert gate.passed and "nothing is known about forgetting" in gate.remarks[0]


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_model_that_did_not_change_passes(successes: int, failures: int) -> None:
    n = successes + failures
    same = Figure.of([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert judge([line(before=successes, after=successes, n=n, held_out={"rf_mm": same})], MARGINS).passed


@given(st.lists(st.floats(0.1, 50.0), min_size=2, max_size=20), st.floats(1.01, 4.0))
def test_what_grows_everywhere_alike_is_judged_by_the_margin(values: list[float], factor: float) -> None:
    spread = max(values) - min(values)
    found = Figure.of(values, [factor * value for value in values])
    refused = not judge([TaskLine("old", False, held_out={"rf_mm": found})], MARGINS).passed
    if refused:
        assert factor > 1 + MARGINS.error - 1e-9 and found.verdict == "worse"
    elif factor > 1 + MARGINS.error + 1e-9:
        assert spread > 0, "without scatter a growth beyond the margin must be refused"


# figures --------------------------------------------------------------------------------------------------------------


def test_a_figures_interval_is_students() -> None:
    found = Figure.of([10.0, 12.0, 14.0], [11.0, 13.0, 15.0])
    assert found.change == 1.0 and found.intervals[2] == (1.0, 1.0) and found.verdict == "worse"
    assert found.intervals[0] == pytest.approx((12 - 4.303 * 2 / math.sqrt(3), 12 + 4.303 * 2 / math.sqrt(3)))


def test_takes_without_windows_are_left_out() -> None:
    whole = {"windows": 9, "before": {"rf_mm": 2.0, "token_ce": 1.0}, "after": {"rf_mm": 3.0, "token_ce": None}}
    found = task_figures([whole, {"windows": 0, "why": "it holds no arm"}])
    assert found["rf_mm"].takes == 1 and found["rf_mm"].change == 1.0 and "token_ce" not in found
    assert task_figures([]) == {}
