"""The window's own widgets, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PyQt6.QtCore import QPoint, Qt
from PyQt6.QtGui import QColor
from PyQt6.QtWidgets import QLineEdit, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from ui import words
from ui.style import mix
from ui.theme import DARK, LIGHT, Colours, Theme, ThemeChoice
from ui.widgets.picture import DepthColours, Picture
from ui.widgets.plots import axis_groups
from ui.widgets.rows import Column, RowsModel
from ui.widgets.steer import SteerPad
from ui.widgets.timeline import Timeline, bands_of
from ui.widgets.wall import boxes
from workbench.core.types import arm_axes


def luminance(colour: str) -> float:
    """WCAG 2 relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=lambda c: c.name)
def test_words_are_readable_on_every_ground(colours: Colours) -> None:
    for ground in (colours.window, colours.surface, colours.raised):
        assert contrast(colours.text, ground) >= 7
        assert contrast(colours.dim, ground) >= 4.5
    for fill in (colours.good, colours.bad, colours.warn, colours.busy):
        assert contrast(colours.on_state, fill) >= 4.5
        assert contrast(fill, colours.surface) >= 4.5
    assert contrast(colours.on_accent, colours.accent) >= 4.5


def test_states_differ_by_word_and_symbol_not_by_colour_alone() -> None:
    for look_up, names in (
        (words.driver_state, ("parked", "ready", "driving", "holding", "correcting", "stopped")),
        (words.job_state, ("queued", "running", "done", "failed", "cancelled")),
        (words.recorder_state, ("idle", "recording", "sealing", "faulted")),
    ):
        shown = [look_up(name) for name in names]
        assert len({state.word for state in shown}) == len(names)
        assert len({state.symbol for state in shown}) == len(names)


def test_theme_follows_choice(theme: Theme, qtbot: QtBot) -> None:
    with qtbot.waitSignal(theme.changed):
        theme.choose(ThemeChoice.DARK)
    assert theme.colours is DARK
    theme.choose(ThemeChoice.LIGHT)
    assert theme.colours is LIGHT


