from __future__ import annotations

import pickle

import pytest

from workbench.core.errors import CorruptTakeError, DeviceError, NotFoundError, StateError, WorkbenchError


def test_an_error_is_one_or_two_sentences():
    assert str(WorkbenchError("the disk is full.", "Free some space.")) == "the disk is full. Free some space."
    assert str(WorkbenchError("the disk is full")) == "the disk is full."


def test_the_nearest_name_is_suggested():
    error = NotFoundError.of("task", "red_cub", ["red_cube", "blue_ball"])
    assert str(error) == "there is no task named 'red_cub'. Did you mean 'red_cube'."


def test_without_a_near_name_the_choices_are_listed():
    assert "Choose one of: a1, b2" in str(NotFoundError.of("task", "zzzz", ["b2", "a1"]))
    assert "There is no task yet" in str(NotFoundError.of("task", "zzzz", []))
    assert len(str(NotFoundError.of("task", "zzzz", [f"name{i}" for i in range(500)]))) < 300


@pytest.mark.parametrize("kind", [WorkbenchError, NotFoundError, DeviceError, CorruptTakeError, StateError])
def test_errors_travel_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("it broke", "Mend it")))
    assert (type(error), error.what, error.next_step, str(error)) == (kind, "it broke", "Mend it", "it broke. Mend it.")
