"""The command table: every command can be reached, none fights another for a key, none is enabled at the wrong time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PyQt6.QtGui import QKeySequence

from ui.actions import COMMANDS, MENUS, Command, Situation
from ui.widgets.steer import KEYS
from ui.window import PAGES
from workbench.core.states import DriverState, JobState, RecorderState

BY_ID = {command.id: command for command in COMMANDS}

situations = st.builds(
    Situation,
    page=st.sampled_from([name for name, _ in PAGES]),
    running=st.booleans(),
    simulated=st.booleans(),
    recorder=st.sampled_from([str(s) for s in RecorderState]),
    driver=st.sampled_from([str(s) for s in DriverState]),
    has_task=st.booleans(),
    has_model=st.booleans(),
    takes=st.integers(0, 3),
    trash=st.booleans(),
    open_take=st.booleans(),
    job=st.sampled_from(["", *(str(s) for s in JobState)]),
    jobs_ready=st.booleans(),
    model_chosen=st.booleans(),
    playing=st.booleans(),
)


def test_ids_are_unique_and_every_command_is_in_a_menu() -> None:
    assert len(BY_ID) == len(COMMANDS)
    in_menus = {name for _, names in MENUS for name in names if name != "-"}
    assert in_menus == set(BY_ID)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.id)
def test_command_says_what_it_does(command: Command) -> None:
    assert command.text and command.hint
    assert command.page in {"", *(name for name, _ in PAGES)}
    for key in command.keys:
        assert not QKeySequence(key).isEmpty(), f"{key} is no key"


@given(situations)
def test_no_two_enabled_commands_share_a_key(situation: Situation) -> None:
    keys = [key for command in COMMANDS if command.enabled(situation) for key in command.keys]
    assert len(keys) == len(set(keys))


def test_no_key_that_steers_the_arm_is_a_key_of_the_record_page() -> None:
    plain = {QKeySequence(key)[0].toCombined() for c in COMMANDS if c.page == "record" for key in c.keys}
    assert not plain & set(KEYS)


def test_keys_of_one_page_never_clash_even_when_disabled() -> None:
    for page in (name for name, _ in PAGES):
        keys = list(itertools.chain.from_iterable(c.keys for c in COMMANDS if c.page in ("", page)))
        assert len(keys) == len(set(keys)), page


@given(situations)
def test_stop_can_always_be_pressed_while_the_station_runs(situation: Situation) -> None:
    wanted = situation.running and situation.driver != "stopped"
    assert BY_ID["drive.stop"].enabled(situation) is wanted


@given(situations)
def test_nothing_moves_the_arm_out_of_a_stop_but_clearing_it(situation: Situation) -> None:
    if situation.driver != "stopped":
        return
    moving = ("drive.start", "drive.resume", "drive.park", "drive.correct", "drive.hold", "record.steer")
    assert not any(BY_ID[name].enabled(situation) for name in moving)


@given(situations)
def test_a_take_is_ended_only_while_recording(situation: Situation) -> None:
    for name in ("record.success", "record.failure", "record.keep", "record.discard"):
        if BY_ID[name].enabled(situation):
            assert situation.running and situation.recorder == "recording"
    if BY_ID["drive.start"].enabled(situation):
        assert situation.recorder != "recording", "one attempt is one take"
    if BY_ID["record.start"].enabled(situation):
        assert situation.recorder in ("idle", "faulted") and situation.has_task