def test_picture_shows_the_pixels_it_was_given(qtbot: QtBot, theme: Theme) -> None:
    picture = Picture("Front camera", theme)
    qtbot.addWidget(picture)
    picture.resize(400, 200)
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32] = (200, 30, 10)
    pixels[:, 32:] = (10, 60, 220)
    picture.show_pixels(pixels)
    area = picture.picture_area()
    assert abs(area.width() / area.height() - 64 / 48) < 0.02, "the shape of the picture is kept"
    shot = picture.grab().toImage()
    left, right = area.center() - QPoint(area.width() // 4, 0), area.center() + QPoint(area.width() // 4, 0)
    assert shot.pixelColor(left) == QColor(200, 30, 10)
    assert shot.pixelColor(right) == QColor(10, 60, 220)
    assert picture.accessibleName() == "Front camera"
    picture.set_facts("30 fps", "Camera front is offline")
    assert picture.accessibleDescription() == "Camera front is offline"


def test_picture_keeps_its_pixels_alive(qtbot: QtBot, theme: Theme) -> None:
    picture = Picture("Depth", theme)
    qtbot.addWidget(picture)
    picture.resize(200, 150)
    picture.show_pixels(np.full((120, 160), 500, np.uint16))
    before = picture.grab().toImage().pixelColor(100, 75)
    rubbish = [np.random.default_rng(i).integers(0, 255, (120, 160, 4), np.uint8) for i in range(50)]
    assert picture.grab().toImage().pixelColor(100, 75) == before
    assert len(rubbish) == 50


def test_depth_near_is_brighter_than_far_and_no_reading_is_grey() -> None:
    depth = np.linspace(400, 1400, 160 * 120).astype(np.uint16).reshape(120, 160)
    depth[0, 0] = 0
    colours = DepthColours()
    for _ in range(20):
        painted = colours.paint(depth)
    names = [f"#{int(painted[y, 80]) & 0xFFFFFF:06x}" for y in (5, 60, 115)]
    assert luminance(names[0]) > luminance(names[1]) > luminance(names[2])
    assert painted[0, 0] == 0xFF3A414A
    assert abs(colours.near_mm - 420) < 60 and abs(colours.far_mm - 1380) < 120


@given(st.integers(1, 5), st.integers(240, 3000), st.integers(160, 2000))
def test_pictures_stay_inside_the_wall_and_do_not_overlap(count: int, width: int, height: int) -> None:
    places = boxes(count, width, height)
    assert len(places) == count
    for i, box in enumerate(places):
        assert box.width() > 0 and box.height() > 0
        assert box.left() >= 0 and box.right() < width and box.top() >= -1 and box.bottom() <= height
        assert not any(box.intersects(other) for other in places[i + 1 :])


def test_steering_hands_over_keys_and_lets_go_when_attention_leaves(qtbot: QtBot, theme: Theme) -> None:
    said: list[frozenset[str]] = []
    window = QWidget()
    column = QVBoxLayout(window)
    pad, other = SteerPad(theme, said.append), QLineEdit()
    column.addWidget(pad)
    column.addWidget(other)
    qtbot.addWidget(window)
    window.show()
    qtbot.keyPress(pad, Qt.Key.Key_W)
    assert said == [], "switched off, it takes no key"
    pad.switch(True)
    window.activateWindow()
    qtbot.waitUntil(pad.hasFocus)
    qtbot.keyPress(pad, Qt.Key.Key_W)
    qtbot.keyPress(pad, Qt.Key.Key_R)
    qtbot.keyRelease(pad, Qt.Key.Key_W)
    assert said == [{"w"}, {"w", "r"}, {"r"}]
    other.setFocus()
    qtbot.waitUntil(lambda: said[-1] == frozenset())
    pad.switch(True)
    qtbot.keyPress(pad, Qt.Key.Key_Space)
    assert said[-1] == {"space"}
    pad.switch(False)
    assert said[-1] == frozenset()


def test_on_the_drive_page_space_is_not_the_gripper(qtbot: QtBot, theme: Theme) -> None:
    said: list[frozenset[str]] = []
    pad = SteerPad(theme, said.append, gripper_key="g")
    qtbot.addWidget(pad)
    pad.show()
    pad.switch(True)
    qtbot.keyPress(pad, Qt.Key.Key_Space)
    assert said == []
    qtbot.keyPress(pad, Qt.Key.Key_G)
    assert said == [{"space"}]


def test_timeline_by_mouse_and_keys(qtbot: QtBot, theme: Theme) -> None:
    timeline = Timeline(theme)
    qtbot.addWidget(timeline)
    timeline.resize(424, 46)
    assert not timeline.isEnabled()
    timeline.set_take(np.arange(101) / 10)
    timeline.show()
    qtbot.mouseClick(timeline, Qt.MouseButton.LeftButton, pos=QPoint(12 + 200, 14))
    assert timeline.value() == 50
    qtbot.keyClick(timeline, Qt.Key.Key_Right)
    assert timeline.value() == 51
    qtbot.keyClick(timeline, Qt.Key.Key_End)
    assert timeline.value() == 100
    assert "row 101 of 101" in timeline.accessibleDescription()


@given(st.lists(st.integers(0, 2), max_size=60))
def test_bands_cover_exactly_the_ticks_of_their_code(codes: list[int]) -> None:
    bands = bands_of(np.array(codes, np.float32), {1: ("busy", "you"), 2: ("good", "policy")})
    painted = [0] * len(codes)
    for band in bands:
        for i in range(round(band.start * len(codes)), round(band.end * len(codes))):
            painted[i] = {"busy": 1, "good": 2}[band.colour]
    assert painted == codes


def test_axes_are_grouped_without_loss() -> None:
    axes = (*arm_axes(6), *arm_axes(6, "left."), "force")
    groups = axis_groups(axes)
    assert sorted(i for indexes in groups.values() for i in indexes) == list(range(len(axes)))
    assert [axes[i] for i in groups["Tool position (m)"]] == [
        "ee.x", "ee.y", "ee.z", "left.ee.x", "left.ee.y", "left.ee.z",
    ]  # fmt: skip
    assert groups["Other"] == [len(axes) - 1]


def test_a_hundred_thousand_rows_make_words_only_for_what_is_asked(theme: Theme, qtbot: QtBot) -> None:
    made: list[int] = []

    def text(number: int) -> str:
        made.append(number)
        return f"take {number}"

    model: RowsModel[int] = RowsModel(theme, (Column("Take", text),), str, str)
    assert model.replace(tuple(range(100_000))) is True
    assert made == []
    assert model.data(model.index(77_777, 0)) == "take 77777"
    assert made == [77_777]
    assert model.replace(tuple(range(100_000))) is False, "the same rows again disturb nothing"


@given(st.floats(0, 1e6))
def test_durations_are_readable(seconds: float) -> None:
    assert len(words.duration(seconds)) <= 10
    assert words.clock_time(seconds).count(":") == 1


def test_mix_stays_a_colour() -> None:
    assert mix("#000000", "#ffffff", 0.5) in ("#808080", "#7f7f7f")
    assert mix("#123456", "#ffffff", 0.0) == "#123456"
