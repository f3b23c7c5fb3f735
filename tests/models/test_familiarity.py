"""Unlike what was trained on: far-away observations are told from ordinary ones; sure tokens from guesses."""

from __future__ import annotations

from pathlib import Path

import torch

from models.familiarity import Familiarity, fit, token_entropy
from models.token_head import TokenHead


def rows(n: int, seed: int) -> torch.Tensor:
    """Features with a few true directions, as keypoints of one moving thing have."""
    lot = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, 60, generator=torch.Generator().manual_seed(0))
    flat = torch.randn(n, 3, generator=lot) @ mixing + 0.05 * torch.randn(n, 60, generator=lot)
    return flat.reshape(n, 2, 5, 6)


def test_new_rows_of_the_same_kind_are_ordinary_and_others_are_not(tmp_path: Path) -> None:
    found = fit(rows(800, 1))
    assert found is not None
    ordinary = found.distance(rows(400, 2))
    assert 0.5 < float(ordinary.median()) < 1.5 and float((ordinary > found.limit).double().mean()) < 0.01
    further = found.distance(4.0 * rows(100, 3))
    assert float((further > found.limit).double().mean()) > 0.6, "further along known directions"
    elsewhere = rows(100, 4)
    elsewhere[:, 1, 2] += 2.0
    assert float((found.distance(elsewhere) > found.limit).double().mean()) > 0.95, "in a direction never seen"
    found.save(tmp_path)
    again = Familiarity.load(tmp_path)
    assert again is not None and again.limit == found.limit
    assert torch.allclose(again.distance(elsewhere), found.distance(elsewhere))
    assert Familiarity.load(tmp_path / "other") is None


def test_too_few_rows_say_nothing_and_constant_features_do_not_break() -> None:
    assert fit(rows(10, 1)) is None
    flat = rows(100, 1)
    flat[:, 0] = 0.5
    found = fit(flat)
    assert found is not None and bool(torch.isfinite(found.distance(flat)).all())
    still = fit(torch.ones(100, 1, 2, 3))
    assert still is not None and bool(torch.isfinite(still.distance(torch.ones(1, 1, 2, 3))).all())


def test_entropy_goes_from_sure_to_clueless() -> None:
    torch.manual_seed(0)
    head = TokenHead(16, 4, 8)
    feature = torch.randn(3, 16)
    with torch.no_grad():
        head.out.zero_()
        head.bias.zero_()
        clueless = token_entropy(head, feature)
        head.bias[:, 2] = 30.0
        sure = token_entropy(head, feature)
    assert torch.allclose(clueless, torch.ones(3), atol=1e-4) and float(sure.max()) < 1e-4
