"""Tips of arms and hands: the same motion gives the same path whoever makes it, at any size and with bad pixels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data import Windows
from models.explain_scenes import Noise, OnScene, Paint, donors, pasted_depth, read_scenes, repainted
from models.normalize import ActionScaler
from models.recipes import VdVaeRecipe
from models.takes import load_takes
from models.tips import APART, PLACE, SEEN, TIP_NUMBERS, Pinhole, read_tips, still_scene, thin
from models.vd_net import whole_path
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo

PINHOLE = Pinhole(1.6, 2.1, 0.5, 0.5)
TABLE_M, ARM_M = 1.0, 0.88
ROWS, COLUMNS = 120, 160
FREE = 8  # pictures before anything reaches in


def scene(ends: NDArray[np.float64], side: str, height: int = ROWS, width: int = COLUMNS) -> NDArray[np.uint16]:
    """(FREE + T, h, w) mm: the free table, then a bar 8 % wide that reaches in from ``side``.

    Its end is at (column, row) shares of the picture and a distance in m.
    """
    rows, columns = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None]
    pictures = [np.full((height, width), TABLE_M)] * FREE
    for column, row, distance in ends:
        picture = np.full((height, width), TABLE_M)
        inside = rows < row if side == "top" else rows > row
        picture[(np.abs(columns - column) < 0.04) & inside] = distance
        pictures.append(picture)
    return np.round(1000 * np.stack(pictures)).astype(np.uint16)


def path(seed: int, count: int = 12) -> NDArray[np.float64]:
    """Ends that wander over the middle of the picture."""
    rng = np.random.default_rng(seed)
    return np.linspace(rng.uniform(0.3, 0.7, 2), rng.uniform(0.3, 0.7, 2), count) @ np.eye(2, 3) + [0, 0, ARM_M]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_an_arm_from_above_and_a_hand_from_below_tell_the_same_motion(seed: int) -> None:
    ends = path(seed)
    arm, hand = (read_tips(scene(ends, side), PINHOLE) for side in ("top", "bottom"))
    true = (ends[-1, :2] - ends[0, :2]) / [PINHOLE.fx, PINHOLE.fy] * ARM_M
    for found in (arm[FREE:], hand[FREE:]):
        assert found[:, SEEN].all()
        np.testing.assert_allclose((found[-1] - found[0])[PLACE], [*true, 0.0], atol=0.012)


def test_lifting_is_told_from_moving_away() -> None:
    """The same place in the picture, nearer: what colours alone cannot tell."""
    ends = np.tile([0.5, 0.5, ARM_M], (10, 1))
    ends[5:, 2] -= 0.1
    way = np.diff(read_tips(scene(ends, "top"), PINHOLE)[[FREE, -1], PLACE], axis=0)[0]
    assert way[2] == pytest.approx(-0.1, abs=0.005) and np.abs(way[:2]).max() < 0.03


def test_the_resolution_does_not_matter() -> None:
    pictures = [scene(path(3), "top", 120 * k, 160 * k) for k in (1, 4)]
    small, large = (read_tips(np.stack([thin(each) for each in taken]), PINHOLE) for taken in pictures)
    np.testing.assert_allclose(small, large, atol=0.012)


def test_missing_readings_and_noise_move_the_tip_little() -> None:
    rng = np.random.default_rng(0)
    clean = scene(path(5), "bottom")
    noisy = (clean + rng.normal(0, 2.0, clean.shape)).astype(np.uint16)
    noisy[rng.random(clean.shape) < 0.1] = 0
    far = np.linalg.norm((read_tips(noisy, PINHOLE) - read_tips(clean, PINHOLE))[:, PLACE], axis=1)
    assert far.max() < 0.02


def test_nothing_is_seen_where_nothing_reaches_in() -> None:
    empty = np.full((6, ROWS, COLUMNS), 1000, np.uint16)
    assert not read_tips(empty, PINHOLE).any()
    assert not read_tips(np.zeros_like(empty), PINHOLE).any()


def test_what_lies_apart_is_told_from_what_is_held() -> None:
    ends = np.tile([0.5, 0.3, ARM_M], (20, 1))
    pictures = scene(ends, "top")
    held = FREE + 8
    pictures[:held, 80:88, 60:70] = 950  # at rest
    pictures[held:, 36:44, 75:85] = 890  # at the tip, in front of the bar's end
    found = read_tips(pictures, PINHOLE)
    assert (found[FREE:held, APART] > 0.5).all() and (found[held:, APART] == 0).all()


def test_a_sliver_at_an_edge_is_no_object() -> None:
    pictures = scene(np.tile([0.5, 0.3, ARM_M], (20, 1)), "top")
    pictures[FREE : FREE + 8, 80:86, 60:62] = 950
    assert not read_tips(pictures, PINHOLE)[:, APART].any()


def test_an_object_that_is_moved_later_is_no_hand() -> None:
    pictures = scene(np.tile([0.5, 0.3, ARM_M], (12, 1)), "top")
    pictures[: FREE + 6, 80:88, 60:70] = 950  # rests, also before the hand comes, and is gone in the end
    found = read_tips(pictures, PINHOLE)
    assert not found[:FREE, SEEN].any() and found[FREE:, SEEN].all() and (found[:FREE, APART] > 0.5).all()


def test_an_arm_whose_root_never_moves_is_still_seen() -> None:
    """Its moving part never crosses the border, because the rest belongs to the still scene."""
    pictures = np.full((20, ROWS, COLUMNS), 1000, np.uint16)
    pictures[:, :30, 70:90] = 880
    for k in range(20):
        pictures[k, 30:50, 40 + 4 * k : 60 + 4 * k] = 880
    found = read_tips(pictures, PINHOLE)
    assert found[:, SEEN].all() and np.diff(found[:, 1]).mean() > 0


def test_intrinsics_that_cannot_be_used_give_no_camera() -> None:
    good = {"width": 160, "height": 120, "fx": 200.0, "fy": 200.0, "cx": 80.0, "cy": 60.0}
    assert Pinhole.of({"color": good}) == Pinhole.of({"depth": good, "color": {}})
    assert Pinhole.of(None) is None and Pinhole.of({"depth": {}}) is None
    assert Pinhole.of({"depth": {**good, "fx": 0.0}}) is None


def write_clip(home: Home, ends: NDArray[np.float64], *, intrinsics: bool = True) -> str:
    """A clip of a hand with colour and depth pictures."""
    shape = (ROWS, COLUMNS)
    specs = [
        StreamSpec("observation.images.front", (*shape, 3), "uint8", rate_hz=10.0),
        StreamSpec("observation.depth.front", shape, "uint16", "mm", rate_hz=10.0),
    ]
    pinhole = {"width": 160, "height": 120, "fx": 256.0, "fy": 252.0, "cx": 80.0, "cy": 60.0}
    devices = {"front": {"intrinsics": {"depth": pinhole}}} if intrinsics else {}
    info = TakeInfo(EpisodeKind.HUMAN, "t", "do it", clock="lockstep", devices=devices)
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(rows_hz=10.0, sync=False))
    for k, depth in enumerate(scene(ends, "bottom")):
        t = 1_000_000_000 + k * 100_000_000
        colour = np.repeat((depth // 4).astype(np.uint8)[..., None], 3, axis=2)
        writer.append("observation.images.front", Frame(k, t, t, 0, colour))
        writer.append("observation.depth.front", Frame(k, t, t, 0, depth))
    return writer.seal(Outcome.SUCCESS).id


class _Mean:
    """An encoder of one number, to keep the test to depth."""

    kind, shape = "mean", (1, 5)

    def encode(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((1, 5), picture.mean() / 255 + 0.1, np.float32)

    def hash(self) -> str:
        return "mean"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path)


def test_windows_carry_the_paths_of_takes_that_have_depth(home: Home) -> None:
    ends = path(7, 12)
    ids = [write_clip(home, ends), write_clip(home, ends, intrinsics=False)]
    with_depth, without = load_takes(home, ids, _Mean(), ("front",), 0.1, with_tips=True)  # type: ignore[arg-type]
    assert with_depth.tips_T5 is not None and with_depth.tips_T5.shape == (20, TIP_NUMBERS)
    assert without.tips_T5 is None
    assert load_takes(home, ids, _Mean(), ("front",), 0.1)[0].tips_T5 is None  # type: ignore[arg-type]
    scalers = {"station": ActionScaler(np.zeros((8, 6)), np.ones((8, 6)))}
    windows = Windows([with_depth, without], 8, scalers=scalers, cameras=("front",), held_out=0.0)
    batch = windows.batch(torch.arange(len(windows.take_W)))
    assert batch.tips_BP5.shape == (38, 9, TIP_NUMBERS)
    assert torch.equal(whole_path(batch.tips_BP5), (batch.take_B == 0) & (batch.row_B >= FREE))
    np.testing.assert_array_equal(batch.tips_BP5[3], with_depth.tips_T5[3:12])
    np.testing.assert_array_equal(batch.tips_BP5[18, 1:], np.repeat(with_depth.tips_T5[19:], 8, axis=0))


def test_what_moves_keeps_its_path_on_another_background() -> None:
    arm, other = scene(path(4), "top"), scene(path(9), "top")
    other[:, 80:88, 60:70] = 950  # an object that the arm's own scene does not have
    arm[:, 100:104, 20:24] = 0  # without readings
    still, onto = still_scene(arm), still_scene(other)
    swapped = np.stack([pasted_depth(picture, still, onto) for picture in arm])
    assert (swapped[0, 80:88, 60:70] == 950).all() and (swapped[:, 100:104, 20:24] == 0).all()
    assert np.array_equal(swapped[FREE:] == 880, arm[FREE:] == 880), "the arm is where it was, and nowhere else"
    far = np.linalg.norm((read_tips(swapped, PINHOLE) - read_tips(arm, PINHOLE))[FREE:, PLACE], axis=1)
    assert far.max() < 0.012


def test_repainted_takes_are_read_at_the_same_times_in_colours_and_depth(home: Home) -> None:
    ids = [write_clip(home, path(seed, 12)) for seed in (7, 8)]
    takes = load_takes(home, ids, _Mean(), ("front",), 0.1, with_tips=True)  # type: ignore[arg-type]
    scalers = {"station": ActionScaler(np.zeros((8, 6)), np.ones((8, 6)))}
    windows = Windows(takes, 8, scalers=scalers, cameras=("front",), held_out=0.0)
    model = SimpleNamespace(cameras=("front",), encoder=_Mean(), recipe=VdVaeRecipe(cameras=("front",)))
    chosen = torch.nonzero((windows.take_W == 0) & (windows.row_W >= FREE))[:, 0]
    plain = windows.batch(chosen)

    def painted(paint: Paint):
        return repainted(home, model, windows, chosen, {0: paint})  # type: ignore[arg-type]

    same, noisy = painted(Paint()), painted(Noise())
    assert torch.equal(same.tips_BP5, plain.tips_BP5) and torch.equal(same.features_BCKF, plain.features_BCKF)
    assert torch.equal(same.future_BCKF, plain.future_BCKF)
    moved = (noisy.tips_BP5 - plain.tips_BP5)[..., PLACE].norm(dim=-1)
    assert 0 < float(moved.max()) < 0.02 and not torch.equal(noisy.features_BCKF, plain.features_BCKF)
    scenes = read_scenes(home, model, windows, [0, 1])  # type: ignore[arg-type]
    own, other = donors(scenes, scenes)[0]
    assert (own.take, other.take) == (0, 1)
    swapped = painted(OnScene(own, other))
    assert float((swapped.tips_BP5 - plain.tips_BP5)[..., PLACE].norm(dim=-1).max()) < 0.012
