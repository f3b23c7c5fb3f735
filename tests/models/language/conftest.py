"""Tiny bases of both families, saved once, and networks on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.backbone import BackboneSize, InputNoise
from models.language.base import Base, open_base
from models.language.brain import Brain
from models.language.net import LanguageBackbone, LanguageNet
from models.text import TEXT_SIZE
from tests.models.language.tiny import PX, save_tiny

KINDS = ("qwen3_vl", "smolvlm2")
CAMERAS = ("front", "wrist")
TOKENS, CODES = 3, 8
SIZE = BackboneSize(len(CAMERAS), PX, 3 * PX, 10, TEXT_SIZE, 3, 4, 7, width=24)
NOISE = InputNoise(0.02, 0.01, 0.02, 0.05, 0.05)

Make = Callable[..., LanguageNet]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of every family, named after it. Read only."""
    place = tmp_path_factory.mktemp("bases")
    return {kind: save_tiny(kind, place / f"tiny-{kind}") for kind in KINDS}


@pytest.fixture(params=KINDS)
def base(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Base:
    return open_base(folders[request.param], request.param)


@pytest.fixture
def brain(base: Base) -> Brain:
    torch.manual_seed(0)
    return Brain(base, CAMERAS, PX, "lora", 4)


@pytest.fixture
def net(brain: Brain) -> LanguageNet:
    torch.manual_seed(0)
    return LanguageNet(LanguageBackbone(SIZE, NOISE, brain), TOKENS, CODES).eval()
