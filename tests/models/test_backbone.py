"""The backbone: what it must look at, what it must not see, and what its losses ignore."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.backbone import Backbone, BackboneSize, InputNoise, Standardiser, weighted_mean
from models.text import MANNER, PLACE, TEXT_SIZE, THING
from tests.models.reach import ACTION, CAMERAS, CLUSTERS, NUMBERS, STATE, STEPS, Rows, reach_rows
from workbench.core.errors import WorkbenchError

torch.set_num_threads(1)
SIZE = BackboneSize(CAMERAS, CLUSTERS, NUMBERS, STATE, TEXT_SIZE, 3, STEPS, ACTION, width=32, depth=1, selectors=4)


def backbone(noise: InputNoise | None = None, *, by_role: bool = False) -> tuple[Backbone, Rows]:
    torch.manual_seed(0)
    net = Backbone(replace(SIZE, by_role=by_role), noise)
    rows = reach_rows(64, torch.Generator().manual_seed(0))
    net.fit(rows.features_BCKF, rows.state_BS, rows.keyframe_BG)
    return net, rows


def test_gradient_reaches_pictures_of_both_cameras_state_and_instruction() -> None:
    net, rows = backbone()
    inputs = [value.clone().requires_grad_() for value in (rows.features_BCKF, rows.state_BS, rows.text_BE)]
    net(*inputs, torch.ones(64, dtype=torch.bool)).feature_BD.square().sum().backward()
    assert inputs[0].grad is not None
    assert bool((inputs[0].grad.abs().amax(dim=(0, 2, 3)) > 0).all())
    assert all(value.grad is not None and float(value.grad.abs().max()) > 0 for value in inputs)


def test_clip_of_a_person_hides_state_and_inner_camera_but_not_the_first() -> None:
    net, rows = backbone()
    net.eval()
    nobody = torch.zeros(64, dtype=torch.bool)
    before = net(rows.features_BCKF, rows.state_BS, rows.text_BE, nobody).feature_BD
    inner = rows.features_BCKF.clone()
    inner[:, 1] += 1.0
    assert torch.equal(before, net(inner, rows.state_BS + 1.0, rows.text_BE, nobody).feature_BD)
    first = rows.features_BCKF.clone()
    first[:, 0] += 1.0
    assert not torch.allclose(before, net(first, rows.state_BS, rows.text_BE, nobody).feature_BD)


def test_noise_only_while_training() -> None:
    net, rows = backbone(InputNoise(0.1, 0.1, 0.1, 0.1, 0.5))
    inputs = (rows.features_BCKF, rows.state_BS, rows.text_BE, torch.ones(64, dtype=torch.bool))
    net.eval()
    assert torch.equal(net(*inputs).feature_BD, net(*inputs).feature_BD)
    net.train()
    copy = rows.features_BCKF.clone()
    assert not torch.equal(net(*inputs).feature_BD, net(*inputs).feature_BD)
    assert torch.equal(copy, rows.features_BCKF), "noise must not be written into the caller's batch"


@pytest.mark.parametrize("by_role", [True, False])
def test_selectors_are_shares_and_depend_on_the_instruction(by_role: bool) -> None:
    net, rows = backbone(by_role=by_role)
    shared = net.shared(rows.features_BCKF)
    weights = net.selectors(shared, rows.text_BE)
    assert weights.shape == ((64, 2, CAMERAS, CLUSTERS) if by_role else (64, 4, 1, CAMERAS * CLUSTERS))
    assert torch.allclose(weights.sum(dim=-1), torch.ones(weights.shape[:-1]), atol=1e-5)
    assert not torch.allclose(weights, net.selectors(shared, rows.text_BE.roll(1, 0)))


def test_thing_and_place_and_manner_are_heard_where_they_belong() -> None:
    net, rows = backbone(by_role=True)
    net.eval()
    shared, here = net.shared(rows.features_BCKF), torch.ones(64, dtype=torch.bool)
    told = [rows.text_BE.clone() for _ in range(3)]
    for vectors, part in zip(told, (THING, PLACE, MANNER), strict=True):
        vectors[:, part] = torch.randn_like(vectors[:, part])
    before = net.selectors(shared, rows.text_BE)
    for heard, vectors in enumerate(told):
        after = net.selectors(shared, vectors)
        for answer in (0, 1):
            assert torch.equal(before[:, answer], after[:, answer]) == (answer != heard), (answer, heard)
    see = [net(rows.features_BCKF, rows.state_BS, vectors, here).feature_BD for vectors in (rows.text_BE, *told)]
    assert not any(torch.allclose(see[0], other) for other in see[1:])


def test_selectors_that_cannot_be_shared_evenly_are_refused() -> None:
    for count in (1, 5):
        with pytest.raises(WorkbenchError, match="selectors"):
            Backbone(replace(SIZE, by_role=True, selectors=count))


def test_what_is_looked_for_is_the_same_in_every_camera_and_clips_of_people_teach_it_for_all() -> None:
    net, rows = backbone(by_role=True)
    same = rows.features_BCKF.clone()
    same[:, 1] = same[:, 0]
    weights = net.selectors(net.shared(same), rows.text_BE)
    assert torch.allclose(weights[:, :, 0], weights[:, :, 1])
    nobody = torch.zeros(64, dtype=torch.bool)
    optimiser = torch.optim.SGD(net.select.parameters(), lr=10.0)
    net(rows.features_BCKF, rows.state_BS, rows.text_BE, nobody).feature_BD.square().sum().backward()
    optimiser.step()
    after = net.selectors(net.shared(same), rows.text_BE)
    assert not torch.allclose(weights, after) and torch.allclose(after[:, :, 0], after[:, :, 1])


def test_unknown_keyframes_do_not_count() -> None:
    net, rows = backbone()
    seen = net(rows.features_BCKF, rows.state_BS, rows.text_BE, torch.ones(64, dtype=torch.bool))
    target = rows.keyframe_BG.clone()
    target[32:] = torch.nan
    some = net.keyframe_loss(seen, target, torch.ones(64))
    only = net.keyframe_loss(seen, rows.keyframe_BG, (torch.arange(64) < 32).float())
    assert torch.allclose(some, only)
    assert net.keyframe_loss(seen, torch.full_like(target, torch.nan), torch.ones(64)).item() == 0.0


def test_numbers_that_never_changed_are_not_blown_up() -> None:
    scale = Standardiser((2,))
    scale.fit(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
    values = scale(torch.tensor([[1.0, 1.0], [1.001, 2.0], [50.0, 2.0]]))
    assert torch.allclose(values[:, 0], torch.tensor([0.0, 1.0, 6.0]), atol=1e-3)


def test_mean_of_no_weight_is_zero() -> None:
    assert float(weighted_mean(torch.ones(3), torch.zeros(3))) == 0.0
