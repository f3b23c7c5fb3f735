"""Every control really changes what it names and nothing else: losses, gradients, rows, optimiser groups, labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models import align, controls, judge, train_worker
from models.data import Batch, Windows
from models.labels import read_labels
from models.ntp import NtpStage
from models.recipes import VdVaeRecipe, preset
from models.registry import read_record
from models.rf import RfStage
from models.scoring import read_clips, score_human
from models.stages import RunSpec
from models.takes import load_takes
from models.train import Trainer
from models.vd_vae import VdVaeStage, load_vd_vae
from storage.episode import Episode
from storage.evaluation import write_truth
from tests.models.conftest import Set, make_story

MATCHING = {"km_token_weight": 1.0, "km_velocity_weight": 1.0, "km_regression_weight": 1.0, "human_share": 0.0}


@dataclass(frozen=True)
class Chain:
    act_vae: str
    vd_vae: str
    ntp: str
    rf: str

    @property
    def bases(self) -> dict[str, str]:
        return {"act_vae": self.act_vae, "vd_vae": self.vd_vae, "ntp": self.ntp}


@pytest.fixture(scope="module")
def chain(small_set: Set) -> Chain:
    torch.set_num_threads(1)
    bases: dict[str, str] = {}
    for stage, steps in (("act_vae", 100), ("vd_vae", 5), ("ntp", 3), ("rf", 3)):
        ids = small_set.robot if stage == "act_vae" else small_set.ids
        spec = RunSpec(stage, preset("tiny", stage, steps=steps), ids, small_set.home.path, dict(bases))
        assert train_worker.run(spec.write(), resume=False) == train_worker.DONE
        bases[stage] = spec.model_id
    return Chain(**bases)


@pytest.fixture
def told(small_set: Set) -> Iterator[None]:
    """What the hands of the synthetic clips really did, for one test only: the takes are shared with other tests."""
    for number, episode_id in enumerate(small_set.human):
        story = make_story(100 + number)
        with Episode.open(small_set.home, episode_id) as episode:
            times = episode.times("observation.images.front")[1]
        poses = np.concatenate([story.path, np.tile([1.0, 0, 0, 0], (len(times), 1)), story.gripper[:, None]], axis=1)
        write_truth(small_set.home, episode_id, times, poses)
    yield
    for episode_id in small_set.human:
        (small_set.home.evaluation / f"{episode_id}.npz").unlink()


# alignment ----------------------------------------------------------------------------------------------------------


def _aligning(small_set: Set, chain: Chain, variant: str = "", **changes: object) -> VdVaeStage:
    recipe = preset("tiny", "vd_vae", batch=32, cluster_shuffle=0.0, feature_noise=0.0, **changes)
    assert isinstance(recipe, VdVaeRecipe)
    recipe = recipe.variant(variant) if variant else recipe
    spec = RunSpec("vd_vae", recipe, small_set.ids, small_set.home.path, {"act_vae": chain.act_vae})
    return VdVaeStage(spec, small_set.home)


def _loss(stage: VdVaeStage | RfStage, seed: int = 0) -> tuple[float, dict[str, float]]:
    torch.manual_seed(seed)
    stage.module.train()
    stage.module.zero_grad(set_to_none=True)
    total, figures = stage.loss(torch.Generator().manual_seed(seed), 0)
    total.backward()
    return float(total.detach()), figures


@pytest.mark.parametrize(
    ("variant", "left_out"),
    [
        ("no_contrast", {"contrast": 0.1}),
        ("contrast_only", {"decode": 1.0, "token": 0.1}),
        ("reconstruction_only", {"contrast": 0.1, "decode": 1.0, "token": 0.1}),
    ],
)
def test_a_variant_of_the_alignment_lacks_exactly_its_losses(
    small_set: Set, chain: Chain, variant: str, left_out: dict[str, float]
) -> None:
    whole, figures = _loss(_aligning(small_set, chain))
    stage = _aligning(small_set, chain, variant)
    less, _ = _loss(stage)
    assert whole - less == pytest.approx(sum(figures[name] * weight for name, weight in left_out.items()), abs=1e-4)
    tied = stage.main.net.logit_scale.grad
    assert (tied is None or float(tied.abs()) == 0.0) == ("contrast" in left_out)


def test_supervision_alone_predicts_no_pictures_and_sees_no_people(small_set: Set, chain: Chain) -> None:
    for variant, predicts in (("", True), ("supervised_only", False)):
        stage = _aligning(small_set, chain, variant)
        _loss(stage)
        forward = [p.grad for p in stage.main.net.forward_model.parameters()]
        assert any(g is not None and bool((g != 0).any()) for g in forward) == predicts


def test_without_people_no_row_and_no_statistic_comes_from_them(
    small_set: Set, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = {}
    for variant in ("", "no_human"):
        stage = _aligning(small_set, chain, variant)
        drawn: list[Batch] = []
        sample = stage.windows.train.sample

        def draw(*values: object, _sample=sample, _drawn=drawn) -> Batch:
            _drawn.append(_sample(*values))
            return _drawn[-1]

        monkeypatch.setattr(stage.windows.train, "sample", draw)
        _loss(stage)
        assert bool(drawn[0].is_human_B.any()) == (variant == "")
        means[variant] = stage.main.net.mean_F
        robot = stage.windows.train.all("robot", 4000).features_BCKF.flatten(0, 2).mean(dim=0)
        assert torch.allclose(means[variant], robot, atol=1e-4) == (variant == "no_human")


# fine-tuning --------------------------------------------------------------------------------------------------------


def _tuning(small_set: Set, chain: Chain, **changes: object) -> RfStage:
    recipe = preset("tiny", "rf", batch=24, outside_share=0.0, **{**MATCHING, **changes})
    new, old = small_set.robot[:4], small_set.robot[4:]
    spec = RunSpec("rf", recipe, new, small_set.home.path, {**chain.bases, "rf": chain.rf}, old)
    return RfStage(spec, small_set.home)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, ("km_token", "km_velocity", "km_regression")),
        ({"km_velocity_weight": 0.0, "km_regression_weight": 0.0}, ("km_token",)),
        ({"km_token_weight": 0.0, "km_velocity_weight": 0.0, "km_regression_weight": 0.0}, ()),
    ],
)
def test_matching_pulls_by_what_is_asked_for(
    small_set: Set, chain: Chain, changes: dict[str, float], kept: tuple[str, ...]
) -> None:
    stage = _tuning(small_set, chain, **changes)
    with torch.no_grad():
        for parameter in stage.net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    total, figures = _loss(stage)
    recipe = stage.recipe
    own = figures["flow"] * recipe.flow_weight + figures["token"] * recipe.token_weight
    own += figures["regression"] * recipe.regression_weight + figures["keyframe"] * recipe.keyframe_weight
    assert total - own == pytest.approx(sum(figures[name] for name in kept), rel=1e-3, abs=1e-3)
    assert (stage.reference is None) == (not kept)


def test_relative_matching_weighs_each_pull_like_its_loss(small_set: Set, chain: Chain) -> None:
    changes = {"km_token_weight": 0.0, "km_velocity_weight": 0.0, "regression_weight": 7.0}
    totals = {}
    for relative in (False, True):
        stage = _tuning(small_set, chain, km_relative=relative, **changes)
        with torch.no_grad():
            stage.net.ntp.backbone.regression.bias.add_(0.3)
        totals[relative], figures = _loss(stage)
    assert totals[True] - totals[False] == pytest.approx(6.0 * figures["km_regression"], rel=1e-3)


@pytest.mark.parametrize(("share", "old_rows"), [(0.0, 0), (0.25, 6)])
def test_replay_draws_its_share_of_old_rows(small_set: Set, chain: Chain, share: float, old_rows: int) -> None:
    stage = _tuning(small_set, chain, replay_share=share)
    batch, new = stage._draw(torch.Generator().manual_seed(0))
    takes = [stage.data.windows.takes[int(take)].episode_id for take in batch.take_B]
    assert sum(take in small_set.robot[4:] for take in takes) == old_rows and len(new) == 24 - old_rows


def _moved(stage: RfStage | NtpStage, steps: int, folder: object) -> dict[str, float]:
    """Largest movement of every parameter over a few optimiser steps."""
    before = {name: p.detach().clone() for name, p in stage.module.named_parameters()}
    trainer = Trainer(stage, folder)  # type: ignore[arg-type]
    for _ in range(steps):
        trainer._one_step()
    return {name: float((p.detach() - before[name]).abs().max()) for name, p in stage.module.named_parameters()}


def test_a_frozen_backbone_moves_nothing_but_the_flow_head(small_set: Set, chain: Chain, tmp_path) -> None:
    moved = _moved(_tuning(small_set, chain, backbone_lr_factor=0.0), 2, tmp_path)
    assert {name.split(".")[0] for name, way in moved.items() if way > 0} == {"flow"}


def test_selectors_learn_faster_and_the_rest_slower_as_told(small_set: Set, chain: Chain, tmp_path) -> None:
    """The first step of Adam moves a parameter by its learning rate, so the way tells the rate."""
    plain = {"weight_decay": 0.0, "warmup": 0}
    usual = _moved(_tuning(small_set, chain, **plain), 1, tmp_path / "a")
    fast = _moved(_tuning(small_set, chain, selector_lr_factor=10.0, tune_lr_factor=0.5, **plain), 1, tmp_path / "b")
    select, rest = "ntp.backbone.select.thing.bias", "ntp.backbone.look.bias"
    assert fast[select] == pytest.approx(10.0 * usual[select], rel=0.02)
    assert fast[rest] == pytest.approx(0.5 * usual[rest], rel=0.02)
    flow = max((name for name in usual if name.startswith("flow.")), key=lambda name: usual[name])
    assert fast[flow] == pytest.approx(0.5 * usual[flow], rel=0.02)


def test_faster_selectors_keep_every_parameter_once_and_their_decay_per_step(small_set: Set, chain: Chain) -> None:
    stage = _tuning(small_set, chain, selector_lr_factor=10.0, tune_lr_factor=0.3)
    groups = stage.parameters()
    every = [id(p) for group in groups for p in group["params"]]
    assert len(every) == len(set(every)) == sum(1 for _ in stage.net.parameters())
    select = stage.net.ntp.backbone.select.thing.weight
    (mine,) = [group for group in groups if any(p is select for p in group["params"])]
    assert mine["lr_factor"] == pytest.approx(10.0)
    assert mine["lr_factor"] * mine["weight_decay"] == pytest.approx(0.3 * stage.recipe.weight_decay)


def test_the_usual_recipe_has_the_usual_groups(small_set: Set, chain: Chain) -> None:
    groups = _tuning(small_set, chain).parameters()
    assert [group["lr_factor"] for group in groups] == [1.0] * 4


def _of_one_more_task(
    small_set: Set, chain: Chain, colour: bool = False, **changes: object
) -> tuple[RfStage, set[str]]:
    """A fine-tuning whose new takes carry an instruction that no rehearsed take does; and what they say.

    Args:
        colour: everything with the colour of one take is new, a word that the old sentences lack.
    """
    takes = {take.episode_id: take.instruction for take in _tuning(small_set, chain).data.windows.takes}
    words = takes[small_set.robot[0]].split(" on the ")[0] if colour else takes[small_set.robot[0]]
    new = {said for said in takes.values() if said.startswith(words)}
    recipe = preset("tiny", "rf", batch=24, warmup=0, **{**MATCHING, "replay_share": 0.5, **changes})
    mine, old = (tuple(i for i, said in takes.items() if (said in new) is wanted) for wanted in (True, False))
    bases = {**chain.bases, "rf": chain.rf}
    return RfStage(RunSpec("rf", recipe, mine, small_set.home.path, bases, old), small_set.home), new


def test_protected_instructions_are_read_as_before_while_a_new_one_is_learned(
    small_set: Set, chain: Chain, tmp_path
) -> None:
    stage, new = _of_one_more_task(small_set, chain, colour=True, protect_old=True, selector_lr_factor=4.0)
    net = stage.net.ntp
    old = [name for name in stage.model.instructions if name not in new]
    assert old and stage._old_IE is not None and len(stage._old_IE) == len(old)
    vectors = {name: torch.from_numpy(net.embed(name)) for name in stage.model.instructions}
    before = {name: [w.detach() @ t[part] for w, part in net.backbone.said_weights()] for name, t in vectors.items()}
    moved = _moved(stage, 4, tmp_path)
    assert moved["ntp.backbone.look.weight"] > 0, "the rest learns too"
    for name, t in vectors.items():
        ways = [
            float((weight.detach() @ t[part] - then).abs().max())
            for (weight, part), then in zip(net.backbone.said_weights(), before[name], strict=True)
        ]
        assert (max(ways) < 1e-4) == (name not in new), (name, ways)
        assert name not in new or ways[0] > 1e-3, "what the new thing selects"
    every = [id(p) for group in stage.parameters() for p in group["params"]]
    assert len(every) == len(set(every)) == sum(1 for _ in stage.net.parameters())


def test_a_sentence_made_of_old_ones_may_still_be_learned(small_set: Set, chain: Chain) -> None:
    """Known thing, known place, never together: its vector is a sum of old ones, protected it could not be learned."""
    joined, _ = _of_one_more_task(small_set, chain, protect_old=True)
    assert joined._kept is None
    apart, _ = _of_one_more_task(small_set, chain, colour=True, protect_old=True)
    assert apart._kept is not None


def test_a_new_picture_is_not_matched_under_its_own_instruction(small_set: Set, chain: Chain) -> None:
    """The frozen copy is wrong there: nobody showed it the task, or somebody has just corrected its answer."""
    stage, new = _of_one_more_task(small_set, chain, km_replayed=True)
    (name,) = new
    own = torch.from_numpy(stage.net.ntp.embed(name))
    batch, rows = stage._draw(torch.Generator().manual_seed(0))
    said, asks = stage._said(batch, len(rows))
    assert bool(asks.all()) and not bool((said == own).all(dim=1).any()) and len(batch) > len(rows)
    stage = _tuning(small_set, chain, km_replayed=True, replay_share=0.5)  # more takes of tasks it knows
    batch, rows = stage._draw(torch.Generator().manual_seed(0))
    said, asks = stage._said(batch, len(rows))
    same = (said == batch.text_BE).all(dim=1) & asks
    assert not bool(same[: len(rows)].any()) and bool(same[len(rows) :].any())


# measuring ----------------------------------------------------------------------------------------------------------


def test_sums_by_take_make_the_figures_of_the_scorer(small_set: Set, chain: Chain, told: None) -> None:
    found = controls.measure_alignment(small_set.home, chain.vd_vae, small_set.human, gallery=24)
    scored = score_human(small_set.home, chain.vd_vae, small_set.human)
    sums = np.array(list(found["human"].values()))
    assert len(sums) == scored["clips"] and sums[:, 0].sum() == scored["n"]
    n, errors, values, squares = np.split(sums.sum(axis=0), [1, 4, 7])
    assert (1 - errors / (squares - values**2 / n)).mean() == pytest.approx(scored["human_r2"], abs=1e-6)
    hits = np.array(list(found["retrieval"].values()))
    assert (hits[:, 0] <= hits[:, 1]).all() and (hits[:, 1] <= hits[:, 2]).all() and hits[:, 2].sum() % 24 == 0
    assert 1 <= found["distinct"] <= 24 and 1 <= found["codes_used"] <= found["codes"]
    held_out = {episode for episode, _ in read_record(small_set.home, chain.vd_vae).data} - set(small_set.human)
    assert set(found["retrieval"]) < held_out


def test_real_clips_have_no_truth_to_be_measured_by(small_set: Set, chain: Chain) -> None:
    assert controls.measure_alignment(small_set.home, chain.vd_vae, (), gallery=24)["human"] == {}


def test_ranks_merge_ties_and_count_equals_against_the_model() -> None:
    tokens = torch.tensor([[1, 1], [1, 1], [2, 2], [3, 3]])
    items = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    ranks, cosines = judge.ranks(items, items, tokens)
    assert cosines.shape == (4, 3) and ranks.tolist() == [0, 0, 1, 1]


def test_an_oracle_labels_clips_by_what_the_hand_did(small_set: Set, chain: Chain, told: None) -> None:
    model = load_vd_vae(small_set.home, chain.vd_vae)
    takes = load_takes(small_set.home, small_set.ids, model.encoder, ("front", "wrist"), model.recipe.step_s)
    windows = Windows(takes, model.recipe.horizon, scalers=model.act.scalers)
    before, _ = align.label(small_set.home, chain.vd_vae, windows)
    assert controls.make_oracle(small_set.home, chain.vd_vae, "f" * 32, small_set.human) == len(small_set.human)
    assert torch.equal(align.label(small_set.home, chain.vd_vae, windows)[0], before), "the alignment itself changed"
    after, confidence = align.label(small_set.home, "f" * 32, windows)
    human = windows.is_human_W
    clips = read_clips(small_set.home, model, small_set.human)
    true = torch.from_numpy(model.act.scaler.normalise(clips.true_WH7))
    assert torch.equal(after[human], model.act.net.encode(true)[1]) and bool((confidence[human] == 1).all())
    assert torch.equal(after[~human], before[~human])
    decoded = model.act.scaler.invert(model.act.net.decode(after[human]).numpy())[:, -1, :3]
    assert (
        judge.r2(decoded, clips.true_WH7[:, -1, :3])
        > 0.3 + score_human(small_set.home, chain.vd_vae, small_set.human)["human_r2"]
    )
    labels = read_labels(small_set.home, "f" * 32, next(take for take in takes if take.is_human))
    assert labels is not None and read_record(small_set.home, "f" * 32).bases["act_vae"] == chain.act_vae
