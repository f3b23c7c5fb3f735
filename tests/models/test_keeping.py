"""What old instructions say stays while a new one is learned."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.keeping import OldDirections


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(0, 3), st.integers(0, 2**16))
def test_old_instructions_get_the_same_answer_and_a_new_one_another(old: int, twice: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    known = torch.randn(old, 24, generator=generator)
    known = torch.cat([known, known[: min(twice, old)]])  # two wordings may have the same vector
    new = torch.randn(24, generator=generator)
    weights = [nn.Parameter(torch.randn(out, 24, generator=generator)) for out in (5, 9)]
    before = [(known @ weight.T).detach() for weight in weights]
    asked = [(weight @ new).detach() for weight in weights]
    kept = OldDirections([(weight, slice(0, 24)) for weight in weights], known)
    optimiser = torch.optim.AdamW(weights, lr=0.05, weight_decay=0.0)
    for _ in range(5):
        optimiser.zero_grad()
        sum((weight @ (new + known[0])).square().sum() for weight in weights).backward()
        optimiser.step()
        kept.restore()
    for weight, answer, other in zip(weights, before, asked, strict=True):
        assert torch.allclose(known @ weight.T, answer, atol=1e-4)
        assert float((weight @ new - other).detach().abs().max()) > 1e-2


def test_each_weight_keeps_what_it_hears_and_is_free_where_only_the_others_hear() -> None:
    """Thing in the first half, place in the second: an old place stays, a new thing is learned beside it."""
    generator = torch.Generator().manual_seed(0)
    thing, place = slice(0, 12), slice(12, 24)
    known = torch.randn(3, 24, generator=generator)
    new = torch.cat([torch.randn(12, generator=generator), known[0, place]])
    weights = [(nn.Parameter(torch.randn(5, 12, generator=generator)), part) for part in (thing, place)]
    before = [(known[:, part] @ weight.T).detach() for weight, part in weights]
    kept = OldDirections(weights, known)
    with torch.no_grad():
        for weight, _ in weights:
            weight += torch.randn(weight.shape, generator=generator)
    kept.restore()
    for (weight, part), answer in zip(weights, before, strict=True):
        assert torch.allclose(known[:, part] @ weight.T, answer, atol=1e-4)
    assert float(kept.free_share(new[None])) > 0.5
    recombined = torch.cat([known[1, thing], known[0, place]])
    assert float(kept.free_share(recombined[None])) < 1e-3
