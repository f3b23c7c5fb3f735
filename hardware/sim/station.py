"""What simulated plug-ins may ask of their station, and how they find it. Imports no simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraInfo
from hardware.sim.exposure import Exposure
from hardware.sim.remote import RemoteStation
from workbench.core.errors import DeviceError
from workbench.core.types import ArmCommand, ArmState

LOCAL = "local:"


class Feed(Protocol):
    """One camera's pictures. Made, read and closed in one thread."""

    @property
    def info(self) -> CameraInfo: ...

    def read(self, timeout_s: float) -> Exposure | None: ...

    def close(self) -> None: ...


class SimStation(Protocol):
    """What a simulated plug-in may ask of its station."""

    @property
    def address(self) -> str: ...

    def feed(self, camera: str, width: int, height: int, depth: bool, rate_hz: float) -> Feed: ...

    def arm_state(self) -> ArmState: ...

    def arm_command(self, command: ArmCommand) -> None: ...

    def arm_hold(self) -> None: ...

    def scene(self) -> Mapping[str, NDArray[np.float64]]: ...

    def close(self) -> None: ...


_LOCAL: dict[str, SimStation] = {}


def register(station: SimStation) -> None:
    """Make a station of this process findable by its address."""
    _LOCAL[station.address] = station


def forget(address: str) -> None:
    """The station at this address is closed."""
    _LOCAL.pop(address, None)


def find(address: str) -> SimStation:
    """The station at ``local:<n>`` or in a folder. Raises DeviceError when nothing runs there."""
    if not address.startswith(LOCAL):
        return RemoteStation(Path(address))
    if address not in _LOCAL:
        raise DeviceError(f"no simulated station runs at '{address}'", "Start the station first")
    return _LOCAL[address]
