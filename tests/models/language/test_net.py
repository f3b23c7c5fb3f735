"""Token head and backbone on a language model: who influences whom, what is valid, that both ways of tuning learn."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from models.language.base import open_base
from models.language.brain import Brain
from models.language.net import AT_ONCE, LanguageBackbone, LanguageNet
from models.language.sentence import letters
from models.token_head import chunk_loss, token_loss
from tests.models.language.conftest import CAMERAS, CODES, NOISE, SIZE, TOKENS
from tests.models.language.tiny import PX

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
WORDS = ("put the red cube on the white plate", "put the blue cube on the white plate", "go")


def inputs(count: int, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (count, len(CAMERAS), PX, 3 * PX), dtype=torch.uint8, generator=generator)
    said = torch.stack([torch.from_numpy(letters(WORDS[row % len(WORDS)])) for row in range(count)])
    return pictures, torch.randn(count, SIZE.state, generator=generator), said, torch.ones(count, dtype=torch.bool)


def prefer_codes(net: LanguageNet) -> None:
    """Make codes likelier than any word, as training does, by turning their rows towards what is heard."""
    with torch.no_grad():
        net.head.out.copy_(8.0 * torch.randn(net.head.out.shape, generator=torch.Generator().manual_seed(3)))


@torch.no_grad()
def test_a_token_influences_only_later_positions(net: LanguageNet) -> None:
    seen, tokens = net.see(*inputs(3)), torch.randint(CODES, (3, TOKENS))
    before = net.logits(seen, tokens)
    assert before.shape == (3, TOKENS, CODES + 1)
    for place in range(TOKENS):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % CODES
        moved = (net.logits(seen, changed) - before).abs().amax(dim=(0, 2))
        assert bool((moved[: place + 1] == 0).all())
        assert bool((moved[place + 1 :] > 0).all())


@torch.no_grad()
def test_the_class_for_words_keeps_the_softmax_over_the_whole_vocabulary(net: LanguageNet) -> None:
    seen = net.see(*inputs(2))
    ours = net.logits(seen, torch.zeros(2, TOKENS, dtype=torch.long))[:, 0].softmax(dim=-1)
    codes, words = net.head.scores(seen.hidden_BM)
    whole = torch.cat([codes, words], dim=-1).softmax(dim=-1)
    assert torch.allclose(ours[:, :CODES], whole[:, :CODES], atol=1e-6)
    assert torch.allclose(ours[:, CODES], whole[:, CODES:].sum(dim=-1), atol=1e-5)


@torch.no_grad()
def test_decoding_token_by_token_says_what_teacher_forcing_finds_likeliest(net: LanguageNet) -> None:
    prefer_codes(net)
    seen = net.see(*inputs(5))
    tokens = net.say(seen)
    assert bool((tokens >= 0).all())
    assert torch.equal(net.logits(seen, tokens).argmax(dim=-1), tokens)


@torch.no_grad()
def test_a_temperature_draws_by_its_shares_and_repeats_with_its_seed(net: LanguageNet) -> None:
    with torch.no_grad():
        net.head.out.mul_(0.0)  # all codes alike, each as likely as any one word
        net.head._brain.network.lm_head.weight.mul_(0.0)
    seen = net.see(*inputs(12))

    def drawn(seed: int) -> torch.Tensor:
        return net.say(seen, 1.0, torch.Generator().manual_seed(seed))

    words = net.head.scores(seen.hidden_BM[:1])[1].shape[-1]
    assert torch.equal(drawn(0), drawn(0))
    first = torch.cat([drawn(seed)[:, 0] for seed in range(30)])
    assert float((first >= 0).double().mean()) == pytest.approx(CODES / (CODES + words), abs=0.04)
    assert len(first[first >= 0].unique()) > 1


@torch.no_grad()
def test_from_the_first_word_on_there_is_no_action(net: LanguageNet) -> None:
    prefer_codes(net)
    seen, brain = net.see(*inputs(4)), net.backbone.brain
    whole = net.say(seen)
    plain = brain.words
    calls = []

    def words(hidden: torch.Tensor) -> torch.Tensor:
        logits = plain(hidden)
        calls.append(1)
        if len(calls) == 2:
            logits[1, ..., 7] = 1e4  # the second row says a word in the middle
        return logits

    brain.words = words  # type: ignore[method-assign]
    broken = net.say(seen)
    assert torch.equal(broken[[0, 2, 3]], whole[[0, 2, 3]])
    assert broken[1].tolist() == [whole[1, 0].item(), -1, -1]
    net.head.out[0, 0] = torch.nan
    brain.words = plain  # type: ignore[method-assign]
    assert bool((net.say(net.see(*inputs(4))) == -1).all()), "numbers that are not finite are no actions"


@torch.no_grad()
def test_many_rows_are_read_part_by_part_to_the_same_end(net: LanguageNet) -> None:
    prefer_codes(net)
    count = AT_ONCE + 3
    asked = inputs(count)
    many = net.see(*asked)
    assert many.context is None, "keys and values of many rows do not fit into memory"
    tokens = net.say(many)
    logits = net.logits(many, tokens)
    few = net.see(*(part[AT_ONCE:] for part in asked))
    assert few.context is not None
    assert torch.allclose(many.feature_BD[AT_ONCE:], few.feature_BD, atol=1e-5)
    assert torch.equal(tokens[AT_ONCE:], net.say(few))
    assert torch.allclose(logits[AT_ONCE:], net.logits(few, tokens[AT_ONCE:]), atol=1e-4)
    sureness = net.unsureness(many)
    assert sureness.shape == (count,)
    assert bool(((sureness >= 0) & (sureness <= 1)).all())


@torch.no_grad()
def test_a_clip_of_a_person_shows_one_camera_and_no_state(net: LanguageNet) -> None:
    pictures, state, said, robot = inputs(3)
    nobody = torch.zeros_like(robot)
    human = net.see(pictures, state, said, nobody).feature_BD
    other = pictures.clone()
    other[:, 1] = 255 - other[:, 1]
    assert torch.equal(net.see(other, state + 5.0, said, nobody).feature_BD, human)
    assert not torch.allclose(net.see(other, state, said, robot).feature_BD, human)
    assert not torch.allclose(net.see(pictures, state + 5.0, said, robot).feature_BD, human)


@pytest.mark.parametrize(("kind", "tuning"), [("qwen3_vl", "lora"), ("smolvlm2", "lora"), ("smolvlm2", "full")])
def test_one_batch_is_learned_and_the_rest_of_the_base_stays(folders: dict[str, Path], kind: str, tuning: str) -> None:
    torch.manual_seed(0)
    brain = Brain(open_base(folders[kind], kind), CAMERAS, PX, tuning, 4)
    net = LanguageNet(LanguageBackbone(SIZE, NOISE, brain), TOKENS, CODES).train()
    asked, generator = inputs(3), torch.Generator().manual_seed(1)
    tokens = torch.randint(CODES, (3, TOKENS), generator=generator)
    actions = torch.randn(3, SIZE.horizon, SIZE.action, generator=generator)
    names = {name.replace(".", "/") for name in brain.tuned}
    frozen = {name: value.clone() for name, value in brain.network.named_parameters() if name not in brain.tuned}
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    losses = []
    for _ in range(16):
        seen = net.see(*asked)
        loss = token_loss(net.logits(seen, tokens), tokens, torch.ones(3))
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        (loss + chunk_loss(seen.regression_BHA, actions, torch.ones(3))).backward()
        optimiser.step()
    assert losses[-1] < 0.6 * losses[0], losses
    assert all(torch.equal(frozen[name], value) for name, value in brain.network.named_parameters() if name in frozen)
    moved = {name for name, value in net.named_parameters() if not torch.equal(value, before[name])}
    assert {"head.said", "head.out", "backbone.body.weight", "backbone.enter.weight"} <= moved
    assert any(name.removeprefix("backbone.tuned.") in names for name in moved), "the base itself learned nothing"


def test_a_frozen_copy_stays_while_the_policy_learns(net: LanguageNet) -> None:
    """What Knowledge Matching holds on to: a deep copy shares no weight with what is trained."""
    asked = inputs(2)
    kept = copy.deepcopy(net).requires_grad_(False)
    with torch.no_grad():
        before = kept.see(*asked).feature_BD
        for value in net.backbone.tuned.values():
            value.add_(0.5)
        assert torch.equal(kept.see(*asked).feature_BD, before)
        assert not torch.allclose(net.see(*asked).feature_BD, before)
