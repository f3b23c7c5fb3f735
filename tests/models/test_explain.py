"""What an alignment's report is made from: figures with known answers, the background swap, and a real small model."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from models import explain, explain_swap, train_worker
from models.act_vae import chunk_errors, code_figures, measured_on, watch_codes
from models.by_take import by_take, look, motion_sums
from models.data import Windows
from models.explain_figures import error_sums, metres, reliability, sureness, switch_sums, token_sums
from models.explain_scenes import moving_part, pasted, still_part
from models.judge import r2, ridge
from models.recipes import preset
from models.stages import RunSpec
from models.vd_vae import VdVaeModel, load_vd_vae
from tests.models.conftest import Set
from workbench.core.errors import WorkbenchError


@dataclass
class Explained:
    model_id: str
    model: VdVaeModel
    windows: Windows
    figures: dict
    arrays: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def explained(small_set: Set, tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """A model that has hardly learned anything, explained."""
    torch.set_num_threads(1)
    bases: dict[str, str] = {}
    for stage, ids, steps in (("act_vae", small_set.robot, 30), ("vd_vae", small_set.ids, 4)):
        spec = RunSpec(stage, preset("tiny", stage, steps=steps), ids, small_set.home.path, bases)
        assert train_worker.run(spec.write(), resume=False) == train_worker.DONE
        bases[stage] = spec.model_id
    folder = tmp_path_factory.mktemp("explained")
    assert explain.main([str(small_set.home.path), bases["vd_vae"], str(folder)]) == 0
    model = load_vd_vae(small_set.home, bases["vd_vae"])
    windows, _ = explain.windows_of(small_set.home, model, bases["vd_vae"])
    arrays = dict(np.load(folder / explain.EXHIBITS, allow_pickle=False))
    return Explained(bases["vd_vae"], model, windows, json.loads((folder / explain.FIGURES).read_text()), arrays)


def test_figures_are_those_of_the_same_windows_measured_directly(explained: Explained) -> None:
    found, model, windows = explained.figures, explained.model, explained.windows
    held = measured_on(windows, "robot")[0].all("robot")
    assert found["held_out"] and found["windows"] == len(held)
    seen = look(model, held)
    true, told = metres(model, held.actions_BHA), metres(model, model.act.net.decode(seen.tokens_BN))
    direct = chunk_errors(told, true)
    sums = np.array(list(found["decoded"]["errors"].values())).sum(axis=0)
    assert np.sqrt(sums[1] / sums[0]) == pytest.approx(direct["rmse_mm"], rel=1e-6)
    assert np.sqrt(sums[2] / sums[0]) == pytest.approx(direct["rmse_deg"], rel=1e-6)
    assert sums[3] / sums[0] == pytest.approx(direct["gripper_accuracy"])
    assert np.sqrt(sums[5] / sums[4]) == pytest.approx(direct["final_mm"], rel=1e-6)
    n, errors, values, squares = np.split(np.array(list(found["decoded"]["motion"].values())).sum(axis=0), [1, 4, 7])
    assert (1 - errors / (squares - values**2 / n)).mean() == pytest.approx(r2(told[:, -1, :3], true[:, -1, :3]))
    held_out = {windows.takes[int(take)].episode_id for take in held.take_B}
    assert set(found["retrieval"]["by_take"]) == set(found["decoded"]["errors"]) == held_out
    assert sum(row["n"] for row in found["reliability"]["bins"]) == held.actions_BHA.shape[0] * 6
    assert sum(group["n"] for group in found["sureness"]) == len(held)


def test_pseudo_labels_of_people_are_described_without_their_true_motion(explained: Explained, small_set: Set) -> None:
    human = explained.figures["human"]
    assert human["windows"] > 0 and human["takes"] == 1 and human["codes"]["codes"] == 32
    assert len(human["codes"]["positions"]) == 6 and human["codes"]["dead"] == 32 - human["codes"]["used"]


def test_swap_keeps_what_moves_and_exchanges_what_stands_still() -> None:
    still = np.full((40, 60, 3), 90, np.uint8)
    other = np.full((40, 60, 3), 200, np.uint8)

    def with_blob(x: int) -> np.ndarray:
        picture = still.copy()
        picture[10:20, x : x + 8] = (220, 20, 20)
        return picture

    found = still_part([with_blob(x) for x in range(0, 50, 10)])
    assert np.array_equal(found, still)
    moved = pasted(with_blob(25), found, other)
    assert (
        (moved[10:20, 25:33] == (220, 20, 20)).all() and (moved[30:, :] == 200).all() and (moved[:, 45:] == 200).all()
    )
    assert np.array_equal(pasted(with_blob(25), found, found), with_blob(25))
    mask = moving_part(with_blob(25), found)
    assert mask[10:20, 25:33].all() and mask.sum() <= 12 * 10


def test_swap_of_real_takes_compares_with_a_sham_and_with_another_take(explained: Explained, small_set: Set) -> None:
    swap = explained.figures["swap"]
    share = {name: np.array(list(swap[name].values())).sum(axis=0) for name in ("swap", "sham", "noise", "other")}
    agreement = {name: same / of for name, (same, of) in share.items()}
    assert swap["n"] > 10 and share["swap"][1] == 6 * swap["n"]
    assert agreement["sham"] > agreement["other"] and 0 <= agreement["swap"] <= 1
    assert agreement["noise"] > agreement["other"]
    assert swap["moved_mm"]["sham"] < swap["moved_mm"]["other"]
    assert swap["error_mm"].keys() == {"plain", "swap", "sham", "noise"} and swap["error_mm"]["plain"] > 0


def test_swap_needs_two_takes(explained: Explained, small_set: Set) -> None:
    model = explained.model
    alone = Windows(explained.windows.takes[:1], 8, scalers=model.act.scalers, cameras=model.cameras, held_out=0.0)
    found = explain_swap.swap_figures(small_set.home, model, alone, torch.arange(len(alone.take_W)))
    assert found["n"] == 0 and "two takes" in found["reason"]


def test_exhibits_lead_to_different_takes_and_to_places_on_the_way(explained: Explained) -> None:
    arrays, windows = explained.arrays, explained.windows
    assert len(arrays["map.xy"]) == len(arrays["map.human"]) == len(arrays["map.told"])
    assert arrays["map.human"].any() and not arrays["map.human"].all()
    takes = {take.episode_id: take for take in windows.takes}
    for robots, times, paths, cosines in zip(
        arrays["near.robot"], arrays["near.robot_ns"], arrays["near.path"], arrays["near.cosine"], strict=True
    ):
        named = [name for name in robots.tolist() if name]
        assert len(set(named)) == len(named) >= 1 and not any(takes[name].is_human for name in named)
        assert (np.diff(cosines[: len(named)]) <= 1e-9).all()
        for name, (now, then), path in zip(named, times, paths, strict=False):
            row = int(np.searchsorted(takes[name].t_ns, now))
            assert takes[name].t_ns[row] == now < then and np.allclose(path[0], takes[name].pose_T8[row, :3])
    assert all(takes[name].is_human for name in arrays["near.human"].tolist())
    assert np.allclose(arrays["drawn.told"][:, 0], arrays["drawn.path"][:, 0])


def test_a_model_that_is_not_there_is_told_in_a_sentence(
    small_set: Set, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain.main([str(small_set.home.path), "0123456789abcdef" * 2, str(tmp_path)]) == 1
    assert "0123456789abcdef" * 2 in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_without_people_the_report_says_so(explained: Explained, small_set: Set, tmp_path: Path) -> None:
    """An empty human set trains and is explained; nothing of people is shown."""
    spec = RunSpec(
        "vd_vae",
        preset("tiny", "vd_vae", steps=3),
        small_set.robot,
        small_set.home.path,
        {"act_vae": explain.read_record(small_set.home, explained.model_id).bases["act_vae"]},
    )
    assert train_worker.run(spec.write(), resume=False) == train_worker.DONE
    assert "perplexity_human" not in (spec.folder / "progress.jsonl").read_text()
    path = explain.write(small_set.home, spec.model_id, tmp_path)
    assert json.loads(path.read_text())["human"] == {"windows": 0}
    arrays = np.load(tmp_path / explain.EXHIBITS, allow_pickle=False)
    assert "near.human" not in arrays.files and not arrays["map.human"].any()


# parts with known answers ---------------------------------------------------------------------------------------------


def test_switches_are_matched_by_direction_and_timed() -> None:
    def chunk(*signs: float) -> np.ndarray:
        actions = np.zeros((8, 7))
        actions[:, 6] = signs
        return actions

    closes_at = {at: chunk(*([1.0] * at + [-1.0] * (8 - at))) for at in (2, 3, 6)}
    opens, stays = chunk(*([-1.0] * 4 + [1.0] * 4)), chunk(*[1.0] * 8)
    true = np.stack([closes_at[3], closes_at[2], closes_at[3], stays, stays])
    told = np.stack([closes_at[6], closes_at[2], opens, stays, closes_at[2]])
    assert switch_sums(["a"] * 5, told, true) == {"a": [3.0, 2.0, 3.0, 2.0, 1.0]}


def test_sums_add_up_by_name_in_order_of_appearance() -> None:
    found = by_take(["b", "a", "b"], np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert list(found.items()) == [("b", [6.0, 8.0]), ("a", [3.0, 4.0])]
    motion = motion_sums(["a", "a"], np.zeros((2, 3)), np.array([[1.0, 0, 2.0], [3.0, 0, 0]]))
    assert motion == {"a": [2, 10, 0, 4, 4, 0, 2, 10, 0, 4]}
    errors = error_sums(["a"], np.zeros((1, 2, 7)), np.full((1, 2, 7), 0.001) * [1, 0, 0, 0, 0, 0, 1])
    assert errors["a"] == pytest.approx([2, 2, 0, 0, 1, 1])
    tokens = token_sums(["a", "a", "b"], torch.tensor([[1, 2], [0, 0], [1, 5]]), torch.tensor([[1, 2], [1, 3], [1, 4]]))
    assert tokens == {"a": [2, 3, 4], "b": [1, 1, 2]}


class _Known:
    """A model of which the probability of every token is known."""

    def __init__(self, chance: torch.Tensor) -> None:
        self.net, self._chance = self, chance

    def log_chance(self, _latent: torch.Tensor) -> torch.Tensor:
        return self._chance.log()


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    generator = torch.Generator().manual_seed(0)
    sure = torch.rand(20_000, generator=generator) * 0.8 + 0.1
    right = torch.rand(20_000, generator=generator) < sure
    chance = torch.stack([sure, 1 - sure], dim=1)[:, None]
    seen = type("Seen", (), {"latent_BND": None, "tokens_BN": torch.zeros(20_000, 1, dtype=torch.long)})()
    wrong = (~right).long()[:, None]
    honest = reliability(_Known(chance), seen, wrong)
    boastful = reliability(_Known(torch.stack([torch.full_like(sure, 0.99), sure * 0.01], dim=1)[:, None]), seen, wrong)
    assert honest["ece"] < 0.02 and boastful["ece"] > 0.3 and len(boastful["bins"]) == 1
    assert sum(row["n"] for row in honest["bins"]) == honest["n"] == 20_000


def test_sure_and_unsure_windows_are_apart() -> None:
    confidence = torch.linspace(0, 1, 40)
    true = np.zeros((40, 2, 7))
    told = true.copy()
    told[..., 0] = (1 - confidence.numpy())[:, None] * 0.1
    rows = sureness(confidence, told, true)
    assert [row["n"] for row in rows] == [10] * 4
    assert all(a["rmse_mm"] > b["rmse_mm"] and a["confidence"] < b["confidence"] for a, b in itertools.pairwise(rows))


def test_book_use_by_position() -> None:
    tokens = torch.stack([torch.zeros(64, dtype=torch.long), torch.arange(64) % 8], dim=1)
    figures = code_figures(tokens, 16)
    assert figures["used"] == 8 and figures["dead"] == 8 and figures["n"] == 64
    assert [part["used"] for part in figures["positions"]] == [1, 8]
    assert figures["positions"][1]["perplexity"] == pytest.approx(8.0)
    watched = watch_codes(tokens, 16)
    assert watched["perplexity_p1"] == pytest.approx(1.0) and watched["perplexity_p2"] == pytest.approx(8.0)
    assert watched["used_share"] == 0.5 and watched["perplexity"] == pytest.approx(figures["perplexity"])
    assert watch_codes(tokens[:0], 16) == {} and set(watch_codes(tokens, 16, "_human")) == {
        "used_share_human",
        "perplexity_human",
    }


def test_a_ridge_of_wrong_rows_finds_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=generator)
    y = x @ torch.randn(4, 2, generator=generator)
    assert r2(ridge(x, y, x), y.double().numpy()) > 0.99
    assert r2(ridge(x[torch.randperm(400, generator=generator)], y, x), y.double().numpy()) < 0.05


def test_nothing_to_measure_on_is_refused(explained: Explained, small_set: Set) -> None:
    windows = Windows(
        [take for take in explained.windows.takes if take.is_human], 8, scalers=explained.model.act.scalers
    )
    with pytest.raises(WorkbenchError, match="none of the model's robot takes"):
        explain.explain(small_set.home, explained.model_id, explained.model, windows)
