"""What stands in for the hardware of each kind of plug-in, so that every registered kind passes the same suite.

A kind without a bench here is checked as far as that goes without its device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hardware.sim.link import LocalStation
from hardware.sim.world import World
from workbench.core.clock import LockstepClock

TASK = "red_cube_to_white_plate"


@dataclasses.dataclass
class Bench:
    """A device ready to open, how its world moves on, how it is unplugged, and what time it is there."""

    settings: dict[str, Any]
    advance: Callable[[float], None]
    unplug: Callable[[], None]
    now_ns: Callable[[], int]


@contextmanager
def simulated(**settings: Any) -> Iterator[Bench]:
    """The lockstep station; pictures come every 0.1 simulated seconds."""
    station = LocalStation(World(), LockstepClock(10**9))
    station.world.reset(TASK, 0)

    def advance(seconds: float) -> None:
        left = seconds
        while left > 1e-9:
            part = min(left, 0.1)
            with station.lock:
                station.world.step(part)
                station.clock.advance_ns(round(part * 1e9))
            station.expose()
            left -= part

    try:
        yield Bench({"address": station.address, **settings}, advance, station.close, station.clock.now_ns)
    finally:
        station.close()


def check_config(plugin: Any) -> None:
    """A Config is a frozen dataclass of plain values with defaults: the settings form is built from it."""
    assert dataclasses.is_dataclass(plugin.config)
    assert plugin.config.__dataclass_params__.frozen
    config = plugin.config()
    for field in dataclasses.fields(config):
        assert isinstance(getattr(config, field.name), str | int | float | bool | tuple), field.name
    assert plugin.title and plugin.kind == plugin.kind.lower()
    assert isinstance(plugin.missing_reason(), str)
    assert not plugin.needs or plugin.install
