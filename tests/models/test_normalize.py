"""Poses, chunks and scales: what training sees is what driving undoes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models import normalize as n

_unit = arrays(np.float64, (4,), elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)


def _same_rotation(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(np.abs(np.abs((n.unit_quaternion(a) * n.unit_quaternion(b)).sum(-1)) - 1) < 1e-7))


def _poses(rng: np.random.Generator, *shape: int) -> np.ndarray:
    quaternion = n.unit_quaternion(rng.normal(size=(*shape, 4)))
    return np.concatenate([rng.normal(size=(*shape, 3)), quaternion, rng.uniform(size=(*shape, 1))], axis=-1)


@given(_unit)
def test_rotation_vectors_invert(quaternion: np.ndarray) -> None:
    vector = n.rotation_vector(quaternion)
    assert np.linalg.norm(vector) <= np.pi + 1e-9
    assert _same_rotation(n.from_rotation_vector(vector), quaternion)


@given(_unit, _unit, st.floats(0, 1))
def test_slerp_turns_evenly_on_the_shorter_way(a: np.ndarray, b: np.ndarray, share: float) -> None:
    whole = np.linalg.norm(n.rotation_vector(n.multiply(n.unit_quaternion(b), n.conjugate(n.unit_quaternion(a)))))
    part = n.rotation_vector(n.multiply(n.slerp(a, b, np.array(share)), n.conjugate(n.unit_quaternion(a))))
    assert np.linalg.norm(part) == pytest.approx(whole * share, abs=1e-6)
    assert _same_rotation(n.slerp(a, b, np.array(1.0)), b)


@given(_unit)
def test_six_numbers_are_two_columns_of_a_rotation_matrix(quaternion: np.ndarray) -> None:
    six = n.rotation_6d(quaternion)
    x, y = six[:3], six[3:]
    assert np.allclose([x @ x, y @ y, x @ y], [1, 1, 0], atol=1e-9)
    assert np.allclose(n.rotation_6d(-quaternion), six)
    # The first column is where the x axis goes.
    q = n.unit_quaternion(quaternion)
    turned = n.multiply(n.multiply(q, [0, 1, 0, 0]), n.conjugate(q))[1:]
    assert np.allclose(turned, x, atol=1e-9)


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_chunks_invert(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pose0, targets = _poses(rng, 5), _poses(rng, 5, 8)
    again = n.apply_actions(pose0, n.chunk_actions(pose0, targets))
    assert np.allclose(again[..., :3], targets[..., :3])
    assert np.allclose(again[..., 7], targets[..., 7])
    assert _same_rotation(again[..., 3:7], targets[..., 3:7])


def test_actions_are_relative_to_the_first_pose_and_cumulative() -> None:
    pose0 = np.array([0.1, 0.2, 0.3, 1, 0, 0, 0, 1.0])
    targets = np.array([[0.1 + 0.01 * k, 0.2, 0.3, 1, 0, 0, 0, 0.0] for k in (1, 2, 3)])
    actions = n.chunk_actions(pose0, targets)
    assert np.allclose(actions[:, 0], [0.01, 0.02, 0.03])
    assert np.allclose(actions[:, 6], -1)


def test_the_scaler_survives_json_and_inverts_exactly_enough() -> None:
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(500, 8, 7)) * np.linspace(0.01, 0.08, 8)[:, None]
    scaler = n.ActionScaler.from_json(json.loads(json.dumps(n.ActionScaler.fit(actions).to_json())))
    normal = scaler.normalise(actions)
    assert np.allclose(scaler.invert(normal), actions, atol=1e-6)
    inside = np.abs(normal[..., :6]) <= 1.0
    assert inside.mean(axis=0)[..., :6].min() > 0.975 and inside.mean() < 0.985
    assert np.allclose(normal[..., 6], actions[..., 6], atol=1e-6)


def test_an_axis_that_never_moves_is_not_blown_up() -> None:
    actions = np.zeros((50, 8, 7)) + 1e-5 * np.random.default_rng(0).normal(size=(50, 8, 7))
    assert np.abs(n.ActionScaler.fit(actions).normalise(actions)).max() < 0.02
    with pytest.raises(ValueError, match="no actions"):
        n.ActionScaler.fit(np.zeros((0, 8, 7)))
