"""What every encoder promises, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.encoders import ENCODERS, Encoder
from workbench.core.errors import WorkbenchError

_KINDS = [kind for kind, plugin in ENCODERS.all().items() if not plugin.missing_reason()]
Make = Callable[..., Encoder]


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Make:
    """Builds an encoder of a kind, with a tiny network for those that need one."""

    def build(kind: str, **settings: Any) -> Encoder:
        if ENCODERS.get(kind).needs:
            networks: Callable[[str], Path] = request.getfixturevalue("networks")
            settings = {"source": str(networks(kind)), "height": 48, **settings}
        return ENCODERS.build(kind, **settings)

    return build


@pytest.mark.parametrize("kind", _KINDS)
def test_every_encoder_is_deterministic_and_survives_its_state(
    kind: str, make: Make, pictures: list[np.ndarray]
) -> None:
    first, second = make(kind, clusters=12), make(kind, clusters=12)
    first.fit(pictures, 3)
    second.fit(pictures, 3)
    assert first.hash() == second.hash()
    third = make(kind, **first.settings())
    assert third.hash() != first.hash()
    third.load_state(first.state())
    assert third.hash() == first.hash()
    features = first.encode(pictures[0])
    assert features.shape == first.shape == (12, features.shape[1]) and features.dtype == np.float32
    assert np.array_equal(features, third.encode(pictures[0])) and np.isfinite(features).all()


@pytest.mark.parametrize("kind", _KINDS)
def test_every_encoder_refuses_what_it_cannot_read(kind: str, make: Make, pictures: list[np.ndarray]) -> None:
    encoder = make(kind, clusters=8)
    with pytest.raises(WorkbenchError):
        encoder.encode(pictures[0])
    with pytest.raises(WorkbenchError):
        encoder.fit([], 0)
    encoder.fit(pictures[:3], 0)
    for wrong in (pictures[0][..., 0], pictures[0].astype(np.float32), pictures[0][..., :2]):
        with pytest.raises(WorkbenchError):
            encoder.encode(wrong)
    with pytest.raises(WorkbenchError):
        make(kind, clusters=9).load_state(encoder.state())
