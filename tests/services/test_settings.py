"""Settings: a default that works, a file that is checked, errors that name the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.settings import Settings, load_settings, simulated_settings


def test_without_a_file_the_station_is_simulated(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.simulated and settings.arm is not None and settings.limits is not None
    assert [camera.name for camera in settings.cameras] == ["front", "wrist"]
    assert Settings(**settings.plain()) == settings, "plain values lose nothing"


def test_limits_have_no_defaults(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text('station = "bench"\n[limits]\ntool_speed_m_s = 0.5\n')
    with pytest.raises(WorkbenchError, match="joint_min_rad"):
        load_settings(tmp_path)


def test_a_file_without_limits_leaves_the_arm_without(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text('station = "bench"\n')
    assert load_settings(tmp_path).limits is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("controll_hz = 50\n", "control_hz"),
        ("[record]\njpeg_qualty = 9\n", "jpeg_quality"),
        ("[record]\njpeg_quality = 900\n", "jpeg_quality"),
        ("control_hz = -1\n", "control_hz"),
        ("this is not toml", "cannot be read"),
    ],
)
def test_wrong_files_are_answered_with_the_place(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "station.toml").write_text(text)
    with pytest.raises(WorkbenchError, match=hint):
        load_settings(tmp_path)


def test_overrides_win(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text("control_hz = 50\n")
    assert load_settings(tmp_path, {"control_hz": 20.0}).control_hz == 20.0


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    settings = simulated_settings()
    known = settings.tasks[0].name
    assert settings.instruction(known)
    with pytest.raises(NotFoundError, match=known):
        settings.instruction(known + "x")
