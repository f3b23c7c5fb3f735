"""How alignment is judged, on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.judge import probe_r2, r2, retrieval


def test_perfect_items_are_found_and_random_ones_are_at_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(200, 12, generator=generator)
    tokens = torch.arange(200)[:, None]
    metrics, matrix = retrieval(actions, actions, tokens)
    assert metrics["retrieval_top1"] == 1.0 and metrics["chance"] == 1 / 200 and matrix.shape == (200, 200)
    noise = torch.randn(200, 12, generator=generator)
    metrics, _ = retrieval(noise, actions, tokens)
    assert metrics["retrieval_top1"] < 0.04 and 0.0 <= metrics["retrieval_top5"] < 0.08


def test_equal_token_strings_are_one_item() -> None:
    tokens = torch.tensor([[1, 1], [1, 1], [2, 2], [1, 1]])
    items = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    metrics, matrix = retrieval(items, items, tokens)
    assert metrics["gallery"] == 2 and metrics["chance"] == 0.5 and metrics["n"] == 4
    assert metrics["retrieval_top1"] == 1.0 and matrix.shape == (4, 2)


def test_ties_count_against_the_model() -> None:
    tokens = torch.arange(10)[:, None]
    same = torch.ones(10, 3)
    metrics, _ = retrieval(same, same, tokens)
    assert metrics["retrieval_top1"] == 0.0 and metrics["retrieval_top5"] == 0.0


def test_r2_of_known_predictions() -> None:
    true = np.random.default_rng(0).normal(size=(100, 3))
    assert r2(true, true) == 1.0
    assert r2(np.broadcast_to(true.mean(0), true.shape), true) == pytest.approx(0.0)
    assert r2(-true, true) < -2
    true[:, 2] = 1.0
    assert r2(true + np.array([0, 0, 5]), true) == 1.0  # a column that never varies tells nothing
    assert np.isnan(r2(np.zeros((5, 1)), np.zeros((5, 1))))


def test_a_linear_relation_is_found_by_the_probe_and_noise_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=generator)
    y = x @ torch.randn(6, 3, generator=generator) + 2.0
    assert probe_r2((x[:300], y[:300]), (x[300:], y[300:])) > 0.99
    noise = torch.randn(400, 6, generator=generator)
    assert probe_r2((noise[:300], y[:300]), (noise[300:], y[300:])) < 0.1
