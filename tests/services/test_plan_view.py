"""What people see of a policy's plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware.camera import CameraInfo
from workbench.core.types import ActionChunk
from workbench.services.calibration_shelf import Shelf
from workbench.services.capture import CameraStatus
from workbench.services.plan_view import PlanWatch

OPTICS = {"color": {"width": 200, "height": 100, "fx": 100.0, "fy": 100.0, "cx": 100.0, "cy": 50.0}}
ABOVE = [[1.0, 0, 0, 0.5], [0, -1.0, 0, 0.0], [0, 0, -1.0, 1.0], [0, 0, 0, 1.0]]  # looks down from 1 m


def chunk(number: int = 3, follows: int = -1) -> ActionChunk:
    targets = np.zeros((4, 8))
    targets[:, 0] = 0.5 + 0.1 * np.arange(4)
    targets[:, 3] = 1.0
    return ActionChunk(10_000_000_000, 0.1, targets, "m", latency_ms=20.0, number=number, follows=follows)


def camera(name: str, pose: list[list[float]] | None, serial: str = "1") -> CameraStatus:
    info = CameraInfo("simulated", serial, "system", OPTICS, pose)
    return CameraStatus(name, "live", 30.0, 0, 200, 100, info=info)


def test_a_plan_is_drawn_where_the_camera_sees_it_and_only_where_its_place_is_known(tmp_path: Path) -> None:
    watch = PlanWatch(lambda: chunk(), tmp_path)
    watch.know([camera("front", ABOVE), camera("side", None, "2")])
    view = watch.look()
    assert view is not None and set(view.paths) == {"observation.images.front"}
    np.testing.assert_allclose(view.paths["observation.images.front"][:, 0], [0.5, 0.55, 0.6, 0.65])
    np.testing.assert_allclose(view.paths["observation.images.front"][:, 1], 0.5)
    assert view.due_ns[0] == 10_100_000_000 and view.positions_m.shape == (4, 3)


def test_a_saved_calibration_gives_a_camera_its_place_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.save({"serial": "2", "mount": "base", "pose": ABOVE, "taken_at": "2026-01-01T00:00:00+00:00"})
    shelf.path("3").write_text("{}")
    watch = PlanWatch(lambda: chunk(), tmp_path)
    watch.know([camera("side", None, "2"), camera("torn", None, "3")])
    view = watch.look()
    assert view is not None and set(view.paths) == {"observation.images.side"}


def test_history_grows_by_each_new_plan_and_begins_anew_with_a_new_policy(tmp_path: Path) -> None:
    now: list[ActionChunk | None] = [None]
    watch = PlanWatch(lambda: now[0], tmp_path)
    assert watch.look() is None
    for number in range(70):
        now[0] = replace(chunk(number, number - 1), t_observed_ns=number * 100_000_000)
        first, again = watch.look(), watch.look()
        assert first is again and first is not None and first.number == number
    assert first is not None and len(first.history) == 60
    assert first.history[-1].ready_ns - first.history[-1].observed_ns == 20_000_000
    assert first.history[-1].until_ns == pytest.approx(first.history[-1].observed_ns + 5 * 100_000_000)
    now[0] = chunk(0)
    begun = watch.look()
    assert begun is not None and [plan.number for plan in begun.history] == [0]
