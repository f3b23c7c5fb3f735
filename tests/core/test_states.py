from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import StateError
from workbench.core.states import DRIVER, JOB, RECORDER, DriverState, JobState, RecorderState, StateMachine

TABLES = {"recorder": (RECORDER, RecorderState), "driver": (DRIVER, DriverState), "job": (JOB, JobState)}
EVERY_PAIR = [
    pytest.param(noun, before, after, id=f"{noun}-{before}-{after}")
    for noun, (_, states) in TABLES.items()
    for before in states
    for after in states
]


@pytest.mark.parametrize(("noun", "before", "after"), EVERY_PAIR)
def test_every_pair_of_states_is_allowed_or_refused_as_the_table_says(noun, before, after):
    table, _ = TABLES[noun]
    machine = StateMachine(noun, table, before)
    if after in table[before]:
        assert machine.may(after)
        machine.to(after)
        assert machine.state is after
    else:
        assert not machine.may(after)
        with pytest.raises(StateError, match=f"the {noun} is {before} and cannot go to {after}"):
            machine.to(after)
        assert machine.state is before


@pytest.mark.parametrize("noun", TABLES)
def test_every_state_has_a_row_and_rows_name_real_states(noun):
    table, states = TABLES[noun]
    assert set(table) == set(states)
    assert all(after in set(states) for row in table.values() for after in row)
    assert not any(state in row for state, row in table.items()), "a state that leads to itself hides a mistake"


def test_a_recorder_can_fail_from_everywhere_and_only_leaves_by_being_acknowledged():
    for state in set(RecorderState) - {RecorderState.FAULTED}:
        assert RecorderState.FAULTED in RECORDER[state]
    assert RECORDER[RecorderState.FAULTED] == {RecorderState.IDLE}


def test_every_take_that_ran_is_sealed_before_the_recorder_is_idle():
    assert RecorderState.IDLE not in RECORDER[RecorderState.RECORDING]


def test_a_stop_is_possible_from_everywhere_and_leads_only_to_parked():
    for state in set(DriverState) - {DriverState.STOPPED}:
        assert DriverState.STOPPED in DRIVER[state]
    assert DRIVER[DriverState.STOPPED] == {DriverState.PARKED}


def test_the_policy_never_takes_over_from_the_operator_without_a_hold():
    assert DriverState.DRIVING not in DRIVER[DriverState.CORRECTING]


def test_a_finished_job_stays_finished():
    assert JOB[JobState.DONE] == frozenset()


@given(noun=st.sampled_from(sorted(TABLES)), data=st.data())
def test_a_random_walk_never_leaves_the_table_and_reports_each_step(noun, data):
    table, states = TABLES[noun]
    heard: list[tuple[str, str]] = []
    state = data.draw(st.sampled_from(list(states)))
    machine = StateMachine(noun, table, state, lambda before, after: heard.append((before, after)))
    expected: list[tuple[str, str]] = []
    for wanted in data.draw(st.lists(st.sampled_from(list(states)), max_size=30)):
        if wanted in table[state]:
            machine.to(wanted)
            expected.append((state, wanted))
            state = wanted
        else:
            with pytest.raises(StateError):
                machine.to(wanted)
        assert machine.state is state
    assert heard == expected


def test_the_refusal_names_what_is_allowed():
    with pytest.raises(StateError, match=r"Allowed now: armed, faulted"):
        StateMachine("recorder", RECORDER, RecorderState.IDLE).to(RecorderState.SEALING)
    with pytest.raises(StateError, match=r"Allowed now: nothing"):
        StateMachine("job", JOB, JobState.DONE).to(JobState.RUNNING)


def test_of_many_threads_only_one_makes_a_transition():
    for _ in range(50):
        machine = StateMachine("recorder", RECORDER, RecorderState.IDLE)
        won: list[int] = []
        barrier = threading.Barrier(4)

        def arm(number: int, machine=machine, won=won, barrier=barrier) -> None:
            barrier.wait()
            try:
                machine.to(RecorderState.ARMED)
            except StateError:
                return
            won.append(number)

        threads = [threading.Thread(target=arm, args=(i,)) for i in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(won) == 1


def test_a_listener_may_make_the_next_transition():
    machine = StateMachine("recorder", RECORDER, RecorderState.IDLE)

    def go_on(_before, after):
        if after is RecorderState.ARMED:
            machine.to(RecorderState.RECORDING)

    machine._changed = go_on
    machine.to(RecorderState.ARMED)
    assert machine.state is RecorderState.RECORDING
