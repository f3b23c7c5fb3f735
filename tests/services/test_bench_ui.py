"""The measurement of the window runs the real program and states what it promises."""

from __future__ import annotations

import pytest

from workbench.services.bench_ui import bench_ui


@pytest.mark.slow
def test_the_window_is_measured_with_four_cameras_and_plots() -> None:
    told = bench_ui(4.0)
    assert told["cameras"] == 4 and told["tiles"] == 5 and told["shown"] > 20 and told["plots_painted"] > 5
    assert 0 < told["first_picture_cpu_s"] < 30 and told["cpu_ms_per_shown_frame"] > 0
    assert told["longest_gui_block_ms"] > 0 and set(told["page_block_ms"]) >= {"record", "library", "drive", "station"}
