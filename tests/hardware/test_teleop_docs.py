"""The page about teleoperation: its settings load, and its example is a device that passes the conformance suite."""

from __future__ import annotations

import importlib.util
import re
import socket
import sys
import time
import tomllib
from pathlib import Path

import pytest

from hardware.teleop import TELEOPS
from tests.conformance import test_teleops as suite
from tests.conformance.benches import check_config
from workbench.services.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "teleoperation.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", blocks("toml"))
def test_settings_on_the_page_load(text):
    teleop = Settings(**tomllib.loads(text)).teleop
    plugin = TELEOPS.get(teleop.kind)
    assert plugin.build(plugin.config(**teleop.options))


def test_every_kind_is_on_the_page():
    assert set(TELEOPS.all()) <= set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


@pytest.fixture
def example(tmp_path):
    """The example of the page, in a file, registered as long as the test lasts."""
    (source,) = blocks("python")
    path = tmp_path / "datagrams.py"
    path.write_text(source)
    TELEOPS.all()
    spec = importlib.util.spec_from_file_location("datagrams_example", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield TELEOPS.get("datagrams")
    del TELEOPS._plugins["datagrams"], sys.modules[spec.name]


@pytest.fixture
def place(example):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def say(words):
        return lambda: sender.sendto(words, ("127.0.0.1", port))

    silence, hold, release = (lambda: None), say(b"1 0.5 0 -0.2"), say(b"0 0 0 0")
    yield example, suite.Hand({"port": port}, time.sleep, silence, time.monotonic_ns, release, hold)
    sender.close()


def test_the_example_passes_the_conformance_suite(place):
    plugin, _ = place
    check_config(plugin)
    for check in (
        suite.test_moves_are_bounded_finite_and_never_block,
        suite.test_nothing_moves_before_the_dead_man_was_seen_released,
        suite.test_losing_the_device_is_no_input_soon_and_not_an_exception,
        suite.test_a_pause_in_listening_ends_the_hold,
        suite.test_a_closed_device_gives_no_input_and_opens_again,
    ):
        check(place)
