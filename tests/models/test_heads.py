"""The token head and the flow head: who may influence whom, and that they learn to reach what is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.backbone import Backbone, BackboneSize, InputNoise, Seen
from models.flow_head import FlowHead, RfNet, draw_times, flow_loss
from models.text import TEXT_SIZE, embed
from models.token_head import NtpNet, TokenHead, chunk_loss, token_loss
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
CELLS = 16


@pytest.fixture
def token_head() -> TokenHead:
    torch.manual_seed(0)
    return TokenHead(24, tokens=6, codes=10)


def test_a_token_influences_only_later_positions(token_head: TokenHead) -> None:
    feature, tokens = torch.randn(5, 24), torch.randint(10, (5, 6))
    before = token_head(feature, tokens)
    for place in range(6):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 10
        moved = (token_head(feature, changed) - before).abs().amax(dim=(0, 2))
        assert bool((moved[: place + 1] == 0).all())
        assert bool((moved[place + 1 :] > 0).all())


def test_incremental_decoding_equals_teacher_forcing(token_head: TokenHead) -> None:
    feature = torch.randn(7, 24)
    tokens = token_head.greedy(feature)
    assert torch.equal(token_head(feature, tokens).argmax(dim=-1), tokens)


def test_untrusted_rows_do_not_teach() -> None:
    logits, tokens = torch.randn(4, 6, 10), torch.randint(10, (4, 6))
    only = token_loss(logits[:2], tokens[:2], torch.ones(2))
    assert torch.allclose(token_loss(logits, tokens, torch.tensor([1.0, 1.0, 0.0, 0.0])), only)


def flow_head() -> tuple[FlowHead, Seen]:
    torch.manual_seed(0)
    head = FlowHead(feature=24, state=STATE, horizon=STEPS, action=ACTION, width=32, depth=2)
    return head, Seen(torch.randn(3, 24), torch.randn(3, STATE), torch.randn(3, 3), torch.randn(3, STEPS, ACTION))


def test_the_flow_sees_the_state() -> None:
    head, seen = flow_head()
    state = seen.state_BS.clone().requires_grad_()
    velocity = head(
        torch.randn(3, STEPS, ACTION),
        torch.rand(3),
        Seen(seen.feature_BD, state, seen.keyframe_BG, seen.regression_BHA),
    )
    velocity.square().sum().backward()
    assert state.grad is not None
    assert bool((state.grad.abs() > 0).all())


def test_every_step_of_the_chunk_feels_every_other() -> None:
    head, seen = flow_head()
    noisy = torch.randn(3, STEPS, ACTION, requires_grad=True)
    velocity = head(noisy, torch.rand(3), seen)
    for step in range(STEPS):
        (gradient,) = torch.autograd.grad(velocity[:, step].square().sum(), noisy, retain_graph=True)
        assert bool((gradient.abs().amax(dim=(0, 2)) > 0).all()), f"step {step} does not feel all steps"


def test_changing_state_or_one_step_changes_the_other_steps() -> None:
    head, seen = flow_head()
    noisy, time = torch.randn(3, STEPS, ACTION), torch.full((3,), 0.4)
    before = head(noisy, time, seen)
    moved = noisy.clone()
    moved[:, 3] += 1.0
    others = [step for step in range(STEPS) if step != 3]
    assert bool(((head(moved, time, seen) - before).abs().amax(dim=2)[:, others] > 1e-6).all())
    turned = Seen(seen.feature_BD, seen.state_BS + 1.0, seen.keyframe_BG, seen.regression_BHA)
    assert bool(((head(noisy, time, turned) - before).abs().amax(dim=2) > 1e-6).all())


def test_times_are_inside_and_favour_the_noise() -> None:
    torch.manual_seed(0)
    times = draw_times(4000, 1.5, 1.0)
    assert 0.0 <= float(times.min()) <= float(times.max()) <= 0.999
    assert float(times.mean()) == pytest.approx(0.4, abs=0.02)


def cells(actions_BHA: Tensor) -> Tensor:
    """Two tokens: the last step's x and y on a grid of cells."""
    return ((actions_BHA[:, -1, :2] / 1.6 + 1) / 2 * CELLS).long().clamp(0, CELLS - 1)


