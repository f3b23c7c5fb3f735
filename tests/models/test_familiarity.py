"""Unlike what was trained on: far-away observations are told from ordinary ones; sure tokens from guesses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.familiarity import Familiarity, fit
from models.familiarity_check import CHANGES
from models.token_head import TokenHead, token_entropy


def rows(n: int, seed: int) -> torch.Tensor:
    """Features with a few true directions, as keypoints of one moving thing have."""
    lot = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, 60, generator=torch.Generator().manual_seed(0))
    flat = torch.randn(n, 3, generator=lot) @ mixing + 0.05 * torch.randn(n, 60, generator=lot)
    return flat.reshape(n, 2, 5, 6)


def test_new_rows_of_the_same_kind_are_ordinary_and_others_are_not(tmp_path: Path) -> None:
    found = fit(rows(800, 1), torch.arange(800) // 40)
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
    assert fit(rows(10, 1), torch.zeros(10)) is None
    flat = rows(100, 1)
    flat[:, 0] = 0.5
    found = fit(flat, torch.arange(100) // 50)
    assert found is not None and bool(torch.isfinite(found.distance(flat)).all())
    still = fit(torch.ones(100, 1, 2, 3), torch.zeros(100))
    assert still is not None and bool(torch.isfinite(still.distance(torch.ones(1, 1, 2, 3))).all())


def test_the_limit_knows_that_takes_differ() -> None:
    """Every take has a place of its own: rows of takes never seen lie further away than those that were fitted."""
    lot = torch.Generator().manual_seed(5)

    def takes(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.randn(n, 1, 60, generator=lot).repeat(1, 30, 1) + 0.05 * torch.randn(n, 30, 60, generator=lot)
        return places.reshape(-1, 2, 5, 6), torch.arange(n).repeat_interleave(30)

    known, take = takes(30)
    found, naive = fit(known, take), fit(known, torch.zeros(len(known)))
    assert found is not None and naive is not None
    unseen = found.distance(takes(40)[0])
    assert float((unseen > found.limit).double().mean()) < 0.15
    assert float((unseen > naive.limit).double().mean()) > 0.2


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


def test_changed_pictures_are_what_their_names_say() -> None:
    lot = np.random.default_rng(0)
    now, first = ({name: lot.integers(0, 255, (20, 40, 3), dtype=np.uint8) for name in ("a", "b")} for _ in range(2))
    kept = {name: picture.copy() for name, picture in now.items()}
    shown = {name: change(now, first) for name, change in CHANGES.items()}
    assert shown["frozen_front"]["a"] is first["a"] and shown["frozen_front"]["b"] is now["b"]
    assert shown["frozen_wrist"]["b"] is first["b"] and shown["swapped"]["a"] is now["b"]
    assert np.array_equal(shown["moved"]["a"][:, 2:], now["a"][:, :-2]) and shown["moved"]["b"] is now["b"]
    assert all(picture.shape == (20, 40, 3) for change in shown.values() for picture in change.values())
    assert shown["as_they_are"] is now and all(np.array_equal(now[name], kept[name]) for name in kept)
