"""How to have one camera of each kind here: the simulated table, a recording, the library's own software device."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from storage.videos import write_video
from tests.conformance.benches import simulated
from tests.conformance.camera_checks import real_time


@dataclass
class Rig:
    """A camera ready to open: its settings, how its world moves on, and how it goes away (None: it cannot)."""

    settings: dict[str, Any]
    advance: Callable[[float], None]
    unplug: Callable[[], None] | None


@contextmanager
def _simulated() -> Iterator[Rig]:
    with simulated(name="front", camera="front", width=64, height=48, rate_hz=10.0, depth=True) as bench:
        yield Rig(bench.settings, bench.advance, bench.unplug)


@contextmanager
def _playback() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "pictures")
        folder.mkdir()
        for k in range(4):
            picture = np.full((48, 64, 3), 20 * k, np.uint8)
            (folder / f"frame-{k}.color.png").write_bytes(imagecodecs.png_encode(picture))
            (folder / f"frame-{k}.depth.png").write_bytes(imagecodecs.png_encode(picture[..., 0].astype(np.uint16)))
        yield Rig({"path": str(folder), "rate_hz": 20.0}, real_time, lambda: shutil.rmtree(folder))


@contextmanager
def _realsense() -> Iterator[Rig]:
    if importlib.util.find_spec("pyrealsense2") is None:
        pytest.skip("needs the Python package 'pyrealsense2'")
    from tests.emulators.realsense_device import Bus, Model

    with Bus(Model(rate_hz=30)) as bus, pytest.MonkeyPatch.context() as patch:
        patch.setattr("hardware.realsense_library.open_context", bus.open_context)
        yield Rig({"serial": "SIM1", "width": 64, "height": 48, "warm_up_s": 0.0}, real_time, bus.unplug)


@contextmanager
def _uvc() -> Iterator[Rig]:
    """A film of twelve pictures: through the same code, except for what Video4Linux itself does."""
    with tempfile.TemporaryDirectory() as place:
        film = Path(place, "film.mp4")
        pictures = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(12)]
        write_video(film, pictures, 20)
        yield Rig({"device": str(film), "width": 64, "height": 48, "rate_hz": 20.0}, real_time, film.unlink)


RIGS: dict[str, Callable[[], AbstractContextManager[Rig]]] = {
    "simulated": _simulated,
    "playback": _playback,
    "realsense": _realsense,
    "uvc": _uvc,
}
