"""The alignment: what its losses mean, what it ignores, and that it reads actions off pictures better than chance."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from models import align, labels, train_worker
from models.act_vae import ActVae
from models.data import Windows, load_takes
from models.recipes import ActVaeRecipe, VdVaeRecipe, preset
from models.registry import read_record
from models.stages import RunSpec
from models.train import Result, Trainer
from models.vd_net import Glance, VdVae, clashes, contrast, shuffle_clusters
from models.vd_vae import VdVaeStage, bare_rows, glance_all, load_vd_vae, present_cameras, seen_cameras
from tests.models.conftest import Set
from workbench.core.errors import WorkbenchError


@dataclass
class Aligned:
    spec: RunSpec
    act_id: str
    result: Result
    windows: Windows


@pytest.fixture(scope="module")
def aligned(small_set: Set, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aligned]:
    """A codec and an alignment, trained for a few seconds."""
    torch.set_num_threads(1)
    home = small_set.home
    codec = RunSpec("act_vae", preset("tiny", "act_vae"), small_set.robot, home.path)
    assert train_worker.run(codec.write(), resume=False) == train_worker.DONE
    recipe = preset("tiny", "vd_vae", steps=120, cameras=("front", "wrist"), control="reconstruction_only", lr=2e-3)
    spec = RunSpec("vd_vae", recipe, small_set.ids, home.path, {"act_vae": codec.model_id})
    stage = VdVaeStage(spec, home)
    trainer = Trainer(stage, tmp_path_factory.mktemp("run"))
    trainer.run()
    result = trainer.finish()
    stage.save(home.models / spec.model_id, result)
    yield Aligned(spec, codec.model_id, result, stage.windows)


def test_pictures_tell_the_action_better_than_chance_and_than_the_control(aligned: Aligned) -> None:
    metrics = aligned.result.metrics
    assert metrics["held_out"] and metrics["retrieval_top5"] > 2 * metrics["chance_top5"]
    assert metrics["control"]["name"] == "reconstruction_only"
    assert metrics["retrieval_top5"] > metrics["control"]["retrieval_top5"]
    assert metrics["decode_rmse_mm"] < 0.9 * metrics["control"]["decode_rmse_mm"]
    assert metrics["forward_error"] < 1.0
    matrix = aligned.result.arrays["retrieval"]
    assert matrix.shape == (metrics["n"], metrics["gallery"])


def test_the_saved_model_stands_on_its_codec_and_keeps_its_book(aligned: Aligned, small_set: Set) -> None:
    model = load_vd_vae(small_set.home, aligned.spec.model_id)
    assert torch.equal(model.net.book.codes_KD, model.act.net.codebook)
    record = read_record(small_set.home, aligned.spec.model_id)
    assert record.bases == {"act_vae": aligned.act_id} and len(record.data) == 18
    tokens, confidence = glance_all(model, aligned.windows)
    assert tokens.shape == (len(aligned.windows.take_W), 6) and 0 <= float(confidence.min()) <= 1


def test_labels_lie_beside_the_model_and_are_found_again(
    aligned: Aligned, small_set: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, model_id = small_set.home, aligned.spec.model_id
    stored = labels.read_labels(home, model_id, aligned.windows.takes[-1])
    assert stored is not None and stored.tokens_TN[-1].tolist() == [-1] * 6 and stored.tokens_TN[0].min() >= 0
    model = load_vd_vae(home, model_id)
    fresh = glance_all(model, aligned.windows)
    monkeypatch.setattr(align, "glance_all", lambda *_: pytest.fail("stored labels were not used"))
    tokens, confidence = align.label(home, model_id, aligned.windows)
    assert torch.equal(tokens, fresh[0]) and torch.allclose(confidence, fresh[1])


def test_missing_labels_are_made_and_stored(aligned: Aligned, small_set: Set) -> None:
    home, model_id = small_set.home, aligned.spec.model_id
    before, _ = align.label(home, model_id, aligned.windows)
    (home.models / model_id / "labels").rename(home.models / model_id / "labels.away")
    after, _ = align.label(home, model_id, aligned.windows)
    assert torch.equal(before, after)
    assert labels.read_labels(home, model_id, aligned.windows.takes[0]) is not None


def test_windows_that_do_not_fit_are_refused(aligned: Aligned, small_set: Set) -> None:
    model = load_vd_vae(small_set.home, aligned.spec.model_id)
    takes = load_takes(small_set.home, small_set.human, model.encoder, ("front", "wrist"), 0.1)
    with pytest.raises(WorkbenchError, match="steps ahead"):
        glance_all(model, Windows(takes, 4))
    with pytest.raises(WorkbenchError, match="needs the camera"):
        glance_all(model, Windows(takes, 8, scalers=model.act.scalers, cameras=("wrist",)))


def _net(**changes: object) -> VdVae:
    act = ActVae(ActVaeRecipe(codes=16))
    return VdVae(VdVaeRecipe(width=32, layers=1, **changes), act, 2, 6, 5)  # type: ignore[arg-type]


def test_a_hidden_camera_is_not_looked_at() -> None:
    net = _net()
    now, then = torch.randn(4, 2, 6, 5), torch.randn(4, 2, 6, 5)
    seen = torch.tensor([[True, False]]).expand(4, -1)
    other_now, other_then = now.clone(), then.clone()
    other_now[:, 1], other_then[:, 1] = 9.0, -9.0
    a, b = net.glance(now, then, seen), net.glance(other_now, other_then, seen)
    assert torch.allclose(a.latent_BND, b.latent_BND)
    assert torch.allclose(net.predict(now, a, seen), net.predict(other_now, a, seen))
    both = torch.ones(4, 2, dtype=torch.bool)
    assert not torch.allclose(net.glance(now, then, both).latent_BND, net.glance(other_now, then, both).latent_BND)


def test_people_are_seen_by_the_first_camera_only() -> None:
    human = torch.tensor([True, False, False])
    present = torch.tensor([[True, True], [True, True], [True, False]])
    assert seen_cameras(human, present).tolist() == [[True, False], [True, True], [True, False]]


def test_without_shape_only_places_matter() -> None:
    net = _net()
    now, then = torch.randn(3, 2, 6, 5), torch.randn(3, 2, 6, 5)
    other = then.clone()
    other[..., [0, 3, 4]] += 1.0
    seen, shaped = torch.ones(3, 2, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    a, b = net.glance(now, then, seen, shaped), net.glance(now, other, seen, shaped)
    assert torch.allclose(a.latent_BND, b.latent_BND)
    assert not torch.allclose(net.glance(now, then, seen).latent_BND, net.glance(now, other, seen).latent_BND)
    other[..., 1] += 1.0
    assert not torch.allclose(a.latent_BND, net.glance(now, other, seen, shaped).latent_BND)


def _paths(rows: int) -> torch.Tensor:
    tips = torch.randn(rows, 9, 5)
    tips[..., 0] = 1.0
    return tips


def test_a_bare_row_is_read_from_its_path_alone_and_from_its_clusters_where_it_has_none() -> None:
    net = _net()
    now, then, seen, bare = torch.randn(4, 2, 6, 5), torch.randn(4, 2, 6, 5), torch.ones(4, 2).bool(), torch.ones(4)
    tips, bare = _paths(4), bare.bool()
    tips[3, -1, 0] = 0.0  # out of sight at the end: no path
    a = net.glance(now, then, seen, None, tips, bare).latent_BND
    b = net.glance(now + 1.0, then - 1.0, seen, None, tips, bare).latent_BND
    assert torch.allclose(a[:3], b[:3]) and not torch.allclose(a[3], b[3])
    other = tips.clone()
    other[:, 4, 1] += 1.0
    c = net.glance(now, then, seen, None, other, bare).latent_BND
    assert not any(torch.allclose(a[row], c[row]) for row in range(3)) and torch.allclose(a[3], c[3])
    assert torch.allclose(a[3], net.glance(now, then, seen).latent_BND[3]), "without a path it is as if there were none"


def test_robots_are_read_as_hands_are_where_their_clusters_were_never_shown_beside_a_path() -> None:
    human = torch.tensor([True, False])
    assert bare_rows(VdVaeRecipe(), human).tolist() == [True, True]
    assert bare_rows(VdVaeRecipe(cluster_dropout=0.5), human).tolist() == [True, False]


def test_windows_that_show_nobody_are_not_trusted(aligned: Aligned, small_set: Set) -> None:
    model = load_vd_vae(small_set.home, aligned.spec.model_id)
    takes = load_takes(small_set.home, small_set.human[:2], model.encoder, ("front", "wrist"), 0.1)
    tips = np.zeros((len(takes[0]), 5), np.float32)
    tips[12:, 0] = 1.0
    takes[0] = replace(takes[0], tips_T5=tips)
    windows = Windows(takes, 8, scalers=model.act.scalers, held_out=0.0)
    _, confidence = glance_all(model, windows)
    nobody = (windows.take_W == 0) & (windows.row_W < 12)
    assert nobody.any() and torch.equal(confidence == 0, nobody), "a clip without any path is read from its clusters"


def test_a_network_without_paths_ignores_them() -> None:
    net = _net(tips=False)
    now, then, seen = torch.randn(4, 2, 6, 5), torch.randn(4, 2, 6, 5), torch.ones(4, 2).bool()
    assert not [name for name in net.state_dict() if name.startswith("path")]
    with_paths = net.glance(now, then, seen, None, _paths(4), torch.ones(4).bool())
    assert torch.equal(with_paths.latent_BND, net.glance(now, then, seen).latent_BND)


def test_models_from_before_paths_of_tips_are_still_read(aligned: Aligned, small_set: Set) -> None:
    home, spec = small_set.home, aligned.spec
    old = RunSpec("vd_vae", spec.recipe.with_(tips=False, steps=1), small_set.ids, home.path, dict(spec.bases))
    assert train_worker.run(old.write(), resume=False) == train_worker.DONE
    weights = home.models / old.model_id / "weights.json"
    stored = json.loads(weights.read_text())
    del stored["meta"]["recipe"]["tips"]
    weights.write_text(json.dumps(stored))
    assert load_vd_vae(home, old.model_id).net.path is None


def test_clusters_are_permuted_alike_and_only_where_asked() -> None:
    now = torch.arange(3 * 2 * 6 * 1.0).view(3, 2, 6, 1)
    rows = torch.tensor([False, True, True])
    a, b = shuffle_clusters(now, now + 100, rows, torch.Generator().manual_seed(0))
    assert torch.equal(a[0], now[0]) and not torch.equal(a[1], now[1])
    assert torch.equal(b, a + 100) and torch.equal(a[1, 0] - a[1, 0].min(), a[1, 1] - a[1, 1].min())
    assert torch.equal(a.sort(dim=2).values, now)


def test_contrast_is_least_for_matching_pairs_and_ignores_clashes() -> None:
    net = _net()
    items = torch.nn.functional.normalize(torch.randn(16, 12), dim=1)
    none = torch.eye(16, dtype=torch.bool)
    assert contrast(net, items, items, none) < contrast(net, items, items.roll(1, 0), none)
    twins = items.clone()
    twins[1] = twins[0]
    clash = none.clone()
    clash[0, 1] = clash[1, 0] = True
    assert contrast(net, twins, twins, clash) < contrast(net, twins, twins, none)


def test_equal_and_near_actions_clash() -> None:
    tokens = torch.tensor([[1, 2], [1, 2], [3, 4], [5, 6]])
    actions = torch.zeros(4, 8, 7)
    actions[1] = 1.0
    actions[2] = 2.0
    actions[3] = 2.05
    wanted = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)
    assert torch.equal(clashes(tokens, actions, 0.1), wanted)


def _follow_the_losses(stage: VdVaeStage, contrast_weight: float) -> float:
    """Share of tokens that are still right after latents that began at the truth, free of any network, have followed
    the losses of robot rows for a while, as the two scalars of the contrast have."""
    recipe, net = stage.recipe.with_(contrast_weight=contrast_weight), copy.deepcopy(stage.main.net)
    batch = stage.windows.train.sample(torch.Generator().manual_seed(0), 64, "robot")
    codes, tokens = stage.act.net.encode(batch.actions_BHA)
    latents = codes.clone().requires_grad_(True)
    groups = [{"params": [latents], "lr": 0.04 * float(net.scale_D.mean())}]
    scalars = {"params": [net.logit_scale, net.logit_bias], "lr": 0.1}
    optimiser = torch.optim.Adam([*groups, scalars])
    nothing = torch.zeros(0)
    for _ in range(60):
        code, seen = net.book.quantise(latents)
        glance = Glance(latents, code, seen, nothing, nothing, nothing)
        total, _ = stage._tie(net, recipe, batch, glance, batch.has_action_B)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return float((net.book.quantise(latents)[1] == tokens).double().mean())


def test_the_contrast_leaves_latents_that_are_right_where_they_are(aligned: Aligned, small_set: Set) -> None:
    """With the weight 1 it does not: actions that are nearly the own one count as negatives."""
    spec = RunSpec("vd_vae", preset("tiny", "vd_vae"), small_set.ids, small_set.home.path, aligned.spec.bases)
    stage = VdVaeStage(spec, small_set.home)
    usual, none, strong = (_follow_the_losses(stage, weight) for weight in (stage.recipe.contrast_weight, 0.0, 1.0))
    assert none > 0.8 and usual > 0.7 and strong < 0.7 * usual


def test_every_loss_reaches_the_encoder_and_never_the_action_book(aligned: Aligned, small_set: Set) -> None:
    recipe = preset("tiny", "vd_vae", human_ema=0.99)
    spec = RunSpec("vd_vae", recipe, small_set.ids, small_set.home.path, aligned.spec.bases)
    stage = VdVaeStage(spec, small_set.home)
    codes = stage.main.net.book.codes_KD.clone()
    generator = torch.Generator().manual_seed(0)
    loss, figures = stage.loss(generator, 0)
    loss.backward()
    stage.after_step(generator, 0)
    assert stage.main.net.enter.weight.grad is not None and stage.main.net.logit_bias.grad is not None
    assert torch.equal(codes, stage.main.net.book.codes_KD)
    assert {"forward", "contrast", "decode", "token"} <= figures.keys()
    groups = stage.parameters()
    assert groups[1]["lr_factor"] == 10.0 and len(groups[1]["params"]) == 2


def test_cameras_without_pictures_are_known(aligned: Aligned) -> None:
    batch = aligned.windows.train.all("human", 4)
    assert present_cameras(batch).all()
