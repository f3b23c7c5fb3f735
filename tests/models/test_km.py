"""Knowledge Matching: what is compared, who gets the gradient, and that it stops forgetting where plain training does
not."""

from __future__ import annotations

import copy

import torch

from models import km
from models.backbone import Backbone, BackboneSize, InputNoise
from models.flow_head import RfNet, draw_times, flow_loss
from models.text import TEXT_SIZE, embed
from models.token_head import NtpNet, chunk_loss, token_loss
from tests.models.reach import (
    ACTION,
    CAMERAS,
    CLUSTERS,
    INSTRUCTIONS,
    NUMBERS,
    STATE,
    STEPS,
    Rows,
    error_m,
    reach_rows,
)

torch.set_num_threads(1)
CELLS = 12


def new_net(width: int = 48) -> RfNet:
    torch.manual_seed(0)
    size = BackboneSize(
        CAMERAS, CLUSTERS, NUMBERS, STATE, TEXT_SIZE, 3, STEPS, ACTION, width=width, depth=1, selectors=6
    )
    net = RfNet(NtpNet(Backbone(size, InputNoise(0.02, 0.01, 0.02, 0.05, 0.0)), 2, CELLS), width=24, depth=1)
    rows = reach_rows(1000, torch.Generator().manual_seed(1))
    net.ntp.backbone.fit(rows.features_BCKF, rows.state_BS, rows.keyframe_BG)
    return net


def asked(rows: Rows, text: torch.Tensor | None = None) -> km.Asked:
    robot = torch.ones(len(rows.task_B), dtype=torch.bool)
    return km.Asked(rows.features_BCKF, rows.state_BS, rows.text_BE if text is None else text, robot)


def test_a_copy_matches_itself_and_the_gradient_reaches_only_the_policy() -> None:
    net = new_net().eval()
    reference = km.freeze(net)
    rows = reach_rows(32, torch.Generator().manual_seed(2))
    same = km.mismatch(reference, net, asked(rows), torch.rand(32))
    assert [round(value.item(), 6) for value in (same.token_kl, same.velocity, same.regression)] == [0.0, 0.0, 0.0]
    with torch.no_grad():
        net.ntp.backbone.look.weight += 0.3 * torch.randn_like(net.ntp.backbone.look.weight)
    apart = km.mismatch(reference, net, asked(rows), torch.rand(32))
    assert min(value.item() for value in (apart.token_kl, apart.velocity, apart.regression)) > 0
    (apart.token_kl + apart.velocity + apart.regression).backward()
    assert net.ntp.backbone.look.weight.grad is not None
    assert net.flow.out.weight.grad is not None
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_kl_is_from_the_reference_and_counts_every_position() -> None:
    reference, policy = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    p, q = reference.softmax(-1), policy.softmax(-1)
    expected = (p * (p.log() - q.log())).sum(-1).mean()
    assert torch.allclose(km.token_kl(reference, policy), expected, atol=1e-6)
    for position in range(4):
        moved = reference.clone()
        moved[:, position, 0] += 3.0
        assert km.token_kl(reference, moved).item() > 0


def test_old_instructions_are_old_and_never_the_rows_own() -> None:
    known = torch.eye(3)
    own = torch.cat([known[:1].repeat(50, 1), torch.tensor([[0.0, 0.5, 0.5]]).repeat(50, 1)])
    drawn, has = km.old_instructions(known, km.same_instruction(own, known))
    assert bool(has.all()) and bool((drawn.sum(dim=1) == 1).all())
    assert drawn[:50].sum(dim=0)[0] == 0 and bool((drawn[:50].sum(dim=0)[1:] > 0).all())
    assert bool((drawn[50:].sum(dim=0) > 0).all()), "what is new may be asked under every old instruction"


def test_a_row_that_says_all_there_is_is_asked_nothing() -> None:
    known = torch.eye(3)[:1]
    _, has = km.old_instructions(known, km.same_instruction(torch.eye(3), known))
    assert has.tolist() == [False, True, True]


def learn(net: RfNet, steps: int, tasks: tuple[int, ...], reference: RfNet | None = None) -> RfNet:
    """Train on some tasks only, optionally matched to a reference under the other instructions."""
    net.train()
    generator = torch.Generator().manual_seed(5)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=steps)
    ones, robot = torch.ones(64), torch.ones(64, dtype=torch.bool)
    old = torch.stack([torch.from_numpy(embed(text)) for text in INSTRUCTIONS[:2]])
    for _ in range(steps):
        rows = reach_rows(64, generator, tasks)
        seen = net.ntp.see(rows.features_BCKF, rows.state_BS, rows.text_BE, robot)
        tokens = ((rows.actions_BHA[:, -1, :2] / 1.6 + 1) / 2 * CELLS).long().clamp(0, CELLS - 1)
        loss = token_loss(net.ntp.head(seen.feature_BD, tokens), tokens, ones)
        loss = loss + chunk_loss(seen.regression_BHA, rows.actions_BHA, ones)
        loss = loss + 0.5 * net.ntp.backbone.keyframe_loss(seen, rows.keyframe_BG, ones)
        noise = torch.randn_like(rows.actions_BHA)
        loss = loss + flow_loss(net.flow, seen, rows.actions_BHA, ones, draw_times(64, 1.5, 1.0), noise)
        if reference is not None:
            found = km.mismatch(reference, net, asked(rows, old[torch.randint(2, (64,))]), draw_times(64, 1.5, 1.0))
            loss = loss + found.token_kl + found.velocity + 5.0 * found.regression
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def drawn_error_m(net: RfNet, tasks: tuple[int, ...]) -> float:
    rows = reach_rows(200, torch.Generator().manual_seed(9), tasks)
    seen = net.ntp.see(rows.features_BCKF, rows.state_BS, rows.text_BE, torch.ones(200, dtype=torch.bool))
    noise = torch.randn(200, STEPS, ACTION, generator=torch.Generator().manual_seed(9))
    return error_m(net.flow.draw(seen, noise, 4), rows)


def test_matching_keeps_old_tasks_that_plain_training_forgets() -> None:
    base = learn(new_net(), 160, (0, 1))
    before = drawn_error_m(base, (0, 1))
    plain = learn(copy.deepcopy(base), 70, (2,))
    matched = learn(copy.deepcopy(base), 70, (2,), km.freeze(base))
    forgotten, kept = drawn_error_m(plain, (0, 1)), drawn_error_m(matched, (0, 1))
    assert forgotten > 1.25 * before, "the task must be one where plain training forgets"
    assert kept - before < 0.5 * (forgotten - before)
    assert drawn_error_m(matched, (2,)) < 0.5 * drawn_error_m(base, (2,))
