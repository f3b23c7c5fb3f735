"""Pictures of the small task, and tiny networks that are made when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.models.conftest import draw, make_story
from tests.models.networks import save_tiny


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny network of a kind."""
    pytest.importorskip("transformers")
    root, made = tmp_path_factory.mktemp("networks"), {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_tiny(kind, root / kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    views = []
    for seed in range(8):
        story = make_story(seed)
        views += [draw(story, k, (35, 35, 40), (150, 150, 155), "front") for k in range(0, len(story.path), 6)]
    return views
