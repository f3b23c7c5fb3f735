from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.clock import LockstepClock, MonotonicClock, Pacer


def test_the_real_clock_is_the_monotonic_one():
    before = time.monotonic_ns()
    now = MonotonicClock().now_ns()
    assert before <= now <= time.monotonic_ns()


@given(start=st.integers(0, 10**12), steps=st.lists(st.integers(0, 10**9), max_size=20))
def test_simulated_time_is_the_sum_of_its_steps(start, steps):
    clock = LockstepClock(start)
    assert [clock.advance_ns(step) for step in steps] == [start + sum(steps[: i + 1]) for i in range(len(steps))]
    assert clock.now_ns() == start + sum(steps)


def test_simulated_time_stands_still_and_never_goes_back():
    clock = LockstepClock(5)
    time.sleep(0.01)
    assert clock.now_ns() == 5
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_ns(-1)


def test_no_step_is_lost_between_threads():
    clock = LockstepClock()
    threads = [threading.Thread(target=lambda: [clock.advance_ns(1) for _ in range(5000)]) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert clock.now_ns() == 20_000


def test_the_pacer_keeps_its_rate_over_many_ticks():
    """Lateness of single ticks must not add up: 40 ticks at 200 Hz take 200 ms."""
    pacer = Pacer(200)
    started = time.monotonic()
    for _ in range(40):
        time.sleep(0.001)  # the loop's own work
        pacer.wait()
    took = time.monotonic() - started
    assert took == pytest.approx((40 + pacer.missed) / 200, abs=0.03)
    assert len(pacer.lateness_ms) == 40
    assert min(pacer.lateness_ms) >= 0


def test_missed_periods_are_skipped_and_counted_and_not_made_up_for():
    pacer = Pacer(100)
    pacer.wait()
    time.sleep(0.055)
    pacer.wait()
    assert pacer.missed >= 4
    assert pacer.lateness_ms[-1] > 35
    started = time.monotonic()
    pacer.wait()
    pacer.wait()
    assert time.monotonic() - started > 0.008, "ticks came in a burst"


def test_a_stopped_pacer_returns_false_at_once():
    stop = threading.Event()
    pacer = Pacer(0.5)
    threading.Timer(0.05, stop.set).start()
    started = time.monotonic()
    assert pacer.wait(stop) is False
    assert time.monotonic() - started < 1.0
    assert pacer.wait(stop) is False


def test_waiting_with_an_unset_stop_returns_true():
    assert Pacer(500).wait(threading.Event()) is True


def test_lateness_is_kept_for_long_runs_without_growing_for_ever():
    pacer = Pacer(1e9)
    pacer.lateness_ms = [0.0] * 100_000
    pacer.wait()
    assert len(pacer.lateness_ms) == 50_001
