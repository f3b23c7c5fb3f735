"""The window on a real simulated station (small pictures, threads of this process), shared by the tests of a module."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MUJOCO_GL", "egl")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ui.bridge import Bridge
from ui.preferences import Preferences
from ui.theme import Theme, ThemeChoice
from ui.window import PAGES, Window
from workbench.core.bus import Bus
from workbench.services.settings import CameraSettings, Settings, load_settings
from workbench.services.station import Station

WAIT_MS = 60_000


def small_settings(home: Path) -> Settings:
    """The simulated station with small pictures at 10 Hz, so that two busy cores keep up."""
    settings = load_settings(home)
    cameras = tuple(
        CameraSettings(
            name=camera.name,
            kind=camera.kind,
            options={**camera.options, "width": width, "height": height, "rate_hz": 10.0},
        )
        for camera, (width, height) in zip(settings.cameras, ((160, 120), (96, 72)), strict=True)
    )
    return settings.model_copy(update={"cameras": cameras, "control_hz": 50.0})


@pytest.fixture(autouse=True)
def choices(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Preferences:
    """A person of their own for every test, who wants no countdown and no sounds."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    made = Preferences()
    made.keep("record.countdown_s", 0)
    made.keep("sound.muted", True)
    made.flush()
    return made


@pytest.fixture
def theme(qapp: QApplication) -> Theme:
    return Theme(qapp, ThemeChoice.LIGHT)


@pytest.fixture
def bridge(qapp: QApplication) -> Iterator[Bridge]:
    made = Bridge(Bus())
    yield made
    made.close()


@pytest.fixture
def open_window(qtbot: QtBot, theme: Theme) -> Iterator[Callable[..., Window]]:
    """Opens a window on a home; closes it properly, whatever the test did."""
    opened: list[Window] = []

    def make(home: Path, *, wait: bool = True) -> Window:
        bus = Bus()
        window = Window(home, bus, theme, lambda: Station(home, small_settings(home), threads=True, bus=bus))
        opened.append(window)
        window.show()
        window.start()
        if wait:
            qtbot.waitUntil(lambda: window.desk.running and window.desk.jobs is not None, timeout=WAIT_MS)
            qtbot.waitUntil(lambda: len(window.pages) == len(PAGES), timeout=WAIT_MS)
        return window

    yield make
    for window in opened:
        close_window(qtbot, window)


def close_window(qtbot: QtBot, window: Window) -> None:
    """Close and wait until nothing of it runs. (pytest-qt would close widgets before fixtures are torn down.)"""
    if not window.isHidden():
        with qtbot.waitSignal(window.closed, timeout=WAIT_MS):
            window.close()
    window.deleteLater()
