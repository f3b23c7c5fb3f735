"""Pictures of the small task, and folders with tiny networks of the very classes that the encoders open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.conftest import draw, make_story

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_tiny(kind: str, folder: Path, seed: int = 0, patch: int = 8) -> Path:
    """A network of random weights as transformers saves it."""
    import transformers

    torch.manual_seed(seed)
    if kind == "siglip":
        vision = {**TINY, "image_size": 32, "patch_size": patch}
        text = {**TINY, "vocab_size": 20, "max_position_embeddings": 8, "pad_token_id": 0}
        config = transformers.SiglipConfig(
            vision_config=vision, text_config=text | {"bos_token_id": 1, "eos_token_id": 2}
        )
        net = transformers.SiglipModel(config)
    elif kind == "dinov2":
        config = transformers.Dinov2Config(**TINY, image_size=32, patch_size=patch)
        net = transformers.Dinov2Model(config)
    else:
        net = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**TINY, patch_size=patch, num_register_tokens=4))
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny network of a kind, made when first asked for."""
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