@pytest.fixture(scope="module")
def trained() -> RfNet:
    torch.manual_seed(0)
    size = BackboneSize(CAMERAS, CLUSTERS, NUMBERS, STATE, TEXT_SIZE, 3, STEPS, ACTION, width=64, depth=1, selectors=8)
    net = RfNet(NtpNet(Backbone(size, InputNoise(0.02, 0.01, 0.02, 0.05, 0.05)), tokens=2, codes=CELLS), width=32)
    generator = torch.Generator().manual_seed(1)
    rows = reach_rows(2000, generator)
    net.ntp.backbone.fit(rows.features_BCKF, rows.state_BS, rows.keyframe_BG)
    optimiser = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=220)
    ones, robot = torch.ones(96), torch.ones(96, dtype=torch.bool)
    for _ in range(220):
        batch = reach_rows(96, generator)
        seen = net.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, robot)
        tokens = cells(batch.actions_BHA)
        noise = torch.randn_like(batch.actions_BHA)
        loss = (
            token_loss(net.ntp.head(seen.feature_BD, tokens), tokens, ones)
            + chunk_loss(seen.regression_BHA, batch.actions_BHA, ones)
            + 0.5 * net.ntp.backbone.keyframe_loss(seen, batch.keyframe_BG, ones)
            + flow_loss(net.flow, seen, batch.actions_BHA, ones, draw_times(96, 1.5, 1.0), noise)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def see(net: RfNet, rows: Rows) -> Seen:
    return net.ntp.see(rows.features_BCKF, rows.state_BS, rows.text_BE, torch.ones(len(rows.task_B), dtype=torch.bool))


def test_all_heads_beat_the_mean_action_clearly(trained: RfNet) -> None:
    rows = reach_rows(300, torch.Generator().manual_seed(7))
    baseline = error_m(rows.actions_BHA.mean(dim=0, keepdim=True).expand_as(rows.actions_BHA), rows)
    seen = see(trained, rows)
    drawn = trained.flow.draw(seen, torch.randn(300, STEPS, ACTION), 4)
    assert error_m(seen.regression_BHA, rows) < 0.3 * baseline
    assert error_m(drawn, rows) < 0.35 * baseline
    middle = (trained.ntp.head.greedy(seen.feature_BD) + 0.5) / CELLS * 3.2 - 1.6
    token_error = float((middle - rows.actions_BHA[:, -1, :2]).norm(dim=-1).mean() * 0.1)
    assert token_error < 0.35 * baseline


def test_another_instruction_moves_the_hand_elsewhere(trained: RfNet) -> None:
    rows = reach_rows(300, torch.Generator().manual_seed(8), tasks=(0,))
    other = torch.from_numpy(embed(INSTRUCTIONS[1])).expand(300, -1)
    noise = torch.randn(300, STEPS, ACTION)
    said = trained.flow.draw(see(trained, rows), noise, 4)
    unsaid = trained.flow.draw(
        see(trained, Rows(rows.features_BCKF, rows.state_BS, other, rows.actions_BHA, rows.keyframe_BG, rows.task_B)),
        noise,
        4,
    )
    assert error_m(unsaid, rows) > 2.5 * error_m(said, rows)


def small_net() -> tuple[NtpNet, Seen]:
    torch.manual_seed(0)
    size = BackboneSize(CAMERAS, CLUSTERS, NUMBERS, STATE, TEXT_SIZE, 3, STEPS, ACTION, width=24, depth=1, selectors=4)
    net = NtpNet(Backbone(size), tokens=6, codes=10).eval()
    return net, Seen(torch.randn(9, 24), torch.randn(9, STATE), torch.randn(9, 3), torch.randn(9, STEPS, ACTION))


@torch.no_grad()
def test_keeping_what_was_said_gives_the_tokens_of_reading_it_all_again() -> None:
    """Bit for bit against decoding without anything kept: at every position the whole teacher-forced pass anew."""
    net, seen = small_net()
    tokens = torch.zeros(9, 6, dtype=torch.long)
    for place in range(6):
        tokens[:, place] = net.logits(seen, tokens)[:, place].argmax(dim=-1)
    assert torch.equal(net.say(seen), tokens)
    assert torch.equal(net.head.greedy(seen.feature_BD), tokens)


@torch.no_grad()
def test_a_temperature_draws_tokens_by_their_shares() -> None:
    net, seen = small_net()
    one = Seen(*(getattr(seen, name)[:1].expand(4000, *getattr(seen, name).shape[1:]) for name in Seen.__slots__))
    drawn = net.say(one, 0.7, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, net.say(one, 0.7, torch.Generator().manual_seed(0)))
    shares = (net.logits(one, drawn)[0, 0] / 0.7).softmax(dim=-1)
    counted = torch.bincount(drawn[:, 0], minlength=10) / 4000
    assert float((counted - shares).abs().max()) < 0.03
    given = (drawn[:, 0] == 3) if bool((drawn[:, 0] == 3).any()) else (drawn[:, 0] == drawn[0, 0])
    expected = (net.logits(one, drawn)[given][0, 1] / 0.7).softmax(dim=-1)
    counted = torch.bincount(drawn[given][:, 1], minlength=10) / int(given.sum())
    assert float((counted - expected).abs().max()) < 5 / int(given.sum()) ** 0.5
    cold = net.say(seen, 1e-4, torch.Generator().manual_seed(0))
    assert torch.equal(cold, net.say(seen))


@torch.no_grad()
def test_numbers_that_are_not_finite_end_a_chunk_of_tokens() -> None:
    net, seen = small_net()
    whole = net.say(seen)
    net.head.bias[3, 1] = torch.nan
    for temperature in (0.0, 1.0):
        broken = net.say(seen, temperature)
        assert bool((broken[:, 3:] == -1).all())
    assert torch.equal(net.say(seen)[:, :3], whole[:, :3])


@torch.no_grad()
def test_what_is_computed_once_for_all_steps_is_what_every_step_would_compute() -> None:
    head, seen = flow_head()
    noisy = torch.randn(3, STEPS, ACTION)
    for step, field in enumerate(head.fields(seen, 5)):
        assert torch.allclose(field(noisy), head(noisy, torch.full((3,), step / 5), seen), atol=1e-6)
