"""The alignment's report: figures with intervals from sums, drawings in pictures, the alarm; no model needed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.layout import Home
from tests.services.learnable import write_reach
from tests.services.measured import measured, write_measured
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services.alignment_figures import Figure, groups, of
from workbench.services.alignment_pictures import Exhibits
from workbench.services.alignment_report import (
    alignment_sections,
    has_report,
    make_report,
    matrix_of,
    read_report,
    shown,
    shown_interval,
)
from workbench.services.bench_learn_numbers import r2, share
from workbench.services.blocks import Page
from workbench.services.collapse import RECENT, collapse, positions
from workbench.services.drawing import changed_middle, depth_of, draw_way, enlarged, place_at, project
from workbench.services.figures import scatter
from workbench.services.library import Library
from workbench.services.report import render


@pytest.fixture
def run(tmp_path: Path) -> tuple[Home, Path]:
    """A run folder whose measurements show two real takes, and one that is gone."""
    home = Home.open(tmp_path)
    robot, human = write_reach(home, 0), write_reach(home, 1, kind=EpisodeKind.HUMAN)
    return home, write_measured(home, "r-vd_vae", [human.id, "f" * 32], robot.id)


def test_figures_and_intervals_come_from_sums() -> None:
    by_name = {figure.name: figure for group in groups(measured()) for figure in group.figures}
    top = by_name["retrieval_top1"]
    assert (top.value, top.n, top.takes, top.baseline) == (0.4, 80, 4, 1 / 50)
    assert top.interval == (pytest.approx(0.4), pytest.approx(0.4))  # all takes alike
    assert by_name["decoded_rmse_mm"].value == pytest.approx(4.0)
    assert by_name["decoded_rmse_mm"].baseline == pytest.approx(10.0)
    assert by_name["decoded_final_mm"].value == pytest.approx(5.0)
    assert by_name["codec_switch_off_ms"].value == pytest.approx(50.0)
    assert by_name["decoded_switch_found"].value is None, "no switch, no share"
    assert by_name["token_accuracy"].baseline == pytest.approx(0.1)
    assert by_name["swap_moved_mm"].value == 10.0 and by_name["swap_noise_mm"].value == 4.0
    assert by_name["swap_noise"].value == pytest.approx(40 / 60)
    assert by_name["human_r2"].n == 80 and by_name["human_perplexity"].baseline == 40.0


def test_what_cannot_be_measured_is_left_out_or_said() -> None:
    bare = measured(human={"windows": 0}, swap={"n": 0, "reason": "one take"})
    names = {figure.name for group in groups(bare) for figure in group.figures}
    assert not names & {"human_r2", "human_used", "swap_agreement"} and "retrieval_top1" in names
    assert of({}, share(0, 1)) == (None, None)
    value, edges = of({"only": [1.0, 2.0]}, share(0, 1))
    assert value == 0.5 and edges is None, "one take tells nothing about takes"
    assert shown(None, "mm") == "not measured" and shown(0.4166, "share") == "41.7 %" and shown(-0.275, "") == "-0.28"


@settings(max_examples=30)
@given(st.lists(st.floats(-3, 3), min_size=6, max_size=60), st.floats(0, 2))
def test_r2_from_sums_is_r2(values: list[float], noise: float) -> None:
    true = np.array(values)
    if np.ptp(true) < 0.1:
        return
    told = true + noise * np.sin(np.arange(len(true)))
    sums = {f"t{k}": [0.0] * 10 for k in range(3)}
    for k, (a, b) in enumerate(zip(told, true, strict=True)):
        row = [1.0, (a - b) ** 2, 0, 0, b, 0, 0, b * b, 0, 0]
        sums[f"t{k % 3}"] = [x + y for x, y in zip(sums[f"t{k % 3}"], row, strict=True)]
    direct = 1 - ((told - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    total = np.array(list(sums.values())).sum(axis=0)
    assert r2(total) == pytest.approx(direct, rel=1e-6, abs=1e-6)


def test_a_report_is_written_read_and_shown(run: tuple[Home, Path]) -> None:
    home, folder = run
    assert not has_report(home.path, "r-vd_vae")
    with pytest.raises(WorkbenchError, match="no report yet"):
        read_report(home.path, "other")
    made = make_report(home.path, "r-vd_vae")
    again = read_report(home.path, "r-vd_vae")
    assert again.groups == made.groups and again.figure("retrieval_top1") == made.figure("retrieval_top1")
    written = json.loads((folder / "report.json").read_text())
    assert {"value", "n", "interval", "baseline"} <= written["figures"]["retrieval_top1"].keys()
    assert written["control"]["name"] == "no_contrast" and written["skipped"]
    html = render(Page("t", "s", (), alignment_sections(home.path, "r-vd_vae")))
    for words in (
        "own action found first",
        "no_contrast",
        "The surer half of the windows is off by 12.0 mm, the other by 30.0 mm.",
        "takes shorter than four steps",
        "Nearest robot takes",
        "Map of",
    ):
        assert words in html
    assert html.count("data:image/jpeg") == 2, (
        "the readable clip and the robot window; the clip that is gone is left out"
    )


def test_a_damaged_report_is_one_sentence(run: tuple[Home, Path]) -> None:
    home, folder = run
    make_report(home.path, "r-vd_vae")
    (folder / "report.json").write_text('{"figures": {"x": {}}, "groups": []}')
    with pytest.raises(WorkbenchError, match="damaged"):
        read_report(home.path, "r-vd_vae")
    (folder / "report.json").write_text("{")
    with pytest.raises(WorkbenchError):
        read_report(home.path, "r-vd_vae")


def test_pictures_beside_each_other(run: tuple[Home, Path]) -> None:
    home, folder = run
    exhibits = Exhibits(folder)
    assert exhibits.humans == 2 and exhibits.robots == 1
    with Library(home.path) as library:
        near = exhibits.neighbours(library, 0)
        assert near is not None and len(near.robots) == 1 and near.robots[0].cosine == 0.9
        assert near.human.now.shape == near.human.then.shape and near.human.now.shape[1] >= 320
        assert not np.array_equal(near.human.now, near.human.then) and not near.human.drawn, "an uncalibrated camera"
        assert exhibits.neighbours(library, 1) is None, "its take is gone"
    directions = exhibits.map().direction
    assert set(directions.tolist()) <= set(range(7))


def test_a_run_without_a_matrix_has_none(run: tuple[Home, Path]) -> None:
    home, folder = run
    matrix = matrix_of(home.path, "r-vd_vae")
    assert matrix is not None and matrix.shape[0] == matrix.shape[1] and matrix[5, 5].sum() < matrix[5, -5].sum()
    (folder / "report.npz").unlink()
    assert matrix_of(home.path, "r-vd_vae") is None


# drawing ----------------------------------------------------------------------------------------------------------

DEVICE = {
    "intrinsics": {"color": {"width": 160, "height": 120, "fx": 200.0, "fy": 200.0, "cx": 80.0, "cy": 60.0}},
    "pose": [[0.0, 0.78, -0.62, 1.06], [1.0, 0.0, 0.0, 0.0], [0.0, -0.62, -0.78, 0.8], [0.0, 0.0, 0.0, 1.0]],
}


@settings(max_examples=30)
@given(st.tuples(st.floats(0.2, 0.8), st.floats(-0.3, 0.3), st.floats(0, 0.4)), st.sampled_from([80, 160, 640]))
def test_a_point_goes_into_the_picture_and_back(point: tuple[float, float, float], width: int) -> None:
    rotation, _ = np.linalg.qr(np.array(DEVICE["pose"])[:3, :3])
    rotation *= np.sign(np.diag(rotation.T @ np.array(DEVICE["pose"])[:3, :3]))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, (1.06, 0, 0.8)
    device = {**DEVICE, "pose": pose.tolist()}
    points = np.array([point])
    pixels, depth = project(device, points, width), depth_of(device, points)
    assert pixels is not None and depth is not None and depth[0] > 0
    back = place_at(device, pixels[0], float(depth[0]), width)
    assert back is not None and np.allclose(back, points[0], atol=1e-6)


@pytest.mark.parametrize(
    "device", [None, {}, {"pose": DEVICE["pose"]}, {**DEVICE, "pose": None}, {**DEVICE, "pose": [[1]]}]
)
def test_a_camera_that_is_not_calibrated_draws_nothing(device: dict[str, Any] | None) -> None:
    assert project(device, np.zeros((2, 3)), 160) is None and place_at(device, np.zeros(2), 0.5, 160) is None


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), max_size=5), st.booleans())
def test_any_line_stays_inside_its_picture(points: list[tuple[float, float]], with_nan: bool) -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    pixels = np.array([*points, *([(np.nan, 1.0)] if with_nan else [])], float).reshape(-1, 2)
    draw_way(picture, pixels, (255, 140, 0))
    inside = [p for p in points if 0 <= p[0] <= 39 and 0 <= p[1] <= 29]
    assert picture.any() or not inside


def test_behind_the_camera_there_is_no_pixel() -> None:
    behind = np.array([[1.06, 0.0, 5.0]])
    pixels = project(DEVICE, behind, 160)
    assert pixels is not None and np.isnan(pixels).all()
    assert changed_middle(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)) is None
    assert enlarged(np.zeros((30, 100, 3), np.uint8)).shape == (120, 400, 3)


def test_points_on_a_plane_become_a_chart() -> None:
    svg = scatter({"one <&>": np.random.default_rng(0).normal(size=(30, 2)), "none": np.zeros((0, 2))})
    assert len(list(ElementTree.fromstring(svg).iter("circle"))) == 31
    assert scatter({"none": np.zeros((0, 2))}) == "" and scatter({"same": np.ones((2, 2))})


# the alarm --------------------------------------------------------------------------------------------------------


def curve(**values: list[float]) -> dict[str, tuple[list[float], list[float]]]:
    return {name: ([float(20 * (k + 1)) for k in range(len(v))], v) for name, v in values.items()}


@settings(max_examples=30)
@given(st.lists(st.floats(0.3, 1.0), min_size=1, max_size=80))
def test_a_book_in_use_raises_no_alarm(shares: list[float]) -> None:
    assert collapse(curve(used_share=shares, perplexity=[40.0] * len(shares)), 20 * len(shares)) is None


@settings(max_examples=30)
@given(st.integers(0, 60), st.floats(0.0, 0.24))
def test_few_codes_raise_it_and_one_odd_batch_does_not(healthy: int, share_: float) -> None:
    shares = [0.9] * healthy + [share_] * RECENT
    steps = 20 * len(shares)
    alarm = collapse(curve(used_share=shares), steps)
    late = len([k for k in range(len(shares)) if 20 * (k + 1) >= 0.1 * steps])
    assert (alarm is not None) == (late >= RECENT)
    if alarm is not None:
        assert alarm.kind == "few" and "of the codes" in alarm.what
    assert collapse(curve(used_share=[0.9] * (healthy + 10) + [share_]), steps) is None


def test_falling_variety_is_told_apart_for_people() -> None:
    fine, falls = [40.0] * 30, [40.0] * 15 + [10.0] * 15
    alarm = collapse(curve(perplexity=fine, perplexity_human=falls), 600)
    assert alarm is not None and alarm.human and alarm.kind == "falling" and (alarm.before, alarm.value) == (40.0, 10.0)
    assert "people" in alarm.what
    assert collapse(curve(perplexity=fine, perplexity_human=fine), 600) is None
    assert collapse({}, 100) is None


def test_positions_are_the_newest_of_each() -> None:
    assert positions(curve(perplexity_p1=[1.0, 2.0], perplexity_p2=[3.0], perplexity_p4=[9.0])) == (2.0, 3.0)
    assert positions({}) == ()


def test_a_figure_survives_its_json() -> None:
    figure = Figure("x", "words", 0.5, "share", 10, 2, (0.25, 0.75), 0.1, "chance", False)
    assert Figure.from_json("x", json.loads(json.dumps(figure.to_json()))) == figure
    assert shown_interval(figure) == "25.0 to 75.0 %"
